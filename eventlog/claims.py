"""The hashes that the frames of events claim, their events unread.

The tree is over what was recorded: an event whose bytes rotted keeps its leaf here, and is refused
where it is read. Whether the claims are the ones that were signed is for the tree's root to tell.
"""

import re
from collections.abc import Callable

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt
from eventlog.event import Place
from eventlog.segment import segment_name, segment_path

_READ_BYTES = 1 << 20
_CLAIM = re.compile(rb'\{"seq":([0-9]+),"first":[0-9]+,"last":[0-9]+,"hash":"([0-9a-f]{64})","event":')


def claimed_hashes(disk: Disk, place: Callable[[int], Place | None], first: int, end: int) -> list[bytes]:
    """Return the hashes that the frames of the events from *first* to before *end* claim, their events unread.

    Raises:
        LogCorrupt: a frame does not tell its hash.

    """
    found: list[bytes] = []
    while first < end:
        at = place(first)
        assert at is not None, "an event of this log"
        data, offset = _read(disk, at), 0
        while first < end:
            claim = _CLAIM.match(data, offset)
            if claim is None or int(claim[1]) != first:
                if not offset:
                    raise LogCorrupt(first, segment_name(at.segment), at.offset)
                break  # the segment ends, or the piece of it that was read
            found.append(bytes.fromhex(claim[2].decode()))
            first += 1
            offset = data.find(b"\n", claim.end()) + 1 or len(data)
    return found


def _read(disk: Disk, at: Place) -> bytes:
    try:
        return disk.read(segment_path(at.segment), at.offset, _READ_BYTES)
    except FileNotFoundError:
        return b""
