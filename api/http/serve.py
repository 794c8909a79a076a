"""The server process: opens the data, listens, and ends in order.

On SIGTERM or SIGINT it stops accepting, finishes what is in flight, and exits 0; a second
signal exits at once. Nothing acknowledged is lost either way.
"""

import asyncio
import gc
import os
import signal
import sys
from typing import ClassVar

import structlog
from aiohttp import web
from attrs import frozen

from api.http.app import make_app
from api.http.inputs import BASE
from api.http.protocol import Runner
from api.service import Service
from api.settings import Settings
from eventlog.errors import RunlogError
from eventlog.logging import configure

logger = structlog.get_logger("api.serve")


@frozen
class CannotListen(RunlogError):
    """The address is taken, or not this machine's (exit code 3)."""

    code: ClassVar[str] = "CANNOT_LISTEN"
    host: str
    port: int
    reason: str

    @property
    def message(self) -> str:
        return f"Cannot listen on {self.host}:{self.port} ({self.reason}). Choose another --port, or stop what listens there."


def run(settings: Settings) -> int:
    """Serve until a signal; return the exit code."""
    configure(settings.log_level.value)
    sys.setswitchinterval(0.001)  # the writer's thread must get the interpreter back soon after its fsync
    os.umask(0o077)
    try:
        import uvloop
    except ImportError:  # not made for this platform
        return asyncio.run(_serve(settings))
    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    listen_for_signals(stop)
    service = Service.open(settings)
    runner = Runner(
        make_app(service),
        connections_max=settings.connections_max,
        idle_timeout_s=settings.idle_timeout_s,
        shutdown_timeout=settings.shutdown_timeout_s,
    )
    try:
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(settings.host, settings.port, error.strerror or str(error)) from None
        port = runner.addresses[0][1]
        url = f"http://{settings.host}:{port}"
        print(f"Runlog listens on {url} and keeps its data in {settings.data_dir}.")
        print(f"Open {url}{BASE}/runs to see the runs. Ctrl-C ends it.", flush=True)
        # What is there by now lives as long as the process: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        service.witnesses.start()
        logger.info("serve.listening", host=settings.host, port=port, events=service.log.head + 1)
        if settings.open:
            await asyncio.to_thread(_open_browser, f"{url}{BASE}/runs")
        await stop.wait()
        logger.info("serve.stopping")
    finally:
        await runner.cleanup()
        await service.close()
    logger.info("serve.stopped")
    return 0


def listen_for_signals(stop: asyncio.Event) -> None:
    """Set *stop* at the first SIGTERM or SIGINT; a second one ends the process at once."""

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def _open_browser(url: str) -> None:
    import webbrowser

    webbrowser.open(url)
