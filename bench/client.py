"""The stand-in for wrk: one process, one request in flight on each connection, raw asyncio protocols.

It gives the same result as `request.lua`. It reads only answers with a Content-Length,
which is all that the routes under load send.
"""

import argparse
import asyncio
import itertools
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop
from attrs import Factory, define

from bench.statistic import summary

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@define
class Tally:
    """What all connections saw."""

    times_us: list[float] = Factory(list)
    errors: dict[str, int] = Factory(lambda: dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0))


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the one before is whole."""

    def __init__(self, next_request: Callable[[], bytes], tally: Tally) -> None:
        """Begin when connected."""
        self.next_request = next_request
        self.tally = tally
        self.buffer = b""
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast(asyncio.WriteTransport, transport)
        self.send()

    def send(self) -> None:
        """Send one request, and take the time."""
        self.began = time.perf_counter()
        self.transport.write(self.next_request())

    def data_received(self, data: bytes) -> None:
        """Count the answer once it is whole, and go on."""
        self.buffer += data
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self.buffer, 0, head_end + 2)
        if length is None:
            self.tally.errors["read"] += 1
            self.transport.close()
            return
        if len(self.buffer) < head_end + 4 + int(length[1]):
            return
        self.tally.times_us.append((time.perf_counter() - self.began) * 1e6)
        if int(self.buffer[9:12]) > 399:
            self.tally.errors["status"] += 1
        self.buffer = b""
        if not self.stopped:
            self.send()

    def connection_lost(self, _error: Exception | None) -> None:
        """An end that we did not ask for is an error."""
        if not self.stopped:
            self.tally.errors["read"] += 1


def requests_for(kind: str, url: str, lines: list[bytes]) -> Callable[[], bytes]:
    """Return a function that gives the next request."""
    parts = urlsplit(url)
    path, host = parts.path.encode(), parts.netloc.encode()
    if kind == "get":
        chance = random.Random(20251217)
        return lambda: b"GET %s/%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, chance.choice(lines), host)
    head = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    prepared = itertools.cycle([head % (path, host, len(line), line) for line in lines])
    return lambda: next(prepared)


async def load(kind: str, url: str, lines: list[bytes], connections: int, seconds: float) -> dict[str, object]:
    """Make the load; return its result."""
    tally = Tally()
    next_request = requests_for(kind, url, lines)
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    open_ones: list[Connection] = []
    for _ in range(connections):
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(next_request, tally), parts.hostname, parts.port
            )
            open_ones.append(connection)
        except OSError:
            tally.errors["connect"] += 1
    await asyncio.sleep(seconds)
    taken = time.perf_counter() - began
    for connection in open_ones:
        connection.stopped = True
        connection.transport.close()
    found = summary(tally.times_us)
    times = {f"{name}_us": found[name] for name in ("p50", "p90", "p99", "max")}
    return {"requests": found["count"], "seconds": taken, **times, "errors": tally.errors}


def main() -> None:
    """Make the load that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.client")
    parser.add_argument("kind", choices=["post", "get"])
    parser.add_argument("url")
    parser.add_argument("lines", type=Path)
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    lines = options.lines.read_bytes().splitlines()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        work = load(options.kind, options.url, lines, options.connections, options.seconds)
        print(json.dumps(runner.run(work)))


if __name__ == "__main__":
    main()
