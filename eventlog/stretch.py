"""A part of a segment read for checking: stretches of frames that follow one another, and what is no frame. Pure.

Every byte of the part belongs to a line that begins in it, and every line to a stretch or to what is bad.
Whether the stretches fit together is for `verify.py` to say, so that several parts can be read at once.
"""

import re
from collections.abc import Callable, Iterator
from hashlib import sha256

from attrs import define, field, frozen

from eventlog.frame import FRAME_START

_FRAME = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,18}),"first":(0|[1-9][0-9]{0,18}),"last":(0|[1-9][0-9]{0,18}),'
    rb'"hash":"([0-9a-f]{64})","event":\{'
)
_TIME = b',"time":"'
_TIME_BYTES = 27
_TIME_WITHIN = 512
"""The time stands so near to the end of an event: only what is short follows it in a sorted object."""
_HEAD = b'{"seq":%d,"first":%d,"last":%d,"hash":"'
_FRAMED = re.compile(rb'[0-9a-f]{64}","event":\{')
_TO_EVENT = 64 + len('","event":')
_HIDDEN_WITHIN = 1 << 20
"""Frames are looked for in no longer a line: each one that is found there has the rest of it read once more."""
_SOURCE = b',"source":"'


def is_of_source(event: bytes, source: bytes) -> bool:
    """Tell whether *source*, as it stands in an event's bytes (`,"source":"…",`), is that of *event*."""
    # The last one is the event's own: its data comes before it, and what follows it are strings, with escaped quotes.
    return event.startswith(source, event.rfind(_SOURCE))


@frozen
class Naming:
    """Which events name a blob: their bytes end with *suffix*, and *blob* tells its digest and size."""

    suffix: bytes
    blob: Callable[[bytes], tuple[str, int]]


@frozen
class Bad:
    """A line that is no frame, or an event in a stretch that is not as its frame claims."""

    offset: int
    reason: str
    seq: int | None = None
    """The seq that its frame claims, if it is one."""
    is_padding: bool = False
    """Whether it is nothing but NULs, up to the end of the file."""
    actual: bytes | None = None
    """The hash that an event has, where its frame claims another."""


@frozen
class Head:
    """What a frame says of its place."""

    seq: int
    first: int
    last: int
    offset: int

    def continues(self, before: "Head") -> bool:
        """Tell whether this frame may follow *before*."""
        if self.seq != before.seq + 1:
            return False
        if before.seq < before.last:
            return (self.first, self.last) == (before.first, before.last)
        return self.first == self.seq <= self.last


@define
class Stretch:
    """Frames that follow one another without a gap, the batches among them whole but for the first and the last."""

    first: Head
    last: Head
    hashes: list[bytes] = field(factory=list)
    """What the frames claim, in hex."""
    first_time: bytes = b""
    """The time of the first event; empty if that is not what its frame claims, for then nothing it says is believed."""
    last_time: bytes = b""
    """The time of the last event that is."""
    first_batch: int = 0
    """How many frames agree with the first one on their batch."""
    bad: list[Bad] = field(factory=list)
    blobs: list[tuple[int, str, int]] = field(factory=list)
    """Seq, digest and size of each blob that is named."""

    @property
    def last_batch(self) -> int:
        """How many frames agree with the last one on their batch."""
        return self.last.seq - max(self.last.first, self.first.seq) + 1 if self.last.first <= self.last.seq else 1


def stretches(
    data: bytes, start: int, offset: int, end: int, day: bytes, naming: Naming | None, source: bytes
) -> Iterator[Stretch | Bad]:
    """Yield the lines of *data* from its byte *start*; it lies at *offset* of its segment, and they begin before *end*."""
    # To the end of the last line that begins before: a frame that follows a lost newline begins inside a line.
    limit = data.find(b"\n", end - offset - 1) + 1 or len(data)
    while start < limit:
        stretch, start = _stretch(data, start, limit, offset, day, naming, source)
        if stretch is not None:
            yield stretch
            continue
        newline = data.find(b"\n", start)
        hidden = _hidden(data, start + 1, newline)
        rest = data[start:hidden] if hidden else data[start : newline + 1 or len(data)]
        is_padding = newline < 0 and not rest.strip(b"\0")
        yield Bad(offset + start, "it is no frame", None, is_padding)
        start += len(rest)


def _stretch(
    data: bytes, start: int, limit: int, base: int, day: bytes, naming: Naming | None, source: bytes
) -> tuple[Stretch | None, int]:
    """Return the stretch that begins at *start*, and where it ends; None if no frame stands there.

    This is the loop that `verify` spends its time in: for a frame that is as expected it makes nothing but slices.
    """
    head = _head(data, start, base)
    if head is None:
        return None, start
    here, hash_at = head
    found, at, before = Stretch(here, here), start, b""
    seq, first, last = here.seq, here.first, here.last
    hashes, find = found.hashes, data.find
    while True:
        newline = find(b"\n", hash_at)
        event, digest = data[hash_at + _TO_EVENT : newline - 1], data[hash_at : hash_at + 64]
        time_at = event.rfind(_TIME, -_TIME_WITHIN) + len(_TIME)
        time, end = event[time_at : time_at + _TIME_BYTES], newline + 1
        if sha256(event).hexdigest().encode() != digest:
            bad, end = _mismatch(data, hash_at, newline, base + at, seq)
            found.bad.append(bad)
            time = before
        elif time <= before:
            found.bad.append(Bad(base + at, "its time is not later than that of the event before", seq))
        elif time[:10] != day:
            found.bad.append(Bad(base + at, "its time is not of the day of its segment", seq))
        elif not is_of_source(event, source):
            found.bad.append(Bad(base + at, "it is not of the log that log.json names", seq))
        elif naming is not None and event.endswith(naming.suffix):
            _name(found, seq, base + at, event, naming)
        hashes.append(digest)
        if len(hashes) == 1:
            found.first_time = time
        before = time
        if end < limit:
            begins = seq == last
            expected = _HEAD % ((seq + 1,) * 3 if begins else (seq + 1, first, last))
            hash_at = end + len(expected)
            if data.startswith(expected, end) and _FRAMED.match(data, hash_at) and _is_ended(data, hash_at):
                at, seq = end, seq + 1
                if begins:
                    found.first_batch = found.first_batch or len(hashes)
                    first = last = seq
                continue
            head = _head(data, end, base)
            if head is not None and head[0].continues(Head(seq, first, last, 0)):
                found.first_batch = found.first_batch or len(hashes)
                at, hash_at = end, head[1]
                seq, first, last = head[0].seq, head[0].first, head[0].last
                continue
        found.first_batch = found.first_batch or len(hashes)
        found.last_time, found.last = before, Head(seq, first, last, base + at)
        return found, end


def _mismatch(data: bytes, hash_at: int, newline: int, offset: int, seq: int) -> tuple[Bad, int]:
    """Return what is bad of an event that does not match its hash, and where the next line begins."""
    event_at = hash_at + _TO_EVENT
    hidden = _hidden(data, event_at, newline)
    if not hidden:
        actual = sha256(data[event_at : newline - 1]).digest()
        return Bad(offset, "its bytes do not match its hash", seq, actual=actual), newline + 1
    event_end = max(event_at, data.rfind(b"}}", event_at, hidden) + 1)
    actual = sha256(data[event_at:event_end]).digest()
    return Bad(offset, "its line does not end where the next one begins", seq, actual=actual), hidden


def _hidden(data: bytes, start: int, newline: int) -> int:
    """Return where a frame begins inside the line that ends at *newline*, for the one before lost its own; 0 if none does."""
    if not start < newline < start + _HIDDEN_WITHIN:
        return 0
    found = FRAME_START.search(data, start, newline)
    return found.start() if found else 0


def _head(data: bytes, start: int, base: int) -> tuple[Head, int] | None:
    """Return the head of the frame at *start*, and where its hash stands; None if the line there is not one."""
    head = _FRAME.match(data, start)
    if head is None or not _is_ended(data, head.start(4)):
        return None
    return Head(int(head[1]), int(head[2]), int(head[3]), base + start), head.start(4)


def _is_ended(data: bytes, start: int) -> bool:
    newline = data.find(b"\n", start)
    return newline >= 0 and data[newline - 2 : newline] == b"}}"


def _name(stretch: Stretch, seq: int, offset: int, event: bytes, naming: Naming) -> None:
    try:
        stretch.blobs.append((seq, *naming.blob(event)))
    except (ValueError, KeyError, TypeError):
        stretch.bad.append(Bad(offset, "it names no attachment that can be looked for", seq))
