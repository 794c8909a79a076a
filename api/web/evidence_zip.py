"""The evidence of one run as a file: what `runlog log export --run` writes, through the browser.

It is packed on a thread, into a temporary file, and only sent when it is whole; so what comes is good evidence or none.
"""

import asyncio
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import aiofiles
from aiohttp import web

from api.evidence.export import export
from api.http.inputs import SERVICE, params
from api.http.log import COVERED_WAIT_MAX_S
from api.web.files import CHUNK_BYTES
from eventlog.archive import Archive
from eventlog.event import Recorded

AT_ONCE_MAX = 2
"""More wait for their turn."""
PACKING = web.AppKey("packing", asyncio.Semaphore)


async def read(request: web.Request) -> web.StreamResponse:
    """GET /rmos/runs/{run_id}/evidence.zip: exact events, proofs, checkpoint, key, attachments; of a withdrawn run too."""
    service, run_id = request.app[SERVICE], request.match_info["run_id"]
    params(request)
    recorded = service.events_of(run_id)
    await service.log.notary.covering(recorded[-1].seq + 1, COVERED_WAIT_MAX_S)
    settings = service.settings
    with TemporaryDirectory(prefix="runlog-evidence-") as folder:
        path = Path(folder) / "evidence.zip"
        async with request.app[PACKING]:  # not while it is sent: a slow client holds up nobody
            size = await asyncio.to_thread(_pack, recorded, settings.data_dir, settings.attachments_dir, path)
        return await _send(request, path, size, run_id)


def _pack(recorded: list[Recorded], data_dir: Path, attachments_dir: Path, target: Path) -> int:
    """Write the evidence to *target*; return its size in bytes."""
    archive = Archive.open(data_dir)
    assert archive is not None, "the server has this log open"
    with closing(archive):
        export(archive, recorded, attachments_dir, target)
    return target.stat().st_size


async def _send(request: web.Request, path: Path, size: int, run_id: str) -> web.StreamResponse:
    headers = {
        "Content-Type": "application/zip",
        "Content-Disposition": f'attachment; filename="{run_id}.evidence.zip"',
        "Cache-Control": "no-store",
    }
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    await response.prepare(request)
    async with aiofiles.open(path, "rb") as file:
        while request.method != "HEAD" and (chunk := await file.read(CHUNK_BYTES)):
            await response.write(chunk)
    await response.write_eof()
    return response
