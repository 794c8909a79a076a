"""A command + what is known of the run -> what to record, or a refusal. Pure."""

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import attrs
from attrs import frozen

from eventlog.canonical import canonical
from eventlog.event import TIME_SLOT
from eventlog.record import record
from eventlog.strict_json import Fault
from projections.run.errors import (
    AdvisoryConflict,
    AttachmentConflict,
    HashMismatch,
    RunFull,
)
from projections.run.model import (
    ADVISORIES_MAX,
    ATTACHMENTS_MAX,
    HASH_NAMES,
    AddAttachment,
    AttachAdvisory,
    Context,
    CreateRun,
    Outputs,
    RaisedException,
    RunState,
    SetExplanation,
)
from projections.run.summary import clean_summary

INLINE_BYTES_MAX = 204_800
"""A `gcode_text` or `opplan_json` above this is kept as an attachment (UTF-8, canonical)."""

_NO_OUTPUTS = Outputs()


@frozen
class Payload:
    """An output that stands in its run, or, where it is too large, in an attachment that its path names."""

    kind: str
    """Of the attachment."""
    name: str
    path: str
    holds: type
    bytes_of: Callable[[Any], bytes]
    """A value -> what is measured, hashed and kept."""
    mime: str
    ending: str

    def is_large(self, value: Any) -> bool:
        """Tell whether *value*, whatever it is, is a payload that is kept as an attachment."""
        return isinstance(value, self.holds) and len(self.bytes_of(value)) > INLINE_BYTES_MAX


PAYLOADS = (
    Payload("gcode", "gcode_text", "gcode_path", str, str.encode, "text/plain; charset=utf-8", "nc"),
    Payload("opplan", "opplan_json", "opplan_path", object, canonical, "application/json", "opplan.json"),
)


@record
class StoredBlob:
    """Bytes to keep as a blob before the event that names them, and that event's attachment."""

    content: bytes
    attachment: dict[str, Any]


@record
class NewRun:
    """A run as it is to be recorded; its times are slots that the writer fills."""

    run: dict[str, Any]
    blobs: tuple[StoredBlob, ...]


def decide_create(command: CreateRun, run_id: str, request_id: str | None) -> NewRun:
    """Return the run that *command* describes, under *run_id*.

    Raises:
        HashMismatch: a given hash is not that of the payload.

    """
    summary, stripped = clean_summary(command.request_summary)
    outputs, computed, blobs = _outputs(command.outputs or _NO_OUTPUTS, run_id)
    computed["feasibility_sha256"] = _sha256(canonical(command.feasibility))
    if command.toolpaths is not None:
        computed["toolpaths_sha256"] = _sha256(canonical(command.toolpaths))
    context = _given(command.context) if command.context else {}
    run = {
        "run_id": run_id,
        "created_at_utc": TIME_SLOT,
        "mode": command.mode,
        "tool_id": command.tool_id,
        "status": command.status,
        "request_summary": summary,
        "feasibility": command.feasibility,
        "decision": {
            "risk_level": command.risk_level,
            "score": command.score,
            "block_reason": command.block_reason,
            "warnings": command.warnings or [],
            "details": command.details or {},
        },
        "hashes": _hashes(command, computed),
        "outputs": outputs,
        "context": context,
        "meta": _meta(command, stripped, request_id),
    }
    return NewRun(run, blobs)


def _outputs(given: Outputs, run_id: str) -> tuple[dict[str, Any], dict[str, str], tuple[StoredBlob, ...]]:
    """Return the outputs to record, the hashes that follow from them, and what is too large to stand inline."""
    outputs = {
        "gcode_text": given.gcode_text,
        "opplan_json": given.opplan_json,
        "gcode_path": given.gcode_path,
        "opplan_path": given.opplan_path,
        "preview_svg_path": given.preview_svg_path,
    }
    hashes: dict[str, str] = {}
    blobs: list[StoredBlob] = []
    for one in PAYLOADS:
        value = outputs[one.name]
        if value is None:
            continue
        content = one.bytes_of(value)
        hashes[f"{one.kind}_sha256"] = digest = _sha256(content)
        if len(content) > INLINE_BYTES_MAX:
            outputs[one.name], outputs[one.path] = None, f"attachments/{digest}"
            filename = f"{run_id}.{one.ending}"
            blobs.append(StoredBlob(content, attachment(digest, one.kind, one.mime, filename, len(content))))
    return outputs, hashes, tuple(blobs)


def _hashes(command: CreateRun, computed: dict[str, str]) -> dict[str, str | None]:
    if command.hashes is None:
        return {name: computed.get(name) for name in HASH_NAMES}
    hashes: dict[str, str | None] = {}
    faults: list[Fault] = []
    for name in HASH_NAMES:
        given = getattr(command.hashes, name)
        own = computed.get(name)
        if given is not None and own is not None and not hmac.compare_digest(given, own):
            faults.append(Fault(f"$.hashes.{name}", f"is {given}, but what was sent hashes to {own}"))
        hashes[name] = own or given
    if faults:
        raise HashMismatch(tuple(faults))
    return hashes


def _meta(command: CreateRun, stripped: list[dict[str, Any]], request_id: str | None) -> dict[str, Any]:
    meta: dict[str, Any] = dict(command.meta or {})
    if request_id is not None and "request_id" not in meta:
        meta["request_id"] = request_id
    if stripped:
        meta["stripped"] = stripped
    if command.exception is not None:
        meta["exception"] = _given(command.exception)
    return meta


def decide_advisory(
    state: RunState, run_id: str, command: AttachAdvisory, request_id: str | None
) -> dict[str, Any] | None:
    """Return the advisory to record; None if the run carries it already.

    Raises:
        AdvisoryConflict: the run carries that id with other content.
        RunFull: it carries as many as it may.

    """
    content = (command.kind or "unknown", command.engine_id, command.engine_version)
    for other in state.advisory_inputs:
        if other["advisory_id"] == command.advisory_id:
            if content == (other["kind"], other["engine_id"], other["engine_version"]):
                return None
            raise AdvisoryConflict(run_id, command.advisory_id)
    if len(state.advisory_inputs) >= ADVISORIES_MAX:
        raise RunFull(run_id, "advisories", ADVISORIES_MAX)
    return {
        "advisory_id": command.advisory_id,
        "kind": content[0],
        "created_at_utc": TIME_SLOT,
        "request_id": request_id,
        "engine_id": command.engine_id,
        "engine_version": command.engine_version,
    }


def decide_explanation(state: RunState, command: SetExplanation) -> dict[str, Any] | None:
    """Return the explanation to record; None if it is set so already."""
    if (state.explanation_status, state.explanation_summary) == (command.status, command.summary):
        return None
    return {"status": command.status, "summary": command.summary}


def decide_attachment(state: RunState, run_id: str, command: AddAttachment) -> dict[str, Any] | None:
    """Return the attachment to record; None if the run has it already.

    Raises:
        AttachmentConflict: the run has these bytes with other metadata.
        RunFull: it has as many as it may.

    """
    content = (command.kind, command.mime, command.filename, command.size_bytes)
    attached = state.attachments or ()
    # There may be two: a run's gcode and its opplan can be the same bytes.
    same = [other for other in attached if other["sha256"] == command.sha256]
    if any(content == (other["kind"], other["mime"], other["filename"], other["size_bytes"]) for other in same):
        return None
    if same:
        raise AttachmentConflict(run_id, command.sha256)
    if len(attached) >= ATTACHMENTS_MAX:
        raise RunFull(run_id, "attachments", ATTACHMENTS_MAX)
    return attachment(command.sha256, *content)


def attachment(digest: str, kind: str, mime: str, filename: str, size_bytes: int) -> dict[str, Any]:
    """Return an attachment's facts as they are recorded; its time is that of its event."""
    return {
        "sha256": digest,
        "kind": kind,
        "mime": mime,
        "filename": filename,
        "size_bytes": size_bytes,
        "created_at_utc": TIME_SLOT,
    }


_FIELDS = {kind: tuple(field.name for field in attrs.fields(kind)) for kind in (Context, RaisedException)}


def _given(value: Context | RaisedException) -> dict[str, Any]:
    """Return the fields that were given; null means absent."""
    return {name: member for name in _FIELDS[type(value)] if (member := getattr(value, name)) is not None}


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()
