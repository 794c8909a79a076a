"""Segments: names, when a new one begins, and the scan for whole batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.event import Place
from eventlog.frame import encode
from eventlog.segment import BatchScan, SegmentCompressed, segment_for, segment_name, segment_numbers, segment_path

SEGMENT = 202601050000


def batch(first: int, last: int) -> bytes:
    return b"".join(encode(seq, first, last, b'{"data":{"n":%d}}' % seq)[1] for seq in range(first, last + 1))


def scan(data: bytes, next_seq: int = 0, **how) -> tuple[BatchScan, list[int]]:
    found = BatchScan(SEGMENT, next_seq, 0, **how)
    return found, [placed.frame.seq for placed in found.feed(data)]


def test_a_name_is_the_day_and_the_part():
    assert segment_name(202601050012) == "2026-01-05.0012.jsonl"
    assert segment_path(202601050000) == "log/segments/2026-01-05.0000.jsonl"


@given(st.lists(st.integers(1, 99_991_231).map(lambda day: day * 10_000) | st.integers(10_000, 99_991_231_9999)))
def test_numbers_sort_as_their_names_do_and_come_back_from_them(numbers):
    names = sorted(map(segment_name, numbers))
    assert segment_numbers(names[::-1]) == sorted(numbers)
    assert [segment_name(number) for number in segment_numbers(names)] == names


def test_only_names_of_segments_are_segments():
    strange = [
        *("2026-01-05.0001.jsonl.zst", "2026-01-05.0000.json", "x2026-01-05.0000.jsonl", "2026-01-05.00000.jsonl"),
        *("2026-1-5.0000.jsonl", "\u0662026-01-05.0000.jsonl", "2026-01-05.0000.jsonl\n", ""),
    ]
    assert segment_numbers([*strange, "2026-01-05.0001.jsonl"]) == [202601050001]
    with pytest.raises(SegmentCompressed, match=r"`zstd -d --rm 2026-01-05\.0001\.jsonl\.zst`"):
        segment_numbers(strange)


@pytest.mark.parametrize(
    ("current", "current_bytes", "expected"),
    [
        (None, 0, 202601050000),
        (202601040007, 10, 202601050000),
        (202601050000, 0, 202601050000),
        (202601050000, 90, 202601050000),
        (202601050000, 91, 202601050001),
        (202601050000, 500, 202601050001),
        (202601059999, 500, 202601059999),
    ],
)
def test_a_new_segment_begins_with_the_day_and_above_its_largest_size(current, current_bytes, expected):
    assert segment_for(20260105, current, current_bytes, 10, 100) == expected


def test_a_segment_takes_at_least_one_batch_however_large():
    assert segment_for(20260105, SEGMENT, 0, 1000, 100) == SEGMENT


def test_whole_batches_are_given_with_their_places_and_the_scan_says_where_they_end():
    data = batch(0, 0) + batch(1, 3)
    found = BatchScan(SEGMENT, 0, 0)
    placed = found.feed(data)
    assert [p.frame.seq for p in placed] == [0, 1, 2, 3]
    assert [data[p.place.offset :][: p.place.length] for p in placed] == data.splitlines(keepends=True)
    assert placed[0].place == Place(SEGMENT, 0, len(batch(0, 0)))
    assert (found.good_end, found.next_seq, found.fault) == (len(data), 4, None)


@given(st.lists(st.integers(1, 4), max_size=5), st.lists(st.integers(1, 60), min_size=1), st.integers(0, 500))
def test_the_pieces_in_which_the_bytes_come_make_no_difference(sizes, pieces, cut):
    data, seq = b"", 0
    for size in sizes:
        data += batch(seq, seq + size - 1)
        seq += size
    data = data[: max(0, len(data) - cut)]
    at_once, seqs = scan(data)
    found, given_back = BatchScan(SEGMENT, 0, 0), []
    while data:
        for piece in pieces:
            given_back += [placed.frame.seq for placed in found.feed(data[:piece])]
            data = data[piece:]
    assert given_back == seqs
    assert (found.good_end, found.next_seq, found.fault) == (at_once.good_end, at_once.next_seq, at_once.fault)


def test_a_batch_that_is_not_whole_is_not_given():
    data = batch(0, 1) + batch(2, 4)
    for cut in range(len(batch(0, 1)), len(data)):
        found, seqs = scan(data[:cut])
        assert seqs == [0, 1]
        assert (found.good_end, found.next_seq, found.fault) == (len(batch(0, 1)), 2, None)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (batch(1, 1), "seq 0 of its batch was expected, found 1"),
        (encode(0, 0, 1, b"{}")[1] + encode(1, 1, 1, b"{}")[1], "found 1"),
        (encode(0, 0, 1, b"{}")[1] + encode(1, 0, 2, b"{}")[1], "found 1"),
        (encode(0, 0, 1, b"{}")[1] + encode(0, 0, 1, b"{}")[1], "seq 1 of its batch was expected, found 0"),
        (encode(0, 1, 1, b"{}")[1], "found 0"),
        (batch(0, 2).splitlines(keepends=True)[1], "found 1"),
        (b"rubbish\n", "form of a frame"),
        (batch(0, 0).replace(b'"n":0', b'"n":1'), "do not match its hash"),
    ],
)
def test_a_frame_that_is_not_the_expected_one_stops_the_scan(lines, why):
    found, seqs = scan(lines + batch(0, 0))
    assert seqs == []
    assert why in str(found.fault)
    assert (found.good_end, found.next_seq) == (0, 0)
    assert found.feed(batch(0, 0)) == []


def test_the_last_of_a_batch_cannot_lie_before_its_frame():
    found, seqs = scan(encode(5, 5, 4, b"{}")[1], 5)
    assert (seqs, found.fault_at) == ([], (5, 0))
    assert found.fault is not None


def test_the_place_of_the_fault_is_that_of_the_first_bad_frame_even_inside_a_batch():
    lines = batch(0, 2).splitlines(keepends=True)
    found, _ = scan(lines[0] + lines[1].replace(b'"n":1', b'"n":2') + lines[2])
    assert found.fault_at == (1, len(lines[0]))


def test_a_reader_that_stopped_inside_a_batch_may_go_on_there_but_no_other():
    rest = batch(2, 4).split(b"\n", 1)[1]
    assert scan(rest + batch(5, 5), 3, mid_batch=True)[1] == [3, 4, 5]
    assert scan(rest, 3)[1] == []
    assert scan(batch(3, 3) + rest, 3, mid_batch=True)[1] == [3]
    assert scan(encode(3, 4, 5, b"{}")[1], 3, mid_batch=True)[1] == []
