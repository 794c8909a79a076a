"""The client: one method for each thing that a producer or a listener asks of Runlog.

A write returns once the server has said that it is on disk. It carries an Idempotency-Key that was made
for this call alone, so that however often it had to be sent, it is recorded once.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self, Unpack, overload
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from runlog_client.batches import answered, grouped
from runlog_client.digests import content_digest
from runlog_client.evidence import Evidence, verify_proof
from runlog_client.jobs import Job
from runlog_client.listening import After, heard
from runlog_client.transport import CONNECT_TIMEOUT_S, SILENCE_MAX_S, Answer, Ask, Body, Transport
from runlog_client.types import (
    AdvisoryKind,
    Attachment,
    BatchAnswer,
    BatchRun,
    Diff,
    ExplanationStatus,
    Filters,
    JobFacts,
    LogEvent,
    NewRun,
    Run,
    RunItem,
)

BASE = "/api/rmos"
PAGE_LIMIT = 200
CANCELLED_TIMEOUT_S = 5.0
"""How long a cancelled job may still take to record that it was."""

logger = logging.getLogger("runlog_client")


class RunlogClient:
    """A Runlog server at *url*; use it with `async with`, and from any number of tasks at once.

    *key* is an API key, `<name>.<secret>`. What fails in a way that passes (429, 503, 507, a broken
    connection) is tried again for *retry_for_s* seconds, `math.inf` for ever, with growing
    pauses and no sooner than the server asks; then it is an error.

    Every method raises `Refused` if the server refuses, and `Unreachable` if it gives no answer.
    """

    def __init__(self, url: str, key: str | None = None, *, retry_for_s: float = 60.0) -> None:
        self._base = url.rstrip("/") + BASE
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._retry_for_s = retry_for_s
        self._opened: Transport | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_MAX_S)
        session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        self._opened = Transport(session, self._base, self._retry_for_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.session.close()
        self._opened = None

    # --- writing

    async def create(
        self, *, idempotency_key: str | None = None, request_id: str | None = None, **run: Unpack[NewRun]
    ) -> Run:
        """Record a run, and return it."""
        return await self._changed("/runs", run, idempotency_key, request_id)

    async def attach(
        self,
        run_id: str,
        advisory_id: str,
        kind: AdvisoryKind = "unknown",
        *,
        engine_id: str | None = None,
        engine_version: str | None = None,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> Run:
        """Attach an advisory to a run, and return the run."""
        body = {
            "advisory_id": advisory_id,
            "kind": kind,
            "engine_id": engine_id,
            "engine_version": engine_version,
        }
        return await self._changed(f"{_run(run_id)}/attach-advisory", body, idempotency_key, request_id)

    async def explain(
        self,
        run_id: str,
        status: ExplanationStatus,
        summary: str | None = None,
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> Run:
        """Say where a run's explanation stands, and return the run."""
        body = {"status": status, "summary": summary}
        return await self._changed(f"{_run(run_id)}/explanation", body, idempotency_key, request_id)

    async def upload(
        self,
        run_id: str,
        content: bytes | Path,
        *,
        kind: str,
        filename: str | None = None,
        mime: str = "application/octet-stream",
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> Attachment:
        """Attach bytes, or a file's, to a run; the server keeps them only if they arrive as they were here.

        A file is streamed, and its own name is the default for *filename*.
        """
        name = filename or (content.name if isinstance(content, Path) else None)
        query = {"kind": kind} | ({"filename": name} if name else {})
        # The digest is part of the request's own identity: a file that changes between two tries is refused.
        headers = {"Content-Type": mime, "Content-Digest": await content_digest(content)}
        ask = _write(f"{_run(run_id)}/attachments", content, idempotency_key, request_id, query, headers)
        attachment: Attachment = (await self._transport.send(ask)).json
        return attachment

    async def batch(self, runs: Iterable[BatchRun] | AsyncIterable[BatchRun]) -> AsyncIterator[BatchAnswer]:
        """Record many runs, and give for each, in their order, what became of it: `status` 201, or an error.

        They are sent as they are asked for, a thousand at a time. A line that is refused does not stop the
        rest. Who wants to go on after `Unreachable` gives each run an `idempotency_key` of its own.
        """
        async for lines in grouped(runs):
            async for answer in answered(self._transport, lines):
                yield answer

    @asynccontextmanager
    async def record(self, *, request_id: str | None = None, **facts: Unpack[JobFacts]) -> AsyncIterator[Job]:
        """Record the job that the block does: OK, BLOCKED where it says so, ERROR with the exception that it raises.

        The exception goes on its way afterwards. Should the recording of a failed job fail too, that is
        noted on the exception; that of a job that went well is an error: its toolpath must not be used.
        """
        job = Job(facts)
        try:
            yield job
        except asyncio.CancelledError as raised:
            await self._record_failed(job, raised, request_id, CANCELLED_TIMEOUT_S)
            raise
        except Exception as raised:
            await self._record_failed(job, raised, request_id, None)
            raise
        job.recorded(await self.create(request_id=request_id, **job.body(None)))

    async def _record_failed(
        self, job: Job, raised: BaseException, request_id: str | None, timeout_s: float | None
    ) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                job.recorded(await self.create(request_id=request_id, **job.body(raised)))
        except Exception as error:
            raised.add_note(f"The job that this ended could not be recorded: {error}")
            logger.exception("a failed job could not be recorded")

    # --- reading

    async def get(self, run_id: str, *, at: int | str | None = None, include_withdrawn: bool = False) -> Run:
        """Return a run as it is now, or as it was *at* a seq or an RFC 3339 time."""
        run: Run = (await self._read(_run(run_id), at=at, include_withdrawn=include_withdrawn or None)).json
        return run

    async def diff(self, a: str, b: str) -> Diff:
        """Return what differs between two runs, and how much it matters."""
        diff: Diff = (await self._read("/runs/diff", a=a, b=b)).json
        return diff

    async def proof(self, run_id: str, vkey: str) -> Evidence:
        """Return the evidence of a run, checked here against *vkey*, the log's verifier key.

        Have the key from the log's operator, once: one that is asked of the same server proves nothing.

        Raises:
            ProofRefused: the evidence does not hold.

        """
        document = (await self._read(f"{_run(run_id)}/proof")).json
        return await asyncio.to_thread(verify_proof, document, run_id, vkey)

    async def events(
        self, *, after: After = None, type: str | None = None, run_id: str | None = None
    ) -> AsyncIterator[LogEvent]:
        """Give every event *after* a seq (None: from the first, `latest`: from now), and then each new one; without end.

        When the connection breaks, it is made anew and goes on after the last event that was given: none
        is left out, and none comes twice. One that breaks before it said where it is begins with `after` again.
        """
        async for event in heard(self._transport, after, _query({"type": type, "run_id": run_id})):
            yield event

    async def _read(self, path: str, **query: Any) -> Answer:
        return await self._transport.send(Ask("GET", path, _query(query), {}))

    async def _changed(self, path: str, body: Mapping[str, Any], key: str | None, request_id: str | None) -> Run:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        ask = _write(path, content, key, request_id, {}, {"Content-Type": "application/json"})
        run: Run = (await self._transport.send(ask)).json
        return run

    @property
    def _transport(self) -> Transport:
        if self._opened is None:
            raise RuntimeError("open the client first: `async with RunlogClient(url, key) as runs:`")
        return self._opened

    async def _pages(self, view: str, filters: Filters) -> AsyncIterator[Any]:
        query = {**filters, "view": view, "limit": PAGE_LIMIT}
        while True:
            page = (await self._read("/runs", **query)).json
            for item in page["items"]:
                yield item
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    # Last: below it, `list` would be this method in every annotation.

    @overload
    def list(self, *, view: Literal["index"] = ..., **filters: Unpack[Filters]) -> AsyncIterator[RunItem]: ...
    @overload
    def list(self, *, view: Literal["full"], **filters: Unpack[Filters]) -> AsyncIterator[Run]: ...
    def list(
        self, *, view: Literal["index", "full"] = "index", **filters: Unpack[Filters]
    ) -> AsyncIterator[RunItem] | AsyncIterator[Run]:
        """Give the runs that match, newest first, over all pages; none twice, whatever is recorded meanwhile."""
        return self._pages(view, filters)


def _write(
    path: str,
    body: Body,
    key: str | None,
    request_id: str | None,
    query: Mapping[str, str],
    headers: Mapping[str, str],
) -> Ask:
    named = {"X-Request-Id": request_id} if request_id else {}
    return Ask("POST", path, query, {**headers, **named, "Idempotency-Key": key or uuid4().hex}, body)


def _run(run_id: str) -> str:
    return f"/runs/{quote(run_id, safe='')}"


def _query(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that were given, as text."""
    return {name: _parameter(value) for name, value in given.items() if value is not None}


def _parameter(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
