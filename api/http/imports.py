"""What operators write: a v1 file brought in record by record, and a run taken out of force.

An import is one request whose body and answer are lines: each record's verdict leaves once it is durable. Body
and answer wait for each other, so memory is bounded by one window of records, however long the file.
"""

import asyncio
import binascii
import json
from base64 import b64decode
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import attrs
import orjson
from aiohttp import web

from api.errors import BodyTooLarge, ServerEnding, ended_early
from api.http.accept import NDJSON
from api.http.answers import outcome_answer
from api.http.inputs import (
    LARGE_BYTES,
    OWN_BOUND,
    REQUEST_ID,
    SERVICE,
    check_type,
    key_of,
    next_chunk,
    params,
    refuse,
    sender_of,
)
from api.http.lines import Lines
from api.http.problems import STATUSES, logger, told
from api.http.runs import read_command
from api.migration.import_record import ImportRecord, State, begun, ended
from api.migration.migrate import BATCH_SIZE, BATCH_SIZE_MAX, LINE_BYTES_MAX, Importer, KeepBlobs
from api.migration.report import Verdict
from api.migration.v1 import ImportedRun
from api.migration.v1_text import V1Record
from api.migration.v1_values import digest, is_size
from eventlog.blobs import BlobMismatch, Blobs, BlobTooLarge
from eventlog.clock import SystemClock
from eventlog.errors import RunlogError
from eventlog.strict_json import NESTING_MAX, Fault, parse
from projections.run import events, model
from projections.run.errors import InvalidCommand

STOPPING = web.AppKey("stopping", asyncio.Event)
"""Set when the server ends: an import may be long, and can be gone on with."""


async def stop(app: web.Application) -> None:
    """Let imports end at their next line."""
    app[STOPPING].set()


async def withdraw(request: web.Request) -> web.Response:
    """POST /admin/runs/{id}/withdraw: the run goes out of force; 200 with its last view."""
    run_id = request.match_info["run_id"]
    command, origin, _ = await read_command(request, model.Withdraw)
    data = {name: value for name, value in attrs.asdict(command).items() if value is not None}
    outcome = await request.app[SERVICE].add(run_id, events.WITHDRAWN, lambda _state: data, origin)
    if not outcome.replayed:
        logger.info("run.withdrawn", run_id=run_id, reason=command.reason, seq=outcome.position)
    return await outcome_answer(request, outcome, status=200)


async def import_records(request: web.Request) -> web.StreamResponse:
    """POST /admin/import: v1 records as lines, and a line of answer for each; see docs/http.md."""
    check_type(request, NDJSON)
    params(request)
    lines = _Objects(request)
    importing = await _Importing.begin(request, lines)
    request[OWN_BOUND] = True  # none: an operator may look at the answers when all is sent
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    await response.prepare(request)
    try:
        async for answer in importing.answers():
            await response.write(orjson.dumps(answer) + b"\n")
    except RunlogError as error:  # the status has left already: it is told in a line
        for answer in await importing.given_up():
            await response.write(orjson.dumps(answer) + b"\n")
        line = {"status": STATUSES[error.code], **told(ended_early(error)), "request_id": request[REQUEST_ID]}
        await response.write(orjson.dumps(line, default=str) + b"\n")
    await response.write_eof()
    return response


class _Objects:
    """The lines of a body, read one at a time."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._idle_s = request.app[SERVICE].settings.idle_timeout_s
        self._lines = Lines(LINE_BYTES_MAX)
        self._cut: deque[bytes | None] = deque()

    async def next(self) -> dict[str, Any] | None:
        """Return the next line; None at the end.

        Raises:
            BodyTooLarge, RequestTimeout, BadRequest, MalformedJson, InvalidJson, InvalidCommand: it cannot be read.

        """
        while not self._cut:
            if self._request.content.at_eof():
                self._cut += self._lines.end()
                break
            self._cut += self._lines.feed(await next_chunk(self._request, self._idle_s))
        if not self._cut:
            return None
        line = self._cut.popleft()
        if line is None:
            raise BodyTooLarge(LINE_BYTES_MAX)
        nesting_max = NESTING_MAX + 1  # the record is judged by itself
        if len(line) > LARGE_BYTES:
            value = await asyncio.to_thread(parse, line, nesting_max)
        else:
            value = parse(line, nesting_max)
        if not isinstance(value, dict):
            raise InvalidCommand((Fault("$", "each line must be an object"),))
        return value


class _Importing:
    """One import under way."""

    def __init__(self, app: web.Application, lines: _Objects, record: ImportRecord, importer: Importer) -> None:
        """*importer* is told whom to tell."""
        self._service, self._stopping = app[SERVICE], app[STOPPING]
        self._lines, self._record, self._importer = lines, record, importer
        self._outcomes: Counter[str] = Counter()
        self._told: list[Verdict] = []
        importer.tell = self._told.append

    @classmethod
    async def begin(cls, request: web.Request, lines: _Objects) -> "_Importing":
        """Read the first line, and return once the import's record is durable."""
        service = request.app[SERVICE]
        head = await lines.next()
        given = _head_of(head)
        key_of(request)
        origin = sender_of(request)
        data_dir = service.settings.data_dir
        record = await asyncio.to_thread(
            begun, data_dir, SystemClock(), given["v1_path"], given["v1_sha256"], given.get("backup")
        )
        size = given.get("batch_size", BATCH_SIZE)
        keep = _holder_in(service.blobs)
        importer = Importer(service.log, record.import_id, origin, keep, lambda _verdict: None, size)
        return cls(request.app, lines, record, importer)

    async def answers(self) -> AsyncIterator[dict[str, Any]]:
        """Work through the lines; give the lines of the answer."""
        yield {"import_id": self._record.import_id}
        while (line := await self._lines.next()) is not None:
            if self._stopping.is_set():
                raise ServerEnding()
            if "end" in line:
                if not is_size(line.get("failed", 0)):
                    raise InvalidCommand((Fault("$.failed", "must be a number of records, 0 or more"),))
                await self._importer.flush()
                for verdict in self._verdicts():
                    yield verdict
                yield await self._end(line)
                return
            if "blob" in line:
                await self._keep(line)
            else:
                await self._add(line)
            for verdict in self._verdicts():
                yield verdict
        for verdict in await self.given_up():  # the client left
            yield verdict

    async def given_up(self) -> list[dict[str, Any]]:
        """Return what became of the records that came; they are kept, and the import can be gone on with."""
        with suppress(RunlogError):  # the log took no more of them, which is what ended it
            await self._importer.flush()
        return self._verdicts()

    def _verdicts(self) -> list[dict[str, Any]]:
        verdicts, self._told[:] = list(self._told), []
        for verdict in verdicts:
            self._outcomes[verdict.outcome] += 1
        return [attrs.asdict(verdict) for verdict in verdicts]

    async def _add(self, line: dict[str, Any]) -> None:
        if not isinstance(line.get("run_id"), str) or "record" not in line:
            raise InvalidCommand((Fault("$", "must have run_id (a string) and record, or be a blob or the end"),))
        blobs = line.get("blobs", {})
        blobs = blobs if isinstance(blobs, dict) else {}

        def find(sha256: str) -> int | None:
            size = blobs.get(sha256)
            return size if is_size(size) else None

        await self._importer.add(V1Record(line["run_id"], _text_of(line["record"])), find)
        await self._service.pace.keep()

    async def _keep(self, line: dict[str, Any]) -> None:
        first = _part_of(line)
        parts = self._parts(first)
        try:
            await self._service.blobs.put(parts, bytes_max=first["size_bytes"], expected_sha256=first["sha256"])
        except (BlobMismatch, BlobTooLarge):  # it changed while it was sent: the record that names it fails
            async for _ in parts:
                pass

    async def _parts(self, part: dict[str, Any]) -> AsyncIterator[bytes]:
        yield part["data"]
        while part["more"]:
            part = _part_of(await self._lines.next())
            yield part["data"]

    async def _end(self, line: dict[str, Any]) -> dict[str, Any]:
        resumed, found = self._importer.resumed, self._outcomes
        found["failed"] += line.get("failed", 0)
        counts = {
            "total": found.total(),
            "imported": found["imported"] + resumed,
            "unchanged": found["unchanged"] - resumed,
            "conflicts": found["conflict"],
            "failed": found["failed"],
        }
        state: State = "done" if line["end"] is True else "stopped"
        data_dir = self._service.settings.data_dir
        await asyncio.to_thread(ended, data_dir, SystemClock(), self._record, state, counts)
        return {"end": {"position": self._service.log.head}}


def _holder_in(blobs: Blobs) -> KeepBlobs:
    """Return what finds the attachments of a run in *blobs*: they came before the record that names them."""

    async def find(run: ImportedRun) -> None:
        for one in run.attachments:
            if blobs.size(one["sha256"]) != one["size_bytes"]:
                raise BlobMismatch(one["sha256"], "none")

    return find


def _text_of(record: Any) -> bytes:
    """Return *record* as JSON in its given order: what becomes of a record follows it."""
    try:
        return orjson.dumps(record)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(record, ensure_ascii=False).encode()


def _head_of(line: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the first line says of the import.

    Raises:
        InvalidCommand: with every fault in it.

    """
    head = (line or {}).get("import")
    if not isinstance(head, dict):
        raise InvalidCommand((Fault("$.import", "is required in the first line"),))
    faults = [Fault(f"$.import.{name}", "is not known") for name in head.keys() - _HEAD]
    if digest(head.get("v1_sha256")) is None:
        faults.append(Fault("$.import.v1_sha256", "must be 64 hex digits"))
    if not isinstance(head.get("v1_path"), str):
        faults.append(Fault("$.import.v1_path", "must be a string"))
    backup = head.get("backup")
    if backup is not None and not _is_backup(backup):
        faults.append(Fault("$.import.backup", "must be {path, sha256}: a string, and 64 hex digits"))
    size = head.get("batch_size", BATCH_SIZE)
    if not is_size(size) or not 1 <= size <= BATCH_SIZE_MAX:
        faults.append(Fault("$.import.batch_size", f"must be from 1 to {BATCH_SIZE_MAX}"))
    refuse(faults)
    return head


def _is_backup(value: Any) -> bool:
    is_it = isinstance(value, dict) and value.keys() == {"path", "sha256"}
    return is_it and isinstance(value["path"], str) and digest(value["sha256"]) is not None


_HEAD = {"v1_sha256", "v1_path", "backup", "batch_size"}


def _part_of(line: dict[str, Any] | None) -> dict[str, Any]:
    part = (line or {}).get("blob")
    if isinstance(part, dict) and digest(part.get("sha256")) and is_size(part.get("size_bytes")):
        try:
            return {**part, "data": b64decode(part["data"], validate=True), "more": part.get("more") is True}
        except (binascii.Error, KeyError, TypeError, ValueError):
            pass
    raise InvalidCommand((Fault("$.blob", "must be {sha256, size_bytes, data (base64), more}"),))
