"""The cleaning of a request summary."""

import copy
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.canonical import canonical, sha256_json
from projections.run.summary import clean_summary

LONG_STRING = "x" * 8193
LONG_ARRAY = list(range(201))


def stub(value, size, head):
    return {"truncated": True, "sha256": sha256_json(value), "size": size, "head": head}


def test_a_clean_summary_is_given_back_itself():
    summary = {"a": [1, {"b": None}], "c": "x" * 8192, "d": list(range(200)), "e": {}}
    cleaned, stripped = clean_summary(summary)
    assert cleaned is summary
    assert stripped == []


def test_every_feasibility_at_any_depth_is_removed_and_each_outermost_one_is_listed():
    summary = {
        "feasibility": {"risk": "GREEN", "feasibility": 1},
        "a": {"b": [{"feasibility": 1.5, "kept": 1}, [{"feasibility": None}]]},
        "feasibility_note": "kept",
        "z": "feasibility",
    }
    cleaned, stripped = clean_summary(summary)
    assert cleaned == {"a": {"b": [{"kept": 1}, [{}]]}, "feasibility_note": "kept", "z": "feasibility"}
    assert stripped == [
        {
            "path": "$.request_summary.feasibility",
            "sha256": sha256_json({"risk": "GREEN", "feasibility": 1}),
        },
        {"path": "$.request_summary.a.b[0].feasibility", "sha256": sha256_json(1.5)},
        {"path": "$.request_summary.a.b[1][0].feasibility", "sha256": None},
    ]


def test_a_stripped_path_is_cut_where_a_key_of_megabytes_would_repeat_in_it():
    summary = {"k" * 1_000_000: [{"feasibility": 1}, {"feasibility": 2}]}
    _, stripped = clean_summary(summary)
    assert [entry["sha256"] for entry in stripped] == [sha256_json(1), sha256_json(2)]
    assert all(len(entry["path"]) == 513 and entry["path"].endswith("k…") for entry in stripped)


def test_a_string_above_8_kib_of_utf_8_is_replaced_by_its_hash_size_and_head():
    cleaned, stripped = clean_summary({"a": LONG_STRING, "b": {"c": "é" * 4097}, "d": ["😀" * 2049]})
    assert cleaned["a"] == stub(LONG_STRING, 8193, "x" * 256)
    assert cleaned["b"]["c"] == stub("é" * 4097, 8194, "é" * 256)
    assert cleaned["d"] == [stub("😀" * 2049, 8196, "😀" * 256)]
    assert stripped == []


@pytest.mark.parametrize("text", ["x" * 8192, "é" * 4096, "😀" * 2048, "x" * 8189 + "€"])
def test_a_string_of_exactly_8_kib_stays(text):
    summary = {"a": text}
    assert clean_summary(summary)[0] is summary


def test_an_array_above_200_items_is_replaced_and_what_stands_in_its_head_is_not_shortened():
    array = [LONG_STRING, LONG_ARRAY, *range(199)]
    cleaned, _ = clean_summary({"a": array})
    assert cleaned["a"] == stub(array, 201, array[:10])
    assert cleaned["a"]["head"][0] == LONG_STRING
    assert cleaned["a"]["head"][1] == LONG_ARRAY


def test_a_long_array_is_stripped_of_feasibility_before_it_is_hashed():
    array = [{"feasibility": i, "n": i} for i in range(201)]
    bare = [{"n": i} for i in range(201)]
    cleaned, stripped = clean_summary({"a": array})
    assert cleaned["a"] == stub(bare, 201, bare[:10])
    assert len(stripped) == 201
    assert stripped[200] == {"path": "$.request_summary.a[200].feasibility", "sha256": sha256_json(200)}


def test_what_needs_no_cleaning_is_shared_and_not_copied():
    untouched, untouched_list = {"deep": [{"x": 1}]}, [1, [2]]
    summary = {"a": untouched, "b": {"feasibility": 1, "c": untouched_list, "l": [untouched]}, "d": LONG_STRING}
    cleaned, _ = clean_summary(summary)
    assert cleaned["a"] is untouched
    assert cleaned["b"]["c"] is untouched_list
    assert cleaned["b"]["l"][0] is untouched


def test_a_summary_as_deep_as_the_parser_allows_is_cleaned():
    inner = {"feasibility": 1}
    for _ in range(31):
        inner = {"a": [inner]}
    cleaned, stripped = clean_summary(inner)
    assert stripped == [{"path": "$.request_summary" + ".a[0]" * 31 + ".feasibility", "sha256": sha256_json(1)}]
    assert b"feasibility" not in canonical(cleaned)


KEYS = st.sampled_from(["feasibility", "a", "b", "c"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(-1, 1) | st.text(max_size=5)
AROUND_THE_LIMITS = st.sampled_from(
    ["x" * 8192, LONG_STRING, "é" * 4097, LONG_ARRAY, [LONG_STRING] * 201, [{"feasibility": 1}] * 201, [0] * 200]
)
VALUES = st.recursive(
    LEAVES | AROUND_THE_LIMITS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SUMMARIES = st.dictionaries(KEYS, VALUES, max_size=4)


def without(value):
    if isinstance(value, dict):
        return {k: without(v) for k, v in value.items() if k != "feasibility"}
    return [without(v) for v in value] if isinstance(value, list) else value


def shortened(value):
    if isinstance(value, str) and len(value.encode()) > 8192:
        return stub(value, len(value.encode()), value[:256])
    if isinstance(value, list) and len(value) > 200:
        return stub(value, len(value), value[:10])
    if isinstance(value, dict):
        return {k: shortened(v) for k, v in value.items()}
    return [shortened(v) for v in value] if isinstance(value, list) else value


def outermost(value, path):
    if isinstance(value, dict):
        for key, member in value.items():
            if key == "feasibility":
                yield {
                    "path": f"{path}.{key}",
                    "sha256": None if member is None else sha256(canonical(member)).hexdigest(),
                }
            else:
                yield from outermost(member, f"{path}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from outermost(item, f"{path}[{i}]")


@given(SUMMARIES)
def test_cleaning_is_stripping_then_shortening_and_leaves_its_input_alone(summary):
    before = copy.deepcopy(summary)
    cleaned, stripped = clean_summary(summary)
    assert canonical(cleaned) == canonical(shortened(without(summary)))
    assert stripped == list(outermost(summary, "$.request_summary"))
    assert canonical(summary) == canonical(before)
    assert (cleaned is summary) == (canonical(cleaned) == canonical(before))
