"""GET /runs: which runs are found, in which order, page by page."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import BASE, FEW, Server, refused, unique, words

ITEM = set(
    words(
        "run_id created_at_utc status mode tool_id risk_level score feasibility_sha256 toolpaths_sha256 artifact_path "
        "context explanation_status advisory_count block_reason"
    )
)


def pages(server: Server, **query: Any) -> Iterator[dict[str, Any]]:
    """Yield page after page, to the end."""
    for _ in range(500):
        answer = server.get("/runs", query=query)
        assert answer.status == 200, answer.body
        page = answer.json
        assert page["count"] == len(page["items"])
        yield page
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]
    pytest.fail("the pages have no end")


def found(server: Server, **query: Any) -> list[str]:
    """Return the ids of all the runs that match, in their order."""
    return [item["run_id"] for page in pages(server, **query) for item in page["items"]]


def several(server: Server, count: int, **changes: Any) -> tuple[str, list[str]]:
    """Create runs under a tool of their own; return it and their ids, newest first."""
    tool = unique("tool")
    return tool, [server.create(tool_id=tool, **changes)["run_id"] for _ in range(count)][::-1]


def test_an_item_of_the_index_tells_what_a_table_shows(server: Server) -> None:
    run = server.create(
        tool_id=unique(), score=1.5, block_reason="r", status="BLOCKED", toolpaths=[1], context={"machine_id": "m"}
    )
    server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": "a"})
    server.post(f"/runs/{run['run_id']}/explanation", {"status": "PENDING"})
    answer = server.get("/runs", query={"tool_id": run["tool_id"]})
    assert set(answer.json) == {"items", "count", "next_cursor", "runs_dir"}
    assert (answer.json["count"], answer.json["next_cursor"], answer.json["runs_dir"]) == (1, None, ".")
    (item,) = answer.json["items"]
    assert set(item) == ITEM
    assert item == {
        name: run[name] for name in ("run_id", "created_at_utc", "status", "mode", "tool_id", "context")
    } | {
        "risk_level": "GREEN",
        "score": 1.5,
        "block_reason": "r",
        "feasibility_sha256": run["hashes"]["feasibility_sha256"],
        "toolpaths_sha256": run["hashes"]["toolpaths_sha256"],
        "artifact_path": f"{run['created_at_utc'][:10]}/{run['run_id']}.json",
        "explanation_status": "PENDING",
        "advisory_count": 1,
    }


def test_the_full_view_lists_the_artifacts(server: Server) -> None:
    tool, ids = several(server, 3, outputs={"gcode_text": "G0"}, meta={"n": 2**70})
    server.post(f"/runs/{ids[1]}/attach-advisory", {"advisory_id": "a"})
    items = server.get("/runs", query={"tool_id": tool, "view": "full"}).json["items"]
    assert items == [server.run(run_id) for run_id in ids]
    index = server.get("/runs", query={"tool_id": tool, "view": "index"}).json["items"]
    assert all(set(item) == ITEM for item in index)


def test_a_list_shows_what_was_answered_just_before(server: Server) -> None:
    """Creates, advisories and explanations alike."""
    tool = unique()
    for n in range(1, 16):
        run_id = server.create(tool_id=tool)["run_id"]
        assert server.get("/runs", query={"tool_id": tool, "limit": 1}).json["items"][0]["run_id"] == run_id
        server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": f"{n}"})
        assert server.get("/runs", query={"tool_id": tool}).json["items"][0]["advisory_count"] == 1


def test_nothing_found_is_an_empty_page(server: Server) -> None:
    answer = server.get("/runs", query={"tool_id": unique()})
    assert (answer.status, answer.json) == (200, {"items": [], "count": 0, "next_cursor": None, "runs_dir": "."})
    assert "Link" not in answer.headers


# --- filters

TEXTS = words("event_type session_id batch_label workflow_session_id material_id machine_id tool_kind parent_run_id")


@pytest.mark.parametrize("name", ["mode", "tool_id", *TEXTS])
def test_a_filter_on_a_text_finds_exactly_that_text(server: Server, name: str) -> None:
    """Case counts, and the whole text does."""
    value = unique("É %_*")
    others = [value + "x", value[:-1], value.lower() + "y", value.upper()]
    ids = [
        server.create(**({"context": {name: text}} if name in TEXTS else {name: text}))["run_id"]
        for text in [value, *others]
    ]
    assert found(server, **{name: value}) == [ids[0]]


@pytest.mark.parametrize(
    ("name", "values"),
    [("status", ["OK", "BLOCKED", "ERROR"]), ("risk_level", ["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"])],
)
def test_a_filter_on_a_word_finds_that_word(server: Server, name: str, values: list[str]) -> None:
    tool = unique()
    ids = {value: server.create(**{"tool_id": tool, name: value})["run_id"] for value in values}
    for value in values:
        assert found(server, **{"tool_id": tool, name: value}) == [ids[value]]


def test_a_filter_on_an_advisory_finds_the_runs_that_carry_it(server: Server) -> None:
    """Ids that look alike stay apart."""
    advisory_id = unique("a/b")
    ids = [server.create()["run_id"] for _ in range(4)]
    for run_id, carried in zip(
        ids, [advisory_id, advisory_id.replace("/", "_"), advisory_id.upper(), advisory_id], strict=True
    ):
        server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": carried})
    assert found(server, advisory_id=advisory_id) == [ids[3], ids[0]]


def test_a_prefix_of_the_tool_is_taken_as_it_is(server: Server) -> None:
    """No character of it is a wildcard, and case counts."""
    stem = unique("Tool")
    ids = {end: server.create(tool_id=stem + end)["run_id"] for end in ("_a", "%a", "xa", "_ab", "")}
    assert set(found(server, tool_id_prefix=stem)) == set(ids.values())
    assert found(server, tool_id_prefix=stem + "_a") == [ids["_ab"], ids["_a"]]
    assert found(server, tool_id_prefix=stem + "%") == [ids["%a"]]
    assert found(server, tool_id_prefix=stem.lower()) == found(server, tool_id_prefix=stem + "*") == []


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip),
    cut=st.integers(1, 30),
)
@FEW
def test_a_run_is_found_by_whatever_its_tool_is_called(server: Server, name: str, cut: int) -> None:
    """Also by each beginning of it."""
    run_id = server.create(tool_id=name)["run_id"]
    assert run_id in found(server, tool_id=name)
    assert run_id in found(server, tool_id_prefix=name[:cut])


def test_filters_narrow_each_other(server: Server) -> None:
    """All are ANDed."""
    tool = unique()
    wanted = {
        "tool_id": tool,
        "status": "BLOCKED",
        "risk_level": "RED",
        "context": {"session_id": "s", "machine_id": "m"},
    }
    both = {"session_id": "s", "machine_id": "m"}
    run_id = server.create(**wanted)["run_id"]
    for changes in (
        {"status": "OK"},
        {"risk_level": "GREEN"},
        {"tool_id": unique()},
        {"context": both | {"session_id": "t"}},
        {"context": {"session_id": "s"}},
    ):
        server.create(**wanted | changes)
    query = {"tool_id": tool, "status": "BLOCKED", "risk_level": "RED", **both}
    assert found(server, **query) == [run_id]
    assert found(server, **query, tool_id_prefix=tool[:8], mode="adaptive") == [run_id]
    assert found(server, **query, mode=unique()) == []


def test_dates_are_inclusive_days_of_utc(server: Server) -> None:
    tool = unique()
    run = server.create(tool_id=tool)
    today = date.fromisoformat(run["created_at_utc"][:10])
    before, after = today - timedelta(days=1), today + timedelta(days=1)
    for inside in (
        {"date_from": today},
        {"date_to": today},
        {"date_from": today, "date_to": today},
        {"date_from": before, "date_to": after},
        {"date_from": "0001-01-01", "date_to": "9999-12-31"},
    ):
        assert found(server, tool_id=tool, **inside) == [run["run_id"]], inside
    for outside in ({"date_from": after}, {"date_to": before}, {"date_from": "2999-01-01"}):
        assert found(server, tool_id=tool, **outside) == [], outside


def test_an_empty_value_is_no_filter(server: Server) -> None:
    tool, ids = several(server, 2)
    empty = dict.fromkeys(
        [*TEXTS, "status", "mode", "tool_id_prefix", "risk_level", "date_from", "date_to", "advisory_id", "cursor"], ""
    )
    assert found(server, tool_id=tool, **empty) == ids


# --- order and pages


def test_the_newest_run_comes_first_and_the_order_is_total(server: Server) -> None:
    """By time, then by id, both falling."""
    tool = unique()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: server.create(tool_id=tool), range(40)))
    items = [item for page in pages(server, tool_id=tool, limit=7) for item in page["items"]]
    keys = [(item["created_at_utc"], item["run_id"]) for item in items]
    assert len(keys) == 40
    assert keys == sorted(set(keys), reverse=True)


@pytest.mark.parametrize("view", ["index", "full"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_hold_every_run_once(server: Server, limit: int, view: str) -> None:
    tool, ids = several(server, 7)
    assert found(server, tool_id=tool, limit=limit, view=view) == ids


def test_pages_neither_repeat_nor_skip_while_runs_arrive_and_change(server: Server) -> None:
    """A cursor stands between two runs, not at a count from the top."""
    tool, ids = several(server, 9)
    seen = []
    for page in pages(server, tool_id=tool, limit=2):
        seen += [item["run_id"] for item in page["items"]]
        server.create(tool_id=tool)
        server.post(f"/runs/{ids[-1]}/attach-advisory", {"advisory_id": unique()})
    assert seen == ids


def test_a_cursor_outlives_its_use(server: Server) -> None:
    """It can be followed twice, with the same result."""
    tool, ids = several(server, 5)
    cursor = server.get("/runs", query={"tool_id": tool, "limit": 2}).json["next_cursor"]
    for _ in range(2):
        assert found(server, tool_id=tool, limit=2, cursor=cursor) == ids[2:]


def test_the_link_header_leads_to_the_next_page(server: Server) -> None:
    """It repeats the filters, and the last page has none."""
    tool, ids = several(server, 5, context={"session_id": "a&b=c ü"})
    target, seen = "", []
    answer = server.get("/runs", query={"tool_id": tool, "session_id": "a&b=c ü", "limit": 2})
    while True:
        seen += [item["run_id"] for item in answer.json["items"]]
        link = answer.headers["Link"]
        assert (link is None) == (answer.json["next_cursor"] is None)
        if link is None:
            break
        target, _, rest = link.removeprefix("<").partition(">")
        assert rest.replace(" ", "") == ';rel="next"'
        assert urlsplit(target).path == f"{BASE}/runs"
        answer = server.request("GET", f"{BASE}/runs?{urlsplit(target).query}")
        assert answer.status == 200
    assert seen == ids


def test_the_limit_is_50_by_default_and_clamped_to_200(server: Server) -> None:
    """Too small or too large is no fault: it is the nearest that there is."""
    tool = unique()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: server.create(tool_id=tool), range(205)))
    for query, count in (
        ({}, 50),
        ({"limit": ""}, 50),
        ({"limit": 200}, 200),
        ({"limit": 201}, 200),
        ({"limit": 10**20}, 200),
    ):
        page = server.get("/runs", query={"tool_id": tool, **query}).json
        assert (page["count"], len(page["items"]), page["next_cursor"] is None) == (count, count, False)
    for limit in (1, 0, -1, -(10**20)):
        assert server.get("/runs", query={"tool_id": tool, "limit": limit}).json["count"] == 1
    assert len(set(found(server, tool_id=tool, limit=200))) == 205


def test_the_total_counts_what_matches_on_every_page(server: Server) -> None:
    """Not the page, not the whole store; and only where it was asked for."""
    tool, _ = several(server, 5)
    server.create()
    for page in pages(server, tool_id=tool, limit=2, include_total="true"):
        assert page["total"] == 5
    assert server.get("/runs", query={"tool_id": tool, "include_total": "true", "status": "ERROR"}).json["total"] == 0
    assert "total" not in server.get("/runs", query={"tool_id": tool, "include_total": "false"}).json


def test_a_stale_read_tells_its_position(server: Server) -> None:
    run = server.create()
    answer = server.get("/runs", query={"stale": "ok"})
    assert answer.status == 200
    assert 0 <= int(answer.headers["X-Projection-Position"]) <= run["log"]["seq"] + 1


def test_head_works_on_a_list(server: Server) -> None:
    several(server, 2)
    answer = server.request("HEAD", f"{BASE}/runs?limit=1")
    assert (answer.status, answer.body, "Link" in answer.headers) == (200, b"", True)
    refused(server.get("/nope"), 404, "NOT_FOUND")
