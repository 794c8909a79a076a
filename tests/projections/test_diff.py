"""Two runs compared: every row of the severity table, and what holds for any two runs."""

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.canonical import canonical, sha256_json
from projections.run import diff as diff_module
from projections.run.diff import HASHES, ITEMS_MAX, PATH_CHARS_MAX, VERSION_STAMPS, diff

STAMP = "2025-12-17T08:00:00.000000Z"
DIGEST_1, DIGEST_2 = "1" * 64, "2" * 64


def run(run_id: str = "run_aaaaaaaaaaaa") -> dict[str, Any]:
    feasibility: dict[str, Any] = {"safety": {"score": 90.0}}
    return {
        "run_id": run_id,
        "created_at_utc": STAMP,
        "mode": "router",
        "tool_id": "tool:1",
        "status": "OK",
        "request_summary": {},
        "feasibility": feasibility,
        "decision": {"risk_level": "GREEN", "score": 90.0, "block_reason": None, "warnings": [], "details": {}},
        "hashes": {"feasibility_sha256": sha256_json(feasibility), **dict.fromkeys(HASHES[1:])},
        "outputs": {
            "gcode_text": None,
            "opplan_json": None,
            "gcode_path": None,
            "opplan_path": None,
            "preview_svg_path": None,
        },
        "advisory_inputs": [],
        "explanation_status": "NONE",
        "explanation_summary": None,
        "attachments": None,
        "context": {},
        "meta": {},
        "log": {"seq": 0, "event_sha256": DIGEST_1, "revision": 0, "last_seq": 0},
    }


def other(**changes: Any) -> dict[str, Any]:
    """The same run under another id, with *changes* by path (`decision__score=1`)."""
    view = run("run_bbbbbbbbbbbb")
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = view
        for step in parents:
            place = place[step]
        place[last] = value
    return view


def advisory(advisory_id: str) -> dict[str, Any]:
    return {
        "advisory_id": advisory_id,
        "kind": "note",
        "created_at_utc": STAMP,
        "request_id": None,
        "engine_id": None,
        "engine_version": None,
    }


def attachment(sha256: str) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "kind": "gcode",
        "mime": "text/plain",
        "filename": sha256,
        "size_bytes": 1,
        "created_at_utc": STAMP,
    }


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


# --- The items ---


def items(a: Any, b: Any) -> list[tuple[str, str, Any, Any]]:
    """The items of two values of `feasibility.x`."""
    answer = diff(other(feasibility={"x": a}), run() | {"feasibility": {"x": b}})
    return [(item["path"], item["op"], item["a"], item["b"]) for item in answer["items"]]


def test_items_name_each_path_in_the_order_of_the_sections_and_of_the_alphabet() -> None:
    a, b = run(), other()
    a["decision"].update(details={"z": 1, "b": 2}, warnings=["v", "w"])
    b["decision"].update(details={"z": 2, "a": 3}, warnings=["v", "w", "x"])
    b["hashes"]["gcode_sha256"] = DIGEST_1
    a["feasibility"] = {"safety": {"score": 1, "ok": True}, "Z": None}
    b["feasibility"] = {"safety": {"score": 2, "ok": True}}
    a["outputs"]["opplan_json"] = {"a": [1, {"b": 1}]}
    b["outputs"]["opplan_json"] = {"a": [2, {"b": 2}]}
    answer = diff(a, b)
    assert [tuple(item.values()) for item in answer["items"]] == [
        ("decision.details.a", "added", None, 3),
        ("decision.details.b", "removed", 2, None),
        ("decision.details.z", "changed", 1, 2),
        ("decision.warnings[2]", "added", None, "x"),
        ("hashes.gcode_sha256", "changed", None, DIGEST_1),
        ("feasibility.Z", "removed", None, None),
        ("feasibility.safety.score", "changed", 1, 2),
        ("outputs.opplan_json.a[0]", "changed", 1, 2),
        ("outputs.opplan_json.a[1].b", "changed", 1, 2),
    ]
    assert answer["counts"] == {"added": 2, "removed": 2, "changed": 5}
    assert list(answer["items"][0]) == ["path", "op", "a", "b"]


KINDS: list[Any] = [1, 1.0, True, "1", None, [1], {"1": 1}, 0, 0.0, -0.0, False, "", [], {}]


@pytest.mark.parametrize("a", KINDS)
@pytest.mark.parametrize("b", KINDS)
def test_values_that_are_written_differently_are_changed_also_within(a: Any, b: Any) -> None:
    same_kind = type(a) is type(b) and isinstance(a, list | dict)
    assert (items(a, b) == []) == (items([{"k": a}], [{"k": b}]) == []) == (canonical(a) == canonical(b))
    if not same_kind and canonical(a) != canonical(b):
        assert [(path, op) for path, op, _, _ in items(a, b)] == [("feasibility.x", "changed")]
        assert [(path, op) for path, op, _, _ in items([{"k": a}], [{"k": b}])] == [("feasibility.x[0].k", "changed")]


def test_integers_beyond_64_bits_keep_their_value() -> None:
    assert items(2**64, 2**64 + 1) == [("feasibility.x", "changed", 2**64, 2**64 + 1)]
    assert items(2**64, float(2**64)) == [("feasibility.x", "changed", 2**64, float(2**64))]
    assert items(10**999, int("1" + "0" * 999)) == []


def test_an_opplan_on_one_side_only_is_changed_because_null_is_always_there() -> None:
    answer = diff(run(), other(outputs__opplan_json={"steps": []}))
    assert answer["items"] == [{"path": "outputs.opplan_json", "op": "changed", "a": None, "b": {"steps": []}}]


def test_a_key_that_holds_null_is_not_a_key_that_is_missing() -> None:
    assert items({"k": None}, {}) == [("feasibility.x.k", "removed", None, None)]
    assert items({}, {"k": None}) == [("feasibility.x.k", "added", None, None)]
    assert items([None], []) == [("feasibility.x[0]", "removed", None, None)]
    assert items({"k": None}, {"k": 0}) == [("feasibility.x.k", "changed", None, 0)]


def test_odd_keys_stand_in_a_path_as_they_are() -> None:
    assert [path for path, *_ in items({"": 1, "a.b[0]": 1, "é\n": 1, "Z": 1}, {})] == [
        "feasibility.x.",
        "feasibility.x.Z",
        "feasibility.x.a.b[0]",
        "feasibility.x.é\n",
    ]


def test_the_gcode_text_is_never_in_the_answer() -> None:
    a, b = other(outputs__gcode_text="G0 X1"), run()
    b["outputs"]["gcode_text"] = "G0 X2"
    b["hashes"]["gcode_sha256"] = DIGEST_1
    assert b"G0" not in canonical(diff(a, b))


def test_after_2000_items_the_answer_is_truncated_but_the_counts_go_on() -> None:
    b = run() | {"feasibility": {"x": [1] * ITEMS_MAX}}
    exact = diff(other(feasibility={"x": [0] * ITEMS_MAX}), b)
    assert (len(exact["items"]), exact["truncated"]) == (2000, False)
    over = diff(other(feasibility={"x": [0] * (ITEMS_MAX + 3)}), b)
    assert (len(over["items"]), over["truncated"]) == (2000, True)
    assert over["counts"] == {"added": 0, "removed": 3, "changed": 2000}
    assert over["items"][-1]["path"] == "feasibility.x[1999]"


def test_a_huge_key_above_many_items_does_not_make_a_huge_answer() -> None:
    key = "k" * (PATH_CHARS_MAX // 4)
    answer = diff(
        other(feasibility={key: dict.fromkeys("abcdefgh", 0)}),
        run() | {"feasibility": {key: dict.fromkeys("abcdefgh", 1)}},
    )
    assert (len(answer["items"]), answer["truncated"], answer["counts"]["changed"]) == (3, True, 8)


def test_the_deepest_input_that_the_parser_lets_in_is_compared() -> None:
    deep_a: Any = 1
    deep_b: Any = 2
    for _ in range(64):
        deep_a, deep_b = [deep_a], [deep_b]
    assert items(deep_a, deep_b) == [("feasibility.x" + "[0]" * 64, "changed", 1, 2)]


def test_the_work_grows_no_faster_than_the_input() -> None:
    def calls(size: int) -> int:
        a, b = other(feasibility={"x": [0] * size}), run() | {"feasibility": {"x": [{"k": 1}] * size}}
        made = 0

        def count(*_: Any) -> None:
            nonlocal made
            made += 1

        sys.setprofile(count)
        try:
            diff(a, b)
        finally:
            sys.setprofile(None)
        return made

    assert calls(40_000) < 4.5 * calls(10_000)


# --- What holds for any two runs ---

unhurried = settings(deadline=None)  # a busy machine is no fault
texts = st.text("ab.é", max_size=3)
leaves = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 1.5, 2**70]) | texts
values = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=8)
objects = st.dictionaries(texts, values, max_size=4)
digests = st.sampled_from([None, DIGEST_1, DIGEST_2])


@st.composite
def views(draw: st.DrawFn) -> dict[str, Any]:
    view = run(draw(st.sampled_from(["run_aaaaaaaaaaaa", "run_bbbbbbbbbbbb"])))
    view["status"] = draw(st.sampled_from(["OK", "BLOCKED", "ERROR"]))
    view["tool_id"] = draw(st.sampled_from(["tool:1", "tool:2"]))
    view["mode"] = draw(st.sampled_from(["router", "saw"]))
    view["explanation_status"] = draw(st.sampled_from(["NONE", "READY"]))
    view["decision"] = {
        "risk_level": draw(st.sampled_from(["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"])),
        "score": draw(st.none() | st.integers(0, 100) | st.floats(0, 100)),
        "block_reason": draw(st.none() | texts),
        "warnings": draw(st.lists(texts, max_size=4)),
        "details": draw(objects),
    }
    view["feasibility"] = draw(objects)
    view["hashes"] = {key: draw(digests) for key in HASHES} | {"feasibility_sha256": sha256_json(view["feasibility"])}
    view["outputs"]["opplan_json"] = draw(values)
    view["advisory_inputs"] = [advisory(name) for name in draw(st.lists(texts, unique=True, max_size=3))]
    view["attachments"] = [attachment(d) for d in draw(st.lists(st.sampled_from([DIGEST_1, DIGEST_2])))] or None
    view["context"] = {key: draw(texts) for key in VERSION_STAMPS if draw(st.booleans())}
    return view


@unhurried
@given(views())
def test_a_run_never_differs_from_itself(view: dict[str, Any]) -> None:
    answer = diff(view, deepcopy(view))
    assert [entry["field"] for entry in answer["differences"]] == ["run_id"]
    assert (answer["severity"], answer["summary"]) == ("INFO", "Runs are identical")
    assert all(row["match"] for row in answer["hashes"])
    assert (answer["items"], sum(answer["counts"].values()), answer["truncated"]) == ([], 0, False)


def exchanged(answer: dict[str, Any]) -> dict[str, Any]:
    """*answer* as it must be with the sides exchanged."""
    names = {"added": "removed", "removed": "added", "a": "b", "b": "a", "run_a": "run_b", "run_b": "run_a"}

    def turn(part: dict[str, Any]) -> dict[str, Any]:
        return {names.get(key, key): member for key, member in part.items()}

    return turn(answer) | {
        "differences": [turn(entry) for entry in answer["differences"]],
        "hashes": [turn(row) for row in answer["hashes"]],
        "items": [turn(item) | {"op": names.get(item["op"], item["op"])} for item in answer["items"]],
        "counts": turn(answer["counts"]),
    }


@unhurried
@given(views(), views())
def test_exchanging_the_sides_exchanges_the_answer_and_nothing_else(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert canonical(diff(b, a)) == canonical(exchanged(diff(a, b)))


@unhurried
@given(views(), views())
def test_comparing_changes_neither_side(a: dict[str, Any], b: dict[str, Any]) -> None:
    before = canonical([a, b])
    diff(a, b)
    assert canonical([a, b]) == before


@unhurried
@given(views(), views())
def test_the_parts_of_an_answer_agree_with_each_other(a: dict[str, Any], b: dict[str, Any]) -> None:
    answer = diff(a, b)
    levels = [entry["severity"] for entry in answer["differences"]]
    assert answer["difference_count"] == len(levels)
    assert answer["severity"] == min(levels, key=["CRITICAL", "WARNING", "INFO"].index, default="INFO")
    identical = {entry["field"] for entry in answer["differences"]} <= {"run_id"}
    assert (answer["summary"] == "Runs are identical") == identical
    for op, count in answer["counts"].items():
        assert count == sum(item["op"] == op for item in answer["items"])


@unhurried
@given(views(), views())
def test_an_item_says_why_whenever_two_hashes_differ(a: dict[str, Any], b: dict[str, Any]) -> None:
    paths = [item["path"] for item in diff(a, b)["items"]]
    explained = any(path.startswith("feasibility.") for path in paths)
    assert explained == (sha256_json(a["feasibility"]) != sha256_json(b["feasibility"]))


plain_keys = st.sampled_from(["a", "b", "c"])
plain_values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(plain_keys, v, max_size=3), max_leaves=10
)


def with_items_applied(value: Any, found: list[dict[str, Any]]) -> Any:
    """Change *value*, a `feasibility`, as the items say (keys without dots or brackets only)."""
    result = {"feasibility": deepcopy(value)}
    for item in sorted(found, key=lambda item: item["op"] == "removed"):
        steps = item["path"].replace("[", ".#").replace("]", "").split(".")
        *parents, last = [int(step[1:]) if step.startswith("#") else step for step in steps]
        place: Any = result
        for step in parents:
            place = place[step]
        if item["op"] == "removed":
            assert canonical(place[last]) == canonical(item["a"])
            place[last] = ...  # taken out at the end, so that the indexes of the others stay
        elif isinstance(last, int) and item["op"] == "added":
            assert last == len(place)
            place.append(item["b"])
        else:
            assert (item["op"] == "added") == (last not in place if isinstance(place, dict) else False)
            place[last] = item["b"]
    return without_removed(result["feasibility"])


def without_removed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_removed(member) for key, member in value.items() if member is not ...}
    if isinstance(value, list):
        return [without_removed(member) for member in value if member is not ...]
    return value


@unhurried
@given(plain_values, plain_values)
def test_the_items_applied_to_one_side_make_the_other(a: Any, b: Any) -> None:
    answer = diff(other(feasibility={"x": a}), run() | {"feasibility": {"x": b}})
    assert canonical(with_items_applied({"x": a}, answer["items"])) == canonical({"x": b})


# --- Bytes ---

ROOT = Path(diff_module.__file__).parents[2]
COMPARE = """
import sys
from eventlog.canonical import pretty
from eventlog.strict_json import parse_own
from projections.run.diff import diff
for a, b in parse_own(sys.stdin.buffer.read()):
    sys.stdout.buffer.write(pretty(diff(a, b)))
"""


def bytes_under_hash_seed(seed: str, pairs: bytes) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", COMPARE], input=pairs, env=environment, capture_output=True, check=True
    )
    return done.stdout


def pair_with_much_to_order() -> list[dict[str, Any]]:
    names = [f"name {i * 7919 % 101}" for i in range(100)]
    a = other(feasibility=dict.fromkeys(names[:60], 1), decision__warnings=names[:60])
    b = run() | {"feasibility": dict.fromkeys(reversed(names[40:]), 2)}
    b["decision"]["warnings"] = names[40:]
    b["context"] = dict.fromkeys(VERSION_STAMPS, "2")
    return [a, b]


def test_the_same_two_runs_give_the_same_bytes_in_every_process() -> None:
    pairs = canonical([pair_with_much_to_order()])
    answers = {bytes_under_hash_seed(seed, pairs) for seed in ("0", "1", "4242", "random")}
    assert len(answers) == 1
    assert answers.pop()


@settings(unhurried, max_examples=5)
@given(st.lists(st.tuples(views(), views()), min_size=5, max_size=20))
def test_any_two_runs_give_the_same_bytes_in_every_process(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    sent = canonical(pairs)
    assert bytes_under_hash_seed("1", sent) == bytes_under_hash_seed("2", sent)


@unhurried
@given(views(), views(), st.randoms(use_true_random=False))
def test_the_order_of_the_keys_in_the_views_does_not_matter(a: dict[str, Any], b: dict[str, Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(member) for member in value] if isinstance(value, list) else value

    assert canonical(diff(shuffled(a), shuffled(b))) == canonical(diff(a, b))
