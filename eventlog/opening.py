"""Opening is recovering: a clean log and a crashed one take the same path.

Only what lies beyond the last indexed event is scanned, so opening does not grow with the
log. `log.json` is written last when a log is made; if it is there and what it stands for
is not, the log refuses to open, and nothing is ever made anew in silence.
"""

import json
from collections.abc import Iterable
from typing import Any

import structlog
from attrs import frozen

from eventlog.batch import Tail
from eventlog.clock import Clock, time_text, time_us, uuid7
from eventlog.disk import Disk
from eventlog.errors import LogDamaged
from eventlog.event import Recorded
from eventlog.frame import BadFrame, decode
from eventlog.index import Index, KeyUse
from eventlog.recovery import End, check_known, rewrite, save_torn, survey
from eventlog.segment import SEGMENTS, Placed, segment_name, segment_numbers, segment_path

logger = structlog.get_logger("eventlog.opening")

LOG_JSON = "log/log.json"
FORMAT = 1


@frozen
class Identity:
    """What `log.json` says: which log this is."""

    log_id: str
    origin: str
    created: str

    @property
    def source(self) -> str:
        """The CloudEvents source of its events."""
        return f"urn:runlog:{self.log_id}"


def read_identity(disk: Disk) -> Identity | None:
    """Return what `log.json` says; None if there is none.

    Raises:
        LogDamaged: it cannot be understood, or is of a newer format.

    """
    size = disk.size(LOG_JSON)
    if size is None:
        return None
    try:
        facts = json.loads(disk.read(LOG_JSON, 0, size))
        if facts["format"] != FORMAT:
            raise LogDamaged(f"log.json is of format {facts['format']}, and this version reads {FORMAT}")
        return Identity(facts["log_id"], facts["origin"], facts["created"])
    except (ValueError, KeyError, TypeError) as error:
        raise LogDamaged(f"log.json cannot be read ({error})") from None


def make_log(disk: Disk, clock: Clock, *, index_exists: bool) -> Identity:
    """Make a new, empty log; `log.json` comes last, so a crash on the way leaves none.

    Raises:
        LogDamaged: there are events or an index already, so a log was here before.

    """
    numbers = segment_numbers(disk.names(SEGMENTS))
    if index_exists or any(disk.size(segment_path(number)) for number in numbers):
        raise LogDamaged("log/log.json is gone, but events or an index are there")
    now = clock.now_us()
    log_id = uuid7(now)
    identity = Identity(log_id, f"runlog.local/{log_id}", time_text(now))
    disk.make_folder(SEGMENTS)
    facts = {"format": FORMAT, "log_id": log_id, "origin": identity.origin, "created": identity.created}
    text = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
    draft = LOG_JSON + ".tmp"
    if disk.size(draft) is not None:
        disk.remove(draft)
    disk.create(draft)
    disk.write(draft, 0, text)
    disk.sync(draft)
    disk.replace(draft, LOG_JSON)
    disk.sync_folder("log")
    return identity


def recover(disk: Disk, index: Index, clock: Clock) -> Tail:
    """Bring log and index to a durable, whole state and return where the log ends.

    Raises:
        LogDamaged: there is corruption; nothing was changed.

    """
    segments = segment_numbers(disk.names(SEGMENTS))
    known = index.end()
    check_known(disk, segments, index.segment_ends(), known)
    found = survey(disk, segments, known)
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
    if segments:
        last = segments[-1]
        start = known.offset if known.segment == last else 0
        end = found.end.offset if found.end.segment == last else start
        if found.end.segment == last and (disk.size(segment_path(last)) or 0) > end:
            disk.truncate(segment_path(last), end)  # NULs, or readers would meet them once the segment is finished
        rewrite(disk, last, start, end)
    _index_beyond(disk, index, segments, known)
    for number in segments[:-1]:
        disk.make_readonly(segment_path(number))
    return _tail(disk, index, found.end.next_seq)


def _without_empty(disk: Disk, segments: list[int], end: End) -> list[int]:
    """Remove a segment left without frames; only the newest can be."""
    if segments and end.offset == 0 and end.segment == segments[-1]:
        disk.remove(segment_path(segments[-1]))
        disk.sync_folder(SEGMENTS)
        return segments[:-1]
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
