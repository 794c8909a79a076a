"""`runlog migrate`: the real v1 file becomes 39 runs that a real server serves, and doing it again does nothing."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.canonical import sha256_json
from tests.commands import V1_FILE, Ran, events_in, everything_under, migrate, record, runlog, written
from tests.projections.logs import append, run_id_of
from tests.server import TIME, Server, digest

V1 = json.loads(V1_FILE.read_bytes())


def counts(ran: Ran) -> dict[str, int]:
    """The counts of a report."""
    return {name: ran.json[name] for name in ("total", "imported", "unchanged", "conflicts", "failed")}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Ran]]:
    """The real file, migrated by its default name, and then served."""
    server = Server(tmp_path_factory.mktemp("migrated"))
    server.data_dir.mkdir()
    shutil.copy(V1_FILE, server.data_dir / "runs.json")
    ran = runlog("migrate", "--data-dir", server.data_dir, "--json")
    assert ran.code == 0, ran.err
    try:
        server.start()
        yield server, ran
    finally:
        server.stop()


def test_the_real_file_gives_exactly_39_runs_by_39_events(migrated: tuple[Server, Ran]) -> None:
    """Nothing of it makes an event beside its run's."""
    server, ran = migrated
    nothing = {"unchanged": 0, "conflicts": 0, "failed": 0}
    assert counts(ran) == {"total": 39, "imported": 39, **nothing}
    assert ran.json["errors"] == []
    assert not ran.json["dry_run"]
    events = events_in(server.data_dir)
    assert [event["type"] for event in events] == ["rmos.run.imported.v1"] * 39
    assert {event["actor"] for event in events} == {"cli"}


def test_an_imported_event_holds_the_record_verbatim_and_what_had_to_be_derived(
    migrated: tuple[Server, Ran],
) -> None:
    """The run, the import's id, the record and the notes; the notes of all are the report's."""
    server, ran = migrated
    data = [event["data"] for event in events_in(server.data_dir)]
    assert all(set(one) == {"run", "import_id", "v1", "notes"} for one in data)
    assert {one["run"]["run_id"]: one["v1"] for one in data} == V1
    assert {one["import_id"] for one in data} == {ran.json["import_id"]}
    notes = [note for one in data for note in one["notes"]]
    assert all(set(note) == {"run_id", "field", "note"} for note in notes)
    assert notes == ran.json["notes"] != []


def test_a_server_serves_what_was_imported_with_hashes_that_verify(migrated: tuple[Server, Ran]) -> None:
    """GREEN 19, UNKNOWN 20, 15 block reasons, 19 scores."""
    server, _ = migrated
    runs = [server.run(run_id) for run_id in V1]
    decisions = [run["decision"] for run in runs]
    assert Counter(one["risk_level"] for one in decisions) == {"GREEN": 19, "UNKNOWN": 20}
    assert sum(one["block_reason"] is not None for one in decisions) == 15
    assert sum(one["score"] is not None for one in decisions) == 19
    assert all(sha256_json(run["feasibility"]) == run["hashes"]["feasibility_sha256"] for run in runs)
    assert sum(run["meta"].get("feasibility_missing", False) for run in runs) == 5


def test_the_projections_are_at_the_head_when_the_command_ends(tmp_path: Path) -> None:
    """No server is needed for the files to be there."""
    assert migrate(V1_FILE, tmp_path / "data", "--no-backup").code == 0
    assert len(list((tmp_path / "data" / "runs").rglob("run_*.json"))) == 39
    listed = runlog("projections", "list", "--data-dir", tmp_path / "data", "--json").json["projections"]
    assert {(one["position"], one["head"], one["state"]) for one in listed} == {(38, 38, "running")}


def test_doing_it_again_finds_all_unchanged_and_writes_no_event(tmp_path: Path) -> None:
    """The log is byte for byte what it was."""
    migrate(V1_FILE, tmp_path, "--no-backup")
    log = everything_under(tmp_path / "log")
    again = migrate(V1_FILE, tmp_path, "--no-backup")
    assert again.code == 0
    assert counts(again) == {"total": 39, "imported": 0, "unchanged": 39, "conflicts": 0, "failed": 0}
    assert everything_under(tmp_path / "log") == log


def test_an_interrupted_migration_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What the first part imported is unchanged, the rest is imported."""
    first = written(tmp_path, *list(V1.values())[:10])
    migrate(first, tmp_path / "data", "--no-backup")
    rest = migrate(V1_FILE, tmp_path / "data", "--no-backup")
    assert counts(rest) == {"total": 39, "imported": 29, "unchanged": 10, "conflicts": 0, "failed": 0}


def test_other_content_under_an_id_of_the_log_is_a_conflict(tmp_path: Path) -> None:
    """It is listed, nothing is written for it, and the others go on; the key order of a record is no content."""
    one, other = record("run_" + "0" * 16), record("run_" + "1" * 16)
    migrate(written(tmp_path, one), tmp_path / "data", "--no-backup")
    turned = dict(reversed(one.items()))
    assert counts(migrate(written(tmp_path, turned), tmp_path / "data", "--no-backup"))["unchanged"] == 1
    changed = written(tmp_path, {**one, "status": "ERROR"}, other)
    ran = migrate(changed, tmp_path / "data", "--no-backup")
    assert ran.code == 1
    assert counts(ran) == {"total": 2, "imported": 1, "unchanged": 0, "conflicts": 1, "failed": 0}
    assert [(error["run_id"], error["field"]) for error in ran.json["errors"]] == [(one["run_id"], "run_id")]
    assert len(events_in(tmp_path / "data")) == 2


def test_a_run_of_the_service_is_never_replaced_by_a_v1_record(own_server: Server) -> None:
    """Its id is a conflict."""
    run = own_server.create()
    own_server.stop()
    ran = migrate(written(own_server.folder, record(run["run_id"])), own_server.data_dir, "--no-backup")
    assert (ran.code, ran.json["conflicts"]) == (1, 1)
    assert len(events_in(own_server.data_dir)) == 1


def test_a_bad_record_costs_only_itself(tmp_path: Path) -> None:
    """Each is listed with its id, the field and the reason."""
    good, bad = record("run_" + "0" * 16), record("run_" + "1" * 16, status="MAYBE")
    path = written(tmp_path, bad, record("x"), good)
    ran = migrate(path, tmp_path / "data", "--no-backup")
    assert ran.code == 1
    assert counts(ran) == {"total": 3, "imported": 1, "unchanged": 0, "conflicts": 0, "failed": 2}
    assert [(error["run_id"], error["field"]) for error in ran.json["errors"]] == [
        (bad["run_id"], "status"),
        ("x", "run_id"),
    ]
    assert all(error["reason"] for error in ran.json["errors"])


def test_a_dry_run_creates_nothing_and_judges_as_the_real_run_does(tmp_path: Path) -> None:
    """On a data directory that is not there yet, and on one that has some of the records."""
    some = [*list(V1.values())[:3], record("run_" + "1" * 16, status="MAYBE")]
    path = written(tmp_path, *some)
    for _ in ("into nothing", "onto what is there"):
        before = everything_under(tmp_path)
        rehearsed = migrate(path, tmp_path / "data", "--dry-run")
        assert everything_under(tmp_path) == before
        assert (rehearsed.json["dry_run"], rehearsed.json["backup"]) == (True, None)
        real = migrate(path, tmp_path / "data", "--no-backup")
        assert rehearsed.code == real.code == 1
        same = ("total", "imported", "unchanged", "conflicts", "failed", "errors", "notes")
        assert {name: rehearsed.json[name] for name in same} == {name: real.json[name] for name in same}
        changed = {**some[0], "status": "ERROR"}
        path = written(tmp_path, changed, *some[1:], record("run_" + "2" * 16))


def test_a_dry_run_needs_no_lock_and_a_migration_beside_a_server_is_refused(own_server: Server) -> None:
    """Exit code 3, with the holder's pid, and no backup left behind."""
    folder = own_server.folder / "v1"
    folder.mkdir()
    path = written(folder, record("run_" + "0" * 16))
    assert migrate(path, own_server.data_dir, "--dry-run").json["imported"] == 1
    refused = migrate(path, own_server.data_dir)
    assert refused.code == 3
    assert f"rocess {own_server.pid} " in refused.err
    assert list(folder.iterdir()) == [path]


def test_a_dry_run_goes_through_no_server_and_says_so(tmp_path: Path) -> None:
    """It would judge by the data directory, and pretend to have asked the server."""
    path = written(tmp_path, record("run_" + "0" * 16))
    ran = migrate(path, tmp_path / "data", "--dry-run", "--url", "http://127.0.0.1:9")
    assert (ran.code, ran.out) == (2, "")
    assert "--data-dir" in ran.err


def test_the_backup_is_the_file_beside_it_under_a_name_of_its_own_each_time(tmp_path: Path) -> None:
    """Its SHA-256 and the time of its name, to the microsecond, are told."""
    path = shutil.copy(V1_FILE, tmp_path / "v1.json")
    backups = [migrate(path, tmp_path / "data").json["backup"] for _ in range(2)]
    assert len({backup["path"] for backup in backups}) == 2
    for backup in backups:
        kept = Path(backup["path"])
        assert kept.parent == tmp_path
        assert kept.read_bytes() == V1_FILE.read_bytes()
        assert backup["sha256"] == digest(V1_FILE.read_bytes())
        stamp = kept.name.removeprefix("v1.json.backup-")
        assert TIME.fullmatch(f"{stamp[:13]}:{stamp[13:15]}:{stamp[15:]}")


def test_no_backup_is_made_when_none_is_wanted(tmp_path: Path) -> None:
    """Neither with --no-backup nor for a dry run."""
    folder = tmp_path / "v1"
    folder.mkdir()
    path = written(folder, record("run_" + "0" * 16))
    assert migrate(path, tmp_path / "data", "--dry-run").json["backup"] is None
    assert migrate(path, tmp_path / "data", "--no-backup").json["backup"] is None
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b"[]", b"1"])
def test_a_file_that_is_missing_or_no_object_is_an_error_of_usage(tmp_path: Path, content: bytes | None) -> None:
    """Exit code 2, and nothing is made."""
    path = tmp_path / "v1.json"
    if content is not None:
        path.write_bytes(content)
    before = everything_under(tmp_path)
    for options in ((), ("--dry-run",)):
        assert migrate(path, tmp_path / "data", *options).code == 2
    assert everything_under(tmp_path) == before


def test_a_file_that_is_no_json_fails_and_says_where(tmp_path: Path) -> None:
    """Exit code 1, in the report's shape."""
    path = tmp_path / "v1.json"
    path.write_bytes(b'{"a": ')
    ran = migrate(path, tmp_path / "data")
    assert (ran.code, ran.json["total"]) == (1, 0)
    assert "from byte 6 on" in ran.json["errors"][0]["reason"]


def test_the_report_is_written_to_a_file_too_but_never_over_the_v1_file(tmp_path: Path) -> None:
    """Also that of a dry run, which is asked for by name."""
    path = written(tmp_path, record("run_" + "0" * 16))
    for options in (("--dry-run",), ("--no-backup",)):
        ran = migrate(path, tmp_path / "data", *options, "--report", tmp_path / "report.json")
        assert json.loads((tmp_path / "report.json").read_bytes()) == ran.json
    content = path.read_bytes()
    assert migrate(path, tmp_path / "data", "--report", path).code == 2
    assert path.read_bytes() == content


def test_a_person_is_told_what_is_done_what_failed_and_what_comes_next(tmp_path: Path) -> None:
    """No progress bar and no diagnostics get in between."""
    path = written(tmp_path, record("run_" + "0" * 16), record("run_" + "1" * 16, status="MAYBE"))
    ran = runlog("migrate", "--v1-path", path, "--data-dir", tmp_path / "data")
    told = ran.out.splitlines()
    assert told[0] == f"Importing {path} into {tmp_path / 'data'}."
    assert told[1].startswith(f"The v1 file is kept at {path}.backup-")
    assert told[2].startswith("2 records: 1 imported (")
    assert told[3].startswith("  run_1111111111111111: status: ")
    assert told[4].startswith("Next: ")
    assert (len(told), ran.err) == (5, "")


def test_a_projection_that_stopped_at_an_event_says_itself_what_to_do(tmp_path: Path) -> None:
    """A start of the server alone would not help, and is not promised; `projections list` knows of it."""
    path = written(tmp_path, record(run_id_of(0)))
    append(tmp_path / "data", [("run.renamed", run_id_of(1), {})])
    ran = migrate(path, tmp_path / "data", "--no-backup")
    assert (ran.code, ran.json["imported"]) == (1, 1)
    assert "not at the head" in ran.err
    assert "Update Runlog" in ran.err
    assert "brings them there" not in ran.err
    listed = runlog("projections", "list", "--json", "--data-dir", tmp_path / "data").json["projections"]
    assert {(one["state"], one["error"]["seq"]) for one in listed} == {("failed", 0)}


def test_more_records_than_are_in_flight_at_once_are_all_imported_in_order(tmp_path: Path) -> None:
    """And many of them share a commit."""
    runs = [record(f"run_{number:016x}", advisory_inputs=["a", "b"]) for number in range(1500)]
    ran = migrate(written(tmp_path, *runs), tmp_path / "data", "--no-backup")
    assert ran.json["imported"] == 1500
    events = events_in(tmp_path / "data")
    assert [e["subject"] for e in events if e["type"] == "rmos.run.imported.v1"] == [one["run_id"] for one in runs]
    assert len(events) == 4500
    segment = next((tmp_path / "data" / "log" / "segments").iterdir())
    assert len({json.loads(line)["first"] for line in segment.read_bytes().splitlines()}) < 50
