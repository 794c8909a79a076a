"""The hashes that the frames of events claim, their events unread.

The tree is over what was recorded: an event whose bytes rotted keeps its leaf here, and is refused
where it is read. Whether the claims are the ones that were signed is for the tree's root to tell.
"""

import re
from collections.abc import Callable, Iterator

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt
from eventlog.event import Place
from eventlog.segment import segment_name, segment_path

_READ_BYTES = 1 << 20
_HEAD_BYTES = 256
"""More than the head of any frame has."""
_CLAIM = re.compile(rb'\{"seq":([0-9]+),"first":[0-9]+,"last":[0-9]+,"hash":"([0-9a-f]{64})","event":')


def claimed_hashes(disk: Disk, place: Callable[[int], Place | None], first: int, end: int) -> list[bytes]:
    """Return the hashes that the frames of the events from *first* to before *end* claim, their events unread.

    *place* is asked for *first*, and for the first event in each later segment.

    Raises:
        LogCorrupt: a frame does not tell its hash.

    """
    found: list[bytes] = []
    while first + len(found) < end:
        seq = first + len(found)
        at = place(seq)
        assert at is not None, "an event of this log"
        before = len(found)
        for claimed, digest, offset in _claims(disk, at):
            if claimed != first + len(found):
                raise LogCorrupt(first + len(found), segment_name(at.segment), offset)
            found.append(digest)
            if first + len(found) == end:
                break
        if len(found) == before:
            raise LogCorrupt(seq, segment_name(at.segment), at.offset)
    return found


def _claims(disk: Disk, at: Place) -> Iterator[tuple[int, bytes, int]]:
    """Yield the seq, the hash and the offset that each frame from *at* to the segment's end claims, while they do."""
    offset, data, start = at.offset, _read(disk, at.segment, at.offset), 0
    while True:
        if len(data) - start < _HEAD_BYTES:
            offset, data, start = offset + start, _read(disk, at.segment, offset + start), 0
        claim = _CLAIM.match(data, start)
        if claim is None:
            return
        yield int(claim[1]), bytes.fromhex(claim[2].decode()), offset + start
        start = claim.end()
        while (newline := data.find(b"\n", start)) < 0:
            offset, data, start = offset + len(data), _read(disk, at.segment, offset + len(data)), 0
            if not data:
                return
        start = newline + 1


def _read(disk: Disk, segment: int, offset: int) -> bytes:
    try:
        return disk.read(segment_path(segment), offset, _READ_BYTES)
    except FileNotFoundError:
        return b""
