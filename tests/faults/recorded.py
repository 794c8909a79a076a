"""A few steps of real work, for `strace` to record: blobs, events, files, tables. Each line on stdout is what was acknowledged.

python -m tests.faults.recorded DATA_DIR
"""

import asyncio
import json
import os
import sys
from contextlib import closing
from pathlib import Path

from eventlog.batch import Stream
from eventlog.blobs import Blobs
from eventlog.commit import Limits
from eventlog.log import Log
from eventlog.posix import PosixDisk
from projections.known import NAMES
from projections.rebuild import started
from tests.projections.logs import ORIGIN, advised, created, withdrawn

LIMITS = Limits(segment_bytes_max=6000, checkpoint_interval_ms=0)


async def work(data_dir: Path) -> None:
    """Two lives of a log, with everything brought to the head within each and at its end."""
    for told in ([created(0), created(1), advised(0, "a/b")], [advised(1, "x"), withdrawn(0), created(2)]):
        log = Log.open(data_dir, limits=LIMITS)
        blobs = Blobs(data_dir / "attachments")
        for number, (event_type, run_id, data) in enumerate(told):
            await append(log, blobs, event_type, run_id, data)
            if number == 1:
                bring_to_the_head(log, data_dir)
        bring_to_the_head(log, data_dir)
        await log.close()


async def append(log: Log, blobs: Blobs, event_type: str, run_id: str, data: dict[str, object]) -> None:
    """Append an event; a new run brings a blob, which is durable before."""
    drafts = [log.draft(f"rmos.{event_type}.v1", run_id, data, ORIGIN)]
    if event_type == "run.created":
        blob = await blobs.put_bytes(run_id.encode() * 100)
        facts = {"sha256": blob.sha256, "size_bytes": blob.size_bytes, "kind": "k", "mime": "text/plain"}
        attachment = facts | {"filename": "f", "created_at_utc": "2026-01-05T05:07:16.000000Z"}
        drafts.append(log.draft("rmos.attachment.added.v1", run_id, {"attachment": attachment}, ORIGIN))
    expected = Stream.ABSENT if event_type == "run.created" else Stream.PRESENT
    appended = await log.append(drafts, expected, ORIGIN)
    os.write(1, json.dumps([one.hash for one in appended.events]).encode() + b"\n")


def bring_to_the_head(log: Log, data_dir: Path) -> None:
    """Run every projection, as the worker does."""
    with closing(PosixDisk(data_dir)) as disk:
        for name in NAMES:
            place = (data_dir, data_dir / "runs", disk, log.identity, log.end)
            with closing(started(name, *place, lambda _position: None)) as runner:
                runner.run_to(log.end)
                assert runner.failed is None


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
