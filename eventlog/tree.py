"""The tree over the log's events: grown with each batch, its full tiles on disk, proofs from both.

The tiles are derived. One that is there is whole, and none is believed but against the root: each
is checked by its parent's hash, up to the right edge, and that by the signed checkpoint. One that
is missing or wrong is made again from the log. So no proof that this gives out can fail.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from attrs import frozen

from eventlog.disk import Disk
from eventlog.errors import EventLogError, LogCorrupt, LogDamaged
from eventlog.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, peak_nodes, root_of
from eventlog.tiles import (
    ENTRIES,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Edge,
    Tile,
    bundle_bytes,
    entries_of,
    full_tiles,
    hashes_of,
    levels_in,
    nodes_in,
    pyramid,
)
from eventlog.whole import replace_whole

FOLDER = "log/tiles"
UNSAVED_TILES_MAX = 2048
"""About 16 MiB. Beyond, tiles are left out until `missing` names them."""

TILE_BYTES_MAX = 1 << 14
"""More than any tile or bundle has, so that one which is too long is seen to be."""

_PYRAMIDS_MAX = 64

EventHashes = Callable[[int, int], list[bytes]]
"""(first, end) -> the 32-byte hashes of the events from *first* to before *end*, as the log has them."""


@frozen
class TreeDamaged(EventLogError):
    """The events of a tile do not lead to the root that was signed."""

    code: ClassVar[str] = "TREE_DAMAGED"
    tile: str

    @property
    def first_seq(self) -> int:
        """The first event under it."""
        tile = Tile.parse(self.tile)
        return tile.number * TILE_WIDTH ** (max(tile.level, 0) + 1) if tile else 0

    @property
    def message(self) -> str:
        return (
            f"The events under {self.tile} do not lead to the signed root, so no proof over them is given out. "
            "Run `runlog log verify` to find the event, then restore its segment from a backup."
        )


class Tree:
    """The tree of one log. Its methods belong to one thread; `save` and `missing` may run on one other."""

    def __init__(self, disk: Disk, event_hashes: EventHashes) -> None:
        """Use `Tree.open`, or start an empty one."""
        self._disk, self._event_hashes = disk, event_hashes
        self._edge = Edge()
        self._unsaved: dict[Tile, bytes] = {}
        self._pyramids: OrderedDict[Tile, list[list[bytes]]] = OrderedDict()
        self._doubtful: set[Tile] = set()
        """Tiles to be written anew: what lies on disk was not covered by the signed root, or proved wrong."""
        self.incomplete = True
        """Whether tiles may be missing from the disk that are not about to be saved."""

    @classmethod
    def open(cls, disk: Disk, size: int, event_hashes: EventHashes, signed_size: int, signed_root: bytes) -> "Tree":
        """Return the tree of the log's first *size* events, at the cost of its right edge.

        Raises:
            LogDamaged: the events do not lead to the root that was signed; nothing was changed. Its seq is the first
                one that may be another, and its segment empty.

        """
        if size < signed_size:
            raise LogDamaged(f"it holds {size} events, and {signed_size} were signed")
        tree = cls(disk, event_hashes)
        try:
            # A tile over events that were not signed may be of a log that was since replaced by its backup.
            for believed in (signed_size, 0):
                tree._start(size, believed)
                if tree._leads_to(signed_root, signed_size):
                    return tree
            first = tree._first_doubtful(signed_size)
        except LogCorrupt as error:
            raise LogDamaged("an event's hash cannot be read", error.segment, error.offset, error.seq) from None
        what = f"the events do not lead to the root of the checkpoint of size {signed_size}, from {first} on"
        raise LogDamaged(what, seq=first)

    @property
    def size(self) -> int:
        """How many events the tree has."""
        return self._edge.size

    @property
    def unsaved(self) -> int:
        """How many full tiles wait for `save`."""
        return len(self._unsaved)

    def append(self, event_hashes: Sequence[bytes]) -> None:
        """Add the 32-byte hashes of durable events, in order; about 1.5 µs each, many at once."""
        self._edge, full = self._edge.grown(event_hashes)
        for tile, data in full.items():
            self._keep(tile, data)

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first *size* events, by default of all."""
        return self._edge.frontier.root if size in (None, self.size) else root_of(size or 0, self._node)

    def inclusion_proof(self, seq: int, size: int) -> list[bytes]:
        """Return the proof that event *seq* is in the tree of *size* events.

        Raises:
            TreeDamaged, LogCorrupt: a tile is lost, and the log cannot make it again.

        """
        return inclusion_proof(seq, size, self._node)

    def consistency_proof(self, old: int, size: int) -> list[bytes]:
        """Return the proof that the tree of *old* events is the beginning of that of *size*; errors as above."""
        return consistency_proof(old, size, self._node)

    def tile(self, tile: Tile) -> bytes | None:
        """Return the bytes of *tile*, full or partial; None if it holds more than the tree. Errors as above."""
        if not tile.is_in(self.size):
            return None
        is_full = tile.number < nodes_in(tile.level, self.size) // TILE_WIDTH
        if tile.level == ENTRIES:
            entries = self._bundle(tile.number) if is_full else hashes_of(self._edge.entries)
            return bundle_bytes(entries[: tile.width])
        hashes = self._pyramid(tile.level, tile.number)[0] if is_full else hashes_of(self._edge.partial[tile.level])
        return b"".join(hashes[: tile.width])

    def save(self) -> None:
        """Write the full tiles that wait, durably.

        Raises:
            OSError: some were not written; call it again later.

        """
        tiles = dict(self._unsaved)
        folders = {tile_path(tile).rpartition("/")[0] for tile in tiles}
        for folder in sorted(folders):
            self._disk.make_folder(folder)
        for tile, data in tiles.items():
            replace_whole(self._disk, tile_path(tile), data)
        for folder in sorted(folders):
            self._disk.sync_folder(folder)
        for tile in tiles:
            self._unsaved.pop(tile, None)
            self._doubtful.discard(tile)

    def missing(self) -> Iterator[Tile]:
        """Yield the full tiles that neither wait nor lie on disk, or lie there in doubt."""
        folder, names = "", frozenset[str]()
        for tile in full_tiles(0, self.size):
            there, _, name = tile_path(tile).rpartition("/")
            if there != folder:
                folder, names = there, frozenset(self._disk.names(there))
            if (name not in names or tile in self._doubtful) and tile not in self._unsaved:
                yield tile

    def restore(self, tile: Tile) -> None:
        """Make a full *tile* again, to be saved; a level-0 tile or a bundle costs 256 frames. Errors as above."""
        data = self.tile(tile)
        assert data is not None, "a full tile of this tree"
        self._keep(tile, data)

    def _start(self, size: int, believed: int) -> None:
        """Find the right edge: in each level the hashes behind the last full tile."""
        self._pyramids.clear()
        self._unsaved.clear()
        self._doubtful = {*full_tiles(believed, size)}
        entries = self._event_hashes(size - size % TILE_WIDTH, size)
        partial = [b"".join(map(leaf_hash, entries))] if size else []
        for level in levels_in(size)[1:]:
            count = nodes_in(level, size)
            below = range(count - count % TILE_WIDTH, count)
            partial.append(b"".join(self._tile_root(level - 1, number, believed) for number in below))
        self._edge = Edge(Frontier(size), b"".join(entries), tuple(partial))
        peaks = tuple(self._node(level, index) for level, index in peak_nodes(size))
        self._edge = Edge(Frontier(size, peaks), b"".join(entries), tuple(partial))

    def _leads_to(self, root: bytes, size: int) -> bool:
        try:
            return self.root(size) == root
        except TreeDamaged:  # wrong tiles of which the edge was made contradict one another
            return False

    def _first_doubtful(self, size: int) -> int:
        """Return the first event that a stored tile tells otherwise, or the first of those behind the last full tile."""
        full = nodes_in(0, size) // TILE_WIDTH
        for number in range(full):
            first = number * TILE_WIDTH
            leaves = map(leaf_hash, self._event_hashes(first, first + TILE_WIDTH))
            for seq, (stored, leaf) in enumerate(zip(self._stored(Tile(0, number)), leaves, strict=False), first):
                if stored != leaf:
                    return seq
        return min(full * TILE_WIDTH, size - 1)

    def _node(self, level: int, index: int) -> bytes:
        """Return the hash of a whole node, from the tile in which it lies."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        number, at = divmod(index << height, TILE_WIDTH)
        if number < nodes_in(tile_level, self.size) // TILE_WIDTH:
            return self._pyramid(tile_level, number)[height][at >> height]
        hashes = hashes_of(self._edge.partial[tile_level])
        return pyramid(hashes[at : at + (1 << height)])[-1][0]

    def _pyramid(self, level: int, number: int) -> list[list[bytes]]:
        """Return all whole nodes over a full tile that leads to its parent's hash."""
        tile = Tile(level, number)
        if (known := self._pyramids.get(tile)) is not None:
            self._pyramids.move_to_end(tile)
            return known
        nodes = self._pyramids[tile] = self._checked(tile, self._node((level + 1) * TILE_HEIGHT, number))
        if len(self._pyramids) > _PYRAMIDS_MAX:
            self._pyramids.popitem(last=False)
        return nodes

    def _checked(self, tile: Tile, root: bytes) -> list[list[bytes]]:
        """Return the pyramid of a full tile that leads to *root*; one that had to be made again is to be saved."""
        if (stored := self._stored(tile)) and (nodes := pyramid(stored))[-1][0] == root:
            return nodes
        for believed in (self.size, 0):
            nodes = pyramid(self._made(tile.level, tile.number, believed))
            if nodes[-1][0] == root:
                self._keep(tile, b"".join(nodes[0]))
                return nodes
        raise TreeDamaged(tile.path)

    def _bundle(self, number: int) -> list[bytes]:
        """Return the entries of a full bundle; its tile says whether they are the right ones."""
        tile, leaves = Tile(ENTRIES, number), self._pyramid(0, number)[0]
        stored = self._stored(tile)
        if [*map(leaf_hash, stored)] == leaves:
            return stored
        entries = self._event_hashes(number * TILE_WIDTH, (number + 1) * TILE_WIDTH)
        if [*map(leaf_hash, entries)] != leaves:
            raise TreeDamaged(tile.path)
        self._keep(tile, bundle_bytes(entries))
        return entries

    def _made(self, level: int, number: int, believed: int) -> list[bytes]:
        """Return the hashes of a full tile from what lies below it: stored tiles up to *believed* events, else the log."""
        first, end = number * TILE_WIDTH, (number + 1) * TILE_WIDTH
        if level == 0:
            return [leaf_hash(entry) for entry in self._event_hashes(first, end)]
        return [self._tile_root(level - 1, below, believed) for below in range(first, end)]

    def _tile_root(self, level: int, number: int, believed: int) -> bytes:
        tile = Tile(level, number)
        stored = self._stored(tile) if tile.is_in(believed) else []
        return pyramid(stored or self._made(level, number, believed))[-1][0]

    def _stored(self, tile: Tile) -> list[bytes]:
        """Return the hashes or entries of a full tile, not checked yet; none if it is not there whole."""
        data = self._unsaved.get(tile)
        if data is None:
            try:
                data = self._disk.read(tile_path(tile), 0, TILE_BYTES_MAX)
            except OSError:  # lost, or the disk fails it: either way the log has what it takes
                data = b""
        if tile.level == ENTRIES:
            return entries_of(data)
        return hashes_of(data) if len(data) == TILE_BYTES else []

    def _keep(self, tile: Tile, data: bytes) -> None:
        if len(self._unsaved) < UNSAVED_TILES_MAX:
            self._unsaved[tile] = data
        else:
            self.incomplete = True


def tile_path(tile: Tile) -> str:
    """Return the path of a full tile under the data directory."""
    return f"{FOLDER}/{tile.path.removeprefix('tile/')}"
