"""Answers whose head is put together once and written with the body in one piece.

aiohttp builds a table of headers for every answer and turns it into text again; for the
answers that a busy server gives thousands of times a second, most of it never changes.
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion11, web

from api.http.inputs import REQUEST_ID, SERVICE

SAFE_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
SERVER = "Runlog"
"""What is said of the server; the versions of what it is made of are nobody's business."""

BYTES_MAX = 32_768
"""Larger bodies take aiohttp's way, which waits for a client that reads slowly."""


def fits(request: web.Request, body: bytes) -> bool:
    """Tell whether an answer to *request* may be a `ReadyAnswer`."""
    return (
        len(body) <= BYTES_MAX
        and request.version == HttpVersion11
        and request.keep_alive
        and request.method != "HEAD"
        and request.transport is not None
        and not request.app[SERVICE].settings.cors_origin  # then every answer has a header more, and some have others
    )


def ready_bytes(status: int, request_id: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a whole JSON answer with *headers* (printable ASCII), beside those that every answer has."""
    told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return b"%b%b\r\nX-Request-Id: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        _head(status),
        _date(int(time.time())),
        request_id.encode(),
        len(body),
        told.encode(),
        body,
    )


class ReadyAnswer(web.Response):
    """A whole JSON answer on a connection that stays open; `fits` says where it may be used."""

    def __init__(self, request: web.BaseRequest, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        """Answer *body* with *headers*; see `ready_bytes`."""
        # Not the parent's: it would make the table that this does without. What aiohttp asks for is set here.
        self._status, self._keep_alive, self._state = status, True, {}
        self._bytes = ready_bytes(status, request[REQUEST_ID], body, headers)

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Write the answer; return once the client takes what it asked for, so that its next request waits till then.

        Raises:
            ConnectionResetError: the client is gone.

        """
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(self._bytes)
        self._eof_sent = True
        if request.protocol.writing_paused:  # or one that only asks would fill the memory with answers
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` wrote all of it."""


@lru_cache(64)
def _head(status: int) -> bytes:
    safe = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS.items())
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Vary: Accept-Encoding\r\nServer: {SERVER}\r\n{safe}Date: "
    ).encode()


@lru_cache(1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
