"""An event: before the log has taken it (`Draft`) and after (`Recorded`).

An event is a CloudEvents 1.0 object, and its bytes are the canonical JSON of that
object. Its time is known only when its batch is taken; it has a fixed width, so an
event is encoded once with a slot where the time belongs, and the writer fills the slot.
"""

import secrets
from typing import Any, NewType

from attrs import define, field

from eventlog.canonical import canonical
from eventlog.record import record
from eventlog.strict_json import parse_own

Seq = NewType("Seq", int)
"""An event's place in the log, from 0, without gaps."""

TIME_SLOT = "time:" + secrets.token_hex(16)
"""Stands in a draft's data where the event's own time belongs. No client can guess it, so none can forge one."""

_SLOT = TIME_SLOT.encode()


@record
class IdempotencyKey:
    """What makes a repeated request recognisable: the client's key, and the hash of what was asked."""

    key: str
    request_sha256: str


@record
class Origin:
    """Who sent a request, and what it carried that is recorded with its events."""

    actor: str
    request_id: str | None = None
    traceparent: str | None = None
    idempotency: IdempotencyKey | None = None


@record
class Draft:
    """An event without its time: its bytes are `chunks` joined by the time."""

    stream: str
    chunks: tuple[bytes, ...]
    size: int

    def stamped(self, time: bytes) -> bytes:
        """Return the event bytes for *time* (27 bytes of RFC 3339)."""
        return time.join(self.chunks)


def draft(event_type: str, stream: str, data: dict[str, Any], *, event_id: str, source: str, origin: Origin) -> Draft:
    """Return the draft of one event; *data* holds TIME_SLOT wherever the event's time belongs."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type,
        "subject": stream,
        "time": TIME_SLOT,
        "datacontenttype": "application/json",
        "data": data,
        "actor": origin.actor,
    }
    if origin.request_id is not None:
        attributes["requestid"] = origin.request_id
    if origin.traceparent is not None:
        attributes["traceparent"] = origin.traceparent
    if origin.idempotency is not None:
        attributes["idempotencykey"] = origin.idempotency.key
        attributes["requestsha256"] = origin.idempotency.request_sha256
    encoded = canonical(attributes)
    chunks = tuple(encoded.split(_SLOT))
    return Draft(stream, chunks, len(encoded) + 200)  # 200: the frame round it, rounded up


@record
class Place:
    """Where a frame lies: segment number (see `segment.py`), byte offset, length with its newline."""

    segment: int
    offset: int
    length: int


@define
class Recorded:
    """An event as the log holds it: exact bytes that match their hash, seq and place."""

    seq: int
    hash: str
    bytes: bytes
    place: Place
    _parsed: dict[str, Any] | None = field(default=None, eq=False, repr=False, init=False)
    _type: str | None = field(default=None, eq=False, repr=False, init=False)

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvents object; parsed once."""
        # Not a cached_property: before Python 3.12 that takes a lock, which costs more than the rest.
        parsed = self._parsed
        if parsed is None:
            parsed = self._parsed = parse_own(self.bytes)
        return parsed

    def forget_parsed(self) -> None:
        """Let go of what `event` parsed, which takes more memory than the bytes; who asks for it again parses anew."""
        self._parsed = None

    @property
    def type(self) -> str:
        """The event type, `rmos.run.created.v1`."""
        found = self._type
        if found is None:
            # `type` is the last key of a sorted event, and ours need no escapes: so it is read without parsing.
            head, _, name = self.bytes[-80:].rpartition(b'"type":"')
            found = self._type = name[:-2].decode() if head and b"\\" not in name else str(self.event["type"])
        return found

    @property
    def stream(self) -> str:
        """The stream that the event belongs to."""
        return str(self.event["subject"])

    @property
    def time(self) -> str:
        """When it was recorded, RFC 3339."""
        return str(self.event["time"])

    @property
    def data(self) -> dict[str, Any]:
        """The payload."""
        payload: dict[str, Any] = self.event["data"]
        return payload
