"""What a power loss may leave of a file and of a folder.

Nothing is durable but what was synced, and nothing is lost but what was not. A write may be torn:
any sector of it may reach the disk before any other. A name leads to its old file or to its new one.
"""

import itertools
import math
import random
from collections.abc import Iterator

from attrs import Factory, define, frozen

SECTOR_BYTES = 512

# What of a change reached the disk: of its data the bytes from the first to the second, and whether its size did.
Fate = tuple[int, int, bool]
LOST = (0, 0, False)


@define(eq=False)
class Change:
    """A write of *data* at *offset* or, if it *cuts*, a truncate to that size."""

    offset: int
    data: bytes
    cuts: bool = False
    doubtful: bool = False
    settled: bool = False

    @property
    def whole(self) -> Fate:
        return (0, len(self.data), True)

    def fates(self, size_min: int) -> list[Fate]:
        """All that may have become of it, lost first and whole last, in a file of at least *size_min* bytes."""
        if self.settled or self.cuts:
            return [self.whole] if self.settled else [LOST, self.whole]
        length = len(self.data)
        tears = sorted({1, length // 2, length - 1, *range(-self.offset % SECTOR_BYTES, length, SECTOR_BYTES)})
        tears = [tear for tear in tears if 0 < tear < length]
        torn = [fate for tear in tears for fate in ((0, tear, False), (tear, length, True))]
        if self.offset + length > size_min:
            # The file may have its new size and not yet its bytes: they read as NULs.
            torn += [(0, tear, True) for tear in [0, *tears]]
        return [LOST, *torn, self.whole]

    def apply(self, content: bytearray, fate: Fate) -> None:
        start, stop, sized = fate
        if fate == LOST:
            return
        if self.cuts:
            del content[self.offset :]
        end = self.offset + (len(self.data) if sized else stop)
        content.extend(bytes(max(0, end - len(content))))
        content[self.offset + start : self.offset + stop] = self.data[start:stop]


@define(eq=False)
class CachedFile:
    """A file: what it shows *now*, what is *durable* of it, and the changes that lead from the one to the other."""

    now: bytearray = Factory(bytearray)
    durable: bytearray = Factory(bytearray)
    pending: list[Change] = Factory(list)
    mode: int = 0o644

    def change(self, change: Change) -> None:
        change.apply(self.now, change.whole)
        self.pending.append(change)

    def settle(self) -> None:
        for change in self.pending:
            change.settled = not change.doubtful
        # What follows a doubtful change waits behind it, for the order in which they apply matters.
        while self.pending and self.pending[0].settled:
            change = self.pending.pop(0)
            change.apply(self.durable, change.whole)

    def doubt(self) -> None:
        # The system may have dropped the pages that it could not write, and will not try again.
        for change in self.pending:
            change.doubtful = not change.settled

    def fates(self) -> list[list[Fate]]:
        size_min = min([len(self.durable), *(change.offset for change in self.pending if change.cuts)])
        return [change.fates(size_min) for change in self.pending]

    def after_crash(self, fates: list[Fate]) -> "CachedFile":
        content = bytearray(self.durable)
        for change, fate in zip(self.pending, fates, strict=True):
            change.apply(content, fate)
        return CachedFile(content, bytearray(content), mode=self.mode)


@define(eq=False)
class CachedFolder:
    """A folder: the names that it shows *now*, and those that are *durable*."""

    now: "dict[str, CachedFile | CachedFolder]" = Factory(dict)
    durable: "dict[str, CachedFile | CachedFolder]" = Factory(dict)

    def after_crash(self, moves: "list[tuple[Entry, ...]]", survivors: dict[CachedFile, CachedFile]) -> "CachedFolder":
        names = dict(self.durable)
        for entry in itertools.chain.from_iterable(moves):
            if entry.folder is self:
                entry.apply(names)
        left = {
            name: survivors[node] if isinstance(node, CachedFile) else node.after_crash(moves, survivors)
            for name, node in names.items()
        }
        return CachedFolder(left, dict(left))


@frozen(eq=False)
class Entry:
    """The *name* in *folder* now leads to *node*, or, without one, nowhere."""

    folder: CachedFolder
    name: str
    node: CachedFile | CachedFolder | None

    def apply(self, names: dict[str, CachedFile | CachedFolder]) -> None:
        if self.node:
            names[self.name] = self.node
        else:
            names.pop(self.name, None)


def rolls(faces: list[int], limit: int | None) -> Iterator[tuple[int, ...]]:
    """Yield a face for each die: all rolls, or *limit* different ones. Face 0 is lost, the last one kept."""
    assert limit is None or limit >= 2, "both extremes are always there"
    every = itertools.product(*map(range, faces))
    if limit is None or math.prod(faces) <= limit:
        yield from every
        return
    lost, kept = (0,) * len(faces), tuple(face - 1 for face in faces)
    singles = ((*a[:i], b[i], *a[i + 1 :]) for i in range(len(faces)) for a, b in ((kept, lost), (lost, kept)))
    chance = random.Random(0)  # noqa: S311 - a sample, not a secret
    samples = (tuple(chance.choice((0, face - 1, chance.randrange(face))) for face in faces) for _ in range(20 * limit))
    # The last unseen rolls could take the sample for ever; so, after a while, in order.
    candidates = itertools.chain([lost, kept], singles, samples, every)
    seen: set[tuple[int, ...]] = set()
    while len(seen) < limit:
        roll = next(candidates)
        if roll not in seen:
            seen.add(roll)
            yield roll
