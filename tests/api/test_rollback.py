"""`runlog rollback`: v1 is as it was, the runs of the import are withdrawn, and what stands against it is listed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import V1_FILE, Ran, events_in, everything_under, migrate, record, runlog, written
from tests.server import Server, digest, refused

V1 = json.loads(V1_FILE.read_bytes())
ID = "run_" + "0" * 16


def roll_back(backup: object, path: Path, data_dir: Path, *options: object) -> Ran:
    """Roll the import of *backup* back."""
    return runlog(
        "rollback", "--backup", backup, "--v1-path", path, "--data-dir", data_dir, "--yes", "--json", *options
    )


def status(path: Path, data_dir: Path) -> dict[str, Any]:
    """Where the migration stands."""
    found: dict[str, Any] = runlog("status", "--v1-path", path, "--data-dir", data_dir, "--json").json
    return found


def test_the_whole_way_there_and_back_and_there_again(own_server: Server) -> None:
    own_server.stop()
    folder = own_server.folder / "v1"
    folder.mkdir()
    path, data = Path(shutil.copy(V1_FILE, folder / "v1.json")), own_server.data_dir
    assert status(path, data) == {"status": "V1_ONLY", "v1": 39, "imported": 0, "missing": 39, "withdrawn": 0}
    first = migrate(path, data).json
    assert status(path, data) == {"status": "MIGRATED", "v1": 39, "imported": 39, "missing": 0, "withdrawn": 0}
    path.write_bytes(b'{"changed": "since"}')
    ran = roll_back(first["backup"]["path"], path, data)
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"import_id", "withdrawn", "refused", "safety_copy", "restored"}
    assert (ran.json["import_id"], ran.json["withdrawn"], ran.json["refused"]) == (first["import_id"], 39, [])
    assert ran.json["restored"] is True
    assert path.read_bytes() == V1_FILE.read_bytes()
    assert Path(ran.json["safety_copy"]).read_bytes() == b'{"changed": "since"}'
    assert status(path, data) == {"status": "V1_ONLY", "v1": 39, "imported": 0, "missing": 39, "withdrawn": 39}
    assert not list((data / "runs").rglob("*.json"))
    withdrawn = events_in(data)[39:]
    assert [event["type"] for event in withdrawn] == ["rmos.run.withdrawn.v1"] * 39
    assert {event["data"]["import_id"] for event in withdrawn} == {first["import_id"]}
    own_server.start()
    refused(own_server.get(f"/runs/{next(iter(V1))}"), 410, "RUN_WITHDRAWN")
    own_server.stop()
    assert migrate(path, data).json["imported"] == 39
    assert status(path, data)["status"] == "MIGRATED"
    own_server.start()
    assert {own_server.run(run_id)["log"]["revision"] for run_id in V1} == {2}
    assert runlog("verify", "--v1-path", path, "--data-dir", data, "--json").json["same"] == 39


def test_a_log_of_withdrawn_runs_alone_is_not_empty(tmp_path: Path) -> None:
    path, data = written(tmp_path, record(ID)), tmp_path / "data"
    assert roll_back(migrate(path, data).json["backup"]["path"], path, data).code == 0
    ran = runlog("status", "--v1-path", tmp_path / "no.json", "--data-dir", data, "--json")
    assert ran.json == {"status": "LOG_ONLY", "v1": 0, "imported": 0, "missing": 0, "withdrawn": 1}


def test_what_is_no_backup_of_an_import_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path, other = written(tmp_path, record(ID)), tmp_path / "other.json"
    backup = migrate(path, tmp_path / "data").json["backup"]["path"]
    other.write_bytes(Path(backup).read_bytes() + b" ")
    before = everything_under(tmp_path)
    ran = roll_back(other, path, tmp_path / "data")
    assert (ran.code, ran.out) == (3, "")
    assert digest(other.read_bytes()) in ran.err
    assert roll_back(tmp_path / "nothing", path, tmp_path / "data").code == 2
    assert roll_back(backup, tmp_path / "nothing", tmp_path / "data").code == 2
    assert everything_under(tmp_path) == before


def test_an_import_without_a_backup_cannot_be_rolled_back(tmp_path: Path) -> None:
    path = written(tmp_path, record(ID))
    copy = shutil.copy(path, tmp_path / "copy.json")
    import_id = migrate(path, tmp_path / "data", "--no-backup").json["import_id"]
    ran = roll_back(copy, path, tmp_path / "data")
    assert ran.code == 3
    assert f"{import_id} was made with --no-backup" in ran.err
    assert len(events_in(tmp_path / "data")) == 1


def test_a_rollback_of_what_was_rolled_back_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, record(ID))
    backup = migrate(path, tmp_path / "data").json["backup"]["path"]
    assert roll_back(backup, path, tmp_path / "data").code == 0
    ran = roll_back(backup, path, tmp_path / "data")
    assert ran.code == 3
    assert "rolled back already" in ran.err


@pytest.mark.parametrize("addition", ["advisory", "explanation", "attachment"])
def test_runs_that_were_added_to_since_are_listed_and_only_force_withdraws_them(
    own_server: Server, addition: str
) -> None:
    """What came with them from v1 is no addition."""
    own_server.stop()
    came_along = {"advisory_inputs": ["a"], "explanation_status": "READY", "explanation_summary": "why"}
    path = written(own_server.folder, record(ID, **came_along), record("run_" + "1" * 16, **came_along))
    backup = migrate(path, own_server.data_dir).json["backup"]["path"]
    own_server.start()
    answer = {
        "advisory": lambda: own_server.post(f"/runs/{ID}/attach-advisory", {"advisory_id": "b"}),
        "explanation": lambda: own_server.post(f"/runs/{ID}/explanation", {"status": "ERROR"}),
        "attachment": lambda: own_server.upload(ID, b"bytes", kind="note"),
    }[addition]()
    assert answer.status in (200, 201)
    own_server.stop()
    before = path.read_bytes()
    path.write_bytes(b"{}")
    ran = roll_back(backup, path, own_server.data_dir)
    assert ran.code == 3
    assert ran.json["refused"] == [ID]
    assert (ran.json["withdrawn"], ran.json["safety_copy"], ran.json["restored"]) == (0, None, False)
    assert path.read_bytes() == b"{}"
    assert len(events_in(own_server.data_dir)) == 7
    forced = roll_back(backup, path, own_server.data_dir, "--force")
    assert (forced.code, forced.json["withdrawn"], forced.json["refused"]) == (0, 2, [])
    assert path.read_bytes() == before


def test_only_the_runs_of_that_import_are_withdrawn(tmp_path: Path) -> None:
    first, second = record(ID), record("run_" + "1" * 16)
    path = written(tmp_path, first)
    migrate(path, tmp_path / "data")
    path = written(tmp_path, first, second)
    backup = migrate(path, tmp_path / "data").json["backup"]["path"]
    assert roll_back(backup, path, tmp_path / "data").json["withdrawn"] == 1
    assert [event["subject"] for event in events_in(tmp_path / "data")[2:]] == [second["run_id"]]
    assert status(path, tmp_path / "data")["status"] == "PARTIAL"


def test_a_rollback_asks_first_and_beside_a_server_it_is_refused(own_server: Server) -> None:
    own_server.stop()
    path = written(own_server.folder, record(ID))
    backup = migrate(path, own_server.data_dir).json["backup"]["path"]
    asked = runlog("rollback", "--backup", backup, "--v1-path", path, "--data-dir", own_server.data_dir)
    assert asked.code == 2
    assert "--yes" in asked.err
    own_server.start()
    assert roll_back(backup, path, own_server.data_dir).code == 3
    assert len(events_in(own_server.data_dir)) == 1


def test_an_import_that_brought_nothing_is_nothing_to_take_back(tmp_path: Path) -> None:
    path = written(tmp_path, record(ID))
    migrate(path, tmp_path / "data", "--no-backup")
    path.write_bytes(path.read_bytes() + b" ")
    backup = migrate(path, tmp_path / "data").json["backup"]["path"]
    before = everything_under(tmp_path)
    ran = roll_back(backup, path, tmp_path / "data")
    assert (ran.code, ran.out) == (3, "")
    assert "imported nothing" in ran.err
    assert {**before, "data/writer.lock": b""} == {**everything_under(tmp_path), "data/writer.lock": b""}


def test_of_the_same_bytes_the_newest_import_says_why_it_cannot_be_taken_back(tmp_path: Path) -> None:
    path = written(tmp_path, record(ID))
    backup = migrate(path, tmp_path / "data").json["backup"]["path"]
    assert roll_back(backup, path, tmp_path / "data").code == 0
    import_id = migrate(path, tmp_path / "data", "--no-backup").json["import_id"]
    ran = roll_back(backup, path, tmp_path / "data")
    assert (ran.code, f"{import_id} was made with --no-backup" in ran.err) == (3, True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"import_id": 1}', b"\xff"])
def test_a_damaged_record_of_an_import_is_named_and_a_stray_file_is_not_looked_at(
    tmp_path: Path, content: bytes
) -> None:
    path, data = written(tmp_path, record(ID)), tmp_path / "data"
    report = migrate(path, data).json
    (data / "imports" / "notes.json").write_bytes(content)
    assert migrate(path, data).code == 0
    (data / "imports" / f"{report['import_id']}.json").write_bytes(content)
    for ran in (migrate(path, data), roll_back(report["backup"]["path"], path, data)):
        assert (ran.code, ran.out) == (3, "")
        assert f"imports/{report['import_id']}.json" in ran.err


def test_a_corrupt_log_takes_neither_an_import_nor_a_rollback(tmp_path: Path) -> None:
    path, data = written(tmp_path, record(ID), record("run_" + "1" * 16)), tmp_path / "data"
    backup = migrate(path, data).json["backup"]["path"]
    (segment,) = (data / "log" / "segments").iterdir()
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes().replace(b'"status":"OK"', b'"status":"NO"', 1))
    for ran in (migrate(path, data, "--dry-run"), migrate(path, data), roll_back(backup, path, data)):
        assert ran.code == 3, ran.err
        assert "runlog: " in ran.err
