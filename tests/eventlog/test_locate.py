"""An event is found without an index, by reading little."""

from eventlog.locate import Finder
from eventlog.posix import PosixDisk
from eventlog.segment import segment_path
from tests.eventlog.logs import opened
from tests.eventlog.verified import add, places


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
