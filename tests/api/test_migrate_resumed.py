"""An import that was interrupted goes on under its id; its record is there before its first event."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.commands import events_in, migrate, record, runlog, written
from tests.server import ROOT, clean_environment, digest, until

COUNT = 6_000


def records_in(data_dir: Path) -> list[dict[str, Any]]:
    """The import records."""
    return [json.loads(path.read_bytes()) for path in sorted((data_dir / "imports").glob("*.json"))]


def log_bytes(data_dir: Path) -> int:
    return sum(path.stat().st_size for path in (data_dir / "log" / "segments").glob("*.jsonl"))


def killed_half_way(path: Path, data_dir: Path, signal_number: int = signal.SIGKILL, *options: object) -> int:
    """Migrate, and end it when some of it is in the log; return the exit code."""
    command = [sys.executable, "-m", "api.cli.__main__", "migrate", "--v1-path", path, "--data-dir", data_dir]
    command += ["--batch-size", "200", *options]
    before = log_bytes(data_dir)
    child = subprocess.Popen(
        [*map(str, command)], cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: log_bytes(data_dir) > before + 500_000, "it has begun", 30)
    child.send_signal(signal_number)
    _, told = child.communicate(timeout=30)
    assert b"Traceback" not in told
    return child.returncode


def test_an_import_that_was_killed_goes_on_and_is_one_import(tmp_path: Path) -> None:
    path = written(tmp_path, *(record(f"run_{n:016x}", advisory_inputs=["a"]) for n in range(COUNT)))
    data = tmp_path / "data"
    killed_half_way(path, data)
    (begun,) = records_in(data)
    assert (begun["state"], begun["v1_sha256"]) == ("running", digest(path.read_bytes()))
    assert begun["backup"]["sha256"] == begun["v1_sha256"] == digest(Path(begun["backup"]["path"]).read_bytes())
    compared = runlog("verify", "--v1-path", path, "--data-dir", data, "--json")
    assert (compared.code, compared.json["tampered"]) == (1, []), "what nobody wrote yet is not tampered with"
    assert killed_half_way(path, data, signal.SIGTERM, "--report", tmp_path / "report.json") == 130
    told = json.loads((tmp_path / "report.json").read_bytes())
    assert (told["import_id"], told["backup"]) == (begun["import_id"], begun["backup"])
    assert 0 < told["total"] < COUNT
    assert killed_half_way(path, data, signal.SIGINT) == 130
    ran = migrate(path, data)
    assert (ran.code, ran.json["import_id"], ran.json["backup"]) == (0, begun["import_id"], begun["backup"])
    assert ran.json["imported"] + ran.json["unchanged"] == COUNT
    assert 0 < ran.json["imported"] < COUNT
    events = events_in(data)
    assert [one["type"] for one in events] == ["rmos.run.imported.v1", "rmos.advisory.attached.v1"] * COUNT
    assert {one["data"].get("import_id", begun["import_id"]) for one in events} == {begun["import_id"]}
    (done,) = records_in(data)
    assert (done["state"], done["counts"]["imported"], done["counts"]["unchanged"]) == ("done", COUNT, 0)
    assert len(list(tmp_path.glob("v1.json.backup-*"))) == 1
    back = runlog(
        "rollback", "--backup", begun["backup"]["path"], "--v1-path", path, "--data-dir", data, "--yes", "--json"
    )
    assert (back.code, back.json["withdrawn"]) == (0, COUNT), back.err


def test_a_new_file_is_a_new_import_though_another_was_interrupted(tmp_path: Path) -> None:
    path = written(tmp_path, *(record(f"run_{n:016x}") for n in range(COUNT)))
    killed_half_way(path, tmp_path / "data")
    path = written(tmp_path, *(record(f"run_{n:016x}") for n in range(COUNT + 1)))
    ran = migrate(path, tmp_path / "data", "--batch-size", 1_000_000)
    assert ran.code == 0, ran.err
    first, second = records_in(tmp_path / "data")
    assert (first["state"], second["state"]) == ("running", "done")
    assert second["import_id"] == ran.json["import_id"] != first["import_id"]


def test_a_backup_that_was_lost_meanwhile_is_made_again(tmp_path: Path) -> None:
    path = written(tmp_path, *(record(f"run_{n:016x}") for n in range(COUNT)))
    killed_half_way(path, tmp_path / "data")
    (begun,) = records_in(tmp_path / "data")
    Path(begun["backup"]["path"]).unlink()
    ran = migrate(path, tmp_path / "data")
    (done,) = records_in(tmp_path / "data")
    assert ran.json["backup"] == done["backup"] != begun["backup"]
    assert Path(done["backup"]["path"]).read_bytes() == path.read_bytes()


def test_a_text_with_a_fault_keeps_what_was_before_it_and_says_at_which_byte(tmp_path: Path) -> None:
    path = written(tmp_path, record("run_" + "0" * 16), record("run_" + "1" * 16))
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    dry, ran = (migrate(path, tmp_path / "data", *options) for options in (("--dry-run",), ()))
    for each in (dry, ran):
        assert (each.code, each.json["total"], each.json["imported"]) == (1, 1, 1)
        assert f"{path} cannot be read from byte {len(content) - 20} on" in each.json["errors"][0]["reason"]
    assert dry.json["errors"] == ran.json["errors"]
    assert len(events_in(tmp_path / "data")) == 1
    assert [one["state"] for one in records_in(tmp_path / "data")] == ["stopped"]


def test_a_key_that_comes_twice_is_judged_like_a_record_that_comes_again(tmp_path: Path) -> None:
    one = json.dumps(record("run_" + "0" * 16))
    other = json.dumps(record("run_" + "0" * 16, status="ERROR"))
    path = tmp_path / "v1.json"
    path.write_text("{" + ",".join(f'"run_0000000000000000": {text}' for text in (one, one, other)) + "}")
    for options in (("--dry-run",), ()):
        ran = migrate(path, tmp_path / "data", "--no-backup", *options)
        counts = [ran.json[name] for name in ("total", "imported", "unchanged", "conflicts", "failed")]
        assert (ran.code, counts) == (1, [3, 1, 1, 1, 0])
    (done,) = records_in(tmp_path / "data")
    assert list(done["counts"].values()) == counts


def test_what_an_import_brought_before_it_was_interrupted_is_counted_once_for_each_run(tmp_path: Path) -> None:
    one = f'"run_0000000000000000": {json.dumps(record("run_" + "0" * 16))}'
    path, data = tmp_path / "v1.json", tmp_path / "data"
    path.write_text(f'{{{one}, {one}, "run_1111111111111111": {json.dumps(record("run_" + "1" * 16))}}}')
    import_id = migrate(path, data, "--no-backup").json["import_id"]
    place = data / "imports" / f"{import_id}.json"
    place.write_text(place.read_text().replace('"done"', '"running"'))  # it ended before it could say that it was done
    ran = migrate(path, data, "--no-backup")
    assert (ran.json["import_id"], ran.json["imported"], ran.json["unchanged"]) == (import_id, 0, 3)
    (done,) = records_in(data)
    assert done["counts"] == {"total": 3, "imported": 2, "unchanged": 1, "conflicts": 0, "failed": 0}


def test_records_that_are_no_strict_json_and_very_large_ones_stand_alone(tmp_path: Path) -> None:
    large = json.dumps(record("run_" + "0" * 16, notes="ü" * 5_000_000), ensure_ascii=False)
    texts = {
        "run_" + "0" * 16: large,
        "run_" + "1" * 16: '{"created_at_utc": "2026-01-05T05:07:16Z", "status": "OK", "x": NaN}',
        "run_" + "2" * 16: '{"status": "OK", "status": "OK", "created_at_utc": "2026-01-05T05:07:16Z"}',
        "run_" + "3" * 16: '{"x": "\\ud800"}',
        "run_" + "4" * 16: '{"x" 1}',
        "run_" + "5" * 16: "[" * 70 + "]" * 70,
        "run_" + "6" * 16: json.dumps(record("run_" + "6" * 16, n=10**25)),
        "run_" + "7" * 16: '"' + "x" * (32 << 20) + '"',
    }
    path = tmp_path / "v1.json"
    path.write_text("{" + ",".join(f'"{key}": {text}' for key, text in texts.items()) + "}")
    for options in (("--dry-run",), ()):
        ran = migrate(path, tmp_path / "data", "--no-backup", *options)
        assert (ran.code, ran.json["imported"], ran.json["failed"]) == (1, 2, 6)
        assert [error["run_id"][-1] for error in ran.json["errors"]] == ["1", "2", "3", "4", "5", "7"]
    kept = [event["data"]["v1"] for event in events_in(tmp_path / "data")]
    assert kept == [json.loads(large), record("run_" + "6" * 16, n=10**25)]
