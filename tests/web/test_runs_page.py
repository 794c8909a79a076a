"""The list of runs: filters that live in the address, pages that append, news that waits to be asked for."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.server import ABSENT, NOBODY, Server, unique
from tests.web.conftest import Reader


def cells(page: Page) -> list[list[str]]:
    """The table as its reader sees it."""
    rows = page.locator("table.runs tbody:not(#more) tr")
    return [[text.replace("\n", " ") for text in row.locator("td").all_inner_texts()] for row in rows.all()]


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


@pytest.fixture(scope="module")
def tool(server: Server) -> str:
    """A few runs of one tool, one of each kind; returns what its name begins with."""
    prefix = unique("tool")
    for status, risk, score in (
        ("OK", "GREEN", 87.5),
        ("OK", "YELLOW", 55),
        ("BLOCKED", "RED", 14.1),
        ("ERROR", "ERROR", ABSENT),
        ("BLOCKED", "UNKNOWN", ABSENT),
    ):
        reason = "too deep for this tool" if status == "BLOCKED" else ABSENT
        server.create(
            tool_id=f"{prefix}-{risk}", status=status, risk_level=risk, score=score, block_reason=reason, mode=prefix
        )
    return prefix


def test_the_table_says_in_words_what_it_says_in_colours(reader: Reader, tool: str):
    page = reader.open(f"/rmos/runs?tool_id_prefix={tool}")
    heads = page.locator("table.runs thead th").all_inner_texts()
    assert heads == ["Time (UTC)", "Status", "Mode", "Tool", "Risk", "Score"]
    table = cells(page)
    assert [row[1:] for row in table] == [
        ["✕ BLOCKED too deep for this tool", tool, f"{tool}-UNKNOWN", "? UNKNOWN", "---"],
        ["! ERROR", tool, f"{tool}-ERROR", "! ERROR", "---"],
        ["✕ BLOCKED too deep for this tool", tool, f"{tool}-RED", "■ RED", "14.1"],
        ["✓ OK", tool, f"{tool}-YELLOW", "▲ YELLOW", "55"],
        ["✓ OK", tool, f"{tool}-GREEN", "● GREEN", "87.5"],
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row[0]) for row in table)
    expect(page.locator(".risk-YELLOW").first).to_have_css("background-color", "rgb(204, 153, 0)")
    expect(page.locator(".status-BLOCKED").first).to_have_css("font-weight", "700")
    expect(page.locator(".risk-UNKNOWN").first).to_have_css("font-style", "italic")


def test_every_filter_of_the_form_goes_into_the_address_and_only_matches_are_shown(reader: Reader, tool: str):
    page = reader.open("/rmos/runs")
    page.get_by_label("Status").select_option("BLOCKED")
    page.get_by_label("Mode").select_option(tool)
    page.get_by_label("Risk").select_option("RED")
    page.get_by_label("Tool prefix").fill(tool)
    day = cells(page)[0][0][:10]
    page.get_by_label("From (UTC)").fill(day)
    page.get_by_label("To (UTC)").fill(day)
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**status=BLOCKED**")
    wanted = {"status": "BLOCKED", "mode": tool, "risk_level": "RED", "tool_id_prefix": tool, "date_from": day}
    assert query(page) == {name: [value] for name, value in (wanted | {"date_to": day}).items()}
    assert [row[3] for row in cells(page)] == [f"{tool}-RED"]
    expect(page.get_by_label("Status")).to_have_value("BLOCKED")
    page.get_by_role("link", name="Remove the filter risk_level").click()
    expect(page.locator("table.runs tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url("**/rmos/runs")


def test_a_filter_of_the_api_that_has_no_field_can_be_seen_and_taken_away(reader: Reader):
    session = unique("session")
    reader.server.create(context={"session_id": session})
    page = reader.open(f"/rmos/runs?session_id={session}")
    assert len(cells(page)) == 1
    page.get_by_label("Status").select_option("ERROR")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No run matches.")).to_be_visible()
    assert query(page)["session_id"] == [session]
    page.get_by_role("link", name="Remove the filter status").click()
    expect(page.locator("table.runs tbody tr")).to_have_count(1)


def test_load_more_appends_until_there_is_no_more_and_the_keyboard_goes_on_where_it_was(reader: Reader):
    mode = unique("mode")
    made = [reader.server.create(mode=mode)["run_id"] for _ in range(5)]
    page = reader.open(f"/rmos/runs?mode={mode}&limit=2")
    links = page.locator("table.runs tbody:not(#more) a")
    more = page.get_by_role("button", name="Load more")
    held = page.evaluate_handle("document.querySelector('#more button')")
    page.route("**/rmos/runs?*", lambda route: _held_back(route, held))
    more.focus()
    page.keyboard.press("Enter")
    expect(links).to_have_count(4)
    expect(links.nth(2)).to_be_focused()
    assert page.evaluate("window.wasDisabled") is True
    more.click()
    expect(links).to_have_count(5)
    expect(more).to_have_count(0)
    assert [link.get_attribute("title") for link in links.all()] == [
        link.get_attribute("title") for link in page.locator("td a[title]").all()
    ]
    shown = [str(link.get_attribute("href")).partition("run_id=")[2] for link in links.all()]
    assert shown == made[::-1]


def _held_back(route, button) -> None:  # type: ignore[no-untyped-def]
    """Note whether the button could be pressed while its request was under way."""
    button.evaluate("button => { window.wasDisabled = button.disabled }")
    route.continue_()


def test_where_no_more_can_be_had_the_page_says_so_and_the_button_can_be_pressed_again(reader: Reader):
    mode = unique("mode")
    for _ in range(3):
        reader.server.create(mode=mode)
    page = reader.open(f"/rmos/runs?mode={mode}&limit=2")
    page.route("**/rmos/runs?*", lambda route: route.fulfill(status=503))
    page.get_by_role("button", name="Load more").click()
    expect(page.locator("#more").get_by_role("alert")).to_contain_text("Try again")
    page.unroute("**/rmos/runs?*")
    page.get_by_role("button", name="Load more").click()
    expect(page.locator("table.runs tbody:not(#more) tr")).to_have_count(3)
    assert all("503" in complaint for complaint in reader.complaints)
    reader.complaints.clear()


def test_without_javascript_the_list_its_filters_and_its_next_page_work(reader: Reader):
    mode = unique("mode")
    made = [reader.server.create(mode=mode)["run_id"] for _ in range(3)]
    page = reader.open(f"/rmos/runs?mode={mode}&limit=2", java_script_enabled=False)
    page.get_by_role("button", name="Load more").click()
    page.wait_for_url("**cursor=**")
    assert len(cells(page)) == 1
    page.locator("table.runs tbody a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(made[0])
    page.go_back()
    page.get_by_role("link", name="Back to the newest").click()
    expect(page.locator("table.runs tbody:not(#more) tr")).to_have_count(2)


def test_new_runs_announce_themselves_and_are_shown_when_asked_for(reader: Reader):
    """None is missed between the making of the page and the first moment of listening."""
    mode = unique("mode")
    reader.server.create(mode=mode)
    page = reader.open(f"/rmos/runs?mode={mode}")
    for wanted in (mode, "another", mode, mode):
        reader.server.create(mode=wanted)
    news = page.get_by_role("link", name="Show 3 new runs")
    expect(news).to_be_visible()
    assert page.title().startswith("(3) ")
    assert len(cells(page)) == 1
    news.click()
    expect(page.locator("table.runs tbody tr")).to_have_count(4)


def test_filters_that_cannot_be_used_are_explained_beside_the_form(reader: Reader):
    page = reader.open("/rmos/runs?status=FINE&date_from=soon", status=422)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("?status")
    expect(alert).to_contain_text("?date_from")
    reader.look(page, "list-refused")


def test_an_id_that_nobody_has_leads_to_a_page_that_helps(reader: Reader):
    page = reader.open("/rmos/runs")
    page.get_by_label("Run id").fill(f"  {NOBODY} ")
    page.get_by_role("button", name="Open run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not here")
    expect(page.get_by_text("There is no run")).to_be_visible()
    reader.look(page, "not-found")
    page.get_by_label("Open a run by its id").fill(reader.server.create()["run_id"])
    page.get_by_role("button", name="Open").click()
    expect(page.locator(".verdict")).to_be_visible()


def test_a_page_that_is_not_there_helps_too_and_a_program_still_gets_json(reader: Reader):
    page = reader.open("/rmos/nowhere", status=404)
    expect(page.get_by_role("link", name="All runs")).to_be_visible()
    answer = reader.server.request("GET", "/rmos/nowhere")
    assert answer.json["error"] == "NOT_FOUND"


def test_the_list_fits_and_is_accessible_wide_and_narrow_light_and_dark(reader: Reader, tool: str):
    reader.look(reader.open("/rmos/runs?limit=5"), "list")


def test_the_keyboard_alone_is_enough(reader: Reader, tool: str):
    """The skip link comes first; where the keyboard is can be seen; a filter is set and a run opened with it."""
    page = reader.open("/rmos/runs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    names = []
    for _ in range(9):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        names.append(focused.get_attribute("name") or focused.inner_text())
        style = focused.evaluate(
            "element => getComputedStyle(element).outlineStyle + getComputedStyle(element).outlineWidth"
        )
        assert style == "solid3px", names
    assert names[:5] == ["run_id", "Open run", "status", "mode", "risk_level"]
    page.get_by_label("Tool prefix").focus()
    page.keyboard.type(f"{tool}-RED")
    page.keyboard.press("Enter")
    page.wait_for_url("**tool_id_prefix=**")
    page.locator("table.runs tbody a").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".verdict .status")).to_contain_text("BLOCKED")


def test_no_page_may_run_or_load_anything_but_the_servers_own_files(server: Server):
    for path in ("/rmos/runs", "/rmos/runs/diff", "/rmos/nowhere"):
        headers = server.request("GET", path, headers={"Accept": "text/html"}).headers
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] in ("no-referrer", "same-origin")
        body = server.request("GET", path, headers={"Accept": "text/html"}).body.decode()
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", body)


def test_the_pages_files_may_be_kept_for_ever_under_the_address_that_names_their_bytes(server: Server):
    page = server.request("GET", "/rmos/runs", headers={"Accept": "text/html"}).body.decode()
    files = re.findall(r'(?:src|href)="(/rmos/static/[^"]+)"', page)
    assert len(files) >= 4
    for path in files:
        answer = server.request("GET", path)
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert "immutable" not in server.request("GET", path.partition("?")[0]).headers["Cache-Control"]
    assert server.request("GET", "/rmos/static/..%2fpage.py").status == 404
