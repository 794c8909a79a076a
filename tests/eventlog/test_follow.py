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
    assert last_whole_batch(holding(*SEGMENTS)) == END
    assert last_whole_batch(holding(*SEGMENTS[:2], SEGMENTS[2] + left)) == END
    assert last_whole_batch(holding(*SEGMENTS, left)) == END
    assert last_whole_batch(holding(left)) == End()
    assert last_whole_batch(holding()) == End()


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
    assert last_whole_batch(disk) == End(7, FIRST, len(whole))


def test_damage_before_the_last_whole_batch_is_told():
    data = bytearray(batch(0, 3) + batch(4, 4) + batch(5, 6))
    data[len(batch(0, 3)) + 90] ^= 1
    with pytest.raises(LogDamaged) as caught:
        last_whole_batch(holding(bytes(data)))
    assert caught.value.seq == 4
