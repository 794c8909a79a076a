"""`runlog projections`: what is derived can always be listed, checked, and had again from the log."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from projections.known import NAMES, VERSIONS
from tests.commands import V1_FILE, Ran, everything_under, migrate, runlog
from tests.projections.logs import append, run_id_of
from tests.server import Server, until


def projections(server: Server, *arguments: str) -> Ran:
    """Run the command on the data of *server*."""
    return runlog("projections", *arguments, "--data-dir", server.data_dir)


def rows(data_dir: Path) -> dict[str, list[Any]]:
    """Every row of the catalog, and its schema."""
    with closing(sqlite3.connect(data_dir / "catalog.sqlite")) as db:
        statements = {
            "schema": "SELECT type, name, sql FROM sqlite_master ORDER BY name",
            "run": "SELECT * FROM run ORDER BY id",
            "advisory": "SELECT * FROM advisory ORDER BY 1, 2, 3",
            "saved": "SELECT * FROM saved",
        }
        return {name: db.execute(statement).fetchall() for name, statement in statements.items()}


def tamper(path: Path, content: bytes = b"changed by someone") -> None:
    """Change a read-only file as someone would."""
    path.unlink()
    path.write_bytes(content)


def record_some_runs(server: Server) -> None:
    """Five runs of the service's own; the last has four advisories and an explanation that changed."""
    for number in range(5):
        run = server.create(tool_id=f"tool {number}", meta={"ü": number})
        for advisory in range(number):
            answer = server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": f"adv/{advisory}"})
            assert answer.status == 200, answer.body
    for status in ("PENDING", "READY"):
        answer = server.post(f"/runs/{run['run_id']}/explanation", {"status": status, "summary": "why"})
        assert answer.status == 200, answer.body


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the real 39 runs and some of the service's own, folded as they came."""
    server = Server(tmp_path_factory.mktemp("stopped"))
    assert runlog("migrate", "--v1-path", V1_FILE, "--no-backup", "--data-dir", server.data_dir).code == 0
    try:
        server.start()
        record_some_runs(server)
        until(lambda: is_at_the_head(server), "the projections were at the head")
    finally:
        server.stop()
    return server.data_dir


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Server:
    """A server that does not run, on a copy of that data; a test that starts it must stop it."""
    server = Server(tmp_path)
    shutil.copytree(stopped_once, server.data_dir)
    assert runlog("projections", "rebuild", "files", "--data-dir", server.data_dir).code == 0  # the tree moved
    return server


def is_at_the_head(server: Server) -> bool:
    """Tell whether both projections have folded all."""
    listed = projections(server, "list", "--json").json["projections"]
    return all(one["position"] == one["head"] for one in listed)


def all_but_shared_memory(data_dir: Path) -> dict[str, bytes | None]:
    """Everything but what SQLite's readers tell each other through where a WAL was left."""
    return {name: content for name, content in everything_under(data_dir).items() if not name.endswith("-shm")}


def core_files(server: Server) -> list[Path]:
    """The files of the runs' cores."""
    return sorted(
        path
        for path in (server.data_dir / "runs").rglob("run_*.json")
        if "_advisory_" not in path.name and "_explanation" not in path.name
    )


# --- list


def test_a_list_shows_every_projection_at_the_head(stopped: Server) -> None:
    """In the shape of `GET /admin/projections`, and nothing is made by looking."""
    before = all_but_shared_memory(stopped.data_dir)
    listed = projections(stopped, "list", "--json").json
    head = 39 + 5 + (0 + 1 + 2 + 3 + 4) + 2 - 1
    assert listed == {
        "projections": [
            {"name": name, "version": version, "position": head, "head": head, "state": "running", "error": None}
            for name, version in VERSIONS.items()
        ]
    }
    assert all_but_shared_memory(stopped.data_dir) == before
    shown = projections(stopped, "list").out.splitlines()
    assert [line.split() for line in shown[1:]] == [
        [name, str(version), str(head), str(head), "running"] for name, version in VERSIONS.items()
    ]


def test_a_list_beside_a_running_server_needs_no_lock(own_server: Server) -> None:
    """It sees what the server's projections have stored."""
    own_server.create()
    until(lambda: is_at_the_head(own_server), "the projections were at the head")
    assert {one["head"] for one in projections(own_server, "list", "--json").json["projections"]} == {0}


def test_a_projection_without_its_state_is_listed_as_rebuilding(stopped: Server) -> None:
    """It begins from nothing when a server starts."""
    (stopped.data_dir / "catalog.sqlite").unlink()
    catalog, files, _ = projections(stopped, "list", "--json").json["projections"]
    assert (catalog["position"], catalog["state"]) == (-1, "rebuilding")
    assert files["state"] == "running"


@pytest.mark.parametrize("command", [("list",), ("check", "files"), ("rebuild", "all")])
def test_where_there_is_no_log_none_is_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 3, and the directory is not made either."""
    server = Server(tmp_path)
    refused = projections(server, *command)
    assert refused.code == 3
    assert "There is no log" in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("check", "catalogue"), ("rebuild", "catalogue"), ("rebuild",)])
def test_a_projection_that_is_not_known_is_an_error_of_usage(stopped: Server, command: tuple[str, ...]) -> None:
    """Exit code 2."""
    assert projections(stopped, *command).code == 2


# --- check


def test_a_check_of_a_right_tree_finds_nothing(stopped: Server) -> None:
    """Exit code 0; every file was looked at."""
    checked = projections(stopped, "check", "all", "--json")
    assert checked.code == 0
    assert checked.json == {"missing": [], "changed": [], "foreign": [], "files": 39 + 5 + 10 + 1}


def test_changed_deleted_and_foreign_files_are_found_by_a_check_and_repaired_by_a_rebuild(stopped: Server) -> None:
    """The changed one is kept in the quarantine; what is foreign is not touched."""
    root = stopped.data_dir / "runs"
    right = everything_under(root)
    changed, deleted = core_files(stopped)[:2]
    tamper(changed)
    deleted.unlink()
    (root / "notes.txt").write_text("mine")
    (root / "two\nlines").write_text("mine")
    found = projections(stopped, "check", "files", "--json")
    assert found.code == 1
    assert found.json["changed"] == [str(changed.relative_to(root))]
    assert found.json["missing"] == [str(deleted.relative_to(root))]
    assert found.json["foreign"] == ["notes.txt", "two\nlines"]
    listed = projections(stopped, "check", "files").out
    assert f"changed  {changed.relative_to(root)}" in listed
    assert f"missing  {deleted.relative_to(root)}" in listed
    assert "foreign  notes.txt" in listed
    assert "foreign  two\\nlines" in listed.splitlines()
    rebuilt = projections(stopped, "rebuild", "files", "--json")
    assert rebuilt.code == 0
    assert [(one["name"], one["quarantined"]) for one in rebuilt.json["rebuilt"]] == [("files", 1)]
    assert everything_under(root) == right | {"notes.txt": b"mine", "two\nlines": b"mine"}
    (kept,) = (stopped.data_dir / "quarantine").iterdir()
    assert kept.read_bytes() == b"changed by someone"
    for foreign in ("notes.txt", "two\nlines"):
        (root / foreign).unlink()
    assert projections(stopped, "check", "files").code == 0


@pytest.mark.parametrize(("batch_size", "seq"), [(256, 10), (5, 12), (5, 37)])
def test_damage_in_the_log_accuses_no_file_and_is_told_by_its_event(tmp_path: Path, batch_size: int, seq: int) -> None:
    """In the newest batch too, for that one was signed for. Exit code 3; `verify` names the line, and no file."""
    data_dir = tmp_path / "data"
    assert migrate(V1_FILE, data_dir, "--no-backup", "--batch-size", batch_size).code == 0
    segment = next((data_dir / "log" / "segments").iterdir())
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[seq] = lines[seq].replace(b'"status":"', b'"status":"-', 1)
    segment.write_bytes(b"".join(lines))
    place = f"Segment {segment.name}, byte {sum(map(len, lines[:seq]))}, seq {seq}."
    for command in (("check", "files"), ("list",)):
        refused = runlog("projections", *command, "--data-dir", data_dir)
        assert (refused.code, refused.out) == (3, "")
        assert place in refused.err
        assert "runlog log verify" in refused.err
    verified = runlog("verify", "--v1-path", V1_FILE, "--data-dir", data_dir, "--json")
    assert "the dated files were not compared" in verified.err
    (tampered,) = verified.json["tampered"]
    assert tampered.startswith(f"log/segments/{segment.name}, byte ")


def test_a_log_from_before_there_were_checkpoints_can_be_listed_and_checked(stopped: Server) -> None:
    """Its first open signs it."""
    identity = stopped.data_dir / "log" / "log.json"
    facts = json.loads(identity.read_bytes())
    del facts["vkey"]
    identity.write_text(json.dumps(facts))
    (stopped.data_dir / "log" / "checkpoint").unlink()
    assert projections(stopped, "check", "files").code == 0
    assert {one["state"] for one in projections(stopped, "list", "--json").json["projections"]} == {"running"}


def test_a_check_works_beside_a_running_server(own_server: Server) -> None:
    """And finds what was changed under it."""
    own_server.create()
    until(lambda: is_at_the_head(own_server), "the projections were at the head")
    assert projections(own_server, "check", "files").code == 0
    tamper(core_files(own_server)[0])
    assert projections(own_server, "check", "files").code == 1


def test_a_lost_state_does_not_excuse_missing_files(stopped: Server) -> None:
    """Where nothing says how far the tree had come, it must hold everything."""
    (stopped.data_dir / "files.sqlite").unlink()
    core_files(stopped)[0].unlink()
    checked = projections(stopped, "check", "files", "--json")
    assert (checked.code, len(checked.json["missing"])) == (1, 1)


# --- rebuild


def test_what_stopped_a_rebuild_without_a_server_is_listed(stopped: Server) -> None:
    """Of each of them, as a server would have found it; and every one gets its chance."""
    append(stopped.data_dir, [("run.renamed", run_id_of(1), {})])
    refused = projections(stopped, "rebuild", "all")
    assert (refused.code, refused.out.count("Rebuilding")) == (3, len(NAMES))
    listed = projections(stopped, "list", "--json").json["projections"]
    head = listed[0]["head"]
    assert [(one["name"], one["state"], one["position"]) for one in listed] == [
        (name, "failed", head - 1) for name in NAMES
    ]
    assert {(one["error"]["seq"], one["error"]["type"]) for one in listed} == {(head, "rmos.run.renamed.v1")}


def test_a_rebuilt_catalog_equals_the_incremental_one_row_for_row_and_the_tree_byte_for_byte(
    stopped_once: Path, stopped: Server
) -> None:
    """On the real 39 runs and some of the service's own."""
    shutil.rmtree(stopped.data_dir / "runs")
    rebuilt = projections(stopped, "rebuild", "all", "--json")
    assert rebuilt.code == 0
    assert [one["name"] for one in rebuilt.json["rebuilt"]] == list(NAMES)
    assert rows(stopped.data_dir) == rows(stopped_once)
    assert everything_under(stopped.data_dir / "runs") == everything_under(stopped_once / "runs")


def test_a_catalog_deleted_while_the_server_was_stopped_comes_back_the_same(stopped: Server) -> None:
    """By a start of the server, and by a rebuild."""
    before = rows(stopped.data_dir)
    path = stopped.data_dir / "catalog.sqlite"
    path.unlink()
    assert projections(stopped, "rebuild", "catalog").code == 0
    assert rows(stopped.data_dir) == before
    path.unlink()
    try:
        stopped.start()
        until(lambda: is_at_the_head(stopped), "the projections were at the head")
    finally:
        stopped.stop()
    assert rows(stopped.data_dir) == before


def test_files_deleted_while_the_server_was_stopped_come_back_the_same(stopped: Server) -> None:
    """By a start of the server, which says so; what it says of itself is true again."""
    before = everything_under(stopped.data_dir / "runs")
    shutil.rmtree(stopped.data_dir / "runs")
    try:
        stopped.start()
        until(lambda: is_at_the_head(stopped), "the projections were at the head")
    finally:
        stopped.stop()
    assert everything_under(stopped.data_dir / "runs") == before
    assert "projection.starts_over" in stopped.output()
    assert projections(stopped, "check", "files").code == 0


@pytest.mark.parametrize("what", ["a WAL of another state", "bytes that are no database", "an interrupted rebuild"])
def test_a_rebuild_gets_over_whatever_stands_in_its_way(stopped: Server, what: str) -> None:
    """And leaves one whole file, without a WAL and without leftovers."""
    before = rows(stopped.data_dir)
    path = stopped.data_dir / "catalog.sqlite"
    if what == "a WAL of another state":
        leave_a_wal(path)
        assert path.with_name("catalog.sqlite-wal").stat().st_size
    elif what == "bytes that are no database":
        path.write_bytes(b"no database" * 1000)
    else:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"catalog.sqlite.new{suffix}").write_bytes(b"half" * 1000)
    assert projections(stopped, "rebuild", "catalog").code == 0
    assert [one.name for one in stopped.data_dir.glob("catalog*")] == ["catalog.sqlite"]
    assert rows(stopped.data_dir) == before


def leave_a_wal(path: Path) -> None:
    """Change the catalog as a process does that is killed before its WAL is written back."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE run SET tool_id = 'stale'")
        db.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{path}{suffix}.copy")
    for suffix in ("", "-wal"):
        os.replace(f"{path}{suffix}.copy", f"{path}{suffix}")


def test_a_rebuild_of_an_event_that_cannot_be_read_leaves_the_old_catalog_in_place(stopped: Server) -> None:
    """Damage in the log must not cost the state that was folded before it."""
    before = rows(stopped.data_dir)
    segment = next((stopped.data_dir / "log" / "segments").iterdir())
    content = bytearray(segment.read_bytes())
    at = content.index(b'"feasibility"')
    content[at + 1] ^= 1
    segment.write_bytes(content)
    refused = projections(stopped, "rebuild", "catalog")
    assert refused.code in (1, 3)
    assert "event 0" in refused.err.lower()
    assert rows(stopped.data_dir) == before
    assert [one.name for one in stopped.data_dir.glob("catalog*")] == ["catalog.sqlite"]


def test_a_rebuild_beside_a_running_server_is_refused_and_changes_nothing(own_server: Server) -> None:
    """Exit code 3, with the holder's pid; the server goes on."""
    run = own_server.create()
    refused = projections(own_server, "rebuild", "all")
    assert refused.code == 3
    assert f"rocess {own_server.pid} " in refused.err
    assert own_server.run(run["run_id"]) == run


def test_a_rebuilt_catalog_is_served_from(stopped: Server) -> None:
    """A server that starts on it goes on from there."""
    assert projections(stopped, "rebuild", "all").code == 0
    try:
        stopped.start()
        run = stopped.create()
        assert stopped.run(run["run_id"]) == run
    finally:
        stopped.stop()
    assert "projection.starts_over" not in stopped.output()
