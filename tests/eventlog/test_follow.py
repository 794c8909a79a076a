"""Following the log: each event once, in order, up to a durable end and not a byte further."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.follow import Follower, last_whole_batch
from eventlog.frame import encode
from eventlog.memory import MemoryDisk
from eventlog.recovery import End
from eventlog.segment import segment_path

FIRST = 202601050000


def batch(first: int, last: int) -> bytes:
    return b"".join(encode(seq, first, last, b'{"data":{"n":%d}}' % seq)[1] for seq in range(first, last + 1))


def holding(*segments: bytes) -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder("log/segments")
    for number, data in enumerate(segments, FIRST):
        disk.create(segment_path(number))
        disk.write(segment_path(number), 0, data)
    return disk


def seqs(follower: Follower, end: End, bytes_max: int = 1 << 20) -> list[int]:
    return [event.seq for event in follower.read(end, bytes_max)]


def read_all(follower: Follower, end: End, bytes_max: int, into: list[int]) -> None:
    while new := seqs(follower, end, bytes_max):
        into += new


def all_seqs(follower: Follower, end: End, bytes_max: int) -> list[int]:
    found: list[int] = []
    read_all(follower, end, bytes_max, found)
    return found


SEGMENTS = (batch(0, 0) + batch(1, 3), batch(4, 4), batch(5, 7) + batch(8, 8))
END = End(9, FIRST + 2, len(SEGMENTS[2]))


@pytest.mark.parametrize("bytes_max", [1, 100, 1 << 20])
def test_every_event_is_given_once_and_in_order_through_all_segments(bytes_max):
    follower = Follower(holding(*SEGMENTS))
    assert all_seqs(follower, END, bytes_max) == list(range(9))
    assert follower.at == END
    assert follower.read(END) == []


def test_an_event_comes_with_its_bytes_hash_and_place():
    disk = holding(*SEGMENTS)
    for event in Follower(disk).read(END):
        line = disk.read(segment_path(event.place.segment), event.place.offset, event.place.length)
        assert line == encode(event.seq, *((0, 0) if event.seq == 0 else (1, 3)), event.bytes)[1]
        assert event.hash.encode() in line


def test_an_empty_log_has_nothing_to_follow():
    follower = Follower(holding())
    assert follower.read(End()) == []
    assert follower.at == End()


def test_bytes_beyond_the_durable_end_are_not_looked_at():
    disk = holding(batch(0, 1) + b"half of a batch that fails")
    follower = Follower(disk)
    assert seqs(follower, End(2, FIRST, len(batch(0, 1)))) == [0, 1]
    disk.write(segment_path(FIRST), len(batch(0, 1)), batch(2, 3))
    assert seqs(follower, End(4, FIRST, len(batch(0, 1) + batch(2, 3)))) == [2, 3]


def test_a_follower_goes_on_with_what_is_appended_later_and_into_a_later_segment():
    disk = holding(batch(0, 0))
    follower = Follower(disk)
    assert seqs(follower, End(1, FIRST, len(batch(0, 0)))) == [0]
    disk.create(segment_path(FIRST + 1))
    disk.write(segment_path(FIRST + 1), 0, batch(1, 1))
    assert seqs(follower, End(2, FIRST + 1, len(batch(1, 1)))) == [1]


def test_a_follower_may_start_at_any_event_even_inside_a_batch():
    starts = {}
    offset = 0
    for seq, line in enumerate(SEGMENTS[0].splitlines(True)):
        starts[seq] = offset
        offset += len(line)
    for seq, start in starts.items():
        follower = Follower(holding(*SEGMENTS), End(seq, FIRST, start))
        assert all_seqs(follower, END, 1 << 20) == list(range(seq, 9))


@given(st.integers(0, len(SEGMENTS[0]) - 1), st.sampled_from([1, 90, 1 << 20]))
def test_of_a_segment_with_a_changed_byte_only_what_lies_before_it_is_given(at, bytes_max):
    damaged = bytearray(SEGMENTS[0])
    damaged[at] ^= 1
    follower = Follower(holding(bytes(damaged), *SEGMENTS[1:]))
    found: list[int] = []
    with pytest.raises(LogCorrupt) as caught:
        read_all(follower, END, bytes_max, found)
    assert found == ([0] if at >= len(batch(0, 0)) else [])
    assert caught.value.segment == "2026-01-05.0000.jsonl"
    # It is the frame of the byte, or the next one of its batch, which contradicts a wrong `last`.
    starts = [0, *itertools.accumulate(map(len, SEGMENTS[0].splitlines(True)))]
    number = sum(start <= at for start in starts) - 1
    assert caught.value.seq in (number, number + 1)
    assert caught.value.offset == starts[caught.value.seq]


def test_a_segment_that_is_gone_or_cut_is_damage():
    for segments in (SEGMENTS[:1], (batch(0, 0), *SEGMENTS[1:]), (SEGMENTS[0][:-5], *SEGMENTS[1:])):
        follower = Follower(holding(*segments))
        with pytest.raises(LogCorrupt):
            all_seqs(follower, END, 1 << 20)


RUBBISH = {
    "text": b"garbage",
    "lines": b"rubbish\n" * 20,
    "padding": bytes(50),
    "half a frame": batch(4, 4)[:-20],
    "half a batch": batch(4, 5).splitlines(True)[0],
    "a batch once more": batch(1, 3),
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
@pytest.mark.parametrize("bytes_max", [1, 100, 1 << 20])
def test_rubbish_behind_the_events_of_a_finished_segment_hides_none_of_the_next(rubbish, bytes_max):
    follower = Follower(holding(SEGMENTS[0] + rubbish, SEGMENTS[1] + rubbish, SEGMENTS[2]))
    assert all_seqs(follower, END, bytes_max) == list(range(9))
    assert follower.at == END
    behind = Follower(holding(rubbish, b"", *SEGMENTS))
    assert all_seqs(behind, End(9, FIRST + 4, END.offset), bytes_max) == list(range(9))


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_no_event_is_passed_over_with_the_rubbish(rubbish):
    """The next segment does not begin with the one that is expected, so it may have been what is rubbish now."""
    follower = Follower(holding(batch(0, 0) + batch(1, 3)[:100] + rubbish, *SEGMENTS[1:]))
    found: list[int] = []
    with pytest.raises(LogCorrupt) as caught:
        read_all(follower, END, 1 << 20, found)
    assert (found, caught.value.seq, caught.value.offset) == ([0], 1, len(batch(0, 0)))


def test_a_segment_beyond_the_durable_end_is_not_looked_at():
    follower = Follower(holding(batch(0, 1) + b"garbage", batch(2, 2)))
    with pytest.raises(LogCorrupt):
        all_seqs(follower, End(3, FIRST, len(batch(0, 1)) + 7), 1 << 20)


def test_what_is_told_names_the_event_that_is_damaged_and_calls_no_other_bytes_an_event():
    damaged = bytearray(SEGMENTS[1])
    damaged[100] ^= 1
    with pytest.raises(LogCorrupt, match=r"Event 4 \(segment 2026-01-05.0001.jsonl, byte 0\) does not match its hash"):
        all_seqs(Follower(holding(SEGMENTS[0] + b"garbage", bytes(damaged), SEGMENTS[2])), END, 1 << 20)
    place = rf"\(segment 2026-01-05.0000.jsonl, byte {len(SEGMENTS[0])}\)"
    with pytest.raises(LogCorrupt, match=rf"^Event 4 was not found where the log should go on {place}"):
        all_seqs(Follower(holding(SEGMENTS[0] + b"garbage", b"", SEGMENTS[2])), END, 1 << 20)


def test_an_end_that_cannot_be_reached_is_damage_and_not_waited_for():
    follower = Follower(holding(*SEGMENTS), End(3, END.segment, END.offset))
    with pytest.raises(LogCorrupt):
        follower.read(END)


def test_a_log_without_any_segment_where_events_should_be_is_damage():
    with pytest.raises(LogCorrupt) as caught:
        Follower(holding()).read(END)
    assert (caught.value.seq, caught.value.segment) == (0, "")


def test_a_newest_segment_shorter_than_its_durable_end_is_damage():
    with pytest.raises(LogCorrupt):
        all_seqs(Follower(holding(SEGMENTS[0])), End(9, FIRST, len(SEGMENTS[0]) + 100), 1 << 20)


@pytest.mark.parametrize("left", [b"", b"\0" * 50, batch(9, 10)[:-1], b"x"])
def test_the_end_of_the_last_whole_batch_is_found_without_an_index(left):
    assert last_whole_batch(holding(*SEGMENTS), 0) == END
    assert last_whole_batch(holding(*SEGMENTS[:2], SEGMENTS[2] + left), 0) == END
    assert last_whole_batch(holding(*SEGMENTS, left), 0) == END
    assert last_whole_batch(holding(left), 0) == End()
    assert last_whole_batch(holding(), 0) == End()


class _BeingWritten(MemoryDisk):
    """A disk whose newest segment goes on being written between one read and the next."""

    def __init__(self, stages: list[bytes]) -> None:
        super().__init__()
        self.make_folder("log/segments")
        self.create(segment_path(FIRST))
        self._stages = stages

    def read(self, path: str, offset: int, length: int) -> bytes:
        if offset == 0 and length > 64 and self._stages:
            self.write(path, 0, self._stages.pop(0))
            data = super().read(path, offset, length)
            if self._stages:
                self.write(path, 0, self._stages.pop(0))
            return data
        return super().read(path, offset, length)


def test_a_frame_that_is_being_written_while_it_is_read_is_not_taken_for_damage():
    half, whole = batch(0, 3) + batch(4, 4)[:-20], batch(0, 3) + batch(4, 4) + batch(5, 6)
    ahead = half + bytes(500)
    disk = _BeingWritten([ahead, whole])
    disk.write(segment_path(FIRST), 0, ahead)
    assert last_whole_batch(disk, 0) == End(7, FIRST, len(whole))


def test_damage_before_the_last_whole_batch_is_told():
    data = bytearray(batch(0, 3) + batch(4, 4) + batch(5, 6))
    data[len(batch(0, 3)) + 90] ^= 1
    with pytest.raises(LogDamaged) as caught:
        last_whole_batch(holding(bytes(data)), 0)
    assert caught.value.seq == 4


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


ONLY, NEWEST = batch(0, 3), SEGMENTS[2]
SECOND_LINE = ONLY.index(b"\n") + 1
CLAIMS_EARLIER = batch(8, 8).replace(b'"first":8', b'"first":7')


@pytest.mark.parametrize(
    ("segments", "signed", "seq", "number", "offset"),
    [
        pytest.param((changed(ONLY, SECOND_LINE + 99),), 4, 1, FIRST, SECOND_LINE, id="in the only batch"),
        pytest.param((*SEGMENTS[:2], NEWEST[:-9]), 9, 8, FIRST + 2, len(batch(5, 7)), id="the last one is cut"),
        pytest.param((*SEGMENTS[:2], changed(batch(5, 7), 99)), 8, 5, FIRST + 2, 0, id="a segment begins with it"),
        pytest.param((*SEGMENTS[:2], changed(batch(5, 7), 3)), 8, 5, FIRST + 2, 0, id="no segment begins there"),
        pytest.param((*SEGMENTS[:2], b""), 9, 5, FIRST + 2, 0, id="a segment is empty"),
        pytest.param(SEGMENTS[:2], 9, 5, FIRST + 1, len(SEGMENTS[1]), id="a segment is gone"),
        pytest.param(
            (*SEGMENTS[:2], batch(5, 7) + CLAIMS_EARLIER), 9, 8, FIRST + 2, len(batch(5, 7)), id="its batch is wrong"
        ),
    ],
)
def test_a_bad_last_batch_that_was_signed_for_is_damage_and_its_first_bad_event_is_named(
    segments, signed, seq, number, offset
):
    """Unsigned, the same bytes are what a writer has not finished yet."""
    assert last_whole_batch(holding(*segments), 0).next_seq < signed
    with pytest.raises(LogDamaged, match=f"signed for {signed}") as caught:
        last_whole_batch(holding(*segments), signed)
    assert (caught.value.seq, caught.value.offset) == (seq, offset)
    assert segment_path(number).endswith(f"/{caught.value.segment}")


def test_a_signed_log_without_any_segment_is_damage():
    with pytest.raises(LogDamaged) as caught:
        last_whole_batch(holding(), 1)
    assert (caught.value.seq, caught.value.segment) == (0, "")


@pytest.mark.parametrize("signed", [0, 5, 9])
def test_what_is_written_behind_all_that_was_signed_is_never_taken_for_damage(signed):
    assert last_whole_batch(holding(*SEGMENTS[:2], NEWEST + batch(9, 10)[:-1]), signed) == END
