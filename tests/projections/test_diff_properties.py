"""What holds for any two runs, and that the same two give the same bytes in every process."""

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.canonical import canonical, sha256_json
from projections.run import diff as diff_module
from projections.run.diff import HASHES, VERSION_STAMPS, diff
from tests.projections.compared import DIGEST_1, DIGEST_2, advisory, attachment, other, run

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
