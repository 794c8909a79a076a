"""A small witness over HTTP: `POST /add-checkpoint`, as c2sp.org/tlog-witness has it.

Requests are judged, remembered and signed one after the other, on one thread; so no two of them see
the same memory, and none is answered before the memory is durable.
"""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import orjson
import structlog
from aiohttp import web

from api.http.listening import CannotListen
from api.http.protocol import Runner
from api.http.serve import listen_for_signals
from api.witness.judging import Logs, NotSigned, OldSizeConflict, OriginUnknown, SplitView, SubmissionRefused
from api.witness.ledger import Ledger
from eventlog.errors import RunlogError
from eventlog.logging import configure

logger = structlog.get_logger("api.witness")

PATH = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
SUBMISSION_BYTES_MAX = 1 << 17
_STATUSES: Mapping[type[RunlogError], int] = {SubmissionRefused: 400, NotSigned: 403, OriginUnknown: 404}
_CONNECTIONS_MAX = 100
_IDLE_TIMEOUT_S = 30.0
_STOP_S = 10.0


async def run(data_dir: Path, logs: Logs, host: str, port: int, *, as_json: bool) -> int:
    """Serve until a signal; return the exit code.

    Raises:
        LogLocked, WitnessDamaged, CannotListen: it does not start.

    """
    configure("info")
    os.umask(0o077)
    stop = asyncio.Event()
    listen_for_signals(stop)
    ledger = Ledger.open(data_dir, logs)
    thread = ThreadPoolExecutor(1, "witness")
    runner = Runner(
        _app(ledger, thread),
        connections_max=_CONNECTIONS_MAX,
        idle_timeout_s=_IDLE_TIMEOUT_S,
        shutdown_timeout=_STOP_S,
    )
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise CannotListen(f"{host}:{port}", error.strerror or str(error)) from None
        shown = f"[{host}]" if ":" in host else host
        _tell(f"http://{shown}:{runner.addresses[0][1]}", ledger.vkey, data_dir, as_json=as_json)
        await stop.wait()
    finally:
        await runner.cleanup()
        thread.shutdown()
        ledger.close()
    return 0


def _tell(url: str, vkey: str, data_dir: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps({"url": url, "key": vkey, "data_dir": str(data_dir)}))
        return
    click.echo(f"The witness listens on {url} and keeps its memory in {data_dir}.")
    click.echo(f"Its key: {vkey}")
    click.echo(f"Start the log with: runlog serve --witness {url} {vkey}")


def _app(ledger: Ledger, thread: ThreadPoolExecutor) -> web.Application:
    async def add_checkpoint(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(_IDLE_TIMEOUT_S):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="The request stopped coming. Send it again.\n")
        try:
            signature = await asyncio.get_running_loop().run_in_executor(thread, ledger.add, body)
        except RunlogError as error:
            return _refused(error)
        except OSError as error:
            logger.error("witness.not_kept", error=str(error))
            return web.Response(status=500, text="The checkpoint could not be kept, so nothing was signed.\n")
        return web.Response(text=signature.line)

    app = web.Application(client_max_size=SUBMISSION_BYTES_MAX)
    app.router.add_post(PATH, add_checkpoint)
    return app


def _refused(error: RunlogError) -> web.Response:
    """Return what the protocol answers; what may show two histories of a log is logged as well."""
    if isinstance(error, OldSizeConflict):
        return _conflict(error.size)
    if isinstance(error, SplitView):
        logger.error("witness.refused_fork", **error.facts)
        return _conflict(error.old) if error.is_same_size else web.Response(status=422, text=f"{error.message}\n")
    return web.Response(status=_STATUSES[type(error)], text=f"{error.message}\n")


def _conflict(size: int) -> web.Response:
    return web.Response(status=409, body=b"%d\n" % size, headers={"Content-Type": SIZE_TYPE})
