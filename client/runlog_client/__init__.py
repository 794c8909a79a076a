"""The client of Runlog for the services that record runs, and for those that listen.

    async with RunlogClient("http://127.0.0.1:8080", key) as runs:
        run = await runs.create(mode="adaptive", tool_id="adaptive_gcode", status="OK", ...)

An answer means that the run is on disk. Every write carries an Idempotency-Key of its own, and
is repeated under it until it is answered: what is recorded is recorded once.
"""

from runlog_client.client import RunlogClient
from runlog_client.errors import ProofRefused, Refused, RunlogClientError, Unreachable
from runlog_client.evidence import Evidence, ProvenEvent, verify_proof
from runlog_client.jobs import Job
from runlog_client.types import (
    Advisory,
    Attachment,
    BatchAnswer,
    LogEvent,
    NewRun,
    RecordedJob,
    Run,
    RunItem,
)

__all__ = [
    "Advisory",
    "Attachment",
    "BatchAnswer",
    "Evidence",
    "Job",
    "LogEvent",
    "NewRun",
    "ProofRefused",
    "ProvenEvent",
    "RecordedJob",
    "Refused",
    "Run",
    "RunItem",
    "RunlogClient",
    "RunlogClientError",
    "Unreachable",
    "verify_proof",
]
