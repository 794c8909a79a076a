"""Stretches joined into one log: seqs and batches without gaps, times that rise, and the tree over all of it. Pure.

Where an event does not match its hash, one of the two was recorded; a signed root tells which, so that one bad
event is one, and the rest is still proven. Where events are gone nothing behind them can be, and only what can be told without the tree is.
"""

from collections.abc import Callable

from attrs import define, field

from eventlog.segment import segment_path
from eventlog.stretch import Bad, Head, Stretch
from eventlog.tiles import Edge, Tile
from eventlog.verdict import Fault


@define
class Joining:
    """The state between two stretches."""

    on_fault: Callable[[Fault, int], None]
    """Hears of each fault, and how many events it stands for."""
    on_tiles: Callable[[dict[Tile, bytes]], None]
    """Hears of the tiles that became full."""
    targets: dict[int, list[Callable[[set[bytes]], bytes | None]]]
    """By size: who says which of the possible roots there is the right one."""
    next_seq: int = 0
    is_broken: bool = False
    """Whether events are missing, so that there is no tree to go on with."""
    edge: Edge = field(factory=Edge)
    """The tree over what the frames claim."""
    _actual: Edge | None = None
    """The tree over what the events are, since they differ."""
    _before: tuple[int, Head, int] | None = None
    """Segment, last frame, and how many frames agree with it on its batch."""
    _is_unsure: bool = False
    """Whether the frame before was wrong about its batch, so that the next one is believed."""
    _last_time: bytes = b""
    _odd: tuple[int, Stretch] | None = None
    """A single frame whose seq does not fit, and its segment."""
    _unfinished: Fault | None = None
    _waiting: list[tuple[int, Bad]] = field(factory=list)
    """What was no frame since the last good one."""

    def bad(self, segment: int, bad: Bad) -> None:
        """Take what is no frame."""
        self._waiting.append((segment, bad))

    def stretch(self, segment: int, found: Stretch) -> None:
        """Take a stretch; one that does not fit is judged when what follows it is known."""
        if self._odd is not None:
            self._settle_odd(found.first.seq)
        if found.first.seq != self.next_seq and len(found.hashes) == 1:
            self._odd = (segment, found)
        else:
            self._join(segment, found)

    def end_of_segment(self, size: int | None) -> Fault | None:
        """Take the end of a segment, behind which there should be *size* events; return what is unfinished there."""
        if self._odd is not None:
            self._settle_odd(size)
        if self._before is not None and self._before[1].seq < self._before[1].last and not self._is_unsure:
            segment, head, _ = self._before
            what = f"its batch goes to event {head.last}, and the segment ends here"
            self._unfinished = Fault(what, segment_path(segment), head.offset, head.seq)
        self._is_unsure = self._before is not None
        return self._unfinished

    def _settle_odd(self, following: int | None) -> None:
        """Judge the frame before, whose seq does not fit, by the seq that *following* has."""
        assert self._odd is not None
        (segment, odd), self._odd = self._odd, None
        if following == self.next_seq + 1 and not self._waiting:
            self._fault(segment, odd.first.offset, f"it claims to be event {odd.first.seq}")
            self._is_unsure = True  # its batch is as doubtful as its seq
            self._before, self._last_time = (segment, odd.last, 1), odd.last_time
            self._grow(odd, 0)
        elif following == self.next_seq:
            self._count_waiting()
            self._fault(segment, odd.first.offset, f"event {self.next_seq} belongs here, and this is {odd.first.seq}")
        else:
            self._join(segment, odd)

    def _join(self, segment: int, found: Stretch) -> None:
        skip = self.next_seq - found.first.seq
        self._settle_unfinished(is_gap=skip < 0)
        if skip > 0:
            count = min(skip, len(found.hashes))
            self._count_waiting()
            what = f"event {self.next_seq} belongs here, and this is a second {found.first.seq}"
            self._fault(segment, found.first.offset, what, count)
            if skip >= len(found.hashes):
                return
        elif skip < 0:
            self._count_missing(segment, found)
        else:
            self._count_waiting()
        skip = max(skip, 0)
        if not skip:
            self._check_batch(segment, found)
            if found.first_time <= self._last_time:
                self._fault(segment, found.first.offset, "its time is not later than that of the event before")
        for bad in found.bad:
            if bad.seq is not None and bad.seq >= self.next_seq:
                self.on_fault(Fault(bad.reason, segment_path(segment), bad.offset, bad.seq), 1)
        self._before, self._last_time = (segment, found.last, found.last_batch), found.last_time
        self._grow(found, skip)

    def _settle_unfinished(self, *, is_gap: bool) -> None:
        """A batch that did not end with its segment is a fault of its own, unless what it lacks is missing anyway."""
        if self._unfinished is not None and not is_gap:
            self.on_fault(self._unfinished, 1)
        self._unfinished = None

    def take_waiting(self) -> list[tuple[int, Bad]]:
        """Return what was no frame at the end of all."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _grow(self, found: Stretch, skip: int) -> None:
        """Add the events of a stretch but the first *skip*, and compare the root wherever one is known."""
        claimed = [bytes.fromhex(one.decode()) for one in found.hashes]
        actual = [*claimed]
        for bad in found.bad:
            if bad.seq is not None and bad.actual is not None:
                actual[bad.seq - found.first.seq] = bad.actual
        while skip < len(claimed):
            ends = [size for size in self.targets if self.next_seq < size < self.next_seq + len(claimed) - skip]
            until = skip + min(ends) - self.next_seq if ends else len(claimed)
            if not self.is_broken:
                self._append(claimed[skip:until], actual[skip:until])
            self.next_seq += until - skip
            skip = until
            if not self.is_broken:
                self._compare()

    def _append(self, claimed: list[bytes], actual: list[bytes]) -> None:
        if claimed != actual and self._actual is None:
            self._actual = self.edge
        self.edge, full = self.edge.grown(claimed)
        if self._actual is not None:
            self._actual, full = self._actual.grown(actual)
        self.on_tiles(full)

    def _compare(self) -> None:
        edges = {edge.frontier.root: edge for edge in (self._actual, self.edge) if edge is not None}
        for judge in self.targets.get(self.next_seq, ()):
            right = judge({*edges})
            if right is None:  # nothing behind this can be proven by a root again
                self.is_broken = True
                return
            self.edge, self._actual = edges[right], None

    def _count_missing(self, segment: int, found: Stretch) -> None:
        missing = found.first.seq - self.next_seq
        waiting = self.take_waiting()
        if waiting:
            where, bad = waiting[0]
            self._fault(where, bad.offset, bad.reason, max(missing, len(waiting)))
        else:
            what = f"events {self.next_seq} to {found.first.seq - 1} are missing before this one"
            self._fault(segment, found.first.offset, what, missing)
        self.next_seq, self.is_broken = found.first.seq, True
        self._is_unsure = True

    def _count_waiting(self) -> None:
        for segment, bad in self.take_waiting():
            self._fault(segment, bad.offset, bad.reason)

    def _check_batch(self, segment: int, found: Stretch) -> None:
        """Compare the batch of a stretch's first frame with that of the frame before it."""
        here = found.first
        is_unsure, self._is_unsure = self._is_unsure, False
        if is_unsure or self._before is None:
            if (
                here.first != here.seq and (self._before is None or self._before[0] != segment)
            ) or here.last < here.seq:
                self._batch_fault(segment, here)
            return
        where, before, agreeing = self._before
        if here.continues(before):
            return
        # Of two frames that contradict each other the one is wrong that no other frame agrees with.
        is_possible = here.first <= here.seq <= here.last
        ends_well = here.last == here.seq and here.first in (here.seq, before.first)
        if is_possible and agreeing == 1 and (found.first_batch > 1 or ends_well):
            self._batch_fault(where, before)
        else:
            self._batch_fault(segment, here)

    def _batch_fault(self, segment: int, head: Head) -> None:
        what = f"it claims to be of the batch from {head.first} to {head.last}, and its neighbours deny it"
        self.on_fault(Fault(what, segment_path(segment), head.offset, head.seq), 1)
        self._is_unsure = True

    def _fault(self, segment: int, offset: int, what: str, count: int = 1) -> None:
        self.on_fault(Fault(what, segment_path(segment), offset, self.next_seq), count)
