"""Whatever stands in a run is text on a page: it never acts, and never breaks the page round it."""

from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.web.wording import cut, formatted, plain, size
from tests.server import FEW, JSON, TEXT, Server, unique, words
from tests.web.conftest import Reader

ACTS = """<script>top.hacked=1</script>"'><img src=x onerror=top.hacked=1></pre></textarea><a href=javascript:top.hacked=1>"""
TURNS = "\u202eشغّل الآلة\u202c \u2066\u05de\u05db\u05d5\u05e0\u05d4\u2069"
LONG = "W" * 10_000
QUERY = words("run_id a b at cursor limit status mode risk_level tool_id_prefix date_from include_withdrawn stale v")


@pytest.fixture(scope="module")
def hostile(server: Server) -> dict[str, Any]:
    run = server.create(
        mode=(ACTS + LONG)[:200],
        tool_id=(TURNS + ACTS)[:200],
        status="BLOCKED",
        risk_level="RED",
        block_reason=ACTS + TURNS + LONG,
        warnings=[ACTS, TURNS, LONG, "\x00\x07"],
        details={LONG: LONG, ACTS: TURNS},
        request_summary={ACTS: ACTS, "long": LONG[:8000], TURNS: TURNS},
        feasibility={ACTS: [TURNS, LONG, {"a": ACTS}]},
        outputs={"gcode_text": ACTS + LONG, "gcode_path": ACTS, "preview_svg_path": LONG, "opplan_json": {ACTS: LONG}},
        context={"session_id": ACTS, "material_id": TURNS, "machine_id": LONG[:200], "parent_run_id": ACTS},
        meta={ACTS: [LONG, TURNS]},
    )
    path = f"/runs/{run['run_id']}"
    server.post(f"{path}/attach-advisory", {"advisory_id": (ACTS + TURNS + LONG)[:512], "engine_id": LONG})
    server.post(f"{path}/explanation", {"status": "READY", "summary": ACTS + TURNS + LONG})
    name = (ACTS.replace("/", "") + TURNS + LONG)[:255]
    server.upload(run["run_id"], ACTS.encode(), {"Content-Type": "text/html"}, kind=ACTS[:64], filename=name)
    return server.run(run["run_id"])


def test_a_hostile_run_is_text_on_every_page_and_breaks_none(reader: Reader, hostile: dict[str, Any]):
    other = reader.server.create()["run_id"]
    for name, path in (
        ("list", "/rmos/runs?limit=5"),
        ("run", f"/rmos/runs?run_id={hostile['run_id']}"),
        ("diff", f"/rmos/runs/diff?a={other}&b={hostile['run_id']}"),
    ):
        page = reader.open(path)
        text = page.locator("main").inner_text()
        assert "<script>top.hacked=1</script>" in text, name
        assert "مشغ" in text or "شغّل" in text, name
        assert page.evaluate("window.hacked") is None, name
        assert page.locator("main script, main img[src=x], main a[href^='javascript']").count() == 0
        reader.look(page, f"hostile-{name}", schemes=("light",))  # the colours are looked at elsewhere


def test_what_stands_in_the_address_is_text_too(reader: Reader):
    sent = "%3Cscript%3Etop.hacked=1%3C/script%3E%22'"
    for path, status in (
        (f"/rmos/runs?tool_id_prefix={sent}&session_id={sent}", 200),
        (f"/rmos/runs?status={sent}&{sent}={sent}", 422),
        (f"/rmos/runs?run_id={sent}", 404),
        (f"/rmos/runs/diff?a={sent}&b={sent}", 404),
        (f"/rmos/{sent}", 404),
    ):
        page = reader.open(path, status=status)
        assert page.evaluate("window.hacked") is None
        assert "<script>" in page.locator("main").inner_text() or page.locator("#a").count()


def test_a_run_as_large_as_may_be_has_a_page_that_is_not(server: Server):
    """Megabytes of one value are not put into a page; they are in the download."""
    run = server.create(feasibility={f"key {i}": "v" * 100 for i in range(20_000)}, warnings=[unique()] * 5_000)
    answer = server.request("GET", f"/rmos/runs?run_id={run['run_id']}", headers={"Accept": "text/html"})
    assert answer.status == 200
    assert len(answer.body) < 600_000
    assert b"all of it is in the download" in answer.body


@FEW
@given(
    st.lists(st.tuples(st.sampled_from(QUERY) | TEXT, st.sampled_from(["", "-1", "latest", "true"]) | TEXT), max_size=4)
)
def test_no_address_makes_the_server_stumble(server: Server, hostile: dict[str, Any], query: list[tuple[str, str]]):
    run_id = hostile["run_id"]
    for path in ("/rmos/runs", "/rmos/runs/diff", f"/rmos/runs/{run_id}/gcode", f"/rmos/runs/{run_id}/evidence.zip"):
        answer = server.request("GET", f"{path}?{urlencode(query)}", headers={"Accept": "text/html"})
        assert answer.status in (200, 404, 410, 422), path


@FEW
@given(JSON)
def test_any_value_can_be_worded(value: Any):
    for text in (plain(value), cut(value, 10), formatted(value)):
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text)
    assert len(cut(value, 10)) <= 10 + len("… (1,000,000 characters)")


@FEW
@given(TEXT)
def test_text_stays_as_it_is_but_for_its_control_characters(text: str):
    shown = plain(text)
    assert len(shown) == len(text)
    assert all(a == b or ord(a) < 32 or ord(a) == 127 for a, b in zip(text, shown, strict=True))


def test_sizes_are_told_in_the_unit_that_suits_them():
    assert [size(count) for count in (0, 1023, 1024, 1_572_864, 5 << 30)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "1.5 MiB",
        "5.0 GiB",
    ]
