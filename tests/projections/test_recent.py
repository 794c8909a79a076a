"""What the lanes of a process share of the log: each reads the same as if it read alone."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.event import Recorded
from eventlog.follow import Follower, last_whole_batch
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from projections import recent
from projections.recent import Recent
from tests.projections.logs import append, many

READERS = 3


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> PosixDisk:
    data_dir: Path = tmp_path_factory.mktemp("log")
    told = many(60)
    for begin in range(0, len(told), 6):  # a batch each
        append(data_dir, told[begin : begin + 6])
    return PosixDisk(data_dir)


@settings(deadline=None, max_examples=60)
@given(
    turns=st.lists(st.tuples(st.integers(0, READERS - 1), st.integers(1, 30_000), st.booleans()), max_size=60),
    kept_bytes=st.sampled_from([0, 5_000, recent.BYTES_MAX]),
)
def test_every_lane_reads_each_event_once_and_in_order_whoever_goes_first(
    disk: PosixDisk, turns: list[tuple[int, int, bool]], kept_bytes: int
) -> None:
    end = last_whole_batch(disk, 0)
    alone = [(one.seq, one.hash, one.bytes, one.place) for one in Follower(disk).read(end)]  # all of it
    begins = alone[30]  # a batch does
    middle = End(begins[0], begins[3].segment, begins[3].offset)
    shared, followers = Recent(READERS, bytes_max=kept_bytes), [Follower(disk) for _ in range(READERS)]
    read: list[list[tuple[object, ...]]] = [[] for _ in range(READERS)]

    def step(reader: int, bytes_max: int, goal: End) -> None:
        events = shared.read(followers[reader], goal, bytes_max)
        read[reader] += [(one.seq, one.hash, one.bytes, one.place) for one in events]
        assert followers[reader].at.next_seq == len(read[reader]) <= goal.next_seq

    for reader, bytes_max, is_early in turns:
        goal = middle if is_early else end
        if followers[reader].at.next_seq < goal.next_seq:
            step(reader, bytes_max, goal)
    for reader in range(READERS):
        while followers[reader].at.next_seq < end.next_seq:
            step(reader, 1 << 20, end)
    assert all(each == alone for each in read)


def test_what_all_lanes_have_read_is_let_go_and_one_that_stands_still_cannot_make_it_grow(disk: PosixDisk) -> None:
    end = last_whole_batch(disk, 0)
    shared = Recent(2, bytes_max=20_000)
    first, second = Follower(disk), Follower(disk)
    while first.at.next_seq < end.next_seq:
        shared.read(first, end, 4_000)
        assert shared.size <= 20_000
    assert shared.size > 0
    while second.at.next_seq < end.next_seq:
        shared.read(second, end, 4_000)
    shared = Recent(2)
    first, second = Follower(disk), Follower(disk)
    events = shared.read(first, end, 1 << 20)
    assert shared.read(second, end, 1 << 20) is events, "it was read and parsed once"
    assert shared.size == 0


def test_of_what_is_older_the_bytes_alone_are_kept_and_who_lags_still_reads_the_same(disk: PosixDisk) -> None:
    end = last_whole_batch(disk, 0)
    shared = Recent(2, parsed_bytes_max=20_000)
    first, second = Follower(disk), Follower(disk)
    ahead = []
    while first.at.next_seq < end.next_seq:
        part = shared.read(first, end, 4_000)
        ahead += [(one, one.event) for one in part]
    is_parsed = [one._parsed is not None for one, _ in ahead]
    assert is_parsed == sorted(is_parsed), "the newest ones"
    parsed_bytes = sum(one.place.length for (one, _), kept in zip(ahead, is_parsed, strict=True) if kept)
    assert 0 < parsed_bytes <= 20_000 < shared.size
    behind: list[Recorded] = []
    while second.at.next_seq < end.next_seq:
        behind += shared.read(second, end, 4_000)
    assert [one for one, _ in ahead] == behind
    assert all(one is other for (one, _), other in zip(ahead, behind, strict=True))
    assert [event for _, event in ahead] == [one.event for one in behind]


def test_what_one_reads_again_far_behind_is_not_kept_for_the_others(disk: PosixDisk) -> None:
    end = last_whole_batch(disk, 0)
    shared = Recent(2)
    ahead = Follower(disk)
    while ahead.at.next_seq < end.next_seq:
        shared.read(ahead, end, 4_000)
    kept = shared.size
    again = Follower(disk, End())
    shared.read(again, end, 4_000)
    assert shared.size < kept, "the second one to read it"
    kept = shared.size
    anew = Follower(disk, End())
    shared.read(anew, end, 4_000)
    assert shared.size == kept
