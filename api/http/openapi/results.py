"""What is answered, shape by shape. Pure.

Strict, so that every answer of a running server can be held against it: a key that is not named here
is never served, and a key that is not optional is always there.
"""

from attrs import fields

from api.http.openapi import refusals
from api.http.openapi.requests import request_shape
from api.http.openapi.shapes import (
    ADVISORY_KIND,
    ANY,
    BASE64,
    BOOLEAN,
    COUNT,
    EXPLANATION_STATUS,
    NUMBER,
    OBJECT,
    POSITION,
    RISK_LEVEL,
    RUN_ID,
    SEQ,
    SHA256,
    STATUS,
    TEXT,
    TIME,
    Schema,
    array,
    const,
    nullable,
    one_of,
    record,
    ref,
    table,
)
from projections.run import model
from projections.run.events import TYPES
from projections.stats import GROUPS

_SEVERITY = one_of("CRITICAL", "WARNING", "INFO")
_FOUND_IN_BOTH = {"a": ANY, "b": ANY}
_CONTEXT = record({}, {each.name: {"type": "string", "maxLength": 200} for each in fields(model.Context)})

_RUN: dict[str, Schema] = {
    "run_id": RUN_ID,
    "created_at_utc": TIME,
    "mode": TEXT,
    "tool_id": TEXT,
    "status": STATUS,
    "request_summary": OBJECT,
    "feasibility": OBJECT,
    "decision": ref("Decision"),
    "hashes": ref("Hashes"),
    "outputs": ref("Outputs"),
    "advisory_inputs": array(ref("Advisory")),
    "explanation_status": EXPLANATION_STATUS,
    "explanation_summary": nullable(TEXT),
    "attachments": {**nullable(array(ref("Attachment"))), "description": "Null until the first."},
    "context": ref("Context"),
    "meta": OBJECT,
    "log": ref("LogPlace"),
}
_ATTACHMENT: dict[str, Schema] = {
    "sha256": SHA256,
    "kind": TEXT,
    "mime": TEXT,
    "filename": TEXT,
    "size_bytes": COUNT,
    "created_at_utc": TIME,
}
_DIFF: dict[str, Schema] = {
    "severity": _SEVERITY,
    "run_a": RUN_ID,
    "run_b": RUN_ID,
    "summary": TEXT,
    "differences": array(
        record(
            {"field": TEXT, **_FOUND_IN_BOTH, "severity": _SEVERITY},
            {"note": TEXT, "drift": nullable(NUMBER), "added": array(TEXT), "removed": array(TEXT)},
        )
    ),
    "difference_count": COUNT,
    "hashes": array(record({"key": TEXT, "a": nullable(SHA256), "b": nullable(SHA256), "match": BOOLEAN})),
    "items": array(record({"path": TEXT, "op": one_of("added", "removed", "changed"), **_FOUND_IN_BOTH})),
    "counts": record({"added": COUNT, "removed": COUNT, "changed": COUNT}),
    "truncated": BOOLEAN,
    "diffs": array(
        record({"field": TEXT, "a_value": ANY, "b_value": ANY, "severity": _SEVERITY, "message": TEXT}),
        description="The differences once more, in the form of the old store.",
    ),
}
_CHANGED = table(record(_FOUND_IN_BOTH))
_EVENT_ROW = {"seq": SEQ, "hash": SHA256}

SCHEMAS: dict[str, Schema] = {
    "Run": record(_RUN, {"withdrawn": ref("Withdrawn")}, description="A run with all that was added to it."),
    "Decision": record(
        {
            "risk_level": RISK_LEVEL,
            "score": nullable({"type": "number", "minimum": 0, "maximum": 100}),
            "block_reason": nullable(TEXT),
            "warnings": array(TEXT),
            "details": OBJECT,
        }
    ),
    "Hashes": record({name: SHA256 if name == model.HASH_NAMES[0] else nullable(SHA256) for name in model.HASH_NAMES}),
    "Outputs": record(
        {each.name: ANY if each.name == "opplan_json" else nullable(TEXT) for each in fields(model.Outputs)}
    ),
    "Context": _CONTEXT,
    "Advisory": record(
        {
            "advisory_id": TEXT,
            "kind": ADVISORY_KIND,
            "created_at_utc": TIME,
            "request_id": nullable(TEXT),
            "engine_id": nullable(TEXT),
            "engine_version": nullable(TEXT),
        }
    ),
    "Attachment": record(_ATTACHMENT),
    "LogPlace": record(
        {"seq": SEQ, "event_sha256": SHA256, "revision": COUNT, "last_seq": SEQ},
        description="`seq` and `event_sha256` of the creating event; `revision` counts the run's events from 0.",
    ),
    "Withdrawn": record({"reason": TEXT, "at_utc": TIME, "seq": SEQ}),
    "RunItem": record(
        {
            "run_id": RUN_ID,
            "created_at_utc": TIME,
            "status": STATUS,
            "mode": TEXT,
            "tool_id": TEXT,
            "risk_level": RISK_LEVEL,
            "score": nullable(NUMBER),
            "feasibility_sha256": SHA256,
            "toolpaths_sha256": nullable(SHA256),
            "artifact_path": TEXT,
            "context": ref("Context"),
            "explanation_status": EXPLANATION_STATUS,
            "advisory_count": COUNT,
            "block_reason": nullable(TEXT),
        }
    ),
    "RunPage": record(
        {
            "items": {"anyOf": [array(ref("RunItem")), array(ref("Run"))]},
            "count": COUNT,
            "next_cursor": nullable(TEXT),
            "runs_dir": const("."),
        },
        {"total": nullable(COUNT)},
        description="`items` are whole runs with `view=full`. Only a `next_cursor` that is null is the end.",
    ),
    "RunAdvisories": record(
        {
            "run_id": RUN_ID,
            "advisory_inputs": array(ref("Advisory")),
            "count": COUNT,
            "explanation_status": EXPLANATION_STATUS,
            "explanation_summary": nullable(TEXT),
        }
    ),
    "RunAttachments": record(
        {
            "run_id": RUN_ID,
            "attachments": array(
                record({**_ATTACHMENT, "att_id": SHA256, "path": TEXT, "content_type": TEXT, "download_url": TEXT})
            ),
            "count": COUNT,
        }
    ),
    "RunAttachment": record({"run_id": RUN_ID, "attachment": ref("Attachment"), "exists": BOOLEAN}),
    "AttachmentCheck": record(
        {
            "run_id": RUN_ID,
            "all_valid": BOOLEAN,
            "results": array(record({"sha256": SHA256, "filename": TEXT, "valid": BOOLEAN})),
        }
    ),
    "Event": record(
        {
            "specversion": const("1.0"),
            "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "source": {"type": "string", "pattern": "^urn:runlog:"},
            "type": {"type": "string", "examples": sorted(TYPES)},
            "subject": RUN_ID,
            "time": TIME,
            "datacontenttype": const("application/json"),
            "data": OBJECT,
            "actor": TEXT,
        },
        {"requestid": TEXT, "traceparent": TEXT, "idempotencykey": TEXT, "requestsha256": SHA256},
        description="A CloudEvents 1.0 object, its bytes as they are stored.",
    ),
    "EventRow": record(
        {**_EVENT_ROW, "event": ref("Event")}, description="`hash` is the SHA-256 of the event's bytes."
    ),
    "RunEvents": record({"run_id": RUN_ID, "count": COUNT, "events": array(ref("EventRow"))}),
    "RunProof": record(
        {
            "run_id": RUN_ID,
            "events": array(record({**_EVENT_ROW, "event_base64": BASE64, "proof": TEXT})),
            "checkpoint": TEXT,
            "key": TEXT,
        }
    ),
    "Consistency": record({"from": COUNT, "to": COUNT, "hashes": array(BASE64)}),
    "Diff": record(_DIFF),
    "OldDiff": record(
        {
            **_DIFF,
            **{f"{name}_diff": _CHANGED for name in ("request", "feasibility", "decision", "hashes")},
            "attachments_diff": record({"only_in_a": array(SHA256), "only_in_b": array(SHA256)}),
        }
    ),
    "Stats": record(
        {
            "group_by": one_of(*GROUPS),
            "items": array(
                record({"key": TEXT, "total": COUNT, "by_status": table(COUNT), "by_risk_level": table(COUNT)})
            ),
        }
    ),
    "Projection": record(
        {
            "name": TEXT,
            "version": COUNT,
            "position": POSITION,
            "head": POSITION,
            "state": one_of("running", "rebuilding", "failed"),
            "error": nullable(record({"seq": POSITION, "type": nullable(TEXT), "message": TEXT})),
        }
    ),
    "Projections": record({"projections": array(ref("Projection"))}),
    "Health": record({"status": const("ok")}),
    "Readiness": record(
        {
            "status": one_of("ready", "degraded", "unready"),
            "reasons": array(TEXT),
            "projections": table(record({"position": POSITION, "lag": COUNT, "state": TEXT})),
        }
    ),
    "NewRun": request_shape(model.CreateRun),
    "NewAdvisory": request_shape(model.AttachAdvisory),
    "NewExplanation": request_shape(model.SetExplanation),
    "Withdrawal": request_shape(model.Withdraw),
    "Problem": refusals.PROBLEM,
    "Fault": refusals.FAULT,
}
"""Every shape that an operation refers to."""
