"""Requests that are repeated until they are answered, or until the time for it is over.

A body is made once, and goes out the same with every try, under the same Idempotency-Key: that
is what lets a write be repeated after a connection that broke with its outcome unknown.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import stamina
from attrs import frozen

from runlog_client.errors import Refused, Unreachable

RETRIED = frozenset({429, 502, 503, 504, 507})
"""Statuses that a wait may cure: Runlog's own, and those of a proxy before it that cannot reach it."""

WAIT_FIRST_S, WAIT_MAX_S, WAIT_JITTER_S = 0.1, 5.0, 0.1
CONNECT_TIMEOUT_S = 10.0
SILENCE_MAX_S = 60.0
"""Without a byte for so long, a connection counts as broken; a stream sends a heartbeat every 15 s."""

T = TypeVar("T")
Body = bytes | Path | None


@frozen
class Answer:
    """A whole answer that is not an error."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; integers of any size keep their value."""
        return json.loads(self.body)


@frozen
class Ask:
    """One request, ready to be sent any number of times."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body = None

    @property
    def idempotency_key(self) -> str | None:
        """The key of a write."""
        return self.headers.get("Idempotency-Key")


@frozen
class Transport:
    """A server, by the session that speaks to it. Errors are `Refused` and `Unreachable`, and no others."""

    session: aiohttp.ClientSession
    base: str
    retry_for_s: float

    async def send(self, ask: Ask) -> Answer:
        """Return the answer to *ask*.

        Raises:
            Refused: the server refused it, or was not able to take it for `retry_for_s`.
            Unreachable: no answer came for `retry_for_s`.

        """

        async def once() -> Answer:
            async with self.sent(ask) as response:
                return Answer(response.status, response.headers, await response.read())

        return await self.tried(ask, once)

    async def open(self, ask: Ask) -> aiohttp.ClientResponse:
        """Return the answer to *ask* with its body still to be read; the caller closes it.

        Raises:
            Refused, Unreachable: as for `send`.

        """

        async def once() -> aiohttp.ClientResponse:
            return await self._begun(ask)

        return await self.tried(ask, once)

    async def tried(self, ask: Ask, once: Callable[[], Awaitable[T]]) -> T:
        """Return what *once*, which sends *ask* or a part of it, returns when it does not fail in a way that passes.

        Raises:
            Refused, Unreachable: as for `send`.

        """
        patience = _Patience(time.monotonic() + self.retry_for_s)
        try:
            async for attempt in stamina.retry_context(
                on=patience,
                attempts=None,
                timeout=None,  # the patience knows
                wait_initial=WAIT_FIRST_S,
                wait_max=WAIT_MAX_S,
                wait_jitter=WAIT_JITTER_S,
            ):
                with attempt:
                    return await once()
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise Unreachable(self.base, reason, ask.idempotency_key) from error
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def sent(self, ask: Ask) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send *ask* once, and give the answer with its body still to be read."""
        response = await self._begun(ask)
        try:
            yield response
        finally:
            response.release()

    async def _begun(self, ask: Ask) -> aiohttp.ClientResponse:
        # A file is opened anew for each try: the one before may have read half of it.
        data = await asyncio.to_thread(ask.body.open, "rb") if isinstance(ask.body, Path) else ask.body
        try:
            response = await self.session.request(
                ask.method,
                self.base + ask.path,
                params=ask.query,
                headers=ask.headers,
                data=data,
                allow_redirects=False,
            )
        finally:
            if not isinstance(data, bytes | None):
                data.close()
        if response.status < 300:
            return response
        try:
            body = await response.read()
        finally:
            response.release()
        raise refusal(response.status, response.headers, body, ask.idempotency_key)


@frozen
class _Patience:
    """Decides after each failure whether to try again, and when if the server said so."""

    until: float

    def __call__(self, error: Exception) -> bool | float:
        if time.monotonic() >= self.until:
            return False
        if not isinstance(error, Refused):
            return is_broken_connection(error)
        if error.status not in RETRIED:
            return False
        if error.retry_after_s is None:
            return True
        wait = max(error.retry_after_s, WAIT_FIRST_S)
        # To come back earlier than asked would be no better than not to ask; so this was the last try.
        return wait if time.monotonic() + wait < self.until else False


async def lines_of(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """Give the lines of a body, whatever their length, without their ends; a last one that was cut off is not one."""
    pending: list[bytes] = []
    async for chunk in response.content.iter_any():
        if b"\n" not in chunk:
            pending.append(chunk)
            continue
        *whole, rest = b"".join([*pending, chunk]).split(b"\n")
        pending = [rest]
        for line in whole:
            yield line.removesuffix(b"\r").decode()


def is_broken_connection(error: Exception) -> bool:
    """Tell whether a connection was refused, broke or fell silent; a certificate that is wrong stays wrong."""
    if isinstance(error, aiohttp.ClientSSLError):
        return False
    return isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | TimeoutError)


def refusal(status: int, headers: Mapping[str, str], body: bytes, key: str | None = None) -> Refused:
    """Return what an error's answer says, in Runlog's one shape or in another."""
    try:
        problem = json.loads(body)
        code, text = str(problem["error"]), str(problem["message"])
    except (ValueError, KeyError, TypeError):
        problem, code, text = {}, f"HTTP_{status}", body[:200].decode(errors="replace") or "no more was said"
    told = ("error", "message", "request_id", "detail")
    facts = {name: fact for name, fact in problem.items() if name not in told}
    wait = _retry_after_s(headers.get("Retry-After"))
    return Refused(status, code, text, facts, headers.get("X-Request-Id"), wait, key)


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After field, which may name a time instead (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
