"""A withdrawn run is gone from every route but those that tell of the past; a later import begins it anew."""

import json
from typing import Any

import pytest

from tests.commands import events_in, migrate, record, runlog, written
from tests.server import NOBODY, Server, faults, fresh_id, refused, until

REASON = "recorded twice"


def withdrawn(server: Server, run_id: str) -> dict[str, Any]:
    """Withdraw a run, and return the view that came back."""
    answer = server.post(f"/admin/runs/{run_id}/withdraw", {"reason": REASON})
    assert answer.status == 200, answer.body
    view: dict[str, Any] = answer.json
    return view


def test_who_withdraws_a_run_gets_its_last_view_and_where_it_stands_in_the_log(server: Server) -> None:
    run = server.create()
    answer = server.post(f"/admin/runs/{run['run_id']}/withdraw", {"reason": REASON})
    assert answer.status == 200
    event = events_in(server.data_dir)[-1]
    assert (event["type"], event["data"]) == ("rmos.run.withdrawn.v1", {"reason": REASON})
    seq = int(answer.headers["X-Log-Position"])
    assert answer.json["withdrawn"] == {"reason": REASON, "at_utc": event["time"], "seq": seq}
    assert answer.json["log"]["last_seq"] == seq


@pytest.mark.parametrize(
    "path",
    ["", "/download", "/advisories", "/attachments", "/attachments/verify", "/attachments/" + "0" * 64],
)
def test_what_lies_under_a_withdrawn_run_is_gone(server: Server, path: str) -> None:
    run_id = server.create()["run_id"]
    view = withdrawn(server, run_id)
    problem = refused(server.get(f"/runs/{run_id}{path}"), 410, "RUN_WITHDRAWN")
    assert {name: problem[name] for name in ("reason", "at_utc", "seq")} == view["withdrawn"]


def test_what_lies_under_a_withdrawn_run_is_shown_to_who_asks_for_it(server: Server) -> None:
    run_id, other = server.create()["run_id"], server.create()["run_id"]
    digest = server.upload(run_id, b"bytes", kind="note").json["sha256"]
    withdrawn(server, run_id)
    asked = {"include_withdrawn": "true"}
    attachments = f"/runs/{run_id}/attachments"
    assert server.get(attachments, query=asked).json["count"] == 1
    assert server.get(f"{attachments}/verify", query=asked).json["all_valid"] is True
    assert server.get(f"{attachments}/{digest}", query=asked).json["exists"] is True
    refused(server.get(f"{attachments}/{digest}/download"), 410, "RUN_WITHDRAWN")
    assert server.get(f"{attachments}/{digest}/download", query=asked).body == b"bytes"
    assert server.get("/runs/diff", query={"a": run_id, "b": other, **asked}).json["run_a"] == run_id
    assert server.get(f"/runs/{run_id}/events", query=asked).json == server.get(f"/runs/{run_id}/events").json
    assert server.get(f"/runs/{run_id}/proof", query=asked).json["run_id"] == run_id
    for path in (attachments, f"/runs/{run_id}/events", f"/runs/{run_id}/proof", f"/runs/diff?a={run_id}&b={other}"):
        separator = "&" if "?" in path else "?"
        assert faults(server.get(f"{path}{separator}include_withdrawn=maybe")) == ["?include_withdrawn"]


def test_a_withdrawn_run_takes_nothing_more(server: Server) -> None:
    run_id, other = server.create()["run_id"], server.create()["run_id"]
    withdrawn(server, run_id)
    refused(server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"}), 410, "RUN_WITHDRAWN")
    refused(server.post(f"/runs/{run_id}/explanation", {"status": "READY"}), 410, "RUN_WITHDRAWN")
    refused(server.upload(run_id, b"bytes", kind="note"), 410, "RUN_WITHDRAWN")
    refused(server.post(f"/admin/runs/{run_id}/withdraw", {"reason": "once more"}), 410, "RUN_WITHDRAWN")
    refused(server.get("/runs/diff", query={"a": run_id, "b": other}), 410, "RUN_WITHDRAWN")
    refused(server.get("/runs/diff", query={"a": other, "b": run_id}), 410, "RUN_WITHDRAWN")


def test_its_past_is_still_told(server: Server) -> None:
    run = server.create()
    run_id = run["run_id"]
    view = withdrawn(server, run_id)
    assert server.get(f"/runs/{run_id}/events").json["count"] == 2
    shown = server.get(f"/runs/{run_id}", query={"include_withdrawn": "true"})
    assert (shown.status, shown.json) == (200, view)
    assert server.get(f"/runs/{run_id}", query={"at": run["log"]["seq"]}).json == run
    refused(server.get(f"/runs/{run_id}", query={"at": view["withdrawn"]["seq"]}), 410, "RUN_WITHDRAWN")


def test_lists_leave_it_out_unless_asked_and_its_files_are_removed(server: Server) -> None:
    run = server.create(tool_id="only-this-one")
    core = server.data_dir / "runs" / run["created_at_utc"][:10] / f"{run['run_id']}.json"
    until(core.exists, "its file is written")
    withdrawn(server, run["run_id"])
    assert server.get("/runs", query={"tool_id": "only-this-one"}).json["items"] == []
    listed = server.get("/runs", query={"tool_id": "only-this-one", "include_withdrawn": "true"}).json["items"]
    assert [one["run_id"] for one in listed] == [run["run_id"]]
    until(lambda: not core.exists(), "its file is removed")


def test_its_id_stays_taken(server: Server) -> None:
    run_id = fresh_id()
    server.create(run_id=run_id)
    withdrawn(server, run_id)
    from tests.server import body

    refused(server.post("/runs", body(run_id=run_id)), 409, "ARTIFACT_EXISTS")


def test_a_withdrawal_needs_a_run_and_a_reason(server: Server) -> None:
    refused(server.post(f"/admin/runs/{NOBODY}/withdraw", {"reason": REASON}), 404, "RUN_NOT_FOUND")
    run_id = server.create()["run_id"]
    assert faults(server.post(f"/admin/runs/{run_id}/withdraw", {"reason": " ", "why": 1})) == ["$.reason", "$.why"]
    assert server.get(f"/runs/{run_id}").status == 200


def test_the_same_withdrawal_again_gets_the_recorded_answer(server: Server) -> None:
    run_id = server.create()["run_id"]
    key = {"Idempotency-Key": run_id}
    first = server.post(f"/admin/runs/{run_id}/withdraw", {"reason": REASON}, key)
    again = server.post(f"/admin/runs/{run_id}/withdraw", {"reason": REASON}, key)
    assert (again.status, again.body, again.headers["Idempotency-Replayed"]) == (200, first.body, "true")


def test_a_later_import_begins_the_view_anew_and_its_revision_goes_on(own_server: Server) -> None:
    run = own_server.create()
    run_id = run["run_id"]
    own_server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "old"})
    withdrawn(own_server, run_id)
    path = written(own_server.folder, record(run_id, tool_id="new"))
    url = f"http://127.0.0.1:{own_server.port}"
    assert migrate(path, own_server.data_dir, "--url", url, "--no-backup").json["imported"] == 1
    anew = own_server.run(run_id)
    assert (anew["tool_id"], anew["advisory_inputs"], anew["log"]["revision"]) == ("new", [], 3)
    assert "withdrawn" not in anew
    assert own_server.get("/runs", query={"advisory_id": "old"}).json["items"] == []
    day = own_server.data_dir / "runs" / "2026-01-05"
    assert [one.name for one in day.iterdir()] == [f"{run_id}.json"]
    checked = runlog("projections", "check", "files", "--data-dir", own_server.data_dir, "--json")
    assert checked.code == 0, checked.out
    assert json.loads((day / f"{run_id}.json").read_bytes())["tool_id"] == "new"
