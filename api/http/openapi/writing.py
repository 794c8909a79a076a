"""What can be recorded: runs, what is added to them, and what operators write."""

from typing import Any

from api.http.openapi.operations import (
    ANY,
    BYTES,
    CONTENT_DIGEST,
    FILENAME,
    IDEMPOTENCY_KEY,
    JSON,
    KIND,
    NDJSON,
    RUN,
    Answer,
    Body,
    Operation,
    Parameter,
    lines,
)
from api.http.openapi.refusals import A_BODY, A_JSON_BODY, A_RUN, A_WRITE, QUERY
from api.http.openapi.requests import request_shape
from api.http.openapi.shapes import (
    BASE64,
    BOOLEAN,
    COUNT,
    OBJECT,
    POSITION,
    RUN_ID,
    SEQ,
    SHA256,
    TEXT,
    Schema,
    array,
    const,
    nullable,
    one_of,
    record,
    ref,
    table,
)
from api.migration.migrate import BATCH_SIZE_MAX
from projections.run.model import CreateRun

_WRITTEN = ("ETag", "X-Log-Position", "Idempotency-Replayed")
_RUN_ANSWER = (Answer(200, "The run.", {JSON: ref("Run")}, _WRITTEN),)
_ON_A_RUN: tuple[Parameter, ...] = (RUN, IDEMPOTENCY_KEY)

_NEW_RUN: dict[str, Any] = {
    "mode": "adaptive",
    "tool_id": "adaptive_gcode",
    "status": "OK",
    "request_summary": {"material": "maple", "depth_mm": 1.5},
    "feasibility": {"score": 87.5, "risk_level": "GREEN"},
    "risk_level": "GREEN",
    "score": 87.5,
}
_REFUSED_LINE: Schema = {
    "type": "object",
    "properties": {"status": {"type": "integer", "minimum": 400}, "error": TEXT, "message": TEXT},
    "required": ["status", "error", "message"],
    "description": "The facts of the error beside it.",
}
_LINE_ANSWER: Schema = {
    "anyOf": [
        record(
            {"status": const(201), "run_id": RUN_ID, "seq": SEQ, "feasibility_sha256": SHA256}, {"replayed": BOOLEAN}
        ),
        _REFUSED_LINE,
    ]
}


def _line() -> Schema:
    shape = request_shape(CreateRun)
    properties = {**shape["properties"], "idempotency_key": nullable(IDEMPOTENCY_KEY.schema)}
    return {**shape, "properties": properties, "description": "A new run, with a key of its own."}


_BATCH_SIZE: Schema = {"type": "integer", "minimum": 1, "maximum": BATCH_SIZE_MAX}
_IMPORT_LINE: Schema = {
    "anyOf": [
        record(
            {
                "import": record(
                    {"v1_path": TEXT, "v1_sha256": SHA256},
                    {"backup": nullable(record({"path": TEXT, "sha256": SHA256})), "batch_size": _BATCH_SIZE},
                )
            },
            description="The first line.",
        ),
        record(
            {"blob": record({"sha256": SHA256, "size_bytes": COUNT, "data": BASE64}, {"more": BOOLEAN})},
            description="A part of an attachment, before the record that names it.",
        ),
        record(
            {"run_id": TEXT, "record": OBJECT}, {"blobs": table(COUNT)}, description="A record of v1 under its key."
        ),
        record(
            {"end": BOOLEAN},
            {"failed": COUNT},
            description="The last line; false where the v1 text was not whole. How many records failed unsent.",
        ),
    ]
}
_IMPORT_ANSWER: Schema = {
    "anyOf": [
        record({"import_id": TEXT}),
        record(
            {
                "run_id": TEXT,
                "outcome": one_of("imported", "unchanged", "conflict", "failed"),
                "errors": array({}),
                "notes": array({}),
            }
        ),
        record({"end": record({"position": POSITION})}),
        _REFUSED_LINE,
    ]
}

WRITES: dict[str, Operation] = {
    "POST /runs": Operation(
        "Runs",
        "createRun",
        "Record a run",
        (Answer(201, "The run, on disk.", {JSON: ref("Run")}, ("Location", *_WRITTEN)),),
        (*A_JSON_BODY, *A_WRITE, "HASH_MISMATCH", "ARTIFACT_EXISTS", "UNKNOWN_EVENT"),
        (IDEMPOTENCY_KEY,),
        Body(JSON, ref("NewRun"), "null means absent. Unknown fields are refused.", _NEW_RUN),
        description="The server computes the hashes. The answer leaves once the run is on disk.",
    ),
    "POST /runs/batch": Operation(
        "Runs",
        "createRuns",
        "Record a run for each line",
        (Answer(200, "A line for each line, in order.", {NDJSON: lines(_LINE_ANSWER, "What became of each line.")}),),
        (*A_BODY, *QUERY),
        (IDEMPOTENCY_KEY,),
        Body(NDJSON, lines(_line(), "New runs, one a line."), "Up to 50,000 lines and 64 MiB; streamed."),
        description="Lines stand alone: a bad one does not stop the rest. Each answer leaves once its run is on disk.",
    ),
    "POST /runs/{run_id}/attach-advisory": Operation(
        "Runs",
        "attachAdvisory",
        "Link an advisory to a run",
        _RUN_ANSWER,
        (*A_JSON_BODY, *A_WRITE, *A_RUN, "ADVISORY_CONFLICT", "RUN_FULL"),
        _ON_A_RUN,
        Body(JSON, ref("NewAdvisory"), "The same again records nothing.", {"advisory_id": "adv-1", "kind": "note"}),
    ),
    "POST /runs/{run_id}/explanation": Operation(
        "Runs",
        "setExplanation",
        "Say where the explanation of a run stands",
        _RUN_ANSWER,
        (*A_JSON_BODY, *A_WRITE, *A_RUN),
        _ON_A_RUN,
        Body(
            JSON, ref("NewExplanation"), "What is set already records nothing.", {"status": "READY", "summary": "Safe."}
        ),
    ),
    "POST /runs/{run_id}/attachments": Operation(
        "Attachments",
        "addAttachment",
        "Store the body's bytes as an attachment",
        (
            Answer(201, "Stored.", {JSON: ref("Attachment")}, ("Location", *_WRITTEN)),
            Answer(200, "It was there already.", {JSON: ref("Attachment")}, _WRITTEN),
        ),
        (*A_BODY, *QUERY, *A_WRITE, *A_RUN, "ATTACHMENT_CONFLICT", "HASH_MISMATCH", "RUN_FULL"),
        (RUN, KIND, FILENAME, CONTENT_DIGEST, IDEMPOTENCY_KEY),
        Body(
            ANY, {}, f"Any bytes; kept with the `Content-Type` that they are sent with, `{BYTES}` where there is none."
        ),
    ),
    "POST /admin/import": Operation(
        "Operators",
        "importRecords",
        "Import v1 records, a line each",
        (Answer(200, "A line for each record.", {NDJSON: lines(_IMPORT_ANSWER, "What became of each record.")}),),
        ("MALFORMED_JSON", *A_BODY, *QUERY, "IMPORT_RECORD_DAMAGED"),
        body=Body(
            NDJSON, lines(_IMPORT_LINE, "The import, its blobs and records, its end."), "What `migrate --url` sends."
        ),
    ),
    "POST /admin/runs/{run_id}/withdraw": Operation(
        "Operators",
        "withdrawRun",
        "Take a run out of force",
        (Answer(200, "The run as it was last.", {JSON: ref("Run")}, _WRITTEN),),
        (*A_JSON_BODY, *A_WRITE, *A_RUN),
        _ON_A_RUN,
        Body(JSON, ref("Withdrawal"), "The history stays; only reads by default end.", {"reason": "recorded twice"}),
    ),
}
