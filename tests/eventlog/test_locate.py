"""An event is found without an index, by reading little."""

import pytest

from eventlog.errors import LogCorrupt
from eventlog.locate import Finder
from eventlog.posix import PosixDisk
from eventlog.segment import segment_path
from tests.eventlog.logs import opened
from tests.eventlog.verified import add, places, rewrite, segments


async def test_every_event_is_found_without_an_index(made):
    disk = PosixDisk(made)
    finder = Finder(disk)
    for seq, (path, offset, length) in enumerate(places(made)):
        place = finder.place(seq)
        assert (made / segment_path(place.segment), place.offset, place.length) == (path, offset, length)
    disk.close()


async def test_an_event_is_found_by_halving_a_segment_of_many(tmp_path, monkeypatch):
    monkeypatch.setattr("eventlog.locate._READ_BYTES", 1000)
    async with opened(tmp_path) as log:
        await add(log, "a", 300)
    disk = PosixDisk(tmp_path)
    finder = Finder(disk)
    for seq, (_, offset, length) in enumerate(places(tmp_path)):
        place = finder.place(seq)
        assert (place.offset, place.length) == (offset, length)
    disk.close()


async def test_a_frame_that_claims_nonsense_hides_no_other_and_its_place_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("eventlog.locate._READ_BYTES", 2000)
    async with opened(tmp_path) as log:
        await add(log, "a", 30)
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(True)
    disk = PosixDisk(tmp_path)
    for wrong in range(1, 30):
        for claimed in (0, wrong - 1, 9995):
            changed = lines[wrong].replace(b'"seq":%d,' % wrong, b'"seq":%d,' % claimed)
            rewrite(path, b"".join([*lines[:wrong], changed, *lines[wrong + 1 :]]))
            finder, found = Finder(disk), places(tmp_path)
            assert all(finder.place(seq).offset == found[seq][1] for seq in range(wrong + 1, 30)), (wrong, claimed)
            with pytest.raises(LogCorrupt) as missing:
                finder.place(wrong)
            assert (missing.value.seq, missing.value.offset) == (wrong, found[wrong][1]), claimed
    disk.close()


async def test_what_a_segment_lacks_at_its_beginning_or_end_is_told_there(made):
    disk = PosixDisk(made)
    found, paths = places(made), segments(made)
    first = [path for path, _, _ in found].index(paths[1])
    for path in paths:
        lines = path.read_bytes().splitlines(True)
        rewrite(path, b"".join([b"x" * len(lines[0][1:]) + b"\n", *lines[1:]] if path == paths[1] else lines[:-1]))
    for seq, place in ((first - 1, (paths[1].name, 0)), (len(found) - 1, (paths[2].name, found[-1][1]))):
        with pytest.raises(LogCorrupt) as missing:
            Finder(disk).place(seq)
        assert (missing.value.seq, missing.value.segment, missing.value.offset) == (seq, *place)
    assert Finder(disk).place(first + 1).offset == found[first + 1][1]
    disk.close()
