"""The shapes of what is sent and of what comes back: JSON as it is, with names for type checkers.

They are Runlog's HTTP contract; the server checks what is sent, and lists every fault.
"""

from datetime import date
from typing import Any, Literal, NotRequired, Required, TypedDict

Status = Literal["OK", "BLOCKED", "ERROR"]
RiskLevel = Literal["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"]
AdvisoryKind = Literal["explanation", "advisory", "note", "unknown"]
ExplanationStatus = Literal["NONE", "PENDING", "READY", "ERROR"]


class Outputs(TypedDict, total=False):
    """What a toolpath job produced."""

    gcode_text: str | None
    opplan_json: Any
    gcode_path: str | None
    opplan_path: str | None
    preview_svg_path: str | None


class Hashes(TypedDict, total=False):
    """SHA-256 in lower-case hex."""

    feasibility_sha256: str | None
    toolpaths_sha256: str | None
    gcode_sha256: str | None
    opplan_sha256: str | None


class RaisedException(TypedDict):
    """The exception that ended a job."""

    type: str
    message: str


class Context(TypedDict, total=False):
    """Where a run belongs, and the versions of what made it; at most 200 characters each."""

    event_type: str
    session_id: str
    batch_label: str
    workflow_session_id: str
    workflow_mode: str
    tool_kind: str
    material_id: str
    machine_id: str
    parent_run_id: str
    engine_version: str
    toolchain_version: str
    post_processor_version: str
    config_fingerprint: str


class JobFacts(TypedDict, total=False):
    """What is known of a job beside how it ended."""

    mode: str
    tool_id: str
    request_summary: dict[str, Any]
    feasibility: dict[str, Any]
    risk_level: RiskLevel
    score: float | None
    warnings: list[str] | None
    details: dict[str, Any] | None
    outputs: Outputs | None
    toolpaths: Any
    hashes: Hashes | None
    context: Context | None
    meta: dict[str, Any] | None
    run_id: str | None


class NewRun(TypedDict, total=False):
    """One attempt to generate a toolpath, as `POST /runs` takes it."""

    mode: Required[str]
    tool_id: Required[str]
    status: Required[Status]
    request_summary: Required[dict[str, Any]]
    feasibility: Required[dict[str, Any]]
    risk_level: Required[RiskLevel]
    score: float | None
    block_reason: str | None
    warnings: list[str] | None
    details: dict[str, Any] | None
    outputs: Outputs | None
    toolpaths: Any
    hashes: Hashes | None
    exception: RaisedException | None
    context: Context | None
    meta: dict[str, Any] | None
    run_id: str | None


class BatchRun(NewRun, total=False):
    """A run of a batch; it is recorded once under its key, which is made if it is not given."""

    idempotency_key: str


class Decision(TypedDict):
    """What the safety policy decided."""

    risk_level: RiskLevel
    score: float | None
    block_reason: str | None
    warnings: list[str]
    details: dict[str, Any]


class Advisory(TypedDict):
    """An advisory that is attached to a run."""

    advisory_id: str
    kind: AdvisoryKind
    created_at_utc: str
    request_id: str | None
    engine_id: str | None
    engine_version: str | None


class Attachment(TypedDict):
    """Bytes that are attached to a run, by their SHA-256."""

    sha256: str
    kind: str
    mime: str
    filename: str
    size_bytes: int
    created_at_utc: str


class Place(TypedDict):
    """Where a run lies in the log, and how far it has come."""

    seq: int
    event_sha256: str
    revision: int
    last_seq: int


class Withdrawn(TypedDict):
    """Why and since when a run is no longer in force."""

    reason: str
    at_utc: str
    seq: int


class Run(TypedDict):
    """A run with all that was added to it, as every route returns it."""

    run_id: str
    created_at_utc: str
    mode: str
    tool_id: str
    status: Status
    request_summary: dict[str, Any]
    feasibility: dict[str, Any]
    decision: Decision
    hashes: Hashes
    outputs: Outputs
    advisory_inputs: list[Advisory]
    explanation_status: ExplanationStatus
    explanation_summary: str | None
    attachments: list[Attachment] | None
    context: Context
    meta: dict[str, Any]
    log: Place
    withdrawn: NotRequired[Withdrawn]


class RunItem(TypedDict):
    """A run in a list (`view="index"`)."""

    run_id: str
    created_at_utc: str
    status: Status
    mode: str
    tool_id: str
    risk_level: RiskLevel
    score: float | None
    feasibility_sha256: str
    toolpaths_sha256: str | None
    artifact_path: str
    context: Context
    explanation_status: ExplanationStatus
    advisory_count: int
    block_reason: str | None


class Filters(TypedDict, total=False):
    """Which runs a list is of; all must hold. Dates are days in UTC, both inclusive."""

    status: Status
    mode: str
    tool_id: str
    tool_id_prefix: str
    risk_level: RiskLevel
    date_from: date | str
    date_to: date | str
    event_type: str
    session_id: str
    batch_label: str
    workflow_session_id: str
    material_id: str
    machine_id: str
    tool_kind: str
    parent_run_id: str
    advisory_id: str
    include_withdrawn: bool


class Diff(TypedDict):
    """What differs between two runs, and how much it matters."""

    severity: Literal["CRITICAL", "WARNING", "INFO"]
    run_a: str
    run_b: str
    summary: str
    differences: list[dict[str, Any]]
    difference_count: int
    hashes: list[dict[str, Any]]
    items: list[dict[str, Any]]
    counts: dict[str, int]
    truncated: bool


class BatchAnswer(TypedDict, total=False):
    """What became of one run of a batch: `run_id`, `seq` and hash with status 201, else `error` and what goes with it."""

    status: Required[int]
    run_id: str
    seq: int
    feasibility_sha256: str
    replayed: bool
    error: str
    errors: list[dict[str, str]]
    message: str


class LogEvent(TypedDict):
    """An event of the log; `event` is a CloudEvents 1.0 object."""

    seq: int
    hash: str
    event: dict[str, Any]


class RecordedJob(TypedDict, total=False):
    """What a job's own answer is to carry of its run."""

    _run_id: str
    _run_artifact_path: str
    _hashes: Hashes
