"""A server inside the test's own process, so that a test sees which way a create went, and holds its disk."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field, frozen

from api.http.app import make_app
from api.http.protocol import Connection, Runner
from api.http.shortcut import Shortcut
from api.service import Service
from api.settings import Settings
from eventlog.commit import Committer
from tests.server import BASE, body

PATIENCE_S = 30
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@frozen
class Answer:
    """One answer, as it came."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)


@define
class Ways:
    """What became of each create that was shown to the short way."""

    begun: list[bool] = field(factory=list)
    answered: list[bool] = field(factory=list)

    def taken(self) -> bool:
        """Tell whether one create went the short way to its end since this was asked last."""
        was = (self.begun, self.answered) == ([True], [True])
        self.begun, self.answered = [], []
        return was


def watched(patch: pytest.MonkeyPatch) -> Ways:
    """Watch which way each create goes."""
    seen, begin, answer = Ways(), Shortcut.begin, Shortcut.answer

    def begin_seen(*args: Any) -> Any:
        begun = begin(*args)
        seen.begun.append(begun is not None)
        return begun

    def answer_seen(*args: Any) -> Any:
        seen.answered.append(False)
        answered = answer(*args)
        seen.answered[-1] = answered is not None
        return answered

    patch.setattr(Shortcut, "begin", begin_seen)
    patch.setattr(Shortcut, "answer", answer_seen)
    return seen


class SlowDisk:
    """Commits wait while it is held; the next one breaks with `failure`, if there is one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.failure: Exception | None = None
        self._let_through = threading.Event()
        self._let_through.set()
        commit = Committer.commit

        def wait_and_commit(*args: Any) -> None:
            assert self._let_through.wait(PATIENCE_S)
            failure, self.failure = self.failure, None
            if failure is not None:
                raise failure
            commit(*args)

        patch.setattr(Committer, "commit", wait_and_commit)

    def hold(self) -> None:
        """Let nothing become durable."""
        self._let_through.clear()

    def let_go(self) -> None:
        """Let everything become durable."""
        self._let_through.set()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, content: bytes) -> None:
        """Send it, in one piece."""
        self.writer.write(content)

    async def answer(self) -> Answer:
        """Return the next answer, past a bidding to go on."""
        async with asyncio.timeout(PATIENCE_S):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()[:-1]
            if first == "HTTP/1.1 100 Continue":
                return await self.answer()
            names = [line.partition(": ")[0] for line in lines]
            assert len(set(names)) == len(names), lines
            headers = dict(line.split(": ", 1) for line in lines)
            content = await self._reader.readexactly(int(headers["Content-Length"]))
        return Answer(int(first.split()[1]), headers, content)

    async def ask(self, content: bytes) -> Answer:
        """Send a request and return its answer."""
        self.send(content)
        return await self.answer()

    async def rest(self) -> bytes:
        """Return what comes until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()


@frozen
class Inside:
    """The server."""

    service: Service
    runner: Runner

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connect."""
        reader, writer = await asyncio.open_connection(*self.runner.addresses[0][:2])
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def connection(self) -> Connection:
        """The only one that there is."""
        assert self.runner.server is not None
        (connection,) = self.runner.server.connections
        assert isinstance(connection, Connection)
        return connection

    async def metric(self, series: str) -> float:
        """Return the value of one series."""
        async with self.client() as client:
            text = (await client.ask(HEALTH.replace(b"/healthz", b"/metrics"))).content.decode()
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(series)), 0.0)


@contextlib.asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Inside]:
    """A server on a data directory of its own; one that ends, ends at once."""
    chosen = Settings(data_dir=folder / "data", **{"shutdown_timeout_s": 10 * PATIENCE_S, **settings})
    service = Service.open(chosen)
    runner = Runner(
        make_app(service),
        connections_max=chosen.connections_max,
        idle_timeout_s=chosen.idle_timeout_s,
        shutdown_timeout=chosen.shutdown_timeout_s,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Inside(service, runner)
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await runner.cleanup()
            await service.close()


async def until(condition: Callable[[], Any]) -> None:
    """Return once *condition* holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


def create(content: bytes | None = None, *headers: str, kind: str | None = "application/json", **changes: Any) -> bytes:
    """A `POST /runs`, by itself a plain one, with *content* or a valid body with *changes*."""
    sent = json.dumps(body(**changes)).encode() if content is None else content
    named = ["Host: localhost", f"Content-Length: {len(sent)}", *([f"Content-Type: {kind}"] if kind else []), *headers]
    lines = "".join(f"{line}\r\n" for line in named)
    return f"POST {BASE}/runs HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + sent


def whole(request: bytes) -> bytes:
    """The same request with a header that means nothing: with that it is not plain."""
    return request.replace(b"\r\n", b"\r\nX-Whole: 1\r\n", 1)
