"""The canonical JSON form: the fast encoder writes what the standard library would."""

import json
import math
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.canonical import canonical, pretty, sha256_json
from eventlog.errors import NotCanonical
from eventlog.strict_json import parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SMALL = st.floats(1e-9, 1e-4) | st.floats(-1e-4, -1e-9)
NUMBERS = st.integers() | st.integers(2**62, 2**70) | SMALL | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


def by_the_rule(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        ({}, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        ({"risk_level": "GREEN", "score": 87.5}, "c78598b363ee02d12ba92d43bbbbb81c5df8ed6766ba62bc5c8e6a45b034a96f"),
        ({"a": 1.0}, "c29a44abc114a1d75486434c013102c9e736f526b4fd19658d9492b7b224de6d"),
        (
            {"b": [1, 2, {"z": None, "a": True}], "a": "é"},
            "ca46f24b85d1422cfb1f7a898a5d17c24aaa21a2c703183f3d8a4cfae542f69f",
        ),
    ],
)
def test_the_published_hashes_come_out(value, digest):
    assert sha256_json(value) == digest
    assert sha256(canonical(value)).hexdigest() == digest


@given(JSON)
@example([1e-9, 1e-10, 9.999999999999999e-5, 1e-4, 1e-5, 5e-324, 0.0, -0.0, 1e16, 1e22, 1.7976931348623157e308])
@example([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**999])
@example({"\U0001f600": 1, "\uffff": 2, "": 3, "é": 4, "e": 5, "\x7f": '\u2028\x00\x1f"\\/'})
@example({"text": "1e-9 and 0.00001"})
def test_the_fast_encoder_writes_what_the_standard_library_writes_for_any_parsed_json(value):
    parsed = parse(json.dumps(value).encode())
    assert canonical(parsed) == by_the_rule(parsed)
    if value is not None:
        assert sha256_json(value) == sha256(by_the_rule(value)).hexdigest()


@given(SMALL | st.floats(1e-11, 1e-3) | st.floats(1e14, 1e24))
def test_a_float_where_encoders_differ_is_written_as_python_does(number):
    assert canonical(number) == repr(number).encode()


@given(JSON)
@example({"b": 1e-5, "a": 2**64})
@example({"b": 2**64, "a": 1e-5})
def test_the_indented_form_is_that_of_the_standard_library_and_keeps_the_order_of_keys(value):
    parsed = parse(json.dumps(value).encode())
    assert pretty(parsed) == json.dumps(parsed, indent=2, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "nothing to hash"),
        (math.nan, "NaN or an infinity"),
        ([{"a": math.inf}], "NaN or an infinity"),
        ((-math.inf,), "NaN or an infinity"),
        ({1: "a"}, "a key that is not a string"),
        ([{"a": {None: 1}}], "a key that is not a string"),
        ("\ud800", "a lone surrogate"),
        ({"\udfff": 1}, "a lone surrogate"),
        ({"a": {1, 2}}, "not JSON serializable"),
        (b"bytes", "not JSON serializable"),
    ],
)
def test_what_json_does_not_have_is_refused_with_the_reason(value, reason):
    with pytest.raises(NotCanonical, match=reason) as caught:
        sha256_json(value)
    assert caught.value.code == "NOT_CANONICAL"


def test_a_value_nested_beyond_what_can_be_encoded_is_refused():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotCanonical, match="nested too deeply"):
        sha256_json(value)


def test_a_null_below_the_top_is_hashed():
    assert sha256_json([None]) == sha256(b"[null]").hexdigest()


def test_a_tuple_has_the_hash_of_the_list_and_numbers_that_are_written_differently_have_not_one_hash():
    assert sha256_json((1, "a")) == sha256_json([1, "a"])
    assert len({sha256_json(value) for value in (1, 1.0, True, "1")}) == 4
