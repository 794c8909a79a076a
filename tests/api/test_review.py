"""What a reviewer found, each as a test."""

import base64
import json

import pytest

from tests.server import NOBODY, Server, body


@pytest.mark.parametrize(
    "changed", [[1, None, 2**63, "run_000000000000"], [1, None, 5, "nope"], [True, None, 5, NOBODY]]
)
def test_a_cursor_that_is_well_formed_but_never_ours_is_a_422(server: Server, changed: list[object]) -> None:
    server.create(), server.create()
    cursor = server.get("/runs", query={"limit": 1}).json["next_cursor"]
    fingerprint = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[1]
    forged = base64.urlsafe_b64encode(json.dumps([changed[0], fingerprint, *changed[2:]]).encode()).decode().rstrip("=")
    assert server.get("/runs", query={"limit": 1, "cursor": forged}).status == 422


def test_a_prefix_with_a_nul_finds_its_runs_alone_with_others_and_in_the_total(server: Server) -> None:
    run = server.create(tool_id="x\x00bc", mode="nul")
    for query in ({}, {"mode": "nul"}, {"include_total": "true"}):
        found = server.get("/runs", query={"tool_id_prefix": "x\x00b", **query}).json
        assert [item["run_id"] for item in found["items"]] == [run["run_id"]]
        assert found.get("total", 1) == 1


def test_a_refused_upload_with_a_key_leaves_no_bytes_behind(own_server: Server) -> None:
    answer = own_server.upload(NOBODY, b"orphan", kind="k", headers={"Idempotency-Key": "orphan"})
    assert answer.status == 404
    assert [path for path in (own_server.data_dir / "attachments").rglob("*") if path.is_file()] == []


def test_faults_of_query_and_body_are_listed_together(server: Server) -> None:
    answer = server.post("/runs?x=1", body(score="a"))
    assert {fault["path"] for fault in answer.json["errors"]} == {"?x", "$.score"}
    answer = server.post(f"/runs/{NOBODY}/attachments?x=1", b"a")
    assert {fault["path"] for fault in answer.json["errors"]} >= {"?x", "?kind"}
