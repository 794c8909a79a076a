"""The client as a producer uses it, against the real server; and a place between the two where things go wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from runlog_client import RunlogClient
from tests.server import Server


@pytest.fixture
async def runs(server: Server) -> AsyncIterator[RunlogClient]:
    async with RunlogClient(f"http://127.0.0.1:{server.port}") as client:
        yield client


Forward = Callable[[], Awaitable[web.Response]]
Meddle = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]


class Between:
    """A proxy in front of a server, which lets a test refuse what comes, or lose the answer to it."""

    def __init__(self) -> None:
        self.meddle: Meddle = lambda _request, forward: forward()
        self.seen: list[tuple[str, str | None]] = []
        """Path and Idempotency-Key of every request."""
        self.url = ""


@pytest.fixture
async def between(server: Server, aiohttp_server) -> AsyncIterator[Between]:
    proxy = Between()
    async with aiohttp.ClientSession() as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            proxy.seen.append((request.path, request.headers.get("Idempotency-Key")))

            async def forward() -> web.Response:
                headers = {name: value for name, value in request.headers.items() if name != "Host"}
                url = f"http://127.0.0.1:{server.port}{request.rel_url}"
                async with session.request(request.method, url, headers=headers, data=await request.read()) as answer:
                    kept = {name: answer.headers[name] for name in ("Content-Type", "X-Request-Id")}
                    return web.Response(status=answer.status, body=await answer.read(), headers=kept)

            return await proxy.meddle(request, forward)

        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", handle)
        running = await aiohttp_server(app)
        proxy.url = str(running.make_url("/")).rstrip("/")
        yield proxy


def cut(request: web.Request) -> web.Response:
    """End the connection without an answer, as a server does that dies."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
