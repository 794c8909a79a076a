"""Two runs side by side: which is which, what differs and how much it matters."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.server import BASE, NOBODY, Server
from tests.web.conftest import Reader


def path(a: str, b: str) -> str:
    return f"/rmos/runs/diff?a={a}&b={b}"


def rows(page: Page, table: str) -> list[list[str]]:
    found = page.locator(f"table.{table} tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in found]


@pytest.fixture(scope="module")
def pair(server: Server) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two runs between which something was added, removed and changed."""
    a = server.create(
        score=80,
        feasibility={"depth": 1.2, "gone": True, "limits": [1, 2]},
        outputs={"opplan_json": {"steps": [1]}},
    )
    b = server.create(
        score=20,
        status="BLOCKED",
        risk_level="RED",
        block_reason="too deep",
        feasibility={"depth": 4.4, "limits": [1, 2, 3]},
        outputs={"opplan_json": {"steps": [1]}},
    )
    return a, b


def test_the_page_says_what_the_api_says(reader: Reader, pair):
    a, b = (run["run_id"] for run in pair)
    page = reader.open(path(a, b))
    said = reader.server.get(f"/runs/diff?a={a}&b={b}").json
    assert [row[:1] + row[1:2] for row in rows(page, "items")] == [[one["path"], one["op"]] for one in said["items"]]
    by_path = {row[0]: row[1:] for row in rows(page, "items")}
    assert by_path["feasibility.depth"] == ["changed", "1.2", "4.4"]
    assert by_path["feasibility.gone"] == ["removed", "true", ""]
    assert by_path["feasibility.limits[2]"] == ["added", "", "3"]
    assert page.locator(".counts li").all_inner_texts() == [
        f"{name.capitalize()} {said['counts'][name]}" for name in ("added", "removed", "changed")
    ]
    assert [row[0].split()[-1] for row in rows(page, "fields")] == [one["severity"] for one in said["differences"]]
    assert [row[1].split("\n")[0] for row in rows(page, "fields")] == [one["field"] for one in said["differences"]]
    heads = [page.locator(f"table.{table} thead th").all_inner_texts() for table in ("items", "hashes")]
    assert heads == [["Path", "Op", "A", "B"], ["Hash", "A", "B", "Match"]]
    assert page.get_by_text("No differences found").count() == 0


def test_the_four_hashes_are_told_by_their_first_twelve_digits_and_a_sign(reader: Reader, pair):
    a, b = pair
    page = reader.open(path(a["run_id"], b["run_id"]))
    names = ("feasibility_sha256", "toolpaths_sha256", "gcode_sha256", "opplan_sha256")
    expected = []
    for name in names:
        in_a, in_b = a["hashes"][name], b["hashes"][name]
        sign = "✅ same" if in_a == in_b else "❌ different"
        expected.append([name, (in_a or "---")[:12], (in_b or "---")[:12], sign])
    assert rows(page, "hashes") == expected
    assert {row[3][0] for row in expected} == {"✅", "❌"}


def test_rows_have_the_colour_of_what_became_of_them_and_say_it_too(reader: Reader, pair):
    a, b = (run["run_id"] for run in pair)
    page = reader.open(path(a, b), color_scheme="light")
    for op, colour in (("added", "230, 255, 230"), ("removed", "255, 230, 230"), ("changed", "255, 243, 230")):
        row = page.locator(f"table.items tr.{op}").first
        expect(row).to_have_css("background-color", f"rgb({colour})")
        expect(row).to_contain_text(op)


def test_both_runs_are_introduced_and_can_be_swapped_and_opened(reader: Reader, pair):
    a, b = (run["run_id"] for run in pair)
    page = reader.open(path(a, b))
    sides = page.locator(".side").all_inner_texts()
    assert a in sides[0]
    assert "GREEN" in sides[0]
    assert b in sides[1]
    assert "too deep" in sides[1]
    page.get_by_role("link", name="Swap").click()
    expect(page.locator("#a")).to_have_value(b)
    expect(page.locator("#b")).to_have_value(a)
    page.get_by_role("link", name=a).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(a)


def test_when_nothing_differs_a_sentence_on_green_says_so(reader: Reader):
    a, b = (reader.server.create()["run_id"] for _ in range(2))
    page = reader.open(path(a, b), color_scheme="light")
    same = page.get_by_text("No differences found in decision, hashes, feasibility, or opplan.")
    expect(same).to_be_visible()
    expect(same).to_have_css("background-color", "rgb(230, 255, 230)")
    reader.look(page, "diff-same")
    reader.open(path(a, a)).get_by_text("Both sides are the same run.").wait_for()


def test_two_ids_are_asked_for_and_the_form_works_without_javascript(reader: Reader, pair):
    a, b = (run["run_id"] for run in pair)
    page = reader.open("/rmos/runs/diff", java_script_enabled=False)
    page.get_by_label("Run A", exact=True).fill(f" {a} ")
    page.get_by_label("Run B", exact=True).fill(b)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("table.items")).to_be_visible()


def test_a_run_that_is_not_there_is_named_beside_the_form(reader: Reader, pair):
    page = reader.open(path(pair[0]["run_id"], NOBODY), status=404)
    expect(page.get_by_role("alert")).to_contain_text(NOBODY)
    expect(page.locator("#a")).to_have_value(pair[0]["run_id"])


def test_a_withdrawn_run_is_compared_when_asked_for_expressly(reader: Reader, pair):
    run_id = reader.server.create()["run_id"]
    sent = {"Content-Type": "application/json"}
    answer = reader.server.request(
        "POST", f"{BASE}/admin/runs/{run_id}/withdraw", b'{"reason": "recorded twice"}', sent
    )
    assert answer.status == 200, answer.body
    page = reader.open(path(pair[0]["run_id"], run_id), status=410)
    page.get_by_role("link", name="Compare all the same").click()
    expect(page.locator(".side").nth(1)).to_contain_text("Withdrawn")


def test_the_comparison_fits_and_is_accessible_wide_and_narrow_light_and_dark(reader: Reader, pair):
    reader.look(reader.open(path(*(run["run_id"] for run in pair))), "diff")
