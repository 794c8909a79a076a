"""A frame is one line, and no byte of it can change unseen."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.canonical import canonical
from eventlog.frame import FRAME_START, BadFrame, Frame, decode, encode

EVENT = b'{"actor":"press","data":{"a":[1,2.5,"\xc3\xa9"]},"id":"01"}'
DIGEST, LINE = encode(12, 10, 13, EVENT)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(["seq", "first", '{"seq":1,'])


def test_a_line_has_exactly_the_documented_form_and_holds_the_event_bytes_as_they_are():
    assert sha256(EVENT).hexdigest() == DIGEST
    assert b'{"seq":12,"first":10,"last":13,"hash":"' + DIGEST.encode() + b'","event":' + EVENT + b"}\n" == LINE
    assert json.loads(LINE)["event"] == json.loads(EVENT)


@given(st.integers(0, 10**18), st.dictionaries(TEXT, TEXT | st.integers(), min_size=1))
def test_what_was_encoded_is_decoded_the_same(seq, data):
    event = canonical(data)
    digest, line = encode(seq, seq // 2, seq + 5, event)
    assert decode(line) == Frame(seq, seq // 2, seq + 5, digest, event)
    assert line.count(b"\n") == 1


def test_no_flipped_bit_of_a_line_goes_unseen():
    original = decode(LINE)
    for at in range(len(LINE)):
        for bit in range(8):
            line = bytearray(LINE)
            line[at] ^= 1 << bit
            assert unseen_change(bytes(line), original) is False, at


@pytest.mark.parametrize("byte", [0, *b'0129af "}\n', 0xFF])
def test_no_replaced_added_or_removed_byte_goes_unseen(byte):
    original = decode(LINE)
    for at in range(len(LINE)):
        for line in (LINE[:at] + bytes([byte]) + LINE[at + 1 :], LINE[:at] + bytes([byte]) + LINE[at:]):
            assert line == LINE or unseen_change(line, original) is False, at
        assert unseen_change(LINE[:at] + LINE[at + 1 :], original) is False, at


def unseen_change(line: bytes, original: Frame) -> bool:
    """Whether a changed *line* passes for the original: only seq and batch may differ, and these are expected numbers."""
    try:
        found = decode(line)
    except BadFrame:
        return False
    assert (found.hash, found.event) == (original.hash, original.event)
    return (found.seq, found.first, found.last) == (original.seq, original.first, original.last)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        LINE[:-1],
        LINE[:-2] + b"\n",
        LINE + b"\n",
        b" " + LINE,
        LINE.replace(b'"seq":12', b'"seq":012'),
        LINE.replace(b'"seq":12', b'"seq":+12'),
        LINE.replace(b'"seq":12', b'"seq": 12'),
        LINE.replace(b'"seq":12', b'"seq":12.0'),
        LINE.replace(b'"seq":12', b'"seq":' + b"1" * 20),
        LINE.replace(DIGEST.encode(), DIGEST.upper().encode()),
    ],
)
def test_a_line_that_is_only_almost_of_the_form_is_refused(line):
    with pytest.raises(BadFrame, match="does not have the form"):
        decode(line)


def test_an_event_that_was_changed_is_refused_for_its_hash():
    with pytest.raises(BadFrame, match="do not match its hash"):
        decode(LINE.replace(b"press", b"Press"))


@given(st.recursive(TEXT, lambda inner: st.dictionaries(TEXT | st.sampled_from(["seq", "first"]), inner), max_leaves=9))
def test_the_start_of_a_frame_is_found_only_where_one_starts(value):
    event = canonical({"data": value, "first": 1, "seq": 1})
    _, line = encode(3, 3, 3, event)
    assert [found.start() for found in FRAME_START.finditer(b"rubbish" + line + line)] == [7, 7 + len(line)]
