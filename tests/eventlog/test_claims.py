"""What the frames claim: read without their events, over pieces and segments, and refused where it cannot be."""

from functools import partial
from hashlib import sha256

import pytest

from eventlog.batch import Stream
from eventlog.claims import claimed_hashes
from eventlog.errors import LogCorrupt
from eventlog.event import Origin, Place
from eventlog.frame import encode
from eventlog.index import Index
from eventlog.log import Log
from eventlog.memory import MemoryDisk
from eventlog.merkle import EMPTY_ROOT, Frontier, leaf_hash, verify_inclusion
from eventlog.posix import PosixDisk
from eventlog.segment import SEGMENTS, segment_path
from eventlog.tree import Tree

FIRST_DAY, SECOND_DAY = 202601050000, 202601060000


def event(seq: int, size: int = 10) -> bytes:
    return b'{"data":{"n":%d,"text":"%b"}}' % (seq, b"x" * size)


class Segments:
    """Segments in memory, and where each event lies."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.disk.make_folder(SEGMENTS)
        self.places: list[Place] = []

    def add(self, segment: int, count: int, size: int = 10) -> None:
        path = segment_path(segment)
        if self.disk.size(path) is None:
            self.disk.create(path)
        for _ in range(count):
            seq, offset = len(self.places), self.disk.size(path) or 0
            _, line = encode(seq, seq, seq, event(seq, size))
            self.disk.write(path, offset, line)
            self.places.append(Place(segment, offset, len(line)))

    def claimed(self, first: int, end: int) -> list[bytes]:
        return claimed_hashes(self.disk, self.places.__getitem__, first, end)

    def overwrite(self, seq: int, offset: int, data: bytes) -> None:
        self.disk.write(segment_path(self.places[seq].segment), self.places[seq].offset + offset, data)


@pytest.fixture
def segments():
    segments = Segments()
    segments.add(FIRST_DAY, 20)
    segments.add(SECOND_DAY, 20)
    return segments


def test_the_hashes_of_any_range_are_those_of_the_events_also_over_two_segments(segments):
    expected = [sha256(event(seq)).digest() for seq in range(40)]
    for first, end in ((0, 40), (0, 0), (40, 40), (3, 4), (19, 21), (20, 40), (5, 20)):
        assert segments.claimed(first, end) == expected[first:end]


def test_events_longer_than_what_is_read_at_once_are_no_hindrance(monkeypatch):
    segments = Segments()
    segments.add(FIRST_DAY, 30, size=700)
    expected = [sha256(event(seq, 700)).digest() for seq in range(30)]
    for read_bytes in (200, 800, 1700, 1750, 5000):
        monkeypatch.setattr("eventlog.claims._READ_BYTES", read_bytes)
        assert segments.claimed(0, 30) == expected


def test_an_event_whose_bytes_rotted_keeps_the_hash_that_was_recorded(segments):
    segments.overwrite(7, segments.places[7].length - 6, b"?")
    assert segments.claimed(0, 40)[7] == sha256(event(7)).digest()


@pytest.mark.parametrize(("offset", "wrong"), [(0, b"?"), (7, b"9"), (40, b"?"), (3, b"\n")])
def test_a_frame_that_does_not_tell_its_hash_is_named(segments, offset, wrong):
    segments.overwrite(7, offset, wrong)
    with pytest.raises(LogCorrupt) as refused:
        segments.claimed(0, 40)
    assert (refused.value.seq, refused.value.segment) == (7, "2026-01-05.0000.jsonl")
    assert refused.value.offset == segments.places[7].offset


def test_a_segment_that_is_gone_or_too_short_is_named(segments):
    segments.disk.truncate(segment_path(SECOND_DAY), segments.places[30].offset)
    with pytest.raises(LogCorrupt) as refused:
        segments.claimed(0, 40)
    assert refused.value.seq == 30
    segments.disk.remove(segment_path(SECOND_DAY))
    with pytest.raises(LogCorrupt) as refused:
        segments.claimed(0, 40)
    assert refused.value.seq == 20


async def test_a_tree_opens_over_a_log_as_the_log_left_it(tmp_path):
    log = Log.open(tmp_path)
    drafts = [log.draft("test", "run", {"n": n}, Origin("press")) for n in range(600)]
    recorded = (await log.append(drafts, Stream.ABSENT, Origin("press"))).events
    log_id = log.identity.log_id
    await log.close()
    disk, index = PosixDisk(tmp_path), Index(tmp_path / "index.sqlite", log_id)
    tree = Tree.open(disk, 600, partial(claimed_hashes, disk, index.place), 0, EMPTY_ROOT)
    index.close()
    disk.close()
    leaves = [leaf_hash(bytes.fromhex(event.hash)) for event in recorded]
    assert tree.root() == Frontier().grown(leaves)[0].root
    verify_inclusion(leaves[599], 599, 600, tree.inclusion_proof(599, 600), tree.root())
