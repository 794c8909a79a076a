"""Many runs in one request. Each line has a key of its own, and only what has no answer yet is sent again.

What is held at a time is one group of lines, so that any number of runs can go through.
"""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import uuid4

import aiohttp

from runlog_client.errors import RunlogClientError
from runlog_client.transport import RETRIED, Ask, Transport, lines_of, refusal
from runlog_client.types import BatchAnswer

PATH = "/runs/batch"
LINES_MAX = 1_000
BYTES_MAX = 8 << 20
HEADERS = {"Content-Type": "application/x-ndjson"}


async def grouped(
    runs: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
) -> AsyncIterator[Sequence[bytes]]:
    """Give *runs* as lines, in groups that fit a request and memory."""
    lines: list[bytes] = []
    size = 0
    async for run in _each(runs):
        keyed = {"idempotency_key": uuid4().hex, **run}
        line = json.dumps(keyed, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        if lines and (len(lines) == LINES_MAX or size + len(line) > BYTES_MAX):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield lines


async def answered(transport: Transport, lines: Sequence[bytes]) -> AsyncIterator[BatchAnswer]:
    """Send *lines* until each has an answer that counts, and give the answers in their order.

    Raises:
        Refused: the batch as a whole was refused.
        Unreachable: the rest was not answered in time; what was is given first.

    """
    answers: dict[int, BatchAnswer] = {}
    failed: RunlogClientError | None = None

    async def once() -> None:
        waiting = [i for i in range(len(lines)) if i not in answers or answers[i]["status"] in RETRIED]
        ask = Ask("POST", PATH, {}, HEADERS, b"".join([lines[i] for i in waiting]))
        places = iter(waiting)
        async with transport.sent(ask) as response:
            async for line in lines_of(response):
                if (place := next(places, None)) is not None:
                    answers[place] = json.loads(line)
        _check(answers, len(lines))

    try:
        await transport.tried(Ask("POST", PATH, {}, HEADERS), once)
    except RunlogClientError as error:
        failed = error
    for i in range(len(lines)):
        if i not in answers:
            assert failed is not None, "all lines are answered, or the last try failed"
            raise failed
        yield answers[i]


def _check(answers: Mapping[int, BatchAnswer], count: int) -> None:
    """Return if every line has an answer that will not change by waiting.

    Raises:
        Refused: one was not taken for now, which is as if the request had been refused so.
        ClientPayloadError: the answers ended early.

    """
    for answer in answers.values():
        if answer["status"] in RETRIED:
            facts = cast(Mapping[str, Any], answer)
            wait = {"Retry-After": str(facts["retry_after_s"])} if "retry_after_s" in facts else {}
            raise refusal(answer["status"], wait, json.dumps(answer).encode())
    if len(answers) < count:
        raise aiohttp.ClientPayloadError(f"{count - len(answers)} lines of the batch have no answer")


async def _each(
    runs: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
) -> AsyncIterator[Mapping[str, Any]]:
    if isinstance(runs, AsyncIterable):
        async for run in runs:
            yield run
    else:
        for run in runs:
            yield run
