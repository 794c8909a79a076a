"""Connections: bounded in number, ended when they fall silent, answered in our shape even when broken."""

import asyncio
import fcntl
import sys
import termios
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from api.errors import BadRequest, HeadersTooLarge, Internal, RequestTimeout
from api.http.inputs import OWN_BOUND, BrokenFraming, request_id_of
from api.http.problems import body_of, logger, problem
from api.http.ready import SAFE_HEADERS, SERVER
from api.http.shortcut import SHORTCUT, Begun, Shortcut
from eventlog.clock import random_hex
from eventlog.errors import RunlogError

KEEPALIVE_S = 75.0


class Connection(RequestHandler):
    """One client's connection."""

    __slots__ = ("_begun", "_body", "_head_since", "_held", "_made_at", "_shortcut", "_unread", "refusal")

    _begun: Begun | None
    """What the short way answers as soon as it is durable. Until then nothing else is worked on."""
    _body: Any
    """Of the request that came last."""
    _head_since: float | None
    """Since when a part of a head is there that is not whole yet; of the first one, since the connection was made."""
    _held: bytes
    """What came while something was begun."""
    _unread: tuple[int, float]
    """How many bytes of answers the client had not taken when that was looked at, and since when it was as many."""
    refusal: tuple[StreamReader, RunlogError] | None
    """The body of the last create that the short way could not record, and why."""

    def __init__(self, manager: "BoundedServer", shortcut: Shortcut | None, **kwargs: Any) -> None:
        """Take *shortcut* where a request allows it."""
        super().__init__(manager, **kwargs)
        self._shortcut, self._begun, self._held, self.refusal = shortcut, None, b"", None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head_since = self._made_at = asyncio.get_running_loop().time()
        self._body, self._unread = EMPTY_PAYLOAD, (0, 0.0)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._begun is not None:
            self._hold(data)
            return
        # aiohttp wakes its own way for what it finds. It sleeps on until it is known that no shorter one does.
        waiter, self._waiter = self._waiter, None
        try:
            self._receive(data)
        finally:
            self._waiter = waiter
        if self._messages and waiter is not None and not waiter.done() and not self._is_begun():
            waiter.set_result(None)

    def _is_begun(self) -> bool:
        """Tell whether the request that is here goes the short way; it has left the queue then."""
        head, body = self._messages[0]
        if self._shortcut is None or len(self._messages) > 1 or isinstance(head, _ErrInfo) or self.writing_paused:
            return False
        self._begun = begun = self._shortcut.begin(head, body)
        if begun is None:
            return False
        self._messages.popleft()
        self._request_in_progress = True  # so a server that ends waits for it
        begun.recorded.add_done_callback(lambda _: self._answer_begun(begun, body))
        return True

    def _answer_begun(self, begun: Begun, body: StreamReader) -> None:
        """Answer what is durable now; what is not goes the whole way, as if it came now, and is refused there or begins anew."""
        self._begun = None
        assert self._shortcut is not None
        anew: tuple[Any, StreamReader] = (begun.head, body)
        answer = None
        try:
            answer = self._shortcut.answer(begun)
        except RunlogError as error:
            self.refusal = (body, error)
        except Exception as error:  # it is recorded: were it to start anew, it would be so twice
            anew = (_ErrInfo(status=500, exc=error, message=""), EMPTY_PAYLOAD)
        transport, waiter = self.transport, self._waiter
        if transport is None or waiter is None or transport.is_closing():  # the client left
            self._has_answered()
        elif answer is None:
            self._messages.append(anew)
            waiter.set_result(None)
        else:
            transport.write(answer)
            self._has_answered()
            if self._close:
                super().close()
        data, self._held = self._held, b""
        if data and self.transport is not None:
            if not self._reading_paused and not self._buffer_paused:
                self._resume_transport_reading()
            self.data_received(data)

    def _has_answered(self) -> None:
        """Keep aiohttp's books as it does after each request."""
        self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_S
        if self._parser is not None:
            self._parser.message_consumed()
        if self._manager is not None:
            self._manager.requests_count += 1
        self._request_in_progress = False
        if self._handler_waiter is not None:
            self._handler_waiter.set_result(None)

    def _hold(self, data: bytes) -> None:
        """Keep what a client sends before it has its answer, and read no more of it."""
        if data and not self._held:
            self._pause_transport_reading()
        self._held += data

    def close(self) -> None:
        """End once what is worked on is answered."""
        if self._begun is None:
            super().close()
        else:
            self._close = True

    def _process_keepalive(self) -> None:
        if self._begun is not None:  # aiohttp takes it to be idle
            self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_S
        super()._process_keepalive()

    def _receive(self, data: bytes) -> None:
        requests, is_head = self._request_count, self._body.is_eof()
        if (self._close or self._force_close) and not is_head:
            self._receive_at_the_end(data)
        else:
            super().data_received(data)
        if self._request_count > requests:
            newest = self._messages[-1][0]
            if isinstance(newest, _ErrInfo) and not is_head and not self._body.is_eof():
                # aiohttp would answer it after the request whose body it is in, which waits for more of that body.
                self._body.set_exception(BrokenFraming(_first_line(newest.message)))
            if getattr(newest, "url", self) is None:
                # A CONNECT in the form of HTTP/0.9 has no target; aiohttp would break on it and never answer.
                error = BadHttpMessage("the request has no target")
                self._messages[-1] = (_ErrInfo(status=400, exc=error, message=error.message), EMPTY_PAYLOAD)
            self._head_since, self._body = None, self._messages[-1][1]
        elif data and is_head and self._head_since is None:  # aiohttp calls it itself too, with nothing
            self._head_since = asyncio.get_running_loop().time()

    def _receive_at_the_end(self, data: bytes) -> None:
        """Take more of a body while the server ends: aiohttp would drop it, but the request is in flight."""
        was_closing, was_forced = self._close, self._force_close
        self._close = self._force_close = False
        super().data_received(data)
        self._close, self._force_close = was_closing or self._close, was_forced or self._force_close

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request's head, and for nothing else."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and self._begun is None

    @property
    def is_over(self) -> bool:
        """Whether its client left, and no request of it is worked on any more."""
        return self.transport is None and self._current_request is None and self._begun is None

    @property
    def idle_since(self) -> float:
        """When it answered last, or was made; of an idle one."""
        return max(self._made_at, self._next_keepalive_close_time - KEEPALIVE_S)

    def is_late(self, now: float, bound_s: float) -> bool:
        """Tell whether a head is not whole *bound_s* seconds after it began."""
        return self._head_since is not None and self.is_idle and now - max(self._head_since, self.idle_since) > bound_s

    def is_stuck(self, unread: int, now: float, bound_s: float) -> bool:
        """Tell whether the client took nothing of *unread* bytes for *bound_s* seconds, and that is not its handler's to judge."""
        request = self._current_request
        if not unread or unread != self._unread[0] or (request is not None and OWN_BOUND in request):
            self._unread = (unread, now)
        return now - self._unread[1] > bound_s

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
            error = BadRequest(_first_line(message))
        else:
            if not isinstance(
                exc, ConnectionError
            ):  # the client is gone: no fault of ours, and anybody could fill the log
                logger.error("http.failed", error=repr(exc))
            error = Internal()
        request_id = request_id_of(request)
        response = problem(error, request_id)
        response.headers.extend({"X-Request-Id": request_id, "Server": SERVER, **SAFE_HEADERS})
        response.force_close()
        return response


def refuse_begun(request: web.BaseRequest) -> None:
    """Raise what refused *request* on the short way, if it came from there."""
    connection = request.protocol
    if isinstance(connection, Connection) and connection.refusal is not None:
        (body, error), connection.refusal = connection.refusal, None
        if body is request.content:  # that one may have been refused before it came here, as by a key that was revoked
            raise error


class BoundedServer(web.Server):
    """Makes connections, at most so many; a new one takes the place of the one that is idle for longest."""

    def __init__(
        self, inner: web.Server, connections_max: int, idle_timeout_s: float, shortcut: Shortcut | None = None
    ) -> None:
        super().__init__(
            inner.request_handler,
            request_factory=inner.request_factory,
            loop=inner._loop,
            **inner._kwargs,
        )
        self._connections_max, self._idle_timeout_s, self._shortcut = connections_max, idle_timeout_s, shortcut
        self._sweeping = asyncio.create_task(self._sweep(), name="connections")

    def __call__(self) -> RequestHandler:
        return Connection(self, self._shortcut, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._connections) >= self._connections_max and self._are_too_many():
            idle = (one for one in self._connections if isinstance(one, Connection) and one.is_idle)
            oldest = min(idle, key=lambda one: one.idle_since, default=None)
            if oldest is None:
                self._loop.call_soon(handler.force_close)  # not before aiohttp has begun with it, or it breaks
            else:
                if self._connections[oldest].get_write_buffer_size():  # to close it would wait for its client to read
                    self._connections[oldest].abort()
                oldest.force_close()
                self._connections.pop(oldest, None)
        super().connection_made(handler, transport)

    def _are_too_many(self) -> bool:
        """Tell without those whose clients left: they stay here until their tasks have ended, and take nobody's place."""
        there = sum(not (isinstance(one, Connection) and one.is_over) for one in self._connections)
        return there >= self._connections_max

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (aiohttp's own signature)
        self._sweeping.cancel()
        await super().shutdown(timeout)

    async def _sweep(self) -> None:
        """End requests of which not even the head came in time, and connections that nobody reads from."""
        pause_s = min(1.0, self._idle_timeout_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            now = self._loop.time()
            for connection, transport in list(self._connections.items()):
                if not isinstance(connection, Connection):
                    continue
                if connection.is_late(now, self._idle_timeout_s):
                    transport.write(_timed_out(self._idle_timeout_s))
                    connection.force_close()
                if connection.is_stuck(_unread(transport), now, self._idle_timeout_s):
                    transport.abort()  # to close it would wait for the client, which does not read


class Runner(web.AppRunner):
    """aiohttp's runner with our connections."""

    def __init__(self, app: web.Application, *, connections_max: int, idle_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(app, access_log=None, auto_decompress=False, keepalive_timeout=KEEPALIVE_S, **kwargs)
        self._bounds = (connections_max, idle_timeout_s)

    async def _make_server(self) -> web.Server:
        return BoundedServer(await super()._make_server(), *self._bounds, self.app.get(SHORTCUT))


def _first_line(message: str | None) -> str:
    """Return what the parser says is wrong, without the bytes that it shows below."""
    return (message or "not understood").splitlines()[0][:200]


def _unread(transport: asyncio.Transport) -> int:
    """Return how many bytes wait for the client, here and in the kernel; 0 while the kernel takes them all."""
    waiting = transport.get_write_buffer_size()
    if not waiting:
        return 0
    # The kernel asks for more only when a good part of what it holds was taken: a slow client would seem to be a dead one.
    with suppress(OSError, ValueError):
        held = fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
        waiting += int.from_bytes(held, sys.byteorder)
    return waiting


def _timed_out(idle_s: float) -> bytes:
    request_id = random_hex(16)
    body = orjson.dumps(body_of(RequestTimeout(idle_s), request_id))
    told = {"Content-Type": "application/json", "Connection": "close", "Content-Length": len(body), "Server": SERVER}
    told["X-Request-Id"] = request_id
    head = "".join(f"{name}: {value}\r\n" for name, value in {**told, **SAFE_HEADERS}.items())
    return f"HTTP/1.1 408 Request Timeout\r\n{head}\r\n".encode() + body
