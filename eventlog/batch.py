"""Deciding a batch: who gets which seq and time, who is refused, and the bytes to write. Pure.

Everything is decided at the one moment when the batch is taken, against what is durable and
what stands earlier in the same batch; so two creates of one id give one success and one conflict.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import define, field

from eventlog.clock import DAY_US, day_of, time_text
from eventlog.errors import EventLogError, IdempotencyKeyReused, RevisionConflict
from eventlog.event import Draft, Origin, Place, Recorded
from eventlog.frame import encode
from eventlog.index import KeyUse
from eventlog.record import record
from eventlog.segment import segment_for


class Stream(Enum):
    """What an append expects of its stream, beside being at a certain revision."""

    ABSENT = "must not exist"
    PRESENT = "must exist"


Expected = Stream | int
"""Of a stream: absent, present, or the number of its present revision."""


@define(eq=False)
class Append:
    """Events of one stream that go into one batch, and what must hold for them to be taken."""

    drafts: Sequence[Draft]
    expected: Expected
    origin: Origin
    done: Any  # an asyncio.Future of Appended
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Add up the bytes."""
        self.size = sum(draft.size for draft in self.drafts)

    @property
    def stream(self) -> str:
        """The stream of all the events."""
        return self.drafts[0].stream


@record
class Appended:
    """What an append led to: its events, or (`replayed`) those of the same request before."""

    first: int
    last: int
    revision: int
    events: tuple[Recorded, ...] = ()
    replayed: bool = False


@record
class Tail:
    """Where the log ends."""

    next_seq: int = 0
    time_us: int = 0
    segment: int | None = None
    segment_bytes: int = 0


@define
class Batch:
    """One commit: bytes for one segment, and each append's outcome, to be told after the fsync."""

    tail: Tail
    offset: int
    data: bytes
    events: list[Recorded]
    outcomes: list[tuple[Append, Appended | EventLogError]]
    taken: int
    """How many of the waiting appends this batch deals with."""


@define
class _Taking:
    """What becomes true while a batch is taken, before it is written."""

    next_seq: int
    time_us: int
    day: int | None = None
    """Days since 1970."""
    revisions: dict[str, int] = field(factory=dict)
    keys: dict[tuple[str, str], KeyUse] = field(factory=dict)
    accepted: list[tuple[Append, int, int, int]] = field(factory=list)
    """append, its first seq, its first time, the revision that it leads to"""
    outcomes: list[tuple[Append, Appended | EventLogError]] = field(factory=list)


def decide_batch(
    waiting: Sequence[Append],
    tail: Tail,
    now_us: int,
    revisions: Mapping[str, int],
    key_use: Callable[[str, str], KeyUse | None],
    segment_bytes_max: int,
) -> Batch:
    """Return the batch made of the *waiting* appends, up to where the day changes."""
    taking = _Taking(tail.next_seq, tail.time_us, revisions=dict(revisions))
    taken = 0
    for append in waiting:
        answer = _without_writing(append, taking, key_use)
        if answer is None:
            first_time = _first_time(taking.time_us, now_us, len(append.drafts))
            if taking.day not in (None, first_time // DAY_US):
                break
            _accept(append, first_time, taking)
        else:
            taking.outcomes.append((append, answer))
        taken += 1
    return _written(taking, tail, segment_bytes_max, taken)


def _without_writing(
    append: Append, taking: _Taking, key_use: Callable[[str, str], KeyUse | None]
) -> Appended | EventLogError | None:
    """Return the answer to an append that writes nothing (a replay, a refusal); None if it is to be written."""
    origin = append.origin
    if origin.idempotency is not None:
        key = origin.idempotency.key
        use = taking.keys.get((origin.actor, key)) or key_use(origin.actor, key)
        if use is not None:
            if use.request_sha256 == origin.idempotency.request_sha256:
                return Appended(use.first, use.last, -1, replayed=True)
            return IdempotencyKeyReused(key)
    revision = taking.revisions.get(append.stream)
    match append.expected:
        case Stream.ABSENT:
            fits = revision is None
        case Stream.PRESENT:
            fits = revision is not None
        case expected:
            fits = revision == expected
    if fits:
        return None
    return RevisionConflict(append.stream, append.expected if isinstance(append.expected, int) else None, revision)


def _first_time(last_us: int, now_us: int, count: int) -> int:
    """Return the time of an append's first event: strictly after all before, and all of it on one day."""
    first = max(now_us, last_us + 1)
    if (first + count - 1) // DAY_US != first // DAY_US:
        return (first // DAY_US + 1) * DAY_US
    return first


def _accept(append: Append, first_time: int, taking: _Taking) -> None:
    count = len(append.drafts)
    first = taking.next_seq
    revision = taking.revisions.get(append.stream, -1) + count
    taking.accepted.append((append, first, first_time, revision))
    taking.revisions[append.stream] = revision
    if append.origin.idempotency is not None:
        key = append.origin.idempotency
        taking.keys[append.origin.actor, key.key] = KeyUse(key.request_sha256, first, first + count - 1)
    taking.next_seq = first + count
    taking.time_us = first_time + count - 1
    taking.day = first_time // DAY_US


def _written(taking: _Taking, tail: Tail, segment_bytes_max: int, taken: int) -> Batch:
    """Make the lines, now that the batch's last seq is known."""
    if not taking.accepted:
        return Batch(tail, tail.segment_bytes, b"", [], taking.outcomes, taken)
    assert taking.day is not None
    lines: list[bytes] = []
    hashes: list[tuple[str, bytes]] = []
    last = taking.next_seq - 1
    for append, _, time_us, _ in taking.accepted:
        for i, draft in enumerate(append.drafts):
            event = draft.stamped(time_text(time_us + i).encode())
            digest, line = encode(tail.next_seq + len(lines), tail.next_seq, last, event)
            lines.append(line)
            hashes.append((digest, event))
    data = b"".join(lines)
    segment = segment_for(day_of(taking.time_us), tail.segment, tail.segment_bytes, len(data), segment_bytes_max)
    start = offset = tail.segment_bytes if segment == tail.segment else 0
    events: list[Recorded] = []
    for seq, (digest, event), line in zip(range(tail.next_seq, last + 1), hashes, lines, strict=True):
        events.append(Recorded(seq, digest, event, Place(segment, offset, len(line))))
        offset += len(line)
    for append, first, _, revision in taking.accepted:
        own = tuple(events[first - tail.next_seq : first - tail.next_seq + len(append.drafts)])
        taking.outcomes.append((append, Appended(first, own[-1].seq, revision, own)))
    grown = Tail(last + 1, taking.time_us, segment, offset)
    return Batch(grown, start, data, events, taking.outcomes, taken)
