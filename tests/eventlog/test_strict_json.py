"""The strict parser: one meaning or none, and the fast way never says what the slow one would not."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventlog import strict_json
from eventlog.canonical import canonical
from eventlog.errors import EventLogError
from eventlog.strict_json import InvalidJson, MalformedJson, parse, parse_own

TRICKY = st.sampled_from([*'":\\/{}[], \t\nabeu0', '":', '\\":', "\\u003a", "\\u0022:", "\U0001f600"])
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS, max_size=8) | st.lists(TRICKY, max_size=6).map("".join)


@st.composite
def written_string(draw: st.DrawFn) -> str:
    """A string as JSON text, any of its characters written as an escape."""
    written = ""
    for character in draw(TEXT):
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        escaped = "".join(f"\\u{unit:04x}" for unit in utf16(character))
        written += draw(st.sampled_from([plain, escaped, escaped.upper().replace("\\U", "\\u")]))
    return f'"{written}"'


def utf16(character: str) -> list[int]:
    encoded = character.encode("utf-16-be")
    return [int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)]


BLANKS = st.sampled_from(["", "", "", " ", "\t", "\n", "\r"])
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
SCALARS = st.sampled_from(["null", "true", "false", "NaN", "Infinity", "-Infinity", '"\\ud800"', "-0", "1e400"])


def array(members: list[str]) -> str:
    return f"[{','.join(members)}]"


def members(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    key = written_string() | st.sampled_from(['"a"', '"\\u0061"', '"b"', '"\\ud83d"'])
    return st.tuples(BLANKS, key, BLANKS, inner).map(lambda parts: f"{parts[0]}{parts[1]}{parts[2]}:{parts[3]}")


# JSON as anyone may write it: keys twice, any escape, blanks anywhere, numbers of any length.
WRITTEN = st.recursive(
    SCALARS | NUMBERS | written_string(),
    lambda inner: (
        st.lists(inner, max_size=4).map(array)
        | st.lists(members(inner), max_size=4).map(lambda m: f"{{{','.join(m)}}}")
    ),
    max_leaves=12,
)


def outcome(way, text: bytes) -> object:
    try:
        value = way(text)
    except EventLogError as error:
        return type(error), error.facts
    return (repr(value), canonical(value))


@settings(max_examples=400)
@given(WRITTEN.map(str.encode) | st.binary(max_size=20))
@example(b'{"a":1,"a":"\\u003ax"}')
@example(b'{"a":1,"a":"\\u003Ax"}')
@example(b'{"a":1,"a":{"\\u003a":2}}')
@example(b'{"a":1,"a":"\\u0022:"}')
@example(b'{"a":1,"a":"\\":"}')
@example(b'{"a\\\\":1,"a\\\\":2}')
@example(b'{"a" :1,"a":2}')
@example(b'{"a":"\\" :","a":":"}')
@example(b"[0.10000000000000000555, 12345678901234567890, -0, -0.0, 1E400, 1e-400]")
def test_the_fast_way_and_the_slow_way_say_the_same(text):
    assert outcome(parse, text) == outcome(strict_json._parse_slowly, text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"b":{"c":[{"d":1,"d":2}]}}',
        '{"a":1,"\\u0061":2}',
        '{"a":1,"a":"\\u003ax"}',
        '{"a":1,"a":"\\u0022:x"}',
        '{"a":1,"a" :2}',
        '{"a":1,"a"\n:2}',
        '{"a":":","a":":"}',
        '{"\\"":1,"\\"":2}',
        '{"":1,"":2}',
    ],
)
def test_a_key_that_stands_twice_is_refused_however_it_is_written(text):
    with pytest.raises(InvalidJson, match="stands twice in one object") as caught:
        parse(text.encode())
    assert caught.value.code == "VALIDATION_ERROR"


def test_every_doubled_key_is_named_once():
    with pytest.raises(InvalidJson) as caught:
        parse(b'[{"b":1,"a":1,"b":1,"a":1,"a":1},{"c":1,"\\ud800":1,"\\ud800":2}]')
    said = [fault.message for fault in caught.value.errors]
    assert said[:3] == [
        "the key 'a' stands twice in one object",
        "the key 'b' stands twice in one object",
        "the key '?' stands twice in one object",
    ]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "1e400", "[-1e999]"])
def test_a_number_that_no_double_holds_is_refused(text):
    with pytest.raises(InvalidJson, match=r"is not a JSON number|too large for a double"):
        parse(text.encode())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('"\\ud800"', "$"),
        ('{"a":["x","\\udc00\\ud800"]}', "$.a[1]"),
        ('{"a":{"\\ud83d":1}}', "$.a"),
        ('["\\ud83d\\ude00","\\ud83d"]', "$[1]"),
    ],
)
def test_a_lone_surrogate_is_refused_with_its_place(text, path):
    with pytest.raises(InvalidJson, match="lone surrogate") as caught:
        parse(text.encode())
    assert [fault.path for fault in caught.value.errors] == [path]


def test_a_pair_of_surrogates_is_one_character():
    assert parse(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}
    assert parse(b'{"a":12345678901234567890,"b":"\\ud83d\\ude00"}')["b"] == "\U0001f600"


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_64_levels_are_taken_and_65_refused(brackets):
    opening, closing = brackets[:-1], brackets[-1]
    deep = {depth: opening * depth + ("1" if opening != "[" else "") + closing * depth for depth in (64, 65)}
    assert parse(deep[64].encode()) == strict_json._parse_slowly(deep[64].encode())
    with pytest.raises(InvalidJson, match="deeper than 64"):
        parse(deep[65].encode())
    with pytest.raises(InvalidJson, match="deeper than 64"):
        parse(f"[12345678901234567890,{deep[64]}]".encode())


def test_a_text_nested_beyond_what_can_be_parsed_is_refused_like_any_other_deep_one():
    with pytest.raises(InvalidJson, match="deeper than 64"):
        parse(b"[" * 200_000 + b"]" * 200_000)


def test_brackets_beside_each_other_and_in_strings_are_not_levels():
    assert len(parse(b"[" + b",".join([b"[]"] * 200) + b"]")) == 200
    assert parse(b'["' + b'[{\\"' * 100 + b'"]') == ['[{"' * 100]
    assert parse(b"[" + b",".join([b'"]["'] * 100) + b"]") == ["]["] * 100


@given(st.integers(-(10**60), 10**60) | st.integers(2**63 - 5, 2**64 + 5))
@example(10**1000 - 1)
@example(-(10**1000) + 1)
def test_an_integer_of_any_size_keeps_its_value(number):
    assert parse(b'{"a":%d}' % number) == {"a": number}
    assert parse_own(b'{"a":%d}' % number) == {"a": number}


@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_more_than_1000_digits_is_refused(sign):
    with pytest.raises(InvalidJson, match="more than 1000 digits"):
        parse(f"[{sign}1{'0' * 1000}]".encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[1,]", "at character 3"),
        (b"01", "Extra data"),
        (b'"\n"', "Invalid control character"),
        (b"\xef\xbb\xbf{}", "a byte order mark"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'"\xed\xa0\x80"', "byte 1 is not UTF-8"),
        (b"{}\0", "Extra data"),
    ],
)
def test_what_is_not_json_is_refused_with_the_reason(text, reason):
    with pytest.raises(MalformedJson, match=reason) as caught:
        parse(text)
    assert caught.value.code == "MALFORMED_JSON"
    assert "Send one JSON value" in caught.value.message


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(InvalidJson) as caught:
        parse(b'{"a":NaN,"a":1e400,"c":"\\ud800"}')
    assert len(caught.value.errors) == 4


def test_what_the_log_wrote_is_read_back_the_same():
    value = {"a": [1, 2.5, 10**30, "é\n"], "b": None}
    assert parse_own(canonical(value)) == value
    assert parse_own(b'{"a":[1,2.5]}') == {"a": [1, 2.5]}
