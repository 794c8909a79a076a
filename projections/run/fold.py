"""A run's state + one event -> its next state; and the merged view that everyone reads. Pure."""

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from eventlog.canonical import canonical
from eventlog.event import Recorded
from eventlog.strict_json import parse_own
from projections.run import events
from projections.run.events import UnknownEvent, run_slice
from projections.run.model import RunState, Withdrawn

VIEW_VERSION = 1
"""Part of a run's ETag; raised when the form of the view changes."""


_UNTOUCHED = (
    b'{"advisory_inputs":[],"attachments":null,"explanation_status":"NONE","explanation_summary":null,'
    b'"log":{"event_sha256":"%b","last_seq":%d,"revision":0,"seq":%d},'
)


def fold(state: RunState | None, recorded: Recorded) -> RunState:
    """Return the state of *recorded*'s run after it.

    Raises:
        UnknownEvent: the type, or its version, is not known here; never skipped in silence.

    """
    revision = state.revision + 1 if state else 0
    if recorded.type in events.BEGINNINGS:
        return RunState(recorded.seq, revision, recorded.seq)
    if state is None:
        assert recorded.type not in events.TYPES, "only a creating event can be a stream's first"
        raise UnknownEvent(recorded.seq, recorded.type)
    moved = evolve(state, revision=revision, last_seq=recorded.seq)
    data = recorded.data
    match recorded.type:
        case events.ADVISORY_ATTACHED:
            return evolve(moved, advisory_inputs=(*state.advisory_inputs, data["advisory"]))
        case events.EXPLANATION_SET:
            return evolve(moved, explanation_status=data["status"], explanation_summary=data["summary"])
        case events.ATTACHMENT_ADDED:
            return evolve(moved, attachments=(*(state.attachments or ()), data["attachment"]))
        case events.WITHDRAWN:
            return evolve(moved, withdrawn=Withdrawn(data["reason"], recorded.time, recorded.seq))
        case unknown:
            raise UnknownEvent(recorded.seq, unknown)


def fold_stream(recorded: Iterable[Recorded]) -> tuple[Recorded, RunState] | None:
    """Return the creating event in force and the state after all of *recorded*; None without any."""
    beginning: Recorded | None = None
    state: RunState | None = None
    for one in recorded:
        state = fold(state, one)
        if one.type in events.BEGINNINGS:
            beginning = one
    return (beginning, state) if beginning and state else None


def view_bytes(run: bytes, event_sha256: str, state: RunState) -> bytes:
    """Return the merged view as JSON: the stored bytes of the core, spliced with what was added."""
    if state.revision == 0:  # nothing was added: most runs, so without the encoder
        return _UNTOUCHED % (event_sha256.encode(), state.seq, state.seq) + run[1:]
    added: dict[str, Any] = {
        "advisory_inputs": state.advisory_inputs,
        "explanation_status": state.explanation_status,
        "explanation_summary": state.explanation_summary,
        "attachments": state.attachments,
        "log": {
            "seq": state.seq,
            "event_sha256": event_sha256,
            "revision": state.revision,
            "last_seq": state.last_seq,
        },
    }
    if state.withdrawn:
        w = state.withdrawn
        added["withdrawn"] = {"reason": w.reason, "at_utc": w.at_utc, "seq": w.seq}
    return canonical(added)[:-1] + b"," + run[1:]


def view_of(beginning: Recorded, state: RunState) -> bytes:
    """Return the merged view as JSON of the run that *beginning* created."""
    start, length = run_slice(beginning)
    return view_bytes(beginning.bytes[start : start + length], beginning.hash, state)


def view_dict(view: bytes) -> dict[str, Any]:
    """Return the merged view as values."""
    parsed: dict[str, Any] = parse_own(view)
    return parsed


def state_json(state: RunState) -> bytes | None:
    """Return *state* as stored beside a run's row; None while nothing was added."""
    if state.revision == 0:
        return None
    w = state.withdrawn
    return canonical(
        {
            "revision": state.revision,
            "last_seq": state.last_seq,
            "advisory_inputs": state.advisory_inputs,
            "explanation_status": state.explanation_status,
            "explanation_summary": state.explanation_summary,
            "attachments": state.attachments,
            "withdrawn": [w.reason, w.at_utc, w.seq] if w else None,
        }
    )


def state_of(seq: int, stored: bytes | None) -> RunState:
    """Return the state that `state_json` stored for the run created by event *seq*."""
    if stored is None:
        return RunState(seq, 0, seq)
    s = parse_own(stored)
    return RunState(
        seq,
        s["revision"],
        s["last_seq"],
        tuple(s["advisory_inputs"]),
        s["explanation_status"],
        s["explanation_summary"],
        None if s["attachments"] is None else tuple(s["attachments"]),
        Withdrawn(*s["withdrawn"]) if s["withdrawn"] else None,
    )
