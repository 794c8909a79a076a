"""POST /runs/batch: a line in, a line out, in order, each only once its run is durable.

Three tasks share the work. One reads and puts runs into the log's queue, one waits for the disk
and words the answers, one gives them to the client. So reading waits for the disk and for the
projections, never for the client; and of a body of any size only a few portions are held.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import orjson
from aiohttp import web
from attrs import frozen

from api.access.roles import BASE
from api.errors import BadRequest, BatchTooLong, BodyTooLarge, Internal, ServerEnding, ended_early
from api.http.accept import NDJSON
from api.http.inputs import (
    LARGE_BYTES,
    OWN_BOUND,
    SERVICE,
    check_type,
    key_faults,
    key_of,
    next_chunk,
    params,
    refuse,
    sender_of,
    what_is_asked,
)
from api.http.lines import Lines
from api.http.problems import STATUSES, logger, told
from api.http.unread import UNREAD, Unread
from api.http.wire import command_of
from api.service import Creation, Service
from eventlog.batch import Appended
from eventlog.canonical import canonical
from eventlog.errors import LogBusy, RunlogError
from eventlog.event import IdempotencyKey, Origin
from eventlog.strict_json import Fault, parse
from projections.run import model
from projections.run.decide import NewRun, decide_create
from projections.run.errors import InvalidCommand

_PORTIONS_MAX, _PORTION_LINES_MAX = 16, 64
"""How many portions may wait for the disk, and how many lines are worked on before others have their turn."""
_BUSY_PAUSE_S, _BUSY_PAUSES_MAX = 0.02, 500
_CREATED = b'{"status":201,"run_id":"%b","seq":%d,"feasibility_sha256":"%b"}\n'
_REPLAYED = b'{"status":201,"run_id":"%b","seq":%d,"feasibility_sha256":"%b","replayed":true}\n'


@frozen
class Begun:
    """A run on its way to the disk."""

    creation: Creation
    appended: "asyncio.Future[Appended]"


Portion = list[Begun | RunlogError]
"""What became of some lines so far, in order."""


async def create_batch(request: web.Request) -> web.StreamResponse:
    """POST /runs/batch: record a run for each line of the body."""
    service = request.app[SERVICE]
    bytes_max = service.settings.post_batch_bytes_max
    if (request.content_length or 0) > bytes_max:
        raise BodyTooLarge(bytes_max)
    check_type(request, NDJSON)
    faults: list[Fault] = []
    params(request, faults=faults)
    key = key_of(request, faults)
    refuse(faults)
    request[OWN_BOUND] = True
    batch = _Batch(request, service, sender_of(request), key)
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    await response.prepare(request)
    with Unread(request.app[UNREAD], batch.hang_up) as unread, suppress(ConnectionError):  # the client may leave
        await batch.run(unread, response)
    return response


class _Batch:
    """One request: reads, settles and sends until all three are done."""

    def __init__(self, request: web.Request, service: Service, sender: Origin, key: str | None) -> None:
        """*sender* is who sent the lines, *key* the request's own Idempotency-Key."""
        self._request, self._service, self._settings = request, service, service.settings
        self._sender, self._key = sender, key
        self._portions: asyncio.Queue[Portion | None] = asyncio.Queue(_PORTIONS_MAX)
        self._number = 0
        """Of the last line, from 1; blank ones do not count."""

    def hang_up(self) -> None:
        """End the connection with what is unread: so the client learns that there was more."""
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            logger.warning("batch.too_slow", lines=self._number)
            transport.abort()

    async def run(self, unread: Unread, response: web.StreamResponse) -> None:
        """Answer every line.

        Raises:
            ConnectionError: the client is gone; what was begun is recorded all the same.

        """
        reading = asyncio.create_task(self._read(), name="batch-read")
        settling = asyncio.create_task(self._settle(unread), name="batch-settle")
        sending = asyncio.create_task(unread.send(response), name="batch-send")
        try:
            await asyncio.wait({settling, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not settling.done():
                reading.cancel()
                await asyncio.wait({reading})
                await self._portions.put(None)
                await settling
            while not sending.done():  # all is settled, and what is left is the client's to take
                taken = unread.taken
                await asyncio.wait({sending}, timeout=self._settings.idle_timeout_s)
                if unread.taken == taken and not sending.done():
                    self.hang_up()
            await asyncio.gather(settling, sending)
        finally:
            for task in (reading, settling, sending):
                task.cancel()
            await asyncio.gather(reading, settling, sending, return_exceptions=True)
            self._forget()

    def _forget(self) -> None:
        """Let go of what nobody waits for any more: the server ends."""
        while not self._portions.empty():
            for one in self._portions.get_nowait() or ():
                if isinstance(one, Begun):
                    one.appended.cancel()

    # --- reading

    async def _read(self) -> None:
        """Begin a run for each line, to the end of the body or to what ends it early."""
        try:
            async for lines in self._cut():
                for at in range(0, len(lines), _PORTION_LINES_MAX):
                    await self._service.pace.keep()
                    await self._portions.put(await self._begin(lines[at : at + _PORTION_LINES_MAX]))
                    await asyncio.sleep(0)
        except RunlogError as error:
            await self._portions.put([ended_early(error)])
        except Exception:  # a fault of ours, told like any other: nobody may wait for lines that never come
            logger.exception("http.failed", method=self._request.method, path=self._request.path)
            await self._portions.put([Internal()])
        await self._portions.put(None)

    async def _cut(self) -> AsyncIterator[list[bytes | None]]:
        """Yield the lines of the body as they come.

        Raises:
            BatchTooLong, RequestTimeout, BadRequest, ServerEnding: it ends where its sender did not mean it to.

        """
        lines = Lines(self._settings.body_bytes_max)
        bytes_left, lines_left = self._settings.post_batch_bytes_max, self._settings.post_batch_lines_max
        while not self._request.content.at_eof():
            piece = await self._piece()
            found = lines.feed(piece[:bytes_left])
            yield found[:lines_left]
            bytes_left, lines_left = bytes_left - len(piece), lines_left - len(found)
            if bytes_left < 0 or lines_left < 0:
                raise self._too_long()
        last = lines.end()
        yield last[:lines_left]
        if len(last) > lines_left:
            raise self._too_long()

    async def _piece(self) -> bytes:
        try:
            return await next_chunk(self._request, self._settings.idle_timeout_s)
        except RunlogError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ServerEnding() from None  # it is the body that is given up
        except Exception as error:  # aiohttp has many words for a body that breaks off
            raise BadRequest(f"the body broke off ({type(error).__name__})") from None

    def _too_long(self) -> BatchTooLong:
        return BatchTooLong(self._settings.post_batch_bytes_max, self._settings.post_batch_lines_max)

    async def _begin(self, lines: list[bytes | None]) -> Portion:
        portion: Portion = []
        for line in lines:
            self._number += 1
            try:
                portion.append(await self._begun(line))
            except RunlogError as error:
                portion.append(error)
            except Exception:
                logger.exception("http.failed", method=self._request.method, path=self._request.path)
                portion.append(Internal())
        return portion

    async def _begun(self, line: bytes | None) -> Begun:
        """Put the run of one line into the log's queue.

        Raises:
            RunlogError: what is wrong with the line, or with the log.

        """
        if line is None:
            raise BodyTooLarge(self._settings.body_bytes_max)
        is_large = len(line) > LARGE_BYTES
        creation, origin = await asyncio.to_thread(self._decided, line) if is_large else self._decided(line)
        for _ in range(_BUSY_PAUSES_MAX):
            try:
                return Begun(creation, await self._service.begin(creation, origin))
            except LogBusy:  # by what others write: this batch alone cannot fill the queue
                await asyncio.sleep(_BUSY_PAUSE_S)
        raise LogBusy()

    def _decided(self, line: bytes) -> tuple[Creation, Origin]:
        body = parse(line)
        origin, faults = self._origin_of(body)
        try:
            command = command_of(body, model.CreateRun)
        except InvalidCommand as error:
            raise InvalidCommand((*faults, *error.errors)) from None
        refuse(faults)

        def decide(run_id: str) -> NewRun:
            return decide_create(command, run_id, origin.request_id)

        return self._service.decided(decide, command.run_id, origin), origin

    def _origin_of(self, body: Any) -> tuple[Origin, list[Fault]]:
        """Return whose run the line records, under which key, and what is wrong with the key; it is taken out of *body*."""
        key = body.pop("idempotency_key", None) if isinstance(body, dict) else None
        if key is None:
            if self._key is None:
                return self._sender, []
            # A key of the whole request is one for each line; no client's own key can be the same, as it is ASCII.
            key = f"{self._key}→{self._number}"
        elif not isinstance(key, str) or key_faults(key):
            return self._sender, [Fault("$.idempotency_key", "must be 1 to 255 printable ASCII characters")]
        asked = what_is_asked("POST", f"{BASE}/runs/batch", {}, body)
        idempotency = IdempotencyKey(key, sha256(canonical(asked)).hexdigest())
        sender = self._sender
        return Origin(sender.actor, sender.request_id, sender.traceparent, idempotency), []

    # --- settling

    async def _settle(self, unread: Unread) -> None:
        """Word what became of each line, once it is known."""
        while (portion := await self._portions.get()) is not None:
            unread.add([await self._settled(one, brief=unread.is_brief) for one in portion])
        unread.end()

    async def _settled(self, one: Begun | RunlogError, *, brief: bool) -> bytes:
        if isinstance(one, RunlogError):
            return _refusal(one, brief=brief)
        try:
            appended = await self._service.created(one.creation, one.appended)
            if appended.replayed:
                return self._replayed(appended)
        except RunlogError as error:
            return _refusal(error, brief=brief)
        creation = one.creation
        return _CREATED % (creation.run_id.encode(), appended.first, creation.feasibility_sha256.encode())

    def _replayed(self, appended: Appended) -> bytes:
        created = self._service.log.read(appended.first)
        assert created is not None, "a key's events are in the log"
        digest = created.data["run"]["hashes"]["feasibility_sha256"]
        return _REPLAYED % (created.stream.encode(), created.seq, digest.encode())


def _refusal(error: RunlogError, *, brief: bool) -> bytes:
    """Return the line for one that is not recorded; *brief* where its client leaves too much unread already."""
    problem = {"status": STATUSES[error.code], **told(error)}
    if brief and "errors" in problem:
        problem["errors"] = problem["errors"][:1]
    return orjson.dumps(problem, default=str) + b"\n"
