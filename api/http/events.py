"""GET /events: the log as it stands, page by page, and as it grows: each event once, in order, without a gap.

A reader has a place in the log and is given what follows it, from memory or from the disk. There is
no queue for it that could overflow: one that does not read is let go, and goes on later from the
last seq that it saw.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from urllib.parse import urlencode

import orjson
from aiohttp import web
from attrs import frozen

from api.access.roles import BASE
from api.http.accept import EVENT_STREAM, NDJSON, preferred
from api.http.answers import answer
from api.http.auth import ACCESS
from api.http.inputs import OWN_BOUND, SERVICE, params, refuse
from api.http.live import LIVE, Live
from api.http.problems import logger
from api.service import Service
from eventlog.errors import LogCorrupt
from eventlog.event import Recorded
from eventlog.strict_json import Fault
from projections.run.events import is_run_id

LIMIT_DEFAULT, LIMIT_MAX = 1000, 10_000
_SLICE_BYTES, _SLICE_EVENTS = 131_072, 64
"""What is worked on before others have their turn."""
_WHOLE_BYTES_MAX = 1 << 20
"""A page above this is streamed."""
_DIGITS_MAX = 1000
_LAST_WORD_S = 0.5


@frozen
class Ask:
    """Which events are asked for."""

    after: int
    limit: int | None
    type: str | None
    run_id: str | None

    @property
    def is_filtered(self) -> bool:
        """Whether not every event matches."""
        return self.type is not None or self.run_id is not None

    def matching(self, events: list[Recorded]) -> list[Recorded]:
        """Return those of *events* that match."""
        if not self.is_filtered:
            return events
        return [one for one in events if self._is_of_type(one) and self._is_of_run(one)]

    def _is_of_type(self, recorded: Recorded) -> bool:
        return self.type is None or recorded.type == self.type

    def _is_of_run(self, recorded: Recorded) -> bool:
        # The text first: it tells most events apart without parsing them.
        return self.run_id is None or (self.run_id.encode() in recorded.bytes and recorded.stream == self.run_id)


async def read_events(request: web.Request) -> web.StreamResponse:
    """GET /events: as lines, or as server-sent events."""
    service = request.app[SERVICE]
    is_stream = preferred(request, NDJSON, EVENT_STREAM) == EVENT_STREAM
    ask = _ask(request, service, is_stream=is_stream)
    return await (_listen(request, service, ask) if is_stream else _page(request, service, ask))


def _ask(request: web.Request, service: Service, *, is_stream: bool) -> Ask:
    faults: list[Fault] = []
    given = params(request, "after", "limit", "type", "run_id", faults=faults)
    after = _seq(given.get("after", "-1"), service, "?after", faults)
    if is_stream and (last := request.headers.get("Last-Event-ID")):
        after = _seq(last, service, "Last-Event-ID", faults)
    limit = None if is_stream else LIMIT_DEFAULT
    if "limit" in given:
        digits = given["limit"].removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX:
            limit = min(max(int(given["limit"]), 1), LIMIT_MAX)
        else:
            faults.append(Fault("?limit", f"must be an integer; it is clamped to 1 to {LIMIT_MAX}"))
    refuse(faults)
    return Ask(after, limit, given.get("type"), given.get("run_id"))


def _seq(text: str, service: Service, path: str, faults: list[Fault]) -> int:
    if text == "latest":
        return service.log.head
    if text == "-1":  # before the first event: where the head of an empty log is
        return -1
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    faults.append(Fault(path, "must be the seq of an event, or latest"))
    return -1


async def _slices(
    service: Service, ask: Ask, at: int, live: Live | None = None
) -> AsyncIterator[tuple[list[Recorded], int]]:
    """Yield what matches behind event *at*, in order up to the head, and the seq up to which has been looked.

    Raises:
        LogCorrupt: the next event does not match its hash.

    """
    log = service.log
    while at < log.head:
        events = live.held_from(at + 1, _SLICE_EVENTS) if live else None
        if events is None and ask.run_id is not None:  # the index knows where they are
            events = log.read_stream_from(ask.run_id, at + 1, _SLICE_BYTES) if is_run_id(ask.run_id) else []
            at = events[-1].seq if events else log.head
        else:
            events = events or log.read_from(at + 1, _SLICE_BYTES)
            at = events[-1].seq
        yield ask.matching(events), at
        await asyncio.sleep(0)


async def _page(request: web.Request, service: Service, ask: Ask) -> web.StreamResponse:
    assert ask.limit is not None
    rows: list[bytes] = []
    size, left, last = 0, ask.limit, ask.after
    response: web.StreamResponse | None = None
    try:
        async for events, _ in _slices(service, ask, ask.after):
            for one in events[:left]:
                rows.append(b"%b\n" % row(one))
                size, last = size + len(rows[-1]), one.seq
            left -= len(events)
            if size > _WHOLE_BYTES_MAX:
                response = response or await _begun(request, NDJSON)
                if request.method == "HEAD":  # it has what a GET begins with
                    return response
                await response.write(b"".join(rows))
                rows = []
            if left <= 0:
                break
    except LogCorrupt:
        if last == ask.after:  # else the page ends before it, and the next one says it
            raise
    if response is not None:
        await response.write(b"".join(rows))
        await response.write_eof()
        return response
    headers = {"Link": _next(ask, last)} if left <= 0 else {}
    return await answer(request, b"".join(rows), headers=headers, form=NDJSON, varies="Accept")


def row(recorded: Recorded) -> bytes:
    """Return an event as every list of events has it, its bytes verbatim."""
    return b'{"seq":%d,"hash":"%b","event":%b}' % (recorded.seq, recorded.hash.encode(), recorded.bytes)


def _next(ask: Ask, last: int) -> str:
    told = {"after": last, "limit": ask.limit, "type": ask.type, "run_id": ask.run_id}
    return (
        f'<{BASE}/events?{urlencode({name: value for name, value in told.items() if value is not None})}>; rel="next"'
    )


async def _begun(request: web.Request, form: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": form, "Vary": "Accept", "Cache-Control": "no-store"})
    await response.prepare(request)
    return response


async def _listen(request: web.Request, service: Service, ask: Ask) -> web.StreamResponse:
    live, transport = request.app[LIVE], request.transport
    response = await _begun(request, EVENT_STREAM)
    if request.method == "HEAD" or transport is None:
        return response
    stall_s, request[OWN_BOUND] = service.settings.listener_stall_timeout_s, True
    access = request.app[ACCESS]
    listener = _Listener(response, service, ask, live, lambda: access.may_go_on(request))
    with live.listening(transport):
        try:
            await listener.run(stall_s)
        except TimeoutError:
            logger.warning("listener.too_slow", after=listener.at)
            with suppress(TimeoutError, ConnectionError):
                await listener.end("slow", _LAST_WORD_S)
            # What it did not read stays there for it a little longer; then the connection is cut.
            transport.close()
            asyncio.get_running_loop().call_later(stall_s, transport.abort)
        except ConnectionError:
            pass  # it left
    return response


class _Listener:
    """One client that is given the log as it grows."""

    def __init__(
        self,
        response: web.StreamResponse,
        service: Service,
        ask: Ask,
        live: Live,
        may_go_on: Callable[[], bool],
    ) -> None:
        self._may_go_on = may_go_on
        self._response, self._service, self._ask, self._live = response, service, ask, live
        self.at, self._left = ask.after, ask.limit
        self._heartbeat_s = service.settings.heartbeat_interval_s
        self._now = asyncio.get_running_loop().time
        self._written_at = self._now()

    async def run(self, stall_s: float) -> None:
        """Give it all that matches, until it leaves or the server ends.

        Raises:
            TimeoutError: it did not read for *stall_s* seconds.
            ConnectionError: it is gone.

        """
        await self._write(b": what follows is the log, as it grows\n\n", stall_s)
        reason = "limit"
        try:
            while self._left != 0:
                if self._may_go_on():  # what was recorded after its key was revoked is not for it
                    await self._catch_up(stall_s)
                if (over := self._over()) is not None:
                    reason = over
                    break
                if self._left != 0:
                    await self._live.moved(self._written_at + self._heartbeat_s - self._now())
                    if self._now() - self._written_at >= self._heartbeat_s:
                        await self._write(b": nothing new\n\n", stall_s)
        except LogCorrupt as error:
            reason = error.code
        await self.end(reason, stall_s)

    async def end(self, reason: str, stall_s: float) -> None:
        """Say why nothing more comes, and from where to go on."""
        last = orjson.dumps({"reason": reason, "after": self.at})
        await self._write(b"event: end\ndata: %b\n\n" % last, stall_s)

    async def _catch_up(self, stall_s: float) -> None:
        async for events, at in _slices(self._service, self._ask, self.at, self._live):
            wanted = events if self._left is None else events[: self._left]
            if wanted:
                await self._write(b"".join([_message(one) for one in wanted]), stall_s)
            self.at = at if len(wanted) == len(events) else wanted[-1].seq
            if self._left is not None:
                self._left -= len(wanted)
            if self._left == 0 or self._over() is not None:
                return

    def _over(self) -> str | None:
        """Return why it gets nothing more; None while it does."""
        if self._live.is_ending:
            return "shutdown"
        return None if self._may_go_on() else "UNAUTHENTICATED"

    async def _write(self, data: bytes, stall_s: float) -> None:
        async with asyncio.timeout(stall_s):
            await self._response.write(data)
        self._written_at = self._now()


def _message(recorded: Recorded) -> bytes:
    return b"id: %d\ndata: %b\n\n" % (recorded.seq, row(recorded))
