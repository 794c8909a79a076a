"""`runlog demo`: something to look at, the same for the same seed, and never in a log of somebody's."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Ran, events_in, everything_under, runlog
from tests.server import ROOT, Server

REAL = json.loads((ROOT / "tests" / "data" / "v1_runs.json").read_bytes())


def demo(folder: Path, *options: object) -> Ran:
    return runlog("demo", "--data-dir", folder, "--json", *options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    ran = demo(folder / "data", "--runs", 120, "--until", "2026-03-20")
    assert ran.code == 0, ran.err
    assert ran.json == {"data_dir": str(folder / "data"), "runs": 120, "imported": 105, "recorded": 15}
    return folder


@pytest.fixture(scope="module")
def served(made: Path) -> Any:
    server = Server(made)
    server.start()
    yield server
    server.stop()


def test_a_newcomer_finds_runs_of_every_kind_over_many_days(served: Server):
    runs = [served.run(item["run_id"]) for item in served.get("/runs?limit=200").json["items"]]
    assert len(runs) == 120
    assert len({run["created_at_utc"][:10] for run in runs}) > 7
    assert {run["status"] for run in runs} == {"OK", "BLOCKED", "ERROR"}
    assert {run["decision"]["risk_level"] for run in runs} >= {"GREEN", "YELLOW", "RED", "UNKNOWN"}
    assert all(run["decision"]["block_reason"] for run in runs if run["status"] == "BLOCKED")
    assert any(run["attachments"] for run in runs)
    assert any(run["advisory_inputs"] for run in runs)
    assert {run["explanation_status"] for run in runs} == {"NONE", "PENDING", "READY"}


def test_the_shapes_are_those_of_the_real_records(made: Path):
    records = json.loads((made / "data" / "runs.json").read_bytes())
    assert set().union(*records.values()) <= set().union(*REAL.values())
    real = {record["event_type"] for record in REAL.values()}
    assert real <= {record["event_type"] for record in records.values()}
    safety = set().union(*(record["feasibility"]["safety"] for record in REAL.values() if record["feasibility"]))
    assert all(record["feasibility"]["safety"].keys() == safety for record in records.values())


def test_a_blocked_plan_and_the_one_after_it_can_be_compared(served: Server):
    items = served.get("/runs?limit=200").json["items"]
    by_id = {item["run_id"]: item for item in items}
    pairs = [
        (item["context"]["parent_run_id"], item["run_id"])
        for item in items
        if by_id.get(item["context"].get("parent_run_id"), {}).get("status") == "BLOCKED"
    ]
    assert pairs
    found = served.get("/runs/diff", query={"a": pairs[0][0], "b": pairs[0][1]}).json
    assert {"status", "decision.risk_level"} <= {one["field"] for one in found["differences"]}


def test_what_was_imported_can_be_verified_and_every_attachment_is_there(served: Server):
    items = served.get("/runs?limit=200&view=full").json["items"]
    for run in [run for run in items if run["attachments"]][:5]:
        assert served.get(f"/runs/{run['run_id']}/attachments/verify").json["all_valid"]
    assert Counter("v1" in run["meta"] for run in items)[True] == 105


def test_the_same_seed_makes_the_same_runs_and_another_one_others(tmp_path: Path, made: Path):
    def stories(folder: Path) -> list[str]:
        recorded = [event for event in events_in(folder) if event["type"] == "rmos.run.created.v1"]
        return [event["data"]["run"]["run_id"] for event in recorded]

    for name, seed in (("again", 1), ("other", 2)):
        assert demo(tmp_path / name, "--runs", 120, "--until", "2026-03-20", "--seed", seed).code == 0
    mine, again, other = (path / "runs.json" for path in (made / "data", tmp_path / "again", tmp_path / "other"))
    assert mine.read_bytes() == again.read_bytes() != other.read_bytes()
    assert stories(made / "data") == stories(tmp_path / "again") != stories(tmp_path / "other")


def test_a_folder_that_holds_anything_is_left_alone(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("here")
    before = everything_under(tmp_path)
    for target in ("data", "data/mine"):
        ran = demo(tmp_path / target)
        assert ran.code == 3
        assert "is not empty" in ran.err
    assert everything_under(tmp_path) == before


@pytest.mark.parametrize("until", ["0001-01-01", "0001-01-13"])
def test_days_before_the_first_of_the_calendar_are_an_error_of_usage_and_nothing_is_made(tmp_path: Path, until: str):
    ran = demo(tmp_path / "data", "--until", until)
    assert ran.code == 2
    assert "Name 0001-01-14 or a later day." in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("until", ["0001-01-14", "9999-12-31"])
def test_the_first_and_the_last_days_of_the_calendar_can_be_had(tmp_path: Path, until: str):
    ran = demo(tmp_path / "data", "--runs", 40, "--until", until)
    assert (ran.code, ran.json["imported"]) == (0, 35), ran.err


def test_the_folders_of_a_real_log_are_not_taken_from_the_environment(tmp_path: Path):
    real = tmp_path / "real"
    ran = runlog(
        "demo", "--data-dir", tmp_path / "demo", "--runs", 3, RMOS_RUNS_DIR=str(real), RUNLOG_DATA_DIR=str(real)
    )
    assert ran.code == 0, ran.err
    assert "runlog serve --data-dir" in ran.out
    assert not real.exists()
