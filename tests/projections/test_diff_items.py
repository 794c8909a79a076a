"""What differs in detail: each path, in order, up to a bound, in time that grows with the input alone."""

import sys
from typing import Any

import pytest

from eventlog.canonical import canonical
from projections.run.diff import ITEMS_MAX, PATH_CHARS_MAX, diff
from tests.projections.compared import DIGEST_1, other, run


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
