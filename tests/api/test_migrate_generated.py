"""Whatever a v1 store holds: rehearsal and import say the same, and what was imported verifies field by field."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands import events_in, migrate, record, runlog
from tests.server import JSON, TEXT

GATE_WORDS = {
    **dict.fromkeys(["GO", "ALLOWED", "allowed"], "GREEN"),
    **dict.fromkeys(["CONDITIONAL", "OVERRIDDEN"], "YELLOW"),
    **dict.fromkeys(["NO_GO", "BLOCKED"], "RED"),
    "PERHAPS": "UNKNOWN",
}
TIMES = {
    "2026-01-05T23:30:00-05:00": "2026-01-06T04:30:00.000000Z",
    "2026-01-06T00:30:00+05:30": "2026-01-05T19:00:00.000000Z",
    "2026-01-05T05:07:16": "2026-01-05T05:07:16.000000Z",
    "2024-02-29T23:59:59.9999999Z": "2024-02-29T23:59:59.999999Z",
}
SAME = ("total", "imported", "unchanged", "conflicts", "failed", "errors", "notes")


def run_id(number: int) -> str:
    return f"run_{number:016x}"


def stored(folder: Path, records: dict[str, Any]) -> Path:
    path = folder / "v1.json"
    path.write_text(json.dumps(records, ensure_ascii=False), "utf-8")
    return path


def agreed(path: Path, data_dir: Path) -> dict[str, Any]:
    """Rehearse, migrate and verify; all must agree. Return the report."""
    rehearsed = migrate(path, data_dir, "--dry-run")
    ran = migrate(path, data_dir, "--no-backup")
    assert {name: ran.json[name] for name in SAME} == {name: rehearsed.json[name] for name in SAME}
    compared = runlog("verify", "--v1-path", path, "--data-dir", data_dir, "--json").json
    assert (compared["total"], compared["same"]) == (ran.json["total"], ran.json["imported"])
    assert (compared["different"], compared["tampered"]) == ([], [])
    report: dict[str, Any] = ran.json
    return report


def runs_in(data_dir: Path) -> dict[str, dict[str, Any]]:
    imported = (one["data"]["run"] for one in events_in(data_dir) if one["type"] == "rmos.run.imported.v1")
    return {run["run_id"]: run for run in imported}


def test_every_gate_word_has_its_level_and_every_time_its_day(tmp_path: Path) -> None:
    gates = {run_id(i): record(run_id(i), gate_decision=word) for i, word in enumerate(GATE_WORDS)}
    times = {run_id(99 + i): record(run_id(99 + i), created_at_utc=time) for i, time in enumerate(TIMES)}
    report = agreed(stored(tmp_path, gates | times), tmp_path / "data")
    assert report["failed"] == 0
    runs = runs_in(tmp_path / "data")
    assert [runs[one]["decision"]["risk_level"] for one in gates] == list(GATE_WORDS.values())
    assert [runs[one]["created_at_utc"] for one in times] == list(TIMES.values())
    for one in times:
        assert (tmp_path / "data" / "runs" / runs[one]["created_at_utc"][:10] / f"{one}.json").is_file()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "DONE"}, "status"),
        ({"status": None}, "status"),
        ({"created_at_utc": "yesterday"}, "created_at_utc"),
        ({"created_at_utc": None}, "created_at_utc"),
        ({"run_id": run_id(7)}, "run_id"),
    ],
)
def test_what_cannot_be_known_is_an_error_of_its_record_alone(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    report = agreed(stored(tmp_path, {run_id(0): record(run_id(0)) | change, run_id(1): record(run_id(1))}), tmp_path)
    assert [(one["run_id"], one["field"]) for one in report["errors"]] == [(run_id(0), field)]
    assert report["imported"] == 1


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["OK", "ok", "BLOCKED", "ERROR", "FAILED", "DONE", None]),
        "mode": TEXT | st.none(),
        "workflow_mode": TEXT,
        "tool_id": TEXT | st.integers(),
        "gate_decision": st.sampled_from(list(GATE_WORDS)) | TEXT,
        "feasibility": st.none()
        | JSON
        | st.fixed_dictionaries(
            {"safety": st.dictionaries(st.sampled_from(["risk_level", "score", "warnings"]), JSON)}
        ),
        "request_summary": st.dictionaries(TEXT | st.just("feasibility"), JSON, max_size=3) | JSON,
        "decision": st.none() | st.dictionaries(st.sampled_from(["risk_level", "score", "details", "x"]), JSON),
        "outputs": st.none() | st.dictionaries(st.sampled_from(["gcode_text", "opplan_json", "y"]), JSON),
        "advisory_inputs": st.none()
        | st.lists(TEXT | st.fixed_dictionaries({"advisory_id": TEXT, "kind": TEXT}) | JSON),
        "explanation_status": st.sampled_from(["NONE", "READY", "pending", "FOO", None]),
        "explanation_summary": TEXT | st.none(),
        "attachments": st.none() | st.lists(st.just("ab" * 32) | JSON),
        "meta": st.none() | st.dictionaries(TEXT | st.just("v1"), JSON, max_size=3) | JSON,
        "request_hash": TEXT,
    },
)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FIELDS, min_size=10, max_size=20))
def test_any_store_is_imported_as_it_was_rehearsed_and_verifies(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    agreed(stored(folder, {run_id(i): record(run_id(i)) | one for i, one in enumerate(drawn)}), folder / "data")
