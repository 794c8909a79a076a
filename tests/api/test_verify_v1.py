"""`runlog verify` and `status`: told by ids and content, field by field, and without a trace."""

import asyncio
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.cli.inspection import next_steps
from eventlog.batch import Stream
from eventlog.event import Origin
from eventlog.log import Log
from tests.commands import V1_FILE, Ran, everything_under, migrate, record, runlog, written
from tests.server import FILES, Server

V1 = json.loads(V1_FILE.read_bytes())
ONE, TWO, THREE = (f"run_{digit * 16}" for digit in "012")
BLOB = "079a3f9b4a549997874e06798233ced96fee7cf8902ace429ad9872a61b581ea"


def verify(path: Path, data_dir: Path) -> Ran:
    """Verify the v1 file at *path*."""
    return runlog("verify", "--v1-path", path, "--data-dir", data_dir, "--json")


def status(path: Path, data_dir: Path) -> str:
    ran = runlog("status", "--v1-path", path, "--data-dir", data_dir, "--json")
    assert set(ran.json) == {"status", "v1", "imported", "missing", "withdrawn"}
    return str(ran.json["status"])


def test_the_real_file_is_the_same_here_and_looking_leaves_no_trace(tmp_path: Path) -> None:
    migrate(V1_FILE, tmp_path / "data", "--no-backup")
    before = everything_under(tmp_path)
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    for folder in folders:  # a file that is made and removed again shows there: nobody may be able to make one
        os.utime(folder, (0, 0))
    ran = verify(V1_FILE, tmp_path / "data")
    assert (ran.code, ran.json) == (0, {"total": 39, "same": 39, "missing": [], "different": [], "tampered": []})
    assert status(V1_FILE, tmp_path / "data") == "MIGRATED"
    for command in (("check", "files"), ("list",)):
        assert runlog("projections", *command, "--data-dir", tmp_path / "data").code == 0
    assert migrate(V1_FILE, tmp_path / "data", "--dry-run").code == 0
    assert everything_under(tmp_path) == before
    assert {folder.stat().st_mtime for folder in folders} == {0}


def test_without_a_log_all_is_missing_and_no_folder_is_made(tmp_path: Path) -> None:
    ran = verify(V1_FILE, tmp_path / "data")
    assert (ran.code, ran.json["missing"]) == (1, list(V1))
    assert status(V1_FILE, tmp_path / "data") == "V1_ONLY"
    assert status(tmp_path / "no.json", tmp_path / "data") == "EMPTY"
    assert verify(tmp_path / "no.json", tmp_path / "data").code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "ERROR"}, "status"),
        ({"feasibility": {"a": {"b": 1.0}}}, "feasibility.a.b"),
        ({"notes": "other"}, "meta.v1.notes"),
        ({"explanation_status": "PENDING"}, "explanation_status"),
        ({"advisory_inputs": ["b"]}, "advisory_inputs"),
        ({"created_at_utc": "2026-01-05T05:07:17Z"}, "created_at_utc"),
        ({"tool_id": "other"}, "tool_id"),
    ],
)
def test_every_field_that_differs_is_named(tmp_path: Path, change: dict[str, object], field: str) -> None:
    original = record(ONE, feasibility={"a": {"b": 1}}, notes="v1", advisory_inputs=["a"])
    migrate(written(tmp_path, original, record(TWO)), tmp_path / "data", "--no-backup")
    ran = verify(written(tmp_path, original | change, record(TWO), record(THREE)), tmp_path / "data")
    assert (ran.code, ran.json["total"], ran.json["same"], ran.json["missing"]) == (1, 3, 1, [THREE])
    assert all(set(one) == {"run_id", "field", "v1", "here"} for one in ran.json["different"])
    assert {one["run_id"] for one in ran.json["different"]} == {ONE}
    assert field in {one["field"] for one in ran.json["different"]}
    assert status(tmp_path / "v1.json", tmp_path / "data") == "PARTIAL"


def test_one_bad_record_does_not_stop_it(tmp_path: Path) -> None:
    path = written(tmp_path, record(ONE), record("x"), record(TWO, status="MAYBE"), record(THREE))
    migrate(path, tmp_path / "data", "--no-backup")
    ran = verify(path, tmp_path / "data")
    assert (ran.code, ran.json["same"], ran.json["missing"]) == (1, 2, ["x", TWO])


def test_a_file_that_was_changed_removed_or_put_there_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, record(ONE), record(TWO))
    migrate(path, tmp_path / "data", "--no-backup")
    day = tmp_path / "data" / "runs" / "2026-01-05"
    (day / f"{ONE}.json").chmod(0o644)
    (day / f"{ONE}.json").write_text("{}")
    (day / f"{TWO}.json").unlink()
    (day / "stranger.json").write_text("{}")
    ran = verify(path, tmp_path / "data")
    assert (ran.code, ran.json["same"]) == (1, 2)
    assert sorted(ran.json["tampered"]) == [f"2026-01-05/{name}.json" for name in (ONE, TWO, "stranger")]


def test_a_changed_event_and_a_changed_blob_are_named_and_the_rest_is_compared(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    shutil.copytree(FILES, blobs)
    runs = [record(ONE), record(TWO, attachments=[{"sha256": BLOB}]), record(THREE)]
    path = written(tmp_path, *runs)
    migrate(path, tmp_path / "data", "--no-backup", "--v1-attachments", blobs)
    blob = tmp_path / "data" / "attachments" / BLOB[:2] / BLOB[2:4] / BLOB
    blob.chmod(0o644)
    blob.write_bytes(b"other")
    (segment,) = (tmp_path / "data" / "log" / "segments").iterdir()
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes().replace(b'"status":"OK"', b'"status":"NO"', 1))
    ran = verify(path, tmp_path / "data")
    assert (ran.code, ran.json["total"], ran.json["same"]) == (1, 3, 2)
    assert ran.json["missing"] == [ONE]
    assert ran.json["tampered"][0] == f"attachments/{BLOB[:2]}/{BLOB[2:4]}/{BLOB}"
    assert f"log/segments/{segment.name}, byte 0" in ran.json["tampered"][1]


@pytest.mark.parametrize(
    ("tampered", "told"),
    [
        ([], []),
        (["2026-01-05/x.json"], ["rebuild files"]),
        (["attachments/ab/cd/x", "attachments/ab/cd/y"], ["upload the same bytes"]),
        (["2026-01-05/x.json", "log/segments/x.jsonl, byte 0: y"], ["log verify", "rebuild files"]),
        (["log: an event does not say which dated file it gives"], ["log verify"]),
    ],
)
def test_what_mends_each_kind_of_damage_is_told_and_nothing_else(tampered: list[str], told: list[str]) -> None:
    steps = next_steps(tampered, any_missing=False)
    assert [words in step for words, step in zip(told, steps, strict=True)] == [True] * len(told)
    imports = [] if "log verify" in told else ["imports what is missing"]  # a damaged log takes no import
    steps = next_steps(tampered, any_missing=True)
    assert [words in step for words, step in zip(imports + told, steps, strict=True)] == [True] * len(steps)


def test_where_the_log_is_damaged_the_migration_stands_nowhere_for_sure(tmp_path: Path) -> None:
    path, data = written(tmp_path, record(ONE), record(TWO)), tmp_path / "data"
    migrate(path, data, "--no-backup")
    (segment,) = (data / "log" / "segments").iterdir()
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes().replace(b'"status":"OK"', b'"status":"NO"', 1))
    for options in ((), ("--json",)):
        ran = runlog("status", "--v1-path", path, "--data-dir", data, *options)
        assert ran.code == 1
        assert f"log/segments/{segment.name}, byte 0" in ran.err
        assert "runlog log verify" in ran.err
        assert "PARTIAL" in ran.out
        assert "runlog migrate" not in ran.out + ran.err


def test_a_log_without_any_segment_is_told_as_one_and_no_file_without_a_name(tmp_path: Path) -> None:
    path, data = written(tmp_path, record(ONE), record(TWO)), tmp_path / "data"
    migrate(path, data, "--no-backup")
    shutil.rmtree(data / "log" / "segments")
    place = "log/segments, where no segment is left: the log ends here, and its checkpoint is signed for 2 events"
    (tampered,) = verify(path, data).json["tampered"]
    assert tampered == place
    ran = runlog("status", "--v1-path", path, "--data-dir", data)
    assert ran.code == 1
    assert f"{place}. `runlog log verify` shows how far" in ran.err
    assert "that segment" not in ran.err


def test_equal_numbers_of_unrelated_runs_are_no_migration(own_server: Server) -> None:
    path = written(own_server.folder, record(ONE))
    assert status(path, own_server.data_dir) == "V1_ONLY"
    own_server.create()
    assert status(path, own_server.data_dir) == "V1_ONLY"
    assert status(own_server.folder / "no.json", own_server.data_dir) == "LOG_ONLY"
    told = runlog("status", "--v1-path", own_server.folder / "no.json", "--data-dir", own_server.data_dir).out
    assert "0 imported runs in the log" in told  # not "0 records, of which …"
    assert verify(path, own_server.data_dir).json["missing"] == [ONE]


def changed_catalog(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / "catalog.sqlite")) as db, db:
        db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "field"),
    [
        ("DELETE FROM run WHERE run_id = '{}'", "$"),
        ("UPDATE run SET offset = offset + 1 WHERE run_id = '{}'", "$"),
        ("UPDATE run SET run_start = 0 WHERE run_id = '{}'", "$"),
        ("UPDATE run SET tool_id = 'other' WHERE run_id = '{}'", "index.tool_id"),
        ("UPDATE run SET material_id = 'other' WHERE run_id = '{}'", "index.context.material_id"),
        ("UPDATE run SET withdrawn = 1 WHERE run_id = '{}'", "index"),
        ("UPDATE run SET state = CAST(replace(state, 'why', 'not') AS BLOB)", "explanation_summary"),
        ("UPDATE run SET state = 'x' WHERE run_id = '{}'", "$"),
    ],
)
def test_a_row_of_the_catalog_that_is_not_what_the_log_gives_is_named(
    tmp_path: Path, statement: str, field: str
) -> None:
    path = written(tmp_path, record(ONE, explanation_status="READY", explanation_summary="why"), record(TWO))
    migrate(path, tmp_path / "data", "--no-backup")
    changed_catalog(tmp_path / "data", statement.format(ONE))
    ran = verify(path, tmp_path / "data")
    assert (ran.code, ran.json["same"], ran.json["missing"]) == (1, 1, []), ran.err
    assert [(one["run_id"], one["field"]) for one in ran.json["different"]] == [(ONE, field)]


def test_without_a_catalog_at_the_head_the_log_decides_and_it_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, record(ONE))
    migrate(path, tmp_path / "data", "--no-backup")
    changed_catalog(tmp_path / "data", "UPDATE run SET tool_id = 'other'")
    changed_catalog(tmp_path / "data", "UPDATE saved SET next_seq = 0")
    ran = runlog("verify", "--v1-path", path, "--data-dir", tmp_path / "data")
    assert ran.code == 0, ran.err
    assert "not at the head" in ran.out


def appended(data_dir: Path, kind: str, run_id: str, data: dict[str, Any]) -> None:
    async def append() -> None:
        log, origin = Log.open(data_dir), Origin("test")
        try:
            await log.append(
                [log.draft(kind, run_id, data, origin)],
                Stream.PRESENT if log.has_stream(run_id) else Stream.ABSENT,
                origin,
            )
        finally:
            await log.close()

    asyncio.run(append())


@pytest.mark.parametrize(
    ("kind", "run_id"),
    [
        ("rmos.run.created.v2", THREE),
        ("rmos.advisory.attached.v2", ONE),
        ("rmos.advisory.attached.v1", ONE),
    ],
)
def test_an_event_that_is_not_understood_is_one_difference_and_replay_names_it(
    tmp_path: Path, kind: str, run_id: str
) -> None:
    path, data = written(tmp_path, record(ONE), record(TWO)), tmp_path / "data"
    migrate(path, data, "--no-backup")
    appended(data, kind, run_id, {"a": 1})
    ran = verify(path, data)
    assert (ran.code, ran.json["total"], ran.json["missing"]) == (1, 2, []), ran.err
    assert [(one["run_id"], one["field"]) for one in ran.json["different"]] == [(run_id, "$")]
    assert (f"Event 2 is of type '{kind}'" in ran.json["different"][0]["here"]) is True
    assert ran.json["same"] == (2 if run_id == THREE else 1)
    replayed = runlog("log", "replay", "--data-dir", data)
    assert (replayed.code, f"Event 2 is of type '{kind}'" in replayed.err) == (3, True)
    assert runlog("log", "replay", "--data-dir", data, "--run", TWO).code == 0


def test_a_text_that_ends_too_early_is_judged_as_far_as_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path, record(ONE), record(TWO))
    migrate(path, tmp_path / "data", "--no-backup")
    path.write_bytes(path.read_bytes()[:-20])
    end = f"from byte {path.stat().st_size} on"
    ran = verify(path, tmp_path / "data")
    assert (ran.code, ran.json["same"]) == (1, 1)
    (different,) = ran.json["different"]
    assert end in different["v1"]
    judged = runlog("status", "--v1-path", path, "--data-dir", tmp_path / "data", "--json")
    assert (judged.code, judged.json["v1"], judged.json["imported"]) == (1, 1, 1)
    assert end in judged.err


def test_a_blob_that_many_runs_share_is_told_of_once(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    shutil.copytree(FILES, blobs)
    path = written(tmp_path, *(record(each, attachments=[{"sha256": BLOB}]) for each in (ONE, TWO, THREE)))
    migrate(path, tmp_path / "data", "--no-backup", "--v1-attachments", blobs)
    (tmp_path / "data" / "attachments" / BLOB[:2] / BLOB[2:4] / BLOB).unlink()
    assert verify(path, tmp_path / "data").json["tampered"] == [f"attachments/{BLOB[:2]}/{BLOB[2:4]}/{BLOB}"]
