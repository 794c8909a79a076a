"""A recorded event <-> one line of a segment.

    {"seq":<n>,"first":<n>,"last":<n>,"hash":"<64 hex>","event":<event bytes>}\\n

In exactly this order and without spaces, so a segment is plain JSON lines and the
hashed bytes are a slice of the line. `first` and `last` are the seqs of the first and
last event of the batch (one commit) that wrote the frame.
"""

import re
from hashlib import sha256

from eventlog.record import record

_FRAME = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,18}),"first":(0|[1-9][0-9]{0,18}),"last":(0|[1-9][0-9]{0,18}),'
    rb'"hash":"([0-9a-f]{64})","event":'
)

FRAME_START = re.compile(rb'\{"seq":(0|[1-9][0-9]{0,18}),"first":')
"""Where a frame may start. It cannot occur inside event bytes, whose keys are sorted."""


def frame_start(seq: int) -> bytes:
    """Return how the frame of event *seq* begins."""
    return b'{"seq":%d,' % seq


@record
class Frame:
    """The parts of one line; `event` are the exact event bytes."""

    seq: int
    first: int
    last: int
    hash: str
    event: bytes


class BadFrame(ValueError):
    """A line is not a frame, or its event does not match its hash."""


def encode(seq: int, first: int, last: int, event: bytes) -> tuple[str, bytes]:
    """Return the event's hash and its line."""
    digest = sha256(event).hexdigest()
    return digest, b'{"seq":%d,"first":%d,"last":%d,"hash":"%b","event":%b}\n' % (
        seq,
        first,
        last,
        digest.encode(),
        event,
    )


def decode(line: bytes) -> Frame:
    """Return the frame of *line* (with its newline).

    Raises:
        BadFrame: the form is not exact, or the event's bytes do not match the hash.

    """
    head = _FRAME.match(line)
    if head is None or not line.endswith(b"}}\n"):
        raise BadFrame("it does not have the form of a frame")
    event = line[head.end() : -2]
    seq, first, last, digest = head.groups()
    if sha256(event).hexdigest() != digest.decode():
        raise BadFrame("its bytes do not match its hash")
    return Frame(int(seq), int(first), int(last), digest.decode(), event)
