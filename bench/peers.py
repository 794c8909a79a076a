"""The peers that give the figures their scale: echo, disk, sha. Each runs in its own process.

**echo** is the least that a Python HTTP server can do with the same bodies: aiohttp
under uvloop parses them with orjson and sends them back with 201. **disk** is the least
that durable means: write and fdatasync of the same bytes at the end of a file. **sha**
is SHA-256 over the same bytes.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import uvloop
from aiohttp import web

from bench.processes import BenchError, Child, cpu_s, python_child
from bench.server import BASE
from bench.statistic import summary


class Echo:
    """The running echo server."""

    def __init__(self) -> None:
        """Start it; it says its port once it listens."""
        self.child: Child = python_child("echo", "peers", "echo")
        port = self.child.first_line()
        if not port.isdigit():
            raise BenchError("echo does not start")
        self.runs_url = f"http://127.0.0.1:{port}{BASE}/runs"

    def cpu_s(self) -> float:
        """Return the CPU seconds it has used."""
        return cpu_s(self.child.pid)


def measure_disk(folder: Path, bodies: Path, seconds: float) -> dict[str, float]:
    """Return microseconds of one write + fdatasync in *folder*: p50, p90, p99, max, count."""
    found: dict[str, float] = python_child("disk", "peers", "disk", bodies, folder, seconds).result(seconds + 60)
    return found


def measure_sha(bodies: Path, seconds: float) -> dict[str, float]:
    """Return microseconds of one SHA-256 over a body: p50, p90, p99, max, count."""
    found: dict[str, float] = python_child("sha", "peers", "sha", bodies, seconds).result(seconds + 60)
    return found


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    orjson.loads(body)
    return web.Response(body=body, status=201, content_type="application/json")


async def _serve_echo() -> None:
    app = web.Application()
    app.router.add_post(f"{BASE}/runs", _echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def _time_each(bodies: list[bytes], seconds: float, work: Callable[[bytes], object]) -> list[float]:
    """Do *work* on one body after the other for *seconds*; return the microseconds of each."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    for body in itertools.cycle(bodies):
        began = time.perf_counter()
        if began >= end:
            return times
        work(body)
        times.append((time.perf_counter() - began) * 1e6)
    return times


def _disk(bodies: list[bytes], folder: Path, seconds: float) -> list[float]:
    path = folder / "disk-peer"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def write_and_sync(body: bytes) -> None:
        os.write(file, body)
        os.fdatasync(file)

    try:
        return _time_each(bodies, seconds, write_and_sync)
    finally:
        os.close(file)
        path.unlink()


def main() -> None:
    """Be one of the peers."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("echo")
    disk, sha = kinds.add_parser("disk"), kinds.add_parser("sha")
    for kind in (disk, sha):
        kind.add_argument("bodies", type=Path)
    disk.add_argument("folder", type=Path)
    for kind in (disk, sha):
        kind.add_argument("seconds", type=float)
    options = parser.parse_args()
    if options.kind == "echo":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_echo())
    bodies = options.bodies.read_bytes().splitlines()
    if options.kind == "disk":
        times = _disk(bodies, options.folder, options.seconds)
    else:
        times = _time_each(bodies, options.seconds, lambda body: hashlib.sha256(body).digest())
    print(json.dumps(summary(times)))


if __name__ == "__main__":
    main()
