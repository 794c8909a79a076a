"""Connections: bounded in number, ended when they fall silent, answered in our shape even when broken."""

import asyncio
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from api.errors import BadRequest, HeadersTooLarge, Internal, RequestTimeout
from api.http.inputs import request_id_of
from api.http.problems import logger, problem
from eventlog.errors import RunlogError

KEEPALIVE_S = 75.0


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("heard_at",)

    heard_at: float

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        super().connection_made(transport)

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way on it."""
        return not self._request_in_progress and not self._messages

    @property
    def is_silent_before_first_request(self) -> bool:
        """Whether it has not sent a whole request head yet; later ones are the keep-alive timer's matter."""
        return self._request_count == 0

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read, in the shape of all our errors, and close."""
        error: RunlogError
        if isinstance(exc, LineTooLong) or "Too many headers" in (message or ""):
            error = HeadersTooLarge()
        elif status < 500:
            error = BadRequest((message or "not understood").splitlines()[0][:200])
        else:
            logger.error("http.failed", error=repr(exc))
            error = Internal()
        request_id = request_id_of(request)
        response = problem(error, request_id)
        response.headers["X-Request-Id"] = request_id
        response.force_close()
        return response


class BoundedServer(web.Server):
    """Makes connections, at most so many; a new one takes the place of the oldest idle one."""

    def __init__(self, inner: web.Server, connections_max: int, idle_timeout_s: float) -> None:
        super().__init__(
            inner.request_handler,
            request_factory=inner.request_factory,
            loop=inner._loop,
            **inner._kwargs,
        )
        self._connections_max, self._idle_timeout_s = connections_max, idle_timeout_s
        self._sweeping = asyncio.create_task(self._sweep(), name="connections")

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._connections) >= self._connections_max:
            oldest = next((c for c in self._connections if isinstance(c, Connection) and c.is_idle), None)
            if oldest is None:
                handler.force_close()
            else:
                oldest.force_close()
                self._connections.pop(oldest, None)
        super().connection_made(handler, transport)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (aiohttp's own signature)
        self._sweeping.cancel()
        await super().shutdown(timeout)

    async def _sweep(self) -> None:
        """End connections that never came to send a whole request."""
        pause_s = min(1.0, self._idle_timeout_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            now = self._loop.time()
            for connection, transport in list(self._connections.items()):
                if not isinstance(connection, Connection) or not connection.is_silent_before_first_request:
                    continue
                if now - connection.heard_at > self._idle_timeout_s:
                    transport.write(_timed_out(self._idle_timeout_s))
                    connection.force_close()


class Runner(web.AppRunner):
    """aiohttp's runner with our connections."""

    def __init__(self, app: web.Application, *, connections_max: int, idle_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(app, access_log=None, auto_decompress=False, keepalive_timeout=KEEPALIVE_S, **kwargs)
        self._bounds = (connections_max, idle_timeout_s)

    async def _make_server(self) -> web.Server:
        return BoundedServer(await super()._make_server(), *self._bounds)


def _timed_out(idle_s: float) -> bytes:
    error = RequestTimeout(idle_s)
    body = orjson.dumps({"error": error.code, "message": error.message, "detail": {"error": error.code}})
    head = "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body
