"""A job as the old store kept it, and as `POST /runs` takes it. Pure."""

import json
from hashlib import sha256
from typing import Any

from api.demo.workshop import Job

ENGINE = {"engine_id": "cam-rules", "engine_version": "1.4.0"}
GCODE_MIME = "text/plain; charset=utf-8"


def v1_record(job: Job) -> dict[str, Any]:
    """Return *job* as a record of v1."""
    assert job.at is not None, "v1 records have their own times"
    at = job.at.isoformat(timespec="microseconds")
    record: dict[str, Any] = {
        "run_id": job.run_id,
        "created_at_utc": at,
        "event_type": job.event_type,
        "workflow_mode": job.mode,
        "tool_id": job.tool_id,
        "status": job.status,
        "request_summary": job.request,
        "request_hash": _sha256(json.dumps(job.request, sort_keys=True).encode()),
        "feasibility": job.feasibility,
        "explanation_status": "NONE",
        **job.context,
    }
    if job.status == "BLOCKED":
        record["notes"] = f"Blocked by safety policy: {job.safety['risk_level']}"
    if job.exception:
        record["errors"] = [": ".join(job.exception)]
    if job.advisory:
        record["advisory_inputs"] = [{**job.advisory, **ENGINE, "created_at_utc": at}]
    if job.explanation:
        record["explanation_status"], record["explanation_summary"] = job.explanation
    if job.gcode is not None:
        content = job.gcode.encode()
        record["gcode_hash"] = _sha256(content)
        record["attachments"] = [
            {
                "sha256": _sha256(content),
                "kind": "gcode",
                "mime": GCODE_MIME,
                "filename": gcode_name(job),
                "size_bytes": len(content),
                "created_at_utc": at,
            }
        ]
    return record


def new_run(job: Job) -> dict[str, Any]:
    """Return *job* as the body of `POST /runs`."""
    body: dict[str, Any] = {
        "run_id": job.run_id,
        "mode": job.mode,
        "tool_id": job.tool_id,
        "status": job.status,
        "request_summary": job.request,
        "feasibility": job.feasibility,
        "context": {"event_type": job.event_type, **job.context},
        **job.safety,
    }
    if job.gcode is not None:
        body["outputs"] = {"gcode_text": job.gcode}
    if job.exception:
        body["exception"] = dict(zip(("type", "message"), job.exception, strict=True))
    return body


def gcode_name(job: Job) -> str:
    """Return the file name of a job's program."""
    return f"{job.request['part']}.nc"


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()
