"""Opening is recovering: a clean log and a crashed one take the same path.

Only what lies beyond the last indexed event is scanned, so opening does not grow with the log. All
that could refuse is asked before anything is changed: the index, the seals, the signed checkpoint.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import structlog
from attrs import define, field

from eventlog.batch import Tail
from eventlog.claims import claimed_hashes
from eventlog.clock import Clock, time_text, time_us
from eventlog.disk import Disk
from eventlog.errors import LogDamaged
from eventlog.event import Place, Recorded
from eventlog.frame import BadFrame, decode
from eventlog.index import Index, KeyUse
from eventlog.locate import located
from eventlog.note import Checkpoint
from eventlog.opening import Identity, check_source
from eventlog.recovery import End, Survey, check_known, rewrite, save_torn, survey
from eventlog.seals import complete_seals, largest_sealed, seal_path
from eventlog.segment import SEGMENTS, Placed, segment_name, segment_numbers, segment_path
from eventlog.signing import Signer
from eventlog.tiles import TILE_WIDTH
from eventlog.tree import Tree

logger = structlog.get_logger("eventlog.opening")


def recover(
    disk: Disk, index: Index, clock: Clock, identity: Identity, signer: Signer, signed: Checkpoint
) -> tuple[Tail, Tree]:
    """Bring log and index to a durable, whole state; return where the log ends, and its tree.

    Raises:
        LogDamaged: there is corruption; nothing was changed.

    """
    segments = segment_numbers(disk.names(SEGMENTS))
    known = index.end()
    check_known(disk, segments, index.segment_ends(), known, index.place)
    places = _Places(index.place, signed.size)
    found = survey(disk, segments, known, places.note)
    _check_signed(disk, found.end, signed)
    size = found.end.next_seq
    if last := places.of(size - 1):
        check_source(disk, identity, last)  # and how it begins, `read_identity` saw
    try:
        tree = Tree.open(disk, size, partial(claimed_hashes, disk, places.of), signed.size, signed.root)
    except LogDamaged as error:
        raise located(disk, error) from None
    segments = _repaired(disk, clock, segments, found, places.of(signed.size) if signed.size < size else None)
    _index_beyond(disk, index, segments, known)
    places.forget()
    for number in segments[:-1]:
        disk.make_readonly(segment_path(number))
    complete_seals(disk, signer, tree, segments, index.place)
    return _tail(disk, index, size), tree


@define
class _Places:
    """Where events lie: as the index has it, and beyond it what a scan must find again without reading all of it."""

    _indexed: Callable[[int], Place | None]
    _signed_size: int
    _beyond: dict[int, Place] = field(factory=dict)

    def note(self, placed: list[Placed]) -> None:
        """Note where each tile and each segment begins, what was not signed yet, and where the last one lies."""
        for one in placed:
            seq = one.frame.seq
            if seq % TILE_WIDTH == 0 or one.place.offset == 0 or seq == self._signed_size:
                self._beyond[seq] = one.place
        self._beyond[placed[-1].frame.seq] = placed[-1].place

    def of(self, seq: int) -> Place | None:
        return self._beyond.get(seq) or self._indexed(seq)

    def forget(self) -> None:
        """All is in the index by now."""
        self._beyond.clear()


def _check_signed(disk: Disk, end: End, signed: Checkpoint) -> None:
    """Refuse a log that holds less than was signed: an older one, or one that was cut.

    Raises:
        LogDamaged: it does.

    """
    place = (segment_name(end.segment) if end.segment else f"{SEGMENTS}/ (none is there)", end.offset, end.next_seq)
    if end.next_seq < signed.size:
        raise LogDamaged(
            f"its good events end at {end.next_seq}, and its checkpoint is signed for {signed.size}", *place
        )
    size, segment = largest_sealed(disk)
    if end.next_seq < size:
        raise LogDamaged(
            f"its good events end at {end.next_seq}, and {seal_path(segment)} is signed for {size}", *place
        )


def _repaired(disk: Disk, clock: Clock, segments: list[int], found: Survey, unsigned: Place | None) -> list[int]:
    """Put a torn tail aside, and make all from the first *unsigned* event durable; return the segments that are left."""
    if found.torn is not None:
        copy = save_torn(disk, found.torn, time_text(clock.now_us()))
        logger.warning(
            "log.torn_tail",
            segment=segment_name(found.torn.segment),
            offset=found.torn.offset,
            bytes=found.torn.bytes,
            copy=copy,
        )
    segments = _without_empty(disk, segments, found.end)
    if not segments:
        return segments
    last, end = segments[-1], found.end
    if end.segment == last and (disk.size(segment_path(last)) or 0) > end.offset:
        # NULs, or readers would meet them once the segment is finished
        disk.truncate(segment_path(last), end.offset)
    first, start = (unsigned.segment, unsigned.offset) if unsigned else (last, disk.size(segment_path(last)) or 0)
    for number in segments:
        if number >= first:
            rewrite(disk, number, start if number == first else 0, disk.size(segment_path(number)) or 0)
    return segments


def _without_empty(disk: Disk, segments: list[int], end: End) -> list[int]:
    """Remove a segment left without frames; only the newest can be."""
    if segments and end.offset == 0 and end.segment == segments[-1]:
        disk.remove(segment_path(segments[-1]))
        disk.sync_folder(SEGMENTS)
        return segment_numbers(disk.names(SEGMENTS))  # which refuses if the newest is now one that is kept packed
    return segments


def _index_beyond(disk: Disk, index: Index, segments: list[int], known: End) -> None:
    def take(placed: list[Placed]) -> None:
        index_events(index, [Recorded(p.frame.seq, p.frame.hash, p.frame.event, p.place) for p in placed])

    survey(disk, segments, known, take)


def index_events(index: Index, events: Iterable[Recorded]) -> None:
    """Put *events*, read from segments, into *index*, durably."""
    events = list(events)
    revisions = index.revisions({recorded.stream for recorded in events})
    keys: dict[tuple[str, str], KeyUse] = {}
    for recorded in events:
        revisions[recorded.stream] = revisions.get(recorded.stream, -1) + 1
        index.add_stream(recorded.stream, recorded.seq, recorded.seq)
        attributes: dict[str, Any] = recorded.event
        if "idempotencykey" in attributes:
            name = (attributes["actor"], attributes["idempotencykey"])
            before = keys.get(name) or index.key(*name)
            first = before.first if before else recorded.seq
            keys[name] = KeyUse(attributes["requestsha256"], first, recorded.seq)
            index.add_key(*name, keys[name])
    index.add(events, revisions)
    if index.begin_save():
        index.save()
        index.end_save()


def _tail(disk: Disk, index: Index, next_seq: int) -> Tail:
    """Return the tail: it ends where the last event does, though an empty segment was removed behind it."""
    last = index.place(next_seq - 1)
    if last is None:
        return Tail()
    return Tail(next_seq, _last_time(disk, index, next_seq, last.segment), last.segment, last.offset + last.length)


def _last_time(disk: Disk, index: Index, next_seq: int, segment: int) -> int:
    """Return the time of the last event that can be read, but none before the day of *segment*."""
    day_start = time_us(f"{segment_name(segment)[:10]}T00:00:00Z")
    for seq in range(next_seq - 1, max(-1, next_seq - 1000), -1):
        place = index.place(seq)
        if place is None:
            continue
        try:
            frame = decode(disk.read(segment_path(place.segment), place.offset, place.length))
        except BadFrame:
            continue
        return max(day_start, time_us(json.loads(frame.event)["time"]) + (next_seq - 1 - seq))
    return day_start
