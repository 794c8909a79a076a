"""The names that existing clients use: the same answers, and the same strictness."""

import pytest
from hypothesis import given

from projections.run.diff import diff
from projections.run.old_names import diffs, sections
from tests.server import BASE, FEW, JSON, NOBODY, Server, body, canonical, faults, refused, words

SECTIONS = set(words("request_diff feasibility_diff decision_diff hashes_diff attachments_diff"))


def test_recent_is_the_newest_page_of_the_list_and_not_an_id(server: Server) -> None:
    made = [server.create()["run_id"] for _ in range(3)]
    answer = server.get("/runs/recent?limit=2")
    assert answer.status == 200
    assert answer.json == server.get("/runs?limit=2").json
    assert [item["run_id"] for item in answer.json["items"]] == made[:0:-1]
    assert server.get("/runs/recent").json["count"] >= 3


def test_query_recent_pages_by_the_same_cursor(server: Server) -> None:
    for _ in range(3):
        server.create()
    first = server.get("/runs/query/recent?limit=2").json
    second = server.get("/runs/query/recent", query={"limit": 2, "cursor": first["next_cursor"]}).json
    assert second == server.get("/runs", query={"limit": 2, "cursor": first["next_cursor"]}).json
    assert not {item["run_id"] for item in first["items"]} & {item["run_id"] for item in second["items"]}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/runs/recent?limit=x", "?limit"),
        ("/runs/recent?cursor=x", "?cursor"),
        ("/runs/recent?limit=1&limit=2", "?limit"),
        ("/runs/recent?foo=1&limit=zz", "?foo ?limit"),
        ("/runs/query/recent?cursor=x", "?cursor"),
        ("/runs/query/recent?status=no", "?status"),
        ("/runs/query/recent?foo=1&limit=zz&cursor=q", "?cursor ?foo ?limit"),
        (f"/runs_v2/diff/{NOBODY}/{NOBODY}?a=1", "?a"),
    ],
)
def test_what_a_name_does_not_take_is_refused(server: Server, path: str, found: str) -> None:
    """Each fault once, and all of them."""
    assert faults(server.get(path)) == words(found)


def test_the_old_diff_has_its_sections_beside_the_present_answer(server: Server) -> None:
    a = server.create(request_summary={"depth": 1, "same": [1]}, feasibility={"x": 1}, score=10)
    b = server.create(request_summary={"depth": 1.0, "same": [1], "new": None}, feasibility={}, risk_level="RED")
    ids = [a["run_id"], b["run_id"]]
    both, only = (server.upload(run_id, b"both", kind="k").json["sha256"] for run_id in ids), []
    assert len(set(both)) == 1
    for run_id in ids:
        only.append(server.upload(run_id, run_id.encode(), kind="k").json["sha256"])
    found = server.get(f"/runs_v2/diff/{ids[0]}/{ids[1]}").json
    assert {name: found[name] for name in found.keys() - SECTIONS} == server.get(
        "/runs/diff", query={"a": ids[0], "b": ids[1]}
    ).json
    assert found["request_diff"] == {"depth": {"a": 1, "b": 1.0}, "new": {"a": None, "b": None}}
    assert [type(found["request_diff"]["depth"][side]) for side in "ab"] == [int, float]
    assert found["feasibility_diff"] == {"x": {"a": 1, "b": None}}
    assert found["decision_diff"] == {"risk_level": {"a": "GREEN", "b": "RED"}, "score": {"a": 10, "b": None}}
    assert found["hashes_diff"] == {
        "feasibility_sha256": {side: run["hashes"]["feasibility_sha256"] for side, run in (("a", a), ("b", b))}
    }
    assert found["attachments_diff"] == {"only_in_a": only[:1], "only_in_b": only[1:]}


def test_a_diff_also_carries_its_differences_with_a_sentence_each(server: Server) -> None:
    a, b = server.create(), server.create(status="ERROR", risk_level="RED")
    found = server.get("/runs/diff", query={"a": a["run_id"], "b": b["run_id"]}).json
    assert found["diffs"][0] == {
        "field": "status",
        "a_value": "OK",
        "b_value": "ERROR",
        "severity": "CRITICAL",
        "message": "status: OK → ERROR",
    }
    assert [one["field"] for one in found["diffs"]] == [one["field"] for one in found["differences"]]
    same = server.get("/runs/diff", query={"a": a["run_id"], "b": a["run_id"]}).json
    assert [one["message"] for one in same["diffs"]] == ["Both sides are the same run."]


def test_a_run_of_the_old_diff_that_is_not_there_is_not_found(server: Server) -> None:
    run_id = server.create()["run_id"]
    for a, b in ((run_id, NOBODY), (NOBODY, run_id), ("nope", run_id), (run_id, "%00")):
        refused(server.get(f"/runs_v2/diff/{a}/{b}"), 404, "RUN_NOT_FOUND")
    refused(server.request("PUT", f"{BASE}/runs_v2/diff/{run_id}/{run_id}"), 405, "METHOD_NOT_ALLOWED")


def test_the_rows_of_attachments_have_their_old_names_too(server: Server) -> None:
    run_id = server.create()["run_id"]
    sent = server.upload(run_id, b"G21", {"Content-Type": "text/plain"}, kind="gcode", filename="a.nc").json
    (row,) = server.get(f"/runs/{run_id}/attachments").json["attachments"]
    assert (row["att_id"], row["path"], row["content_type"]) == (sent["sha256"], "a.nc", "text/plain")
    assert sent.items() <= row.items()


def view(value: object) -> dict[str, object]:
    """As much of a merged view as a comparison looks at."""
    decision = {"risk_level": "GREEN", "score": None, "block_reason": None, "warnings": [], "details": {}}
    hashes = dict.fromkeys(words("feasibility_sha256 toolpaths_sha256 gcode_sha256 opplan_sha256"))
    run = body(run_id="x", request_summary={"v": value}, feasibility={"v": value}, decision=decision, hashes=hashes)
    return run | {
        "advisory_inputs": [],
        "explanation_status": "NONE",
        "attachments": None,
        "context": {},
        "outputs": {"opplan_json": None},
    }


@FEW
@given(JSON, JSON)
def test_a_key_is_told_if_and_only_if_its_canonical_bytes_differ(a: object, b: object) -> None:
    told = sections(view(a), view(b))["feasibility_diff"]
    assert told == ({} if canonical(a) == canonical(b) else {"v": {"a": a, "b": b}})
    assert (told == {}) == (diff(view(a), view(b))["items"] == [])


def test_a_sentence_stays_short_and_says_null_where_there_is_nothing() -> None:
    (found,) = diffs([{"field": "f", "a": None, "b": ["x" * 1000], "severity": "INFO"}])
    assert found["message"] == f'f: null → ["{"x" * 77}…'
