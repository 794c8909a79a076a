"""The tiles on disk held against the tree of the events, for `verify`.

A tile is called wrong only when a signed root has told what the events are: until then either may be to blame.
"""

from contextlib import suppress

from attrs import define, field, frozen

from eventlog.claims import claimed_hashes
from eventlog.disk import Disk
from eventlog.errors import LogCorrupt
from eventlog.locate import Finder
from eventlog.tiles import ENTRIES, TILE_WIDTH, Tile, entries_of
from eventlog.tree import TILE_BYTES_MAX, tile_path
from eventlog.whole import read_whole


@frozen
class _Differing:
    """A tile on disk that is not what both the frames and their events give."""

    tile: Tile
    is_as_claimed: bool
    is_as_actual: bool


@define
class StoredTiles:
    """What differs since the last signed root."""

    _disk: Disk
    missing: int = 0
    """Full tiles that are not on disk; a server makes them again."""
    _differing: list[_Differing] = field(factory=list)

    def compare(self, claimed: dict[Tile, bytes], actual: dict[Tile, bytes]) -> None:
        """Take the tiles that became full: of what the frames claim, and of what their events are."""
        for tile, data in claimed.items():
            stored = self._stored(tile)
            if stored is None:
                self.missing += 1
            elif stored != data or stored != actual[tile]:
                self._differing.append(_Differing(tile, stored == data, stored == actual[tile]))

    def wrong(self, *, is_actual: bool) -> list[str]:
        """Return the paths of the tiles that are wrong, now that either what events are or what frames claim was signed."""
        differing, self._differing = self._differing, []
        return [tile_path(one.tile) for one in differing if not (one.is_as_actual if is_actual else one.is_as_claimed)]

    def suspects(self, size: int) -> list[int]:
        """Return the events below *size* that a bundle, which others may have forgotten to change, tells otherwise."""
        found: list[int] = []
        differing, self._differing = self._differing, []
        for tile in (one.tile for one in differing if one.tile.level == ENTRIES and not one.is_as_claimed):
            stored = entries_of(self._stored(tile) or b"")
            first = tile.number * TILE_WIDTH
            here = self._claimed(first, len(stored))
            found += [first + i for i, (a, b) in enumerate(zip(stored, here, strict=False)) if a != b]
        return [seq for seq in found if seq < size]

    def _claimed(self, first: int, count: int) -> list[bytes]:
        with suppress(LogCorrupt):
            return claimed_hashes(self._disk, Finder(self._disk).place, first, first + count)
        return []

    def _stored(self, tile: Tile) -> bytes | None:
        return read_whole(self._disk, tile_path(tile), TILE_BYTES_MAX)
