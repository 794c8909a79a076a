"""Stretches joined into one log: seqs and batches without gaps, times that rise, and the tree over all of it. Pure.

Where an event does not match its hash, one of the two was recorded; a signed root tells which, so that one bad
event is one, and the rest is still proven. Where events are gone nothing behind them can be, and only what can be told without the tree is.
"""

from collections.abc import Callable

from attrs import define, field, frozen

from eventlog.clock import time_us
from eventlog.segment import segment_path
from eventlog.stretch import Bad, Head, Stretch
from eventlog.tiles import Edge, Tile
from eventlog.verdict import Fault

Judge = Callable[[bytes, bytes], bytes | None]
"""(root of what the frames claim, root of what the events are) -> the one that was signed; None if neither."""


@frozen
class _Split:
    """Two frames that stand alone with what each says of their batch; the one that follows tells which is wrong."""

    before: tuple[int, Head]
    """With its segment."""
    here: tuple[int, Head]
    is_at_once: bool
    """Whether their times are those of one batch."""

    def is_before_wrong(self, following: Head | None) -> bool:
        """Tell whether it is the first of the two, when *following* comes next; None stands for a new batch or the end."""
        before, here = self.before[1], self.here[1]
        if following is not None and following.first != following.seq:
            return (following.first, following.last) == (here.first, here.last)
        if here.last != here.seq or before.last > here.seq:
            return here.last == here.seq
        return self.is_at_once == (before.last <= before.seq)


@define
class Joining:
    """The state between two stretches."""

    on_fault: Callable[[Fault, int], None]
    """Hears of each fault, and how many events it stands for."""
    on_tiles: Callable[[dict[Tile, bytes], dict[Tile, bytes]], None]
    """Hears of the tiles that became full: those of what the frames claim, and those of what the events are."""
    targets: dict[int, list[Judge]]
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
    _split: _Split | None = None
    _segment_first: int = 0
    """Where the segment begins, as far as is known: no batch begins before."""
    _last_time: bytes = b""
    _odd: tuple[int, Stretch] | None = None
    """A single frame whose seq does not fit, and its segment."""
    _doubts: list[Fault] = field(factory=list)
    """What is wrong at the end of a segment, unless events are missing there anyway."""
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

    def end_of_segment(self, size: int | None) -> None:
        """Take the end of a segment, behind which there should be *size* events."""
        if self._odd is not None:
            self._settle_odd(size)
        self._settle_split(None)
        if self._before is not None and self._before[1].seq < self._before[1].last and not self._is_unsure:
            segment, head, _ = self._before
            what = f"its batch goes to event {head.last}, and the segment ends here"
            self._doubts.append(Fault(what, segment_path(segment), head.offset, head.seq))
        self._is_unsure = self._before is not None
        self._segment_first = self.next_seq

    def _settle_odd(self, following: int | None) -> None:
        """Judge the frame before, whose seq does not fit, by the seq that *following* has."""
        assert self._odd is not None
        (segment, odd), self._odd = self._odd, None
        if following == self.next_seq + 1 and not self._waiting:
            self._fault(segment, odd.first.offset, f"it claims to be event {odd.first.seq}")
            self._is_unsure = True  # its batch is as doubtful as its seq
            self._before, self._last_time = (segment, odd.last, 1), odd.last_time or self._last_time
            self._grow(odd, 0)
        elif following == self.next_seq:
            self._count_waiting()
            self._fault(segment, odd.first.offset, f"event {self.next_seq} belongs here, and this is {odd.first.seq}")
        else:
            self._join(segment, odd)

    def _join(self, segment: int, found: Stretch) -> None:
        skip = self.next_seq - found.first.seq
        for doubt in self.take_doubts():
            if skip >= 0:
                self.on_fault(doubt, 1)
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
            if found.first_time and found.first_time <= self._last_time:
                self._fault(segment, found.first.offset, "its time is not later than that of the event before")
        for bad in found.bad:
            if bad.seq is not None and bad.seq >= self.next_seq:
                self.on_fault(Fault(bad.reason, segment_path(segment), bad.offset, bad.seq), 1)
        self._before = (segment, found.last, self._agreeing(segment, found))
        self._last_time = found.last_time or self._last_time
        self._grow(found, skip)

    def _agreeing(self, segment: int, found: Stretch) -> int:
        """Return how many frames agree with the last one of a stretch, those before the stretch among them."""
        count = found.last_batch
        if self._before is None or self._before[0] != segment or count < len(found.hashes):
            return count
        _, before, agreeing = self._before
        return count + agreeing * ((before.first, before.last) == (found.last.first, found.last.last))

    def doubt(self, fault: Fault) -> None:
        """Take a *fault* at the end of a segment, which is none of its own if events turn out to be missing there."""
        self._doubts.append(fault)

    def take_doubts(self) -> list[Fault]:
        """Return what was not settled at the end of all."""
        doubts, self._doubts = self._doubts, []
        return doubts

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
        full_of_actual = full
        if self._actual is not None:
            self._actual, full_of_actual = self._actual.grown(actual)
        self.on_tiles(full, full_of_actual)

    def _compare(self) -> None:
        claimed, actual = self.edge, self._actual or self.edge
        for judge in self.targets.get(self.next_seq, ()):
            right = judge(claimed.frontier.root, actual.frontier.root)
            if right is None:  # nothing behind this can be proven by a root again
                self.is_broken = True
                return
            self.edge, self._actual = (claimed if right == claimed.frontier.root else actual), None

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
        self._settle_split(here)
        is_unsure, self._is_unsure = self._is_unsure, False
        if is_unsure or self._before is None:
            if not self._segment_first <= here.first <= here.seq <= here.last:
                self._batch_fault(segment, here)
            return
        where, before, agreeing = self._before
        if here.continues(before):
            return
        # Of two frames that contradict each other the one is wrong that no other frame agrees with.
        if agreeing > 1 or not here.first <= here.seq <= here.last:
            self._batch_fault(segment, here)
        elif found.first_batch > 1:
            self._batch_fault(where, before)
        else:
            is_at_once = _is_at_once(self._last_time, found.first_time)
            self._split = _Split((where, before), (segment, here), is_at_once)
            if len(found.hashes) > 1:
                self._settle_split(None)

    def _settle_split(self, following: Head | None) -> None:
        """Blame one of two frames that contradict each other, now that the one that follows is known."""
        if self._split is not None:
            split, self._split = self._split, None
            self._batch_fault(*(split.before if split.is_before_wrong(following) else split.here))

    def _batch_fault(self, segment: int, head: Head) -> None:
        what = f"it claims to be of the batch from {head.first} to {head.last}, and its neighbours deny it"
        self.on_fault(Fault(what, segment_path(segment), head.offset, head.seq), 1)
        self._is_unsure = True

    def _fault(self, segment: int, offset: int, what: str, count: int = 1) -> None:
        self.on_fault(Fault(what, segment_path(segment), offset, self.next_seq), count)


def _is_at_once(before: bytes, after: bytes) -> bool:
    """Tell whether a time follows another as those in one batch do; between two batches an fsync takes longer."""
    try:
        return time_us(after.decode()) == time_us(before.decode()) + 1
    except ValueError:
        return False
