"""Every error that HTTP answers with: an example of each, worded by the error itself. Pure.

A test holds this table and `problems.STATUSES` equal, so that no code is left without an example.
"""

from typing import Any

import orjson

from api import errors
from api.evidence.export import EvidenceIncomplete
from api.http.openapi.operations import HTML, JSON
from api.http.openapi.shapes import TEXT, Schema, array, record, ref
from api.http.problems import STATUSES, body_of
from api.migration.import_record import ImportRecordDamaged
from eventlog import errors as log_errors
from eventlog.errors import RunlogError
from eventlog.strict_json import Fault, MalformedJson
from eventlog.tree import TreeDamaged
from projections.run import errors as run_errors
from projections.run.events import UnknownEvent

_RUN, _TIME = "run_0123456789ab", "2026-01-05T05:07:16.000000Z"
_DIGEST = "c78598b363ee02d12ba92d43bbbbb81c5df8ed6766ba62bc5c8e6a45b034a96f"

_OCCURRENCES: tuple[RunlogError, ...] = (
    MalformedJson("the body is empty"),
    errors.BadRequest("only `Expect: 100-continue` is understood"),
    errors.Unauthenticated("no_key"),
    errors.Forbidden("Host", "alien.example"),
    run_errors.RunNotFound(_RUN),
    errors.AttachmentNotFound(_RUN, _DIGEST),
    errors.NotFound("/api/rmos/nothing"),
    errors.MethodNotAllowed("DELETE", ("GET", "HEAD")),
    errors.RequestTimeout(30.0),
    run_errors.ImmutabilityViolation(_RUN),
    run_errors.AdvisoryConflict(_RUN, "advisory-1"),
    run_errors.AttachmentConflict(_RUN, _DIGEST),
    run_errors.RunFull(_RUN, "advisories", 1000),
    run_errors.RunWithdrawn(_RUN, "recorded twice", _TIME, 41),
    errors.BodyTooLarge(4_194_304),
    errors.UnsupportedMediaType("Content-Type", "text/plain"),
    errors.RangeNotSatisfiable("bytes=900-", 512),
    run_errors.InvalidCommand((Fault("$.score", "must be from 0 to 100, not 101"), Fault("$.mode", "is required"))),
    run_errors.HashMismatch((Fault("$.hashes.gcode_sha256", f"is not the hash of gcode_text, which is {_DIGEST}"),)),
    log_errors.IdempotencyKeyReused("job-17"),
    errors.RateLimited(2),
    errors.HeadersTooLarge(),
    errors.Internal(),
    log_errors.LogBusy(),
    log_errors.LogHalted("fdatasync failed"),
    log_errors.LogCorrupt(41, "2026-01-05.0000.jsonl", 82_944),
    UnknownEvent(41, "rmos.run.created.v2"),
    log_errors.CheckpointBehind(42, 41),
    errors.ProjectionBehind("catalog", 41, 42),
    ImportRecordDamaged("2026-01-05T050716.json"),
    log_errors.LogFull(),
    log_errors.LogDamaged("an event does not match its hash", "2026-01-05.0000.jsonl", 82_944, 41),
    TreeDamaged("tile/0/000"),
    EvidenceIncomplete(_DIGEST, 41),
)
EXAMPLES: dict[str, dict[str, Any]] = {
    one.code: orjson.loads(orjson.dumps(body_of(one, "5f0c1e7a9b3d4c6e8f00112233445566"))) for one in _OCCURRENCES
}
"""The body of each error, as it is answered."""

ALWAYS = ("MALFORMED_REQUEST", "FORBIDDEN", "HEADERS_TOO_LARGE", "INTERNAL")
"""What any request may be answered with, by the guard and by what reads HTTP before it."""
WITH_A_KEY = ("UNAUTHENTICATED", "RATE_LIMITED")
"""What else may be said where a key is needed."""
QUERY = ("VALIDATION_ERROR",)
READING = ("PROJECTION_BEHIND", "LOG_CORRUPT", "UNKNOWN_EVENT")
A_RUN = ("RUN_NOT_FOUND", "RUN_WITHDRAWN", *READING)
A_BODY = ("REQUEST_TIMEOUT", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
A_JSON_BODY = (*A_BODY, "MALFORMED_JSON", "VALIDATION_ERROR")
A_WRITE = ("IDEMPOTENCY_KEY_REUSED", "LOG_BUSY", "LOG_HALTED", "LOG_FULL")
EVIDENCE = ("CHECKPOINT_BEHIND", "EVIDENCE_INCOMPLETE", "LOG_DAMAGED")
"""What is told where people ask for evidence to take with them."""
PAGES = (*ALWAYS, *WITH_A_KEY, *QUERY, *A_BODY, *A_RUN, "NOT_FOUND", "ATTACHMENT_NOT_FOUND", *EVIDENCE)
"""What one page or another may be answered with."""

PROBLEM = record(
    {
        "error": {"type": "string", "enum": sorted(STATUSES)},
        "message": {**TEXT, "description": "What happened, and what to do."},
        "request_id": TEXT,
        "detail": {"type": "object", "properties": {"error": TEXT}, "required": ["error"]},
    },
    {"errors": array(ref("Fault"))},
    description="The facts of the error stand at the top level and again under `detail`.",
) | {"additionalProperties": True}
FAULT = record(
    {
        "path": {**TEXT, "description": "`$.score` in the body, `?limit` in the query, or the name of a header."},
        "message": TEXT,
    }
)


def by_status(codes: tuple[str, ...]) -> dict[int, list[str]]:
    """Return *codes* under the status of each, both in order."""
    found: dict[int, list[str]] = {}
    for code in sorted(dict.fromkeys(codes), key=lambda code: (STATUSES[code], code)):
        found.setdefault(STATUSES[code], []).append(code)
    return found


def refusal(codes: list[str], *, is_outside: bool) -> Schema:
    """Return the answer that is one of *codes*, which share a status; *is_outside* the base, a browser gets a page."""
    told = {"type": "object", "properties": {"error": {"enum": codes}}}
    as_json = {
        "schema": {"allOf": [ref("Problem"), told]},
        "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
    }
    as_page = {HTML: {"schema": TEXT}} if is_outside else {}
    return {"description": ", ".join(codes), "content": {JSON: as_json, **as_page}}
