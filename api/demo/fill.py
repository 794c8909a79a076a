"""A data directory filled with the jobs of a workshop, through the ways in that everyone uses.

Those of past days are imported, as v1 records are: the log's own times are never made up. Those of today
are recorded through the service, with what is added to them. The projections are at the head in the end.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve

from api.demo.shapes import ENGINE, GCODE_MIME, gcode_name, new_run, v1_record
from api.demo.workshop import Job
from api.http.wire import command_of
from api.migration.migrate import BATCH_SIZE
from api.migration.offline import Bars, migrate_offline
from api.migration.report import Report
from api.migration.v1_source import V1Attachments
from api.service import Service
from api.settings import Settings
from eventlog.event import Origin
from projections.run import events, model
from projections.run.decide import decide_advisory, decide_attachment, decide_create, decide_explanation

V1_NAME = "runs.json"
CLI = Origin(actor="cli")
FRESHNESS_TIMEOUT_MS = 60_000
"""Nobody waits for an answer here, and the projections' process has to start first."""

Decide = Callable[[model.RunState], dict[str, Any] | None]


def import_past(jobs: Iterable[Job], settings: Settings, bars: Bars) -> str:
    """Import *jobs* of past days; return what kept the projections from coming to the head ("" for nothing)."""
    records, programs = {}, {}
    for job in jobs:
        records[job.run_id] = record = v1_record(job)
        if job.gcode is not None:
            programs[record["gcode_hash"]] = job.gcode.encode()
    path = settings.data_dir / V1_NAME
    path.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", "utf-8")
    with TemporaryDirectory() as folder, closing(Report()) as report:
        for digest, content in programs.items():
            (Path(folder) / digest).write_bytes(content)
        attachments = V1Attachments(Path(folder))
        behind = migrate_offline(
            path, attachments, settings, report, with_backup=True, batch_size=BATCH_SIZE, bars=bars, say=lambda _: None
        )
        assert report.is_good, "every record of a demo can be imported"
    return behind


async def record_today(jobs: Iterable[Job], settings: Settings) -> None:
    """Record *jobs* as they are done now, with what is added to them."""
    service = Service.open(evolve(settings, freshness_timeout_ms=FRESHNESS_TIMEOUT_MS))
    try:
        for job in jobs:
            await _record(service, job)
        await service.fresh()
    finally:
        await service.close()


async def _record(service: Service, job: Job) -> None:
    command, run_id = command_of(new_run(job), model.CreateRun), job.run_id
    creation = await service.prepare(lambda name: decide_create(command, name, None), run_id, CLI)
    await service.create(creation, CLI)
    if job.advisory:
        advisory = command_of({**job.advisory, **ENGINE}, model.AttachAdvisory)
        await _add(
            service, run_id, events.ADVISORY_ATTACHED, "advisory", lambda s: decide_advisory(s, run_id, advisory, None)
        )
    if job.explanation:
        explanation = command_of(dict(zip(("status", "summary"), job.explanation, strict=True)), model.SetExplanation)
        await service.add(run_id, events.EXPLANATION_SET, lambda s: decide_explanation(s, explanation), CLI)
    if job.gcode is not None:
        blob = await service.blobs.put_bytes(job.gcode.encode())
        program = model.AddAttachment(blob.sha256, "gcode", GCODE_MIME, gcode_name(job), blob.size_bytes)
        await _add(
            service, run_id, events.ATTACHMENT_ADDED, "attachment", lambda s: decide_attachment(s, run_id, program)
        )


async def _add(service: Service, run_id: str, event_type: str, name: str, decide: Decide) -> None:
    def named(state: model.RunState) -> dict[str, Any] | None:
        decided = decide(state)
        return None if decided is None else {name: decided}

    await service.add(run_id, event_type, named, CLI)
