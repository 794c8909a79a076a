"""A migration through a running server: one request whose body and answer are lines, both flowing at once.

What the server has answered for is durable there. Interrupted anywhere, it goes on when it is run again.
"""

import asyncio
import json
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, evolve, field

from api.migration.judging import value_of
from api.migration.migrate import LINE_BYTES_MAX
from api.migration.offline import Bars, Say, Source, source_of
from api.migration.reaching import BLANK_LINE, FOR_EVER, at, beats, caught_up, check_welcome, refuse, told
from api.migration.report import Report, Verdict, failed
from api.migration.v1 import RecordError, read_record
from api.migration.v1_source import V1Attachments
from api.migration.v1_text import V1Record, V1Unreadable, records_of
from api.remote import ServerRefused, ServerUnreachable, bearer
from api.settings import Settings
from eventlog.clock import SystemClock
from projections.run.events import is_run_id

_PART_BYTES = 8 << 20
_SENT_KEPT_MAX = 100_000
_OK = 200
_IsThere = Callable[[str], Awaitable[bool]]
"""Tells whether the server has a run in force under an id."""


def migrate_online(
    path: Path,
    attachments: V1Attachments,
    settings: Settings,
    url: str,
    report: Report,
    *,
    with_backup: bool,
    batch_size: int,
    bars: Bars,
    say: Say,
) -> str:
    """Import the v1 file at *path* through the server at *url*; return what kept its projections from the head.

    Raises:
        ServerUnreachable, ServerRefused: a second run goes on from there.

    """
    asyncio.run(check_welcome(url, bearer(settings)))  # before a backup is made for nothing
    source = source_of(path, settings, SystemClock(), report, say, with_backup=with_backup)
    with bars("Importing", source.size, "bytes") as on_bytes:
        sending = _Sending(path, source, attachments, report, batch_size, on_bytes, bearer(settings))
        return asyncio.run(told(url, sending.run(url)))


@define
class _Sending:
    """A v1 file on its way: lines go out, verdicts come back in the order of the records."""

    _path: Path
    _source: Source
    _attachments: V1Attachments
    _report: Report
    _batch_size: int
    _on_bytes: Callable[[int], None]
    _headers: dict[str, str]
    _own: deque[Verdict | None] = field(factory=deque)
    """For each record under way the verdict that was reached here, None where the server's is awaited."""
    _sent: dict[str, None] = field(factory=dict)
    _failed: int = 0
    """How many records were judged here, and never sent."""
    _unread: V1Unreadable | None = None
    _position: int | None = None

    async def run(self, url: str) -> str:
        async def is_there(run_id: str) -> bool:
            async with session.get(at(url, f"/runs/{run_id}")) as run:
                await run.read()
                return run.status == _OK

        async with (
            aiohttp.ClientSession(timeout=FOR_EVER, headers=self._headers) as session,
            session.post(
                at(url, "/admin/import"), data=self._lines(is_there), headers={"Content-Type": "application/x-ndjson"}
            ) as answer,
        ):
            await refuse(url, answer)
            async for line in _lines_of(answer):
                self._hear(line)
            self._settle()
            if self._position is None:
                raise ServerUnreachable(url, "it ended the answer before the import was done; run it again to go on")
            if self._unread is not None:
                self._report.end(evolve(self._unread, path=str(self._path)).message)  # as a rehearsal says it
            return await caught_up(session, url, self._position)

    async def _lines(self, is_there: _IsThere) -> AsyncIterator[bytes]:
        head = {
            "v1_path": str(self._path),
            "v1_sha256": self._source.sha256,
            "backup": self._source.backup,
            "batch_size": self._batch_size,
        }
        yield _line({"import": head})
        try:
            for record in records_of(self._source.text, self._on_bytes):
                async for line in self._lines_for(record, is_there):
                    yield line
        except V1Unreadable as error:
            self._unread = error
        yield _line({"end": self._unread is None, "failed": self._failed})

    async def _lines_for(self, record: V1Record, is_there: _IsThere) -> AsyncIterator[bytes]:
        """Give the lines of a record; a blank one for a record that no line can hold: it is judged here."""
        try:
            value = value_of(record)
            if not is_run_id(record.key):  # which may be longer than a line
                read_record(record.key, value, find_blob=self._attachments.size)
            blobs: dict[str, int] = {}
            if isinstance(value, dict) and value.get("attachments"):
                reading = asyncio.ensure_future(asyncio.to_thread(self._blobs_of, record.key, value))
                async for beat in beats(reading):
                    yield beat
                blobs = reading.result()
            if blobs and await is_there(record.key):  # no event of this record will come to name them
                blobs = {}
            line = line_of(record, blobs)
        except RecordError as error:
            self._own.append(failed(record.key, error.field, error.reason))
            self._failed += 1
            self._settle()
            yield BLANK_LINE
            return
        for digest, size in blobs.items():
            if digest not in self._sent:
                async for part in self._parts(digest, size):
                    yield part
        self._own.append(None)
        yield line

    def _blobs_of(self, key: str, value: Any) -> dict[str, int]:
        """Return digests and sizes of the blobs that come with a record and are there; each is read."""
        found: dict[str, int] = {}

        def find(digest: str) -> int | None:
            if (size := self._attachments.size(digest)) is not None:
                found[digest] = size
            return size

        try:
            read_record(key, value, find_blob=find)
        except RecordError:  # the server will say the same
            return {}
        return found

    async def _parts(self, digest: str, size: int) -> AsyncIterator[bytes]:
        path = self._attachments.path(digest)
        if path is None:  # gone since it was found: the server misses it, and its record fails
            return
        with suppress(FileNotFoundError), await asyncio.to_thread(path.open, "rb") as file:
            data, more = await asyncio.to_thread(file.read, _PART_BYTES), True
            while more:
                following = await asyncio.to_thread(file.read, _PART_BYTES)
                more = bool(following)
                part = {"sha256": digest, "size_bytes": size, "data": b64encode(data).decode(), "more": more}
                yield _line({"blob": part})
                data = following
        self._sent[digest] = None
        if len(self._sent) > _SENT_KEPT_MAX:
            del self._sent[next(iter(self._sent))]

    def _hear(self, line: dict[str, Any]) -> None:
        if "error" in line:
            raise ServerRefused(line["status"], line["error"], line["message"])
        if "import_id" in line:
            self._report.import_id = line["import_id"]
        elif "end" in line:
            self._position = line["end"]["position"]
        else:
            self._settle()
            self._own.popleft()
            self._report.take(Verdict(**line))

    def _settle(self) -> None:
        """Tell of the records that come before the one whose verdict is awaited."""
        while self._own and self._own[0] is not None:
            self._report.take(self._own[0])
            self._own.popleft()


def line_of(record: V1Record, blobs: dict[str, int]) -> bytes:
    """Return the line that carries *record*.

    Raises:
        RecordError: it would be too long.

    """
    # No string of JSON holds a bare line feed, so those that stand there only break lines.
    text = record.text.replace(b"\n", b" ").replace(b"\r", b" ")
    line = b'{"run_id":%b,"blobs":%b,"record":%b}' % (_json(record.key), _json(blobs), text)
    if len(line) > LINE_BYTES_MAX:
        reason = f"with the sizes of its attachments it is longer than the {LINE_BYTES_MAX} bytes that a server takes"
        raise RecordError(record.key, "$", f"{reason}; migrate with the server stopped, without --url")
    return line + b"\n"


async def _lines_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Give the lines of *answer*, however long each is."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _line(value: Any) -> bytes:
    return _json(value) + b"\n"
