"""GET /runs/diff: what differs between two runs, and how much it matters."""

from typing import Any

import pytest

from tests.server import NOBODY, Server, faults, refused, words

KEYS = set(words("severity run_a run_b summary differences difference_count hashes items counts truncated diffs"))


def diff(server: Server, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Create two runs and return their diff, checked for form."""
    run_a, run_b = server.create(**a)["run_id"], server.create(**b)["run_id"]
    return diff_of(server, run_a, run_b)


def diff_of(server: Server, run_a: str, run_b: str) -> dict[str, Any]:
    answer = server.get("/runs/diff", query={"a": run_a, "b": run_b})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    assert set(found) == KEYS
    assert (found["run_a"], found["run_b"]) == (run_a, run_b)
    assert found["difference_count"] == len(found["differences"])
    assert [entry["key"] for entry in found["hashes"]] == [
        "feasibility_sha256",
        "toolpaths_sha256",
        "gcode_sha256",
        "opplan_sha256",
    ]
    assert all(entry["match"] == (entry["a"] == entry["b"]) for entry in found["hashes"])
    return found


def test_two_equal_runs_are_identical(server: Server) -> None:
    found = diff(server, {}, {})
    assert (found["severity"], found["summary"]) == ("INFO", "Runs are identical")
    assert (found["differences"], found["items"], found["truncated"]) == ([], [], False)
    assert found["counts"] == {"added": 0, "removed": 0, "changed": 0}


def test_a_run_compared_with_itself_is_identical_with_a_note(server: Server) -> None:
    run_id = server.create()["run_id"]
    found = diff_of(server, run_id, run_id)
    assert (found["severity"], found["summary"], found["difference_count"]) == ("INFO", "Runs are identical", 1)
    (entry,) = found["differences"]
    assert (entry["field"], entry["severity"], bool(entry["note"])) == ("run_id", "INFO", True)


ONE = [
    ("status", {"status": "OK"}, {"status": "BLOCKED"}, "WARNING"),
    ("status", {"status": "OK"}, {"status": "ERROR"}, "CRITICAL"),
    ("status", {"status": "ERROR"}, {"status": "BLOCKED"}, "CRITICAL"),
    ("decision.risk_level", {"risk_level": "GREEN"}, {"risk_level": "YELLOW"}, "WARNING"),
    ("decision.risk_level", {"risk_level": "RED"}, {"risk_level": "YELLOW"}, "CRITICAL"),
    ("decision.risk_level", {"risk_level": "ERROR"}, {"risk_level": "RED"}, "CRITICAL"),
    ("decision.score", {"score": 50}, {"score": 50.02}, "INFO"),
    ("decision.score", {"score": 55}, {"score": 50}, "INFO"),
    ("decision.score", {"score": 0.1}, {"score": 5.1}, "INFO"),
    ("decision.score", {"score": 50}, {"score": 55.01}, "WARNING"),
    ("decision.score", {"score": None}, {"score": 0}, "INFO"),
    ("hashes.feasibility_sha256", {"feasibility": {"a": 1}}, {"feasibility": {"a": 1.0}}, "CRITICAL"),
    ("hashes.toolpaths_sha256", {"toolpaths": 1}, {"toolpaths": 2}, "WARNING"),
    ("hashes.gcode_sha256", {"outputs": {"gcode_text": "G0"}}, {}, "WARNING"),
    ("hashes.opplan_sha256", {}, {"outputs": {"opplan_json": 1}}, "WARNING"),
    ("decision.block_reason", {"block_reason": "a"}, {}, "WARNING"),
    ("tool_id", {"tool_id": "a"}, {"tool_id": "b"}, "INFO"),
    ("mode", {"mode": "a"}, {"mode": "b"}, "INFO"),
    ("context.engine_version", {"context": {"engine_version": "1"}}, {"context": {"engine_version": "2"}}, "INFO"),
    ("context.config_fingerprint", {}, {"context": {"config_fingerprint": "f"}}, "INFO"),
]


@pytest.mark.parametrize(("field", "a", "b", "severity"), ONE, ids=[f"{n}-{row[0]}" for n, row in enumerate(ONE)])
def test_one_difference_has_the_severity_of_its_field(
    server: Server, field: str, a: dict[str, Any], b: dict[str, Any], severity: str
) -> None:
    found = diff(server, a, b)
    (entry,) = found["differences"]
    assert (entry["field"], entry["severity"], found["severity"]) == (field, severity, severity)
    counts = (
        f"{int(severity == 'CRITICAL')} critical, {int(severity == 'WARNING')} warnings, {int(severity == 'INFO')} info"
    )
    assert found["summary"] == f"[{severity}] 1 differences: {counts}"


@pytest.mark.parametrize(("a", "b"), [(50, 50.01), (50.01, 50), (50, 50.0), (0.3, 0.31)])
def test_a_drift_of_a_hundredth_is_none(server: Server, a: float, b: float) -> None:
    """What binary fractions add is rounded away."""
    assert diff(server, {"score": a}, {"score": b})["differences"] == []


def test_a_drift_says_how_far(server: Server) -> None:
    (entry,) = diff(server, {"score": 10}, {"score": 12.5})["differences"]
    assert abs(entry["drift"]) == 2.5
    assert (entry["a"], entry["b"]) == (10, 12.5)


def test_warnings_are_compared_as_sets_and_listed_sorted(server: Server) -> None:
    (entry,) = diff(server, {"warnings": ["z", "b", "k"]}, {"warnings": ["y", "k", "c"]})["differences"]
    assert (entry["field"], entry["severity"]) == ("decision.warnings", "INFO")
    assert (entry["added"], entry["removed"]) == (["c", "y"], ["b", "z"])


def test_what_was_added_to_a_run_differs_too(server: Server) -> None:
    run_a, run_b = server.create()["run_id"], server.create()["run_id"]
    server.post(f"/runs/{run_b}/attach-advisory", {"advisory_id": "a"})
    server.post(f"/runs/{run_b}/explanation", {"status": "READY"})
    server.upload(run_b, b"bytes", kind="k")
    found = diff_of(server, run_a, run_b)
    assert {entry["field"] for entry in found["differences"]} == {
        "advisory_inputs",
        "explanation_status",
        "attachments",
    }
    assert found["severity"] == "INFO"


def test_the_highest_entry_decides_and_the_summary_counts_each(server: Server) -> None:
    found = diff(server, {"status": "OK", "mode": "a", "block_reason": "x"}, {"status": "ERROR", "mode": "b"})
    assert found["severity"] == "CRITICAL"
    assert found["summary"] == "[CRITICAL] 3 differences: 1 critical, 1 warnings, 1 info"


def test_items_name_each_path_that_changed(server: Server) -> None:
    """Keys in alphabetical order, arrays by index; 1, 1.0 and true all differ; never the G-code."""
    a = {"z": [1, 2, {"k": "v"}], "b": 1, "gone": None, "same": 1.5, "t": 1}
    b = {"z": [1, 3, {"k": "v"}, "new"], "b": 1.0, "come": {}, "same": 1.5, "t": True}
    found = diff(
        server,
        {"details": a, "warnings": ["w"], "outputs": {"gcode_text": "G0"}},
        {"details": b, "warnings": ["w", "x"], "outputs": {"gcode_text": "G1"}},
    )
    items = [item for item in found["items"] if not item["path"].startswith("hashes.")]
    assert items == [
        {"path": "decision.details.b", "op": "changed", "a": 1, "b": 1.0},
        {"path": "decision.details.come", "op": "added", "a": None, "b": {}},
        {"path": "decision.details.gone", "op": "removed", "a": None, "b": None},
        {"path": "decision.details.t", "op": "changed", "a": 1, "b": True},
        {"path": "decision.details.z[1]", "op": "changed", "a": 2, "b": 3},
        {"path": "decision.details.z[3]", "op": "added", "a": None, "b": "new"},
        {"path": "decision.warnings[1]", "op": "added", "a": None, "b": "x"},
    ]
    assert [item["path"] for item in found["items"] if item not in items] == ["hashes.gcode_sha256"]
    assert found["counts"] == {"added": 3, "removed": 1, "changed": 4}


def test_many_items_are_cut_at_2000_and_still_counted(server: Server) -> None:
    a, b = {"n": list(range(2_100))}, {"n": [f"{n}" for n in range(2_100)]}
    found = diff(server, {"details": a}, {"details": b})
    assert (len(found["items"]), found["truncated"], found["counts"]["changed"]) == (2_000, True, 2_100)


def test_a_diff_needs_two_runs_that_are_there(server: Server) -> None:
    run_id = server.create()["run_id"]
    assert faults(server.get("/runs/diff")) == ["?a", "?b"]
    assert faults(server.get("/runs/diff", query={"a": run_id})) == ["?b"]
    assert faults(server.get("/runs/diff", query={"b": run_id})) == ["?a"]
    assert faults(server.get("/runs/diff", query={"a": run_id, "b": run_id, "c": 1})) == ["?c"]
    for a, b in ((run_id, NOBODY), (NOBODY, run_id)):
        assert refused(server.get("/runs/diff", query={"a": a, "b": b}), 404, "RUN_NOT_FOUND")["run_id"] == NOBODY
    refused(server.get("/runs/diff", query={"a": "nope", "b": run_id}), 404, "RUN_NOT_FOUND")
