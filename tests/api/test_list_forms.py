"""The same page of runs as a table, as lines, as JSON; unchanged pages; pages elsewhere that may read."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import BASE, Server, body, refused, running, unique

CSV, NDJSON = {"Accept": "text/csv"}, {"Accept": "application/x-ndjson"}
PAGE = "https://rmos.example:8443"


def table(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def test_a_page_as_a_table_has_the_items_of_the_page(server: Server) -> None:
    tool = unique("tool")
    for number in range(3):
        server.create(tool_id=tool, score=80.5, context={"machine_id": f"m{number}"}, block_reason='a, "b"\nc')
    answer = server.get("/runs", CSV, {"tool_id": tool, "limit": 2, "include_total": "true"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["X-Total-Count"] == "3"
    plain = server.get("/runs", query={"tool_id": tool, "limit": 2})
    assert answer.headers["Link"].replace("&include_total=true", "") == plain.headers["Link"]
    rows = table(answer.body)
    assert [list(row) for row in rows] == [list(plain.json["items"][0])] * 2
    for row, item in zip(rows, plain.json["items"], strict=True):
        assert row["run_id"] == item["run_id"]
        assert (row["score"], row["toolpaths_sha256"], row["advisory_count"]) == ("80.5", "", "0")
        assert row["block_reason"] == 'a, "b"\nc'
        assert json.loads(row["context"]) == item["context"]


@pytest.mark.parametrize("start", "=+-@")
def test_no_cell_of_a_table_can_be_taken_for_a_formula(server: Server, start: str) -> None:
    tool = f"{start}{unique('cmd')}"
    server.create(tool_id=tool, mode=f" {start}1", block_reason=f"{start}HYPERLINK(1)")
    (row,) = table(server.request("GET", f"{BASE}/runs?limit=1", headers=CSV).body)
    assert (row["tool_id"], row["block_reason"], row["mode"]) == (f"'{tool}", f"'{start}HYPERLINK(1)", f" {start}1")


def test_a_page_as_lines_has_an_item_on_each(server: Server) -> None:
    tool = unique("tool")
    for _ in range(3):
        server.create(tool_id=tool, meta={"big": 2**70})
    for view in ("index", "full"):
        query = {"tool_id": tool, "view": view}
        answer = server.get("/runs", NDJSON, query)
        assert answer.headers.get_content_type() == "application/x-ndjson"
        assert [json.loads(line) for line in answer.body.splitlines()] == server.get("/runs", query=query).json["items"]
    rows = table(server.get("/runs", CSV, {"tool_id": tool, "view": "full"}).body)
    assert [json.loads(row["meta"]) for row in rows] == [{"big": 2**70}] * 3


def test_an_empty_page_is_empty_in_each_form(server: Server) -> None:
    query = {"tool_id": unique("none")}
    assert table(server.get("/runs", CSV, query).body) == []
    assert server.get("/runs", CSV, query).body.startswith(b"run_id,created_at_utc,")
    assert server.get("/runs", NDJSON, query).body == b""


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("image/png", "application/json"),
        ("text/*", "text/csv"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0.2, application/json", "application/json"),
        ("text/csv;q=0, */*;q=0.1", "application/json"),
        ("APPLICATION/X-NDJSON", "application/x-ndjson"),
    ],
)
def test_the_form_is_the_one_that_the_client_wants_most(server: Server, accept: str, form: str) -> None:
    answer = server.get("/runs?limit=1", {"Accept": accept})
    assert answer.headers.get_content_type() == form
    assert answer.headers["Vary"] == "Accept-Encoding, Accept"


def test_every_read_is_conditional_in_each_form_and_changes_its_tag_with_its_content(server: Server) -> None:
    tool = unique("tool")
    run_id = server.create(tool_id=tool)["run_id"]
    paths = [
        f"/runs?tool_id={tool}",
        f"/runs/diff?a={run_id}&b={run_id}",
        "/stats",
        f"/runs/{run_id}/attachments/verify",
    ]
    for path in paths:
        for headers in ({}, CSV, NDJSON, {"Accept-Encoding": "gzip"}):
            first = server.get(path, headers)
            assert first.status == 200
            again = server.get(path, headers | {"If-None-Match": first.headers["ETag"]})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
            assert again.headers["Vary"] == first.headers["Vary"]
            head = server.request("HEAD", BASE + path, headers=headers)
            assert (head.status, head.body, head.headers["ETag"]) == (200, b"", first.headers["ETag"])
    tag = server.get(paths[0]).headers["ETag"]
    server.create(tool_id=tool)
    assert server.get(paths[0], {"If-None-Match": tag}).status == 200


@pytest.fixture(scope="module")
def open_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that a page elsewhere may read."""
    folder: Path = tmp_path_factory.mktemp("cors")
    (folder / "data").mkdir()
    (folder / "data" / "runlog.toml").write_text(f'cors_origin = ["{PAGE}"]\n')
    with running(Server(folder)) as server:
        yield server


def _asks(method: str = "GET", origin: str = PAGE) -> dict[str, Any]:
    return {"Origin": origin, "Access-Control-Request-Method": method}


def test_a_page_of_a_named_origin_may_read_and_nothing_more(open_to: Server) -> None:
    run_id = open_to.create()["run_id"]
    for path in (f"/runs/{run_id}", "/runs", "/events", "/runs/run_000000000000"):
        answer = open_to.get(path, {"Origin": PAGE})
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Vary"].endswith("Origin")
        assert open_to.get(path).headers["Vary"].endswith("Origin"), "or a cache gives it to a page"
    asked = open_to.request("OPTIONS", f"{BASE}/runs", headers=_asks())
    assert (asked.status, asked.headers["Access-Control-Allow-Methods"]) == (204, "GET, HEAD")
    assert asked.headers["Access-Control-Allow-Origin"] == PAGE
    refused(open_to.post("/runs", body(), {"Origin": PAGE}), 403, "FORBIDDEN")


def test_pages_of_other_origins_may_not_read(open_to: Server, server: Server) -> None:
    other = "https://elsewhere.example"
    assert "Access-Control-Allow-Origin" not in open_to.get("/runs", {"Origin": other}).headers
    assert open_to.request("OPTIONS", f"{BASE}/runs", headers=_asks(origin=other)).status == 405
    assert "Access-Control-Allow-Origin" not in server.get("/runs", {"Origin": PAGE}).headers
    assert server.request("OPTIONS", f"{BASE}/runs", headers=_asks()).status == 405
