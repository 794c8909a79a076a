"""What happened to a run, an event at a time, in words. Pure."""

from typing import Any

from attrs import frozen

from eventlog.event import Recorded
from projections.run import events


@frozen
class Moment:
    """One event of a run as its timeline tells it."""

    seq: int
    time: str
    actor: str
    hash: str
    request_id: str | None
    what: str
    told: str | None
    """In the words of whoever wrote it."""
    is_shown: bool
    """Whether the page shows the run as of just then."""
    is_later: bool
    """Whether it is from after the moment that the page shows."""


def moment(recorded: Recorded, at: int) -> Moment:
    """Return *recorded* as a moment of the timeline of a page that shows the run as of event *at*."""
    event = recorded.event
    what, told = _words(recorded.type, recorded.data)
    return Moment(
        recorded.seq,
        recorded.time,
        event["actor"],
        recorded.hash,
        event.get("requestid"),
        what,
        told,
        is_shown=recorded.seq == at,
        is_later=recorded.seq > at,
    )


def _words(event_type: str, data: dict[str, Any]) -> tuple[str, str | None]:
    match event_type:
        case events.CREATED:
            return f"Recorded as {data['run']['status']}", data["run"]["decision"]["block_reason"]
        case events.IMPORTED:
            return f"Imported from the old store as {data['run']['status']}", data["run"]["decision"]["block_reason"]
        case events.ADVISORY_ATTACHED:
            return f"Advisory attached ({data['advisory']['kind']})", data["advisory"]["advisory_id"]
        case events.EXPLANATION_SET:
            return f"Explanation {data['status']}", data["summary"]
        case events.ATTACHMENT_ADDED:
            return f"File attached ({data['attachment']['kind']})", data["attachment"]["filename"]
        case events.WITHDRAWN:
            return "Withdrawn", data["reason"]
        case other:
            return other, None
