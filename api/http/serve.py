"""The server process: opens the data, listens, and ends in order.

On SIGTERM or SIGINT it stops accepting, finishes what is in flight, and exits 0; a second
signal exits at once. Nothing acknowledged is lost either way.
"""

import asyncio
import gc
import os
import resource
import signal
import sys
from urllib.parse import urlsplit

import structlog

from api.access.roles import BASE
from api.access.store import read_keys
from api.backup.comparing import compare_with_witnesses
from api.http.app import make_app
from api.http.listening import Listening, tls_of
from api.http.protocol import Runner
from api.service import Service
from api.settings import Settings
from eventlog.logging import configure

logger = structlog.get_logger("api.serve")

_FIRST_PAGE = "/rmos"
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 (not listened on: recognised)
OTHER_FILES = 256
"""Files that are open beside connections: segments, databases for each reader, attachments on their way."""


def run(settings: Settings) -> int:
    """Serve until a signal; return the exit code."""
    configure(settings.log_level.value)
    # The writer's thread must get the interpreter back soon after its fsync. Until it asks for it aloud, which it does after
    # this long, each system call of the loop wakes it for nothing.
    sys.setswitchinterval(0.0001)
    os.umask(0o077)
    allow_open_files(settings.connections_max + OTHER_FILES)
    try:
        import uvloop
    except ImportError:  # not made for this platform
        return asyncio.run(_serve(settings))
    return uvloop.run(_serve(settings))


def allow_open_files(wanted: int) -> None:
    """Let this process hold *wanted* files open, each connection being one, or as many as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        logger.warning("serve.few_files", wanted=wanted, allowed=allowed)


async def _serve(settings: Settings) -> int:
    tls = tls_of(settings)
    stop = asyncio.Event()
    listen_for_signals(stop)
    service = Service.open(settings)
    runner = Runner(
        make_app(service),
        connections_max=settings.connections_max,
        idle_timeout_s=settings.idle_timeout_s,
        shutdown_timeout=settings.shutdown_timeout_s,
    )
    listening = Listening(runner, settings, tls)
    try:
        await runner.setup()
        await compare_with_witnesses(service)
        url = await listening.start()
        _tell(url, settings)
        # What is there by now lives as long as the process: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        service.witnesses.start()
        logger.info("serve.listening", address=url, events=service.log.head + 1)
        if settings.open and settings.uds is None:
            await asyncio.to_thread(_open_browser, first_page(url, settings))
        await stop.wait()
        logger.info("serve.stopping")
    finally:
        await runner.cleanup()
        listening.end()
        await service.close()
    logger.info("serve.stopped")
    return 0


def _tell(address: str, settings: Settings) -> None:
    print(f"Runlog listens on {address} and keeps its data in {settings.data_dir}.")
    keys = read_keys(settings.data_dir)
    if keys is not None:
        left = len(keys.by_name)
        print(f"A key is needed: there {'is' if left == 1 else 'are'} {left or 'none, so nobody is let in'}.")
    if settings.uds is not None:
        print(f"Ask it with `curl --unix-socket {address} http://localhost{BASE}/runs`. Ctrl-C ends it.", flush=True)
    else:
        print(f"Open {first_page(address, settings)} to see the runs. Ctrl-C ends it.", flush=True)


def first_page(url: str, settings: Settings) -> str:
    """Return the address of the first page of the server at *url*, by a name that a browser can go to."""
    if settings.host in _ANYWHERE:
        at = urlsplit(url)
        name = settings.allowed_host[0] if settings.allowed_host else "localhost"
        url = f"{at.scheme}://{f'[{name}]' if ':' in name else name}:{at.port}"
    return url + _FIRST_PAGE


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
