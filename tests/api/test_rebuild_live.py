"""Rebuilding in a running server: it serves and records all the while, and may be killed at any moment."""

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from api.remote import ServerRefused, call
from projections.known import NAMES, VERSIONS
from projections.lock import ProjectionsLock
from tests.commands import Ran, everything_under, runlog
from tests.projections.logs import append, many, run_id_of
from tests.server import Server, body, faults, refused, until

LARGE = many(1200)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Server]:
    """A running server on so many events that a rebuild takes a while."""
    server = Server(tmp_path)
    append(server.data_dir, LARGE)
    try:
        server.start()
        until(lambda: set(states(server).values()) == {"running"}, "every projection ran", 30)
        yield server
    finally:
        server.stop()
    assert "Traceback" not in server.output()


def listed(server: Server) -> dict[str, dict[str, Any]]:
    """What the server says of each projection."""
    answer = server.get("/admin/projections")
    assert answer.status == 200, answer.body
    return {one["name"]: one for one in answer.json["projections"]}


def states(server: Server) -> dict[str, str]:
    return {name: one["state"] for name, one in listed(server).items()}


def are_at_the_head(server: Server) -> bool:
    return all((one["position"], one["state"]) == (one["head"], "running") for one in listed(server).values())


def stored(server: Server) -> dict[str, dict[str, Any]]:
    """What the data directory says of each projection."""
    found = runlog("projections", "list", "--data-dir", server.data_dir, "--json")
    return {one["name"]: one for one in found.json["projections"]}


def command(server: Server, *words: str) -> Ran:
    return runlog("projections", *words, "--url", f"http://127.0.0.1:{server.port}")


def rows(data_dir: Path) -> dict[str, Any]:
    """Every row and the schema of the databases that are swapped."""
    found: dict[str, Any] = {}
    for name in ("catalog", "stats"):
        with closing(sqlite3.connect(data_dir / f"{name}.sqlite")) as db:
            for table in ("run", "saved", "advisory" if name == "catalog" else "cell"):
                found[f"{name}.{table}"] = sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            found[name] = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    return found


def worker_of(server: Server) -> int:
    """Return the pid of the process that runs the projections."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"projections.worker" in Path(f"/proc/{pid}/cmdline").read_bytes())


def change_byte(server: Server, marker: bytes) -> None:
    """Flip a bit of the first event that holds *marker*; once more puts it right."""
    segment = next((server.data_dir / "log" / "segments").iterdir())
    at = segment.read_bytes().index(b"]", segment.read_bytes().index(marker))
    mode = segment.stat().st_mode
    segment.chmod(0o600)
    with segment.open("r+b") as file:
        file.seek(at - 2)
        byte = file.read(1)
        file.seek(at - 2)
        file.write(bytes([byte[0] ^ 1]))
    segment.chmod(mode)


class UnreadyServer(Server):
    """A server that has started when it answers, whatever it says of its health."""

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return self.request("GET", "/healthz").status == 200
        self.hang_up()
        return False


def test_the_list_has_the_shape_of_the_specification(server: Server) -> None:
    server.create()
    until(lambda: are_at_the_head(server), "the projections were at the head")
    assert server.get("/admin/projections").json == {
        "projections": [
            {"name": name, "version": version, "position": 0, "head": 0, "state": "running", "error": None}
            for name, version in VERSIONS.items()
        ]
    }


def test_an_unknown_projection_is_not_found_and_a_parameter_is_refused(server: Server) -> None:
    refused(server.post("/admin/projections/nope/rebuild", b""), 404, "NOT_FOUND")
    refused(server.post("/admin/projections/nope/retry", b""), 404, "NOT_FOUND")
    refused(server.get("/admin/projections/catalog/rebuild"), 405, "METHOD_NOT_ALLOWED")
    assert faults(server.post("/admin/projections/catalog/rebuild?force=1", b"")) == ["?force"]


def test_a_rebuild_of_everything_changes_no_row_and_no_file_while_runs_are_recorded_and_read(filled: Server) -> None:
    """Each run is read back at once, whichever state is served."""
    stop = threading.Event()
    recorded: list[dict[str, Any]] = []
    wrong: list[object] = []

    def load() -> None:
        while not stop.is_set():
            run = filled.create()
            recorded.append(run)
            answer = filled.get(f"/runs/{run['run_id']}")
            page = filled.get("/runs", query={"limit": 1})
            if answer.status != 200 or answer.json != run or page.json["items"][0]["run_id"] != run["run_id"]:
                wrong.append((answer.status, answer.body, page.body))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        ended = command(filled, "rebuild", "all", "--json")
    finally:
        stop.set()
        thread.join()
    assert ended.code == 0, ended
    assert [one["name"] for one in ended.json["rebuilt"]] == list(NAMES)
    assert wrong == []
    assert recorded
    until(lambda: are_at_the_head(filled), "the projections were at the head")
    filled.stop()
    before, tree = rows(filled.data_dir), everything_under(filled.data_dir / "runs")
    assert len(before["catalog.run"]) == 1200 + len(recorded)
    assert runlog("projections", "rebuild", "all", "--data-dir", filled.data_dir).code == 0
    assert rows(filled.data_dir) == before
    assert everything_under(filled.data_dir / "runs") == tree
    assert not list(filled.data_dir.glob("*.new*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_of_the_projections_costs_nothing_and_the_rebuild_is_done(filled: Server, name: str) -> None:
    """What was asked for is begun again by the next process; meanwhile the old state is served."""
    assert filled.post(f"/admin/projections/{name}/rebuild", b"").json["state"] == "rebuilding"
    os.kill(worker_of(filled), signal.SIGKILL)
    assert filled.get("/runs").status == 200
    until(lambda: are_at_the_head(filled), "the projections were at the head", 30)
    assert filled.create()["run_id"] == filled.get("/runs", query={"limit": 1}).json["items"][0]["run_id"]
    assert sum(item["total"] for item in filled.get("/stats").json["items"]) == in_force() + 1


def in_force() -> int:
    """How many of the runs of LARGE are not withdrawn."""
    return 1200 - sum(kind == "run.withdrawn" for kind, _, _ in LARGE) + sum(k == "run.imported" for k, _, _ in LARGE)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_killed_during_a_rebuild_starts_on_the_old_state_and_a_second_rebuild_is_whole(
    filled: Server, name: str
) -> None:
    filled.post(f"/admin/projections/{name}/rebuild", b"")
    filled.kill()
    filled.start()
    until(lambda: are_at_the_head(filled), "the projections were at the head", 30)
    assert command(filled, "rebuild", name).code == 0
    assert not list(filled.data_dir.glob("*.new*"))
    filled.stop()
    before = rows(filled.data_dir)
    assert runlog("projections", "rebuild", "all", "--data-dir", filled.data_dir).code == 0
    assert rows(filled.data_dir) == before
    assert runlog("projections", "check", "files", "--data-dir", filled.data_dir).code == 0


def test_a_rebuild_that_meets_a_damaged_event_leaves_the_old_state_in_force_and_says_where(filled: Server) -> None:
    """Once the event is right again, so is the rebuild."""
    marker = b'"subject":"run_000000000064"'
    change_byte(filled, marker)
    ended = command(filled, "rebuild", "catalog")
    assert ended.code == 3
    assert "does not match its hash" in ended.err
    assert listed(filled)["catalog"]["error"]["message"]
    assert listed(filled)["catalog"]["state"] == "running"
    assert filled.request("GET", "/readyz").json["status"] == "degraded"
    assert "does not match its hash" in command(filled, "list").out
    run = filled.create()
    assert filled.run(run["run_id"]) == run
    change_byte(filled, marker)
    assert command(filled, "rebuild", "catalog").code == 0
    assert listed(filled)["catalog"]["error"] is None
    assert filled.request("GET", "/readyz").json["status"] == "ready"


def test_a_projection_that_stopped_says_at_which_event_and_goes_on_after_a_retry(tmp_path: Path) -> None:
    """Writes go on all the while, and only what needs it waits."""
    server = UnreadyServer(tmp_path)
    append(server.data_dir, many(20))
    change_byte(server, b'"subject":"run_000000000007"')
    try:
        server.start()
        until(lambda: set(states(server).values()) == {"failed"}, "every projection stopped", 20)
        stopped = listed(server)
        assert {one["error"]["seq"] for one in stopped.values()} == {stopped["catalog"]["error"]["seq"]}
        ready = server.request("GET", "/readyz")
        assert (ready.status, ready.json["status"]) == (503, "unready")
        assert "runlog_projection_failed_stats 1.0" in server.request("GET", "/metrics").body.decode()
        assert server.post("/runs", body()).status == 201
        refused(server.get("/stats"), 503, "PROJECTION_BEHIND")
        again = command(server, "retry", "stats")
        assert again.code == 3
        assert states(server)["stats"] == "failed"
        change_byte(server, b'"subject":"run_000000000007"')
        ended = command(server, "retry", "all", "--json")
        assert ended.code == 0, ended
        until(lambda: are_at_the_head(server), "the projections were at the head")
        assert command(server, "retry", "all").code == 0  # what has not stopped is left alone
        assert server.request("GET", "/readyz").json["status"] == "ready"
        assert [one["error"] for one in stored(server).values()] == [None, None, None]
    finally:
        server.stop()


def test_an_event_of_an_unknown_type_is_named_wherever_somebody_looks(tmp_path: Path) -> None:
    """With its seq and type, beside the server and after it; it is no bug, so there is no traceback."""
    server, renamed = UnreadyServer(tmp_path), "rmos.run.renamed.v1"
    append(server.data_dir, [*many(1), ("run.renamed", run_id_of(99), {})])
    seq = len(many(1))
    try:
        server.start()
        until(lambda: set(states(server).values()) == {"failed"}, "every projection stopped", 30)
        assert all((one["error"]["seq"], one["error"]["type"]) == (seq, renamed) for one in listed(server).values())
        assert stored(server) == listed(server)
        reasons = server.request("GET", "/readyz").json["reasons"]
        assert any(f"files stopped at event {seq} ({renamed})" in reason for reason in reasons)
        series = f'runlog_projection_stopped{{name="files",seq="{seq}",type="{renamed}"}} 1.0'
        assert series in server.request("GET", "/metrics").body.decode()
        problem = refused(server.get(f"/runs/{run_id_of(99)}?at={seq}"), 503, "UNKNOWN_EVENT")
        assert (problem["seq"], problem["type"]) == (seq, renamed)
    finally:
        server.stop()
    assert "Traceback" not in server.output()
    assert {one["state"] for one in stored(server).values()} == {"failed"}
    for words in (("check", "files"), ("rebuild", "files"), ("rebuild", "catalog")):
        ended = runlog("projections", *words, "--data-dir", server.data_dir)
        assert ended.code == 3
        assert f"vent {seq} is of type {renamed!r}" in ended.err
        assert ".." not in ended.err.splitlines()[-1]


def reasons_if_late(server: Server) -> list[str]:
    """What an unready server waits for, once it has begun to tell."""
    answer = server.request("GET", "/readyz")
    reasons: list[str] = answer.json["reasons"]
    return reasons if answer.status == 503 and any("catching up" in reason for reason in reasons) else []


def test_a_server_whose_catalog_is_not_there_yet_is_unready_until_it_is(tmp_path: Path) -> None:
    """What merely lacks its files and counts is degraded."""
    server = UnreadyServer(tmp_path)
    append(server.data_dir, many(1))
    (server.data_dir / "runlog.toml").write_text("projection_lag_max_s = 0.1\n")
    lock = ProjectionsLock(server.data_dir, 0)
    try:
        server.start()
        reasons = until(lambda: reasons_if_late(server), "the server told what it waits for", 30)
        assert any(reason.startswith("no run can be read yet: projection catalog") for reason in reasons)
        assert [reason.split()[1] for reason in reasons if reason.startswith("projection ")] == ["files", "stats"]
        lock.release()
        until(lambda: server.request("GET", "/readyz").json["reasons"] == [], "the server was ready", 30)
    finally:
        server.stop()


def test_states_of_another_version_are_folded_anew_at_start_while_runs_are_recorded(filled: Server) -> None:
    """With a warning for each; what is recorded meanwhile is in them."""
    filled.stop()
    before = rows(filled.data_dir)
    for name in NAMES:
        with closing(sqlite3.connect(filled.data_dir / f"{name}.sqlite")) as db, db:
            db.execute("UPDATE saved SET version = 0")
            if name != "files":
                db.execute("DELETE FROM run")
    filled.start()
    run = filled.create()
    until(lambda: are_at_the_head(filled), "the projections were at the head", 30)
    assert filled.run(run["run_id"]) == run
    warned = {line["name"] for line in filled.log_lines() if line["event"] == "projection.starts_over"}
    assert warned == set(NAMES)
    filled.stop()
    assert len(rows(filled.data_dir)["catalog.run"]) == len(before["catalog.run"]) + 1
    assert runlog("projections", "check", "files", "--data-dir", filled.data_dir).code == 0


def test_commands_that_find_no_server_say_so(tmp_path: Path) -> None:
    """Exit code 3; the URL wins over a data directory."""
    for words in (("list",), ("rebuild", "all"), ("retry", "catalog")):
        ended = runlog("projections", *words, "--url", "http://127.0.0.1:1", "--data-dir", tmp_path)
        assert ended.code == 3
        assert "No Runlog server answers" in ended.err
    assert runlog("projections", "retry", "catalog").code == 2
    assert runlog("projections", "retry", "catalogue", "--url", "http://127.0.0.1:1").code == 2
    assert runlog("projections", "list", "--url", "ftp://x").code == 3


def test_a_request_that_the_server_refuses_is_told_in_its_words(server: Server) -> None:
    with pytest.raises(ServerRefused, match="NOT_FOUND"):
        call(f"http://127.0.0.1:{server.port}", "POST", "admin", "projections", "nope/../x", "retry")
