"""Tiles and entry bundles: the tree cut into files of up to 256 hashes. Paths and bytes of c2sp.org/tlog-tiles. Pure.

A tile of level L holds whole nodes of tree level 8 x L, side by side; a bundle holds the entries
themselves. Full ones never change, whatever is added; partial ones are their beginnings.
"""

import re
from collections.abc import Iterator, Sequence

from attrs import frozen

from eventlog.merkle import HASH_BYTES, Frontier, leaf_hash, parents

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES
LEVEL_MAX = 63
ENTRIES = -1
"""Stands for the level in a bundle's name."""

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5})([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_ENTRY_LENGTH = HASH_BYTES.to_bytes(2, "big")


@frozen
class Tile:
    """Which tile: its level (ENTRIES for a bundle), its number in the level, how many hashes it holds."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path under the log's, `tile/0/x001/234/067.p/5`."""
        thousands, last = divmod(self.number, 1000)
        groups = [f"{last:03d}"]
        while thousands:
            thousands, group = divmod(thousands, 1000)
            groups.insert(0, f"x{group:03d}")
        level = "entries" if self.level == ENTRIES else self.level
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"

    @classmethod
    def parse(cls, path: str) -> "Tile | None":
        """Return the tile of *path*; None if no tile is spelt so."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        level, thousands, last, width = found.groups()
        number = int(thousands.replace("x", "").replace("/", "") + last)
        tile = cls(ENTRIES if level == "entries" else int(level), number, int(width or TILE_WIDTH))
        # Written back, so that x000/ in front, or a full tile called partial, is no second spelling.
        return tile if tile.path == path and tile.level <= LEVEL_MAX and tile.width <= TILE_WIDTH else None

    def is_in(self, size: int) -> bool:
        """Tell whether a tree of *size* entries has all its hashes."""
        return self.number * TILE_WIDTH + self.width <= nodes_in(self.level, size)


def nodes_in(level: int, size: int) -> int:
    """Return how many hashes all the tiles of *level* hold together, in a tree of *size* entries."""
    return size if level == ENTRIES else size >> (TILE_HEIGHT * level)


def levels_in(size: int) -> list[int]:
    """Return the levels of the tree that have any tile; the bundles are not among them."""
    return [*range((size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT)]


def full_tiles(old: int, size: int) -> Iterator[Tile]:
    """Yield the tiles that became full while a tree grew from *old* to *size* entries."""
    for level in (ENTRIES, *levels_in(size)):
        for number in range(nodes_in(level, old) // TILE_WIDTH, nodes_in(level, size) // TILE_WIDTH):
            yield Tile(level, number)


def bundle_bytes(entries: Sequence[bytes]) -> bytes:
    """Return the bytes of a bundle of *entries*, 32 bytes each: each with its length before it."""
    return b"".join(_ENTRY_LENGTH + entry for entry in entries)


def entries_of(bundle: bytes) -> list[bytes]:
    """Return the entries of a *bundle*; none if it is not one of 32-byte entries."""
    step = len(_ENTRY_LENGTH) + HASH_BYTES
    entries = [bundle[i + len(_ENTRY_LENGTH) : i + step] for i in range(0, len(bundle), step)]
    return entries if len(bundle) % step == 0 and bundle_bytes(entries) == bundle else []


def hashes_of(data: bytes) -> list[bytes]:
    """Return the hashes that stand side by side in *data*."""
    return [data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)]


def pyramid(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the whole nodes over up to 256 *hashes* of a tile, level by level, the hashes themselves first."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        levels.append(parents(levels[-1]))
    return levels


@frozen
class Edge:
    """The right edge of a tree: its frontier, and what the tiles hold that are not full yet.

    It is a value: whoever holds one may read it while the tree grows.
    """

    frontier: Frontier = Frontier()
    entries: bytes = b""
    partial: tuple[bytes, ...] = ()
    """For each level the hashes behind the last full tile, side by side."""

    @property
    def size(self) -> int:
        """How many entries the tree has."""
        return self.frontier.size

    def grown(self, entries: Sequence[bytes]) -> tuple["Edge", dict[Tile, bytes]]:
        """Return the tree with *entries* added, and the bytes of each tile and bundle that became full."""
        frontier, whole = self.frontier.grown([leaf_hash(entry) for entry in entries])
        bundles, rest = _cut(ENTRIES, self.size, self.entries + b"".join(entries))
        full = {tile: bundle_bytes(hashes_of(hashes)) for tile, hashes in bundles.items()}
        partial = [*self.partial]
        for level, nodes in enumerate(whole[::TILE_HEIGHT]):
            before = partial.pop(level) if level < len(partial) else b""
            tiles, left = _cut(level, self.size, before + b"".join(nodes))
            full |= tiles
            partial.insert(level, left)
        return Edge(frontier, rest, tuple(partial)), full


def _cut(level: int, size: int, hashes: bytes) -> tuple[dict[Tile, bytes], bytes]:
    """Part what comes behind the full tiles of a tree of *size* entries into full tiles and the rest."""
    number, end = nodes_in(level, size) // TILE_WIDTH, len(hashes) - len(hashes) % TILE_BYTES
    parts = [hashes[i : i + TILE_BYTES] for i in range(0, end, TILE_BYTES)]
    return {Tile(level, number + i): part for i, part in enumerate(parts)}, hashes[end:]
