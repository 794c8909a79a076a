"""A migration through a running server: one request whose body and answer are lines, both flowing at once.

What the server has answered for is durable there. Interrupted anywhere, it goes on when it is run again.
"""

import asyncio
import json
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from attrs import define, evolve, field

from api.cli.remote import BASE, ServerRefused, ServerUnreachable, bearer
from api.migration.holdings import Holdings
from api.migration.offline import Bars, Say, Source, source_of
from api.migration.report import Report, Verdict, failed
from api.migration.rollback import Plan, Rollback, finish, undo, withdraw_all
from api.migration.v1 import RecordError, read_record
from api.migration.v1_source import V1Attachments
from api.migration.v1_text import V1Record, V1Unreadable, records_of
from api.settings import Settings
from eventlog.clock import SystemClock
from eventlog.strict_json import InvalidJson, MalformedJson, parse

_PART_BYTES = 8 << 20
_SENT_KEPT_MAX = 100_000
_POLL_S = 0.05
_OK, _GONE = 200, 410
_TRIES_MAX = 60
_IsThere = Callable[[str], Awaitable[bool]]
"""Tells whether the server has a run in force under an id."""
_FOR_EVER = aiohttp.ClientTimeout(total=None, sock_connect=30)


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
    _check(url)
    asyncio.run(_reachable(url))  # before a backup is made for nothing
    source = source_of(path, settings, SystemClock(), with_backup=with_backup)
    report.backup = source.backup
    if source.backup:
        say(f"The v1 file is kept at {source.backup['path']} (SHA-256 {source.backup['sha256']}).")
    with bars("Importing", source.size, "bytes") as on_bytes:
        sending = _Sending(path, source, attachments, report, batch_size, on_bytes, bearer(settings))
        return asyncio.run(_told(url, sending.run(url)))


def roll_back_online(
    plan: Plan, path: Path, settings: Settings, url: str, done: Rollback, *, force: bool, bars: Bars
) -> str:
    """Undo the imports of *plan* through the server at *url*, on its machine; return what kept its projections from the head.

    Raises:
        ServerUnreachable, ServerRefused: a second run goes on from there.

    """
    _check(url)
    asyncio.run(_reachable(url))
    clock = SystemClock()
    with Holdings.of(settings.data_dir) as holdings:
        if not undo(plan, path, holdings, done, clock, force=force):
            return ""
        with bars("Withdrawing", holdings.count(imported=True), "runs") as on_progress:
            behind = asyncio.run(_told(url, _withdrawn(plan, holdings, url, bearer(settings), done, on_progress)))
        finish(plan, settings.data_dir, clock)
        return behind


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
    _unread: V1Unreadable | None = None
    _position: int | None = None

    async def run(self, url: str) -> str:
        async def is_there(run_id: str) -> bool:
            async with session.get(_at(url, f"/runs/{run_id}")) as run:
                await run.read()
                return run.status == _OK

        async with (
            aiohttp.ClientSession(timeout=_FOR_EVER, headers=self._headers) as session,
            session.post(
                _at(url, "/admin/import"), data=self._lines(is_there), headers={"Content-Type": "application/x-ndjson"}
            ) as answer,
        ):
            await _refuse(url, answer)
            async for line in _lines_of(answer):
                self._hear(line)
            self._settle()
            if self._position is None:
                raise ServerUnreachable(url, "it ended the answer before the import was done; run it again to go on")
            if self._unread is not None:
                self._report.end(evolve(self._unread, path=str(self._path)).message)  # as a rehearsal says it
            return await _caught_up(session, url, self._position)

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
        yield _line({"end": self._unread is None})

    async def _lines_for(self, record: V1Record, is_there: _IsThere) -> AsyncIterator[bytes]:
        """Give the lines of a record; none for one whose text is such that no line can hold it."""
        try:
            if record.fault:
                raise MalformedJson(record.fault)
            value = parse(record.text)
        except InvalidJson as error:
            reason = "; ".join(fault.message for fault in error.errors)
            self._own.append(failed(record.key, error.errors[0].path, reason))
            return
        except MalformedJson as error:
            reason = record.fault or f"the record is not JSON: {error.reason}"
            self._own.append(failed(record.key, "$", reason))
            return
        blobs = self._blobs_of(record.key, value)
        if blobs and await is_there(record.key):  # no event of this record will come to name them
            blobs = {}
        for digest, size in blobs.items():
            if digest not in self._sent:
                async for part in self._parts(digest, size):
                    yield part
        self._own.append(None)
        # No string of JSON holds a bare line feed, so those that stand there only break lines.
        text = record.text.replace(b"\n", b" ").replace(b"\r", b" ")
        yield b'{"run_id":%b,"blobs":%b,"record":%b}\n' % (_json(record.key), _json(blobs), text)

    def _blobs_of(self, key: str, value: Any) -> dict[str, int]:
        """Return digests and sizes of the blobs that come with a record and are there."""
        found: dict[str, int] = {}

        def find(digest: str) -> int | None:
            if (size := self._attachments.size(digest)) is not None:
                found[digest] = size
            return size

        if isinstance(value, dict) and value.get("attachments"):
            try:
                read_record(key, value, find_blob=find)
            except RecordError:  # the server will say the same
                return {}
        return found

    async def _parts(self, digest: str, size: int) -> AsyncIterator[bytes]:
        path = self._attachments.path(digest)
        assert path is not None, "its size was told"
        with await asyncio.to_thread(path.open, "rb") as file:
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


async def _withdrawn(
    plan: Plan,
    holdings: Holdings,
    url: str,
    headers: dict[str, str],
    done: Rollback,
    on_progress: Callable[[int], None],
) -> str:
    position = -1

    async def withdraw(run_id: str, data: dict[str, Any], _revision: int) -> None:
        nonlocal position
        for tries_left in reversed(range(_TRIES_MAX)):
            async with session.post(_at(url, f"/admin/runs/{run_id}/withdraw"), json=data) as answer:
                if answer.status == _GONE:  # somebody was quicker: it is what was wanted
                    return
                if "Retry-After" not in answer.headers or not tries_left:
                    await _refuse(url, answer)
                    position = max(position, int(answer.headers.get("X-Log-Position", -1)))
                    return
                pause_s = float(answer.headers["Retry-After"])
            await asyncio.sleep(pause_s)

    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(timeout=_FOR_EVER, connector=connector, headers=headers) as session:
        await withdraw_all(plan, holdings, withdraw, done, on_progress)
        return await _caught_up(session, url, position)


async def _caught_up(session: aiohttp.ClientSession, url: str, position: int) -> str:
    """Return once all projections cover *position*; or why one will not."""
    while True:
        async with session.get(f"{url.rstrip('/')}/readyz") as answer:
            facts = await answer.json()
        standings = facts["projections"]
        if all(one["position"] >= position for one in standings.values()):
            return ""
        stopped = [name for name, one in standings.items() if one["state"] == "failed"]
        if stopped:
            return f"The projections are not at the head: {'; '.join(facts['reasons'])}"
        await asyncio.sleep(_POLL_S)


async def _reachable(url: str) -> None:
    async def ask() -> str:
        async with aiohttp.ClientSession(timeout=_FOR_EVER) as session, session.get(f"{url.rstrip('/')}/healthz") as a:
            await _refuse(url, a)
        return ""

    await _told(url, ask())


async def _told(url: str, work: Coroutine[Any, Any, str]) -> str:
    """Return what *work* gives; what goes wrong on the way to the server is told in our words."""
    try:
        return await work
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise ServerUnreachable(url, str(error) or type(error).__name__) from None


async def _refuse(url: str, answer: aiohttp.ClientResponse) -> None:
    """Return if the server does what was asked.

    Raises:
        ServerRefused, ServerUnreachable: it does not, or is no Runlog server.

    """
    if answer.status < 400:
        return
    try:
        problem = json.loads(await answer.read())
        raise ServerRefused(answer.status, problem["error"], problem["message"])
    except (ValueError, KeyError, TypeError):
        raise ServerUnreachable(url, f"it answered {answer.status}, and not as Runlog does") from None


async def _lines_of(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Give the lines of *answer*, however long each is."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _check(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ServerUnreachable(url, "not an http:// or https:// URL")


def _at(url: str, path: str) -> str:
    return f"{url.rstrip('/')}{BASE}{path}"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _line(value: Any) -> bytes:
    return _json(value) + b"\n"
