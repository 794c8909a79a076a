"""The run's event types, and what is read out of their bytes.

The core of a run never changes after its creation, and it stands in the bytes of the
creating event; so a run is served as a slice of those bytes, spliced with what was added since.
"""

import re
from typing import Any, ClassVar

from attrs import frozen

from eventlog.canonical import canonical
from eventlog.errors import EventLogError
from eventlog.event import Recorded

CREATED = "rmos.run.created.v1"
IMPORTED = "rmos.run.imported.v1"
WITHDRAWN = "rmos.run.withdrawn.v1"
ADVISORY_ATTACHED = "rmos.advisory.attached.v1"
EXPLANATION_SET = "rmos.explanation.set.v1"
ATTACHMENT_ADDED = "rmos.attachment.added.v1"

BEGINNINGS = (CREATED, IMPORTED)
"""The types that begin a run's view (anew)."""
TYPES = frozenset({*BEGINNINGS, WITHDRAWN, ADVISORY_ATTACHED, EXPLANATION_SET, ATTACHMENT_ADDED})
"""All that this version knows."""

_RUN_ID = re.compile(r"run_[0-9a-f]{12,32}|[0-9a-f]{32}", re.ASCII)
_NATIVE_RUN_ID = re.compile(r"run_[0-9a-f]{12}", re.ASCII)

_BEFORE_RUN = b'"data":{"run":'
_AFTER_DATA = b',"datacontenttype":"application/json","id":"'


@frozen
class UnknownEvent(EventLogError):
    """An event type that this version does not know; a projection stops rather than skip it."""

    code: ClassVar[str] = "UNKNOWN_EVENT"
    seq: int
    type: str

    @property
    def message(self) -> str:
        return (
            f"Event {self.seq} is of type {self.type!r}, which this version does not know. Update Runlog to the "
            "version that wrote it, then restart the server; it goes on from there."
        )


def is_run_id(text: str) -> bool:
    """Tell whether *text* is an id that Runlog reads: `run_` + 12 to 32 hex digits, or 32 hex digits."""
    return _RUN_ID.fullmatch(text) is not None


def is_native_run_id(text: str) -> bool:
    """Tell whether *text* is an id that a client may name: `run_` + 12 hex digits."""
    return _NATIVE_RUN_ID.fullmatch(text) is not None


def run_slice(recorded: Recorded) -> tuple[int, int]:
    """Return where the run lies in the bytes of its creating event: offset and length."""
    text = recorded.bytes
    if recorded.type == CREATED:
        # Text before `data` holds no bare quotes, and text after it none of these keys: so the first
        # and the last occurrence are the envelope's own, whatever stands inside the run.
        start = text.index(_BEFORE_RUN) + len(_BEFORE_RUN)
        return start, text.rindex(_AFTER_DATA) - 1 - start
    run = canonical(recorded.data["run"])
    return text.index(b',"run":' + run + b',"v1":') + len(b',"run":'), len(run)


def run_of(recorded: Recorded) -> dict[str, Any]:
    """Return the core artifact of a creating event."""
    run: dict[str, Any] = recorded.data["run"]
    return run
