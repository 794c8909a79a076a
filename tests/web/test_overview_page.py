"""/rmos: what it tells is what was recorded, with and without scripts, and at every width."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.commands import record, runlog, written
from tests.server import Server
from tests.web.conftest import LONG_S, Reader

expect.set_options(timeout=LONG_S * 1000)

LONG_WORD = "x" * 10_000
HOSTILE = "<script>alert('a')</script> \"quoted\" \u202eright to left\u202c " + LONG_WORD
OLD_RUN = "run_0123456789abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an old imported run, and some of today: two blocked for one reason, one for a hostile one."""
    folder = tmp_path_factory.mktemp("overview")
    server = Server(folder)
    v1 = written(folder, record(OLD_RUN, mode="m", tool_id="old"))
    assert runlog("migrate", "--v1-path", v1, "--no-backup", "--data-dir", server.data_dir).code == 0
    server.start()
    for number in range(3):
        server.create(tool_id="flat", score=80 + number)
    for _ in range(2):
        server.create(tool_id="ball nose", status="BLOCKED", risk_level="RED", block_reason="too deep")
    server.create(tool_id=HOSTILE[:200], status="BLOCKED", risk_level="UNKNOWN", block_reason=HOSTILE)
    server.create(tool_id="flat", status="ERROR", risk_level="ERROR")
    yield server
    server.stop()
    assert "Traceback" not in server.output()


def test_it_tells_what_was_recorded_without_a_script(reader: Reader) -> None:
    page = reader.open("/rmos", java_script_enabled=False)
    assert page.locator(".figures dd a").all_inner_texts() == ["7", "3", "1", "3"]
    first = page.locator("ol.ranked").nth(0).locator("li").nth(0)
    assert first.locator(".what").inner_text() == "too deep"
    assert first.locator(".often").inner_text() == "2"
    tool = page.locator("ol.ranked").nth(1).locator("li").nth(0)
    assert (tool.locator(".what").inner_text(), tool.locator(".often").inner_text()) == ("ball nose", "2 of 2")
    newest = page.locator("ul.newest li")
    assert newest.count() == 3
    assert newest.nth(0).locator(".why").inner_text().startswith("<script>alert('a')</script>")
    assert page.locator("svg.bars").count() == 2
    assert page.locator("svg.bars").nth(0).locator("g").count() == 30
    assert page.locator("svg.bars").nth(0).is_visible()
    page.locator("summary").click()
    row = page.locator("#numbers tbody tr").nth(0)
    assert row.locator("td").all_inner_texts() == ["3", "1", "3", "2", "1", "0", "1", "3"]


def test_the_range_lives_in_the_url(reader: Reader) -> None:
    page = reader.open("/rmos", java_script_enabled=False)
    page.get_by_role("link", name="7 days").click()
    assert page.url.endswith("/rmos?days=7")
    assert page.locator(".ranges [aria-current]").inner_text() == "7 days"
    assert page.locator("svg.bars").nth(0).locator("g").count() == 7
    page.get_by_role("link", name="All", exact=True).click()
    assert page.locator(".figures dd a").nth(0).inner_text() == "8"
    assert "2026-01-05" in (page.locator("#numbers tbody tr").last.text_content() or "")


def test_a_range_that_is_none_is_refused_in_words(reader: Reader) -> None:
    page = reader.open("/rmos?days=8", status=422)
    assert "7, 30, 90, all" in page.locator("main").inner_text()


def test_its_links_lead_to_the_runs_that_it_counts(reader: Reader) -> None:
    page = reader.open("/rmos")
    page.locator("ol.ranked").nth(1).get_by_role("link", name="ball nose").click()
    page.wait_for_url("**/rmos/runs?status=BLOCKED&tool_id=ball%20nose&date_from=*")
    assert page.locator("tbody tr").count() == 2


def test_the_charts_tell_under_the_pointer_and_are_drawn_open(reader: Reader, server: Server) -> None:
    page = reader.open("/rmos?days=7")
    plot = page.locator("#status-chart .u-over")
    plot.wait_for()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 13 / 14, box["y"] + box["height"] / 2)
    readout = page.locator("#status-chart .readout")
    expect(readout).to_have_text(re.compile(": 3 OK, 1 ERROR, 3 BLOCKED$"))
    expect(page.locator("#risk-chart .readout")).to_have_text(re.compile(": 3 GREEN, 1 UNKNOWN, 1 ERROR, 2 RED$"))
    page.mouse.move(0, 0)
    server.create(tool_id="flat")
    page.evaluate("htmx.trigger('#overview', 'refresh')")
    expect(page.locator(".figures dd a").nth(0)).to_have_text("8")
    expect(page.locator("#status-chart .u-over")).to_have_count(1)


def test_it_can_be_looked_at_everywhere_by_everybody(reader: Reader) -> None:
    page = reader.open("/rmos?days=30")
    page.locator("#risk-chart .u-over").wait_for()
    reader.look(page, "overview")
