"""What can be said about a run: the commands, and the state that events add to its core."""

from typing import Any, Literal, NewType

from attrs import frozen

from eventlog.record import record

Status = Literal["OK", "BLOCKED", "ERROR"]
RiskLevel = Literal["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"]
AdvisoryKind = Literal["explanation", "advisory", "note", "unknown"]
ExplanationStatus = Literal["NONE", "PENDING", "READY", "ERROR"]

Label = NewType("Label", str)
"""A non-blank string of at most 200 characters."""
ShortText = NewType("ShortText", str)
"""A string of at most 200 characters."""
Score = NewType("Score", float)
"""A number from 0 to 100."""
Sha256 = NewType("Sha256", str)
"""64 lower-case hex digits."""
NativeRunId = NewType("NativeRunId", str)
"""`run_` + 12 lower-case hex digits."""
AdvisoryId = NewType("AdvisoryId", str)
"""1 to 512 characters of any script, none of them a control character."""
Reason = NewType("Reason", str)
"""6 to 500 characters, not blank, none of them a control character: it is shown in a line wherever the run is."""
Summary = NewType("Summary", str)
"""At most 65,536 characters."""
OwnMeta = NewType("OwnMeta", dict[str, Any])
"""An object without the keys that are Runlog's."""
Json = NewType("Json", object)
"""Any JSON value."""

RESERVED_META = ("exception", "stripped", "feasibility_missing", "v1")
ADVISORIES_MAX = ATTACHMENTS_MAX = 1000

HASH_NAMES = ("feasibility_sha256", "toolpaths_sha256", "gcode_sha256", "opplan_sha256")


@record
class Outputs:
    """What the toolpath job produced."""

    gcode_text: str | None = None
    opplan_json: Json | None = None
    gcode_path: str | None = None
    opplan_path: str | None = None
    preview_svg_path: str | None = None


@record
class Hashes:
    """The hashes that the producer already has."""

    feasibility_sha256: Sha256 | None = None
    toolpaths_sha256: Sha256 | None = None
    gcode_sha256: Sha256 | None = None
    opplan_sha256: Sha256 | None = None


@record
class RaisedException:
    """The exception that ended a job."""

    type: str | None = None
    message: str | None = None


@record
class Context:
    """Where a run belongs, and the versions of what made it."""

    event_type: ShortText | None = None
    session_id: ShortText | None = None
    batch_label: ShortText | None = None
    workflow_session_id: ShortText | None = None
    workflow_mode: ShortText | None = None
    tool_kind: ShortText | None = None
    material_id: ShortText | None = None
    machine_id: ShortText | None = None
    parent_run_id: ShortText | None = None
    engine_version: ShortText | None = None
    toolchain_version: ShortText | None = None
    post_processor_version: ShortText | None = None
    config_fingerprint: ShortText | None = None


@record
class CreateRun:
    """Record one attempt to generate a toolpath."""

    mode: Label
    tool_id: Label
    status: Status
    request_summary: dict[str, Any]
    feasibility: dict[str, Any]
    risk_level: RiskLevel
    score: Score | None = None
    block_reason: str | None = None
    warnings: list[str] | None = None
    details: dict[str, Any] | None = None
    outputs: Outputs | None = None
    toolpaths: Json | None = None
    hashes: Hashes | None = None
    exception: RaisedException | None = None
    context: Context | None = None
    meta: OwnMeta | None = None
    run_id: NativeRunId | None = None


@frozen
class AttachAdvisory:
    """Link an advisory to a run."""

    advisory_id: AdvisoryId
    kind: AdvisoryKind | None = None
    engine_id: str | None = None
    engine_version: str | None = None


@frozen
class SetExplanation:
    """Say where the explanation of a run stands."""

    status: ExplanationStatus
    summary: Summary | None = None


@frozen
class Withdraw:
    """Take a run out of force."""

    reason: Reason
    import_id: ShortText | None = None


@frozen
class AddAttachment:
    """Name a stored blob as an attachment of a run."""

    sha256: str
    kind: str
    mime: str
    filename: str
    size_bytes: int


@frozen
class Withdrawn:
    """Why and when a run went out of force."""

    reason: str
    at_utc: str
    seq: int


@record
class RunState:
    """All of a run but its core: what was added, and where it stands in the log."""

    seq: int
    revision: int
    last_seq: int
    advisory_inputs: tuple[dict[str, Any], ...] = ()
    explanation_status: str = "NONE"
    explanation_summary: str | None = None
    attachments: tuple[dict[str, Any], ...] | None = None
    withdrawn: Withdrawn | None = None
