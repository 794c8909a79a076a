"""Two runs compared: the answer, and every row of the severity table."""

from typing import Any

import pytest

from projections.run.diff import HASHES, VERSION_STAMPS, diff
from tests.projections.compared import DIGEST_1, DIGEST_2, advisory, attachment, other, run

# --- The answer ---


def test_two_runs_that_agree_in_all_that_is_judged_are_identical() -> None:
    a, b = run(), other()
    assert diff(a, b) == {
        "severity": "INFO",
        "run_a": "run_aaaaaaaaaaaa",
        "run_b": "run_bbbbbbbbbbbb",
        "summary": "Runs are identical",
        "differences": [],
        "difference_count": 0,
        "hashes": [{"key": key, "a": a["hashes"][key], "b": a["hashes"][key], "match": True} for key in HASHES],
        "items": [],
        "counts": {"added": 0, "removed": 0, "changed": 0},
        "truncated": False,
    }


def test_a_run_and_itself_are_identical_with_one_note() -> None:
    answer = diff(run(), run())
    assert answer["differences"] == [
        {
            "field": "run_id",
            "a": "run_aaaaaaaaaaaa",
            "b": "run_aaaaaaaaaaaa",
            "severity": "INFO",
            "note": "Both sides are the same run.",
        }
    ]
    assert (answer["severity"], answer["difference_count"], answer["summary"]) == ("INFO", 1, "Runs are identical")


def test_the_four_hashes_stand_in_their_order_and_two_nulls_match() -> None:
    answer = diff(run(), other(hashes__gcode_sha256=DIGEST_1))
    assert [(row["key"], row["match"]) for row in answer["hashes"]] == [
        ("feasibility_sha256", True),
        ("toolpaths_sha256", True),
        ("gcode_sha256", False),
        ("opplan_sha256", True),
    ]
    assert answer["hashes"][2] == {"key": "gcode_sha256", "a": None, "b": DIGEST_1, "match": False}


def test_differences_stand_in_the_order_of_the_severity_table() -> None:
    b = run()  # the same id, as when one run is compared with an earlier state of itself
    b.update(status="BLOCKED", tool_id="tool:2", mode="saw", explanation_status="READY")
    b.update(advisory_inputs=[advisory("x")], attachments=[attachment(DIGEST_1)])
    b["decision"].update(risk_level="RED", score=80.0, block_reason="too deep", warnings=["w"])
    b["hashes"] = dict.fromkeys(HASHES, DIGEST_2)
    b["context"] = dict.fromkeys(reversed(VERSION_STAMPS), "2")
    answer = diff(run(), b)
    assert [(entry["field"], entry["severity"]) for entry in answer["differences"]] == [
        ("run_id", "INFO"),
        ("status", "WARNING"),
        ("decision.risk_level", "CRITICAL"),
        ("decision.score", "WARNING"),
        ("hashes.feasibility_sha256", "CRITICAL"),
        ("hashes.toolpaths_sha256", "WARNING"),
        ("hashes.gcode_sha256", "WARNING"),
        ("hashes.opplan_sha256", "WARNING"),
        ("decision.block_reason", "WARNING"),
        ("decision.warnings", "INFO"),
        ("tool_id", "INFO"),
        ("mode", "INFO"),
        ("advisory_inputs", "INFO"),
        ("explanation_status", "INFO"),
        ("attachments", "INFO"),
        ("context.engine_version", "INFO"),
        ("context.toolchain_version", "INFO"),
        ("context.post_processor_version", "INFO"),
        ("context.config_fingerprint", "INFO"),
    ]
    assert answer["severity"] == "CRITICAL"
    assert answer["difference_count"] == 19
    assert answer["summary"] == "[CRITICAL] 19 differences: 2 critical, 6 warnings, 11 info"


def test_the_summary_knows_no_singular() -> None:
    answer = diff(run(), other(tool_id="tool:2"))
    assert answer["summary"] == "[INFO] 1 differences: 0 critical, 0 warnings, 1 info"


def test_the_highest_entry_gives_the_overall_severity() -> None:
    assert diff(run(), other(mode="saw"))["severity"] == "INFO"
    assert diff(run(), other(mode="saw", decision__block_reason="too deep"))["severity"] == "WARNING"
    worst = other(mode="saw", decision__block_reason="too deep", status="ERROR")
    assert diff(run(), worst)["summary"] == "[CRITICAL] 3 differences: 1 critical, 1 warnings, 1 info"


# --- The severity table ---


def only_entry(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    (entry,) = diff(a, b)["differences"]
    assert isinstance(entry, dict)
    return entry


@pytest.mark.parametrize(
    ("a", "b", "severity"),
    [("OK", "BLOCKED", "WARNING"), ("OK", "ERROR", "CRITICAL"), ("ERROR", "BLOCKED", "CRITICAL")],
)
def test_a_status_that_differs_is_critical_if_either_side_is_an_error(a: str, b: str, severity: str) -> None:
    entry = only_entry(other(status=a), run() | {"status": b})
    assert entry == {"field": "status", "a": a, "b": b, "severity": severity}


@pytest.mark.parametrize(
    ("a", "b", "severity"),
    [
        ("GREEN", "YELLOW", "WARNING"),
        ("UNKNOWN", "ERROR", "WARNING"),
        ("GREEN", "RED", "CRITICAL"),
        ("RED", "UNKNOWN", "CRITICAL"),
    ],
)
def test_a_risk_level_that_differs_is_critical_if_either_side_is_red(a: str, b: str, severity: str) -> None:
    b_run = run()
    b_run["decision"]["risk_level"] = b
    entry = only_entry(other(decision__risk_level=a), b_run)
    assert entry == {"field": "decision.risk_level", "a": a, "b": b, "severity": severity}


@pytest.mark.parametrize(
    ("a", "b", "severity", "drift"),
    [
        (90, 91, "INFO", 1),
        (50.0, 50.010001, "INFO", 0.010001),
        (92.5, 87.5, "INFO", 5.0),
        (0.1, 5.1000001, "INFO", 5.0),
        (10.0, 15.000001, "WARNING", 5.000001),
        (100, 0, "WARNING", 100),
        (None, 0.0, "INFO", None),
        (0, None, "INFO", None),
    ],
)
def test_a_score_weighs_by_its_drift(a: Any, b: Any, severity: str, drift: Any) -> None:
    b_run = run()
    b_run["decision"]["score"] = b
    entry = only_entry(other(decision__score=a), b_run)
    assert entry == {"field": "decision.score", "a": a, "b": b, "severity": severity, "drift": drift}


@pytest.mark.parametrize(("a", "b"), [(87.52, 87.53), (87.53, 87.52), (90, 90.0), (None, None), (1.0, 1.0100004)])
def test_a_score_that_drifts_by_a_hundredth_or_less_is_no_difference(a: Any, b: Any) -> None:
    b_run = run()
    b_run["decision"]["score"] = b
    answer = diff(other(decision__score=a), b_run)
    assert answer["differences"] == []
    assert answer["counts"]["changed"] == (a is not None)  # but the items hide nothing


def test_another_feasibility_hash_is_critical() -> None:
    entry = only_entry(run(), other(hashes__feasibility_sha256=DIGEST_1))
    assert (entry["field"], entry["severity"]) == ("hashes.feasibility_sha256", "CRITICAL")


@pytest.mark.parametrize("key", HASHES[1:])
def test_another_hash_is_a_warning_also_when_only_one_side_has_it(key: str) -> None:
    with_it, with_another = other(**{f"hashes__{key}": DIGEST_1}), other(**{f"hashes__{key}": DIGEST_2})
    field = f"hashes.{key}"
    assert only_entry(run(), with_it) == {"field": field, "a": None, "b": DIGEST_1, "severity": "WARNING"}
    assert only_entry(with_it, run()) == {"field": field, "a": DIGEST_1, "b": None, "severity": "WARNING"}
    with_another["run_id"] = "run_cccccccccccc"
    assert only_entry(with_it, with_another) == {"field": field, "a": DIGEST_1, "b": DIGEST_2, "severity": "WARNING"}


def test_a_block_reason_raises_the_severity_to_warning() -> None:
    answer = diff(run(), other(decision__block_reason="too deep"))
    assert answer["differences"] == [
        {"field": "decision.block_reason", "a": None, "b": "too deep", "severity": "WARNING"}
    ]
    assert answer["severity"] == "WARNING"


def test_warnings_name_what_was_added_and_removed_sorted_and_as_often_as_it_was() -> None:
    a = run()
    a["decision"]["warnings"] = ["z", "same", "b", "b", "b"]
    entry = only_entry(a, other(decision__warnings=["same", "y", "b", "a", "y"]))
    assert entry == {
        "field": "decision.warnings",
        "a": ["z", "same", "b", "b", "b"],
        "b": ["same", "y", "b", "a", "y"],
        "severity": "INFO",
        "added": ["a", "y", "y"],
        "removed": ["b", "b", "z"],
    }


def test_warnings_in_another_order_are_a_difference_that_adds_and_removes_nothing() -> None:
    a = run()
    a["decision"]["warnings"] = ["x", "y"]
    entry = only_entry(a, other(decision__warnings=["y", "x"]))
    assert (entry["severity"], entry["added"], entry["removed"]) == ("INFO", [], [])


@pytest.mark.parametrize(("field", "value"), [("tool_id", "tool:2"), ("mode", "saw"), ("explanation_status", "READY")])
def test_a_tool_a_mode_or_an_explanation_status_that_differs_is_information(field: str, value: str) -> None:
    expected = {"field": field, "a": run()[field], "b": value, "severity": "INFO"}
    assert only_entry(run(), other(**{field: value})) == expected


def test_advisories_are_compared_by_their_ids() -> None:
    a, b = run(), other(advisory_inputs=[advisory("a/b"), advisory("a_b")])
    a["advisory_inputs"] = [advisory("a_b")]
    assert only_entry(a, b) == {"field": "advisory_inputs", "a": ["a_b"], "b": ["a/b", "a_b"], "severity": "INFO"}
    a["advisory_inputs"] = [advisory("a/b"), {**advisory("a_b"), "kind": "explanation"}]
    assert diff(a, b)["differences"] == []


def test_attachments_are_compared_by_their_digests_and_null_holds_none() -> None:
    b = other(attachments=[attachment(DIGEST_1), attachment(DIGEST_2)])
    assert only_entry(run(), b) == {"field": "attachments", "a": [], "b": [DIGEST_1, DIGEST_2], "severity": "INFO"}
    a = run()
    a["attachments"] = [{**attachment(DIGEST_1), "filename": "x"}, attachment(DIGEST_2)]
    assert diff(a, b)["differences"] == []


@pytest.mark.parametrize("stamp", VERSION_STAMPS)
def test_a_version_stamp_that_differs_is_information_also_when_only_one_side_has_it(stamp: str) -> None:
    b = other(context={stamp: "2.0", "batch_label": "not compared"})
    assert only_entry(run(), b) == {"field": f"context.{stamp}", "a": None, "b": "2.0", "severity": "INFO"}
    assert only_entry(b, run()) == {"field": f"context.{stamp}", "a": "2.0", "b": None, "severity": "INFO"}


def test_what_the_table_does_not_name_is_no_difference() -> None:
    b = other(request_summary={"x": 1}, meta={"x": 1}, context={"session_id": "s"}, explanation_summary="because")
    b["log"]["seq"] = 7
    assert diff(run(), b) == diff(run(), other())
