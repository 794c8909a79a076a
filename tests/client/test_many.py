"""Batches and streams: many runs in, all events out, over connections that break."""

import asyncio
import itertools
import json
import time
from typing import Any

import pytest
from aiohttp import web

from runlog_client import Refused, RunlogClient, Unreachable
from runlog_client.sse import Block, Reader
from tests.client.conftest import Between, cut
from tests.server import Server, body, unique

PATIENT_S = 60.0


def blocks(text: str) -> list[Block]:
    reader = Reader()
    return [block for line in text.split("\n")[:-1] if (block := reader.take(line)) is not None]


def test_a_stream_is_read_as_its_standard_says():
    assert blocks("id: 7\nevent: a\ndata: x\ndata:y\ndata\n\n: heartbeat\n\ndata: z\n\n") == [
        Block("7", "a", "x\ny\n"),
        Block("7", "message", ""),
        Block("7", "message", "z"),
    ]
    assert blocks("id: 8\nretry: 5\nnonsense\n\nid: 9\0\n\nid\n\ndata: cut off") == [
        Block("8", "message", ""),
        Block("8", "message", ""),
        Block("", "message", ""),
    ]


async def test_each_run_of_a_batch_has_its_answer_in_its_order(runs: RunlogClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runlog_client.batches.LINES_MAX", 40)
    lines = [body(meta={"n": n}) if n % 10 else body(score=101) for n in range(100)]
    answers = [answer async for answer in runs.batch(lines)]
    assert [answer["status"] for answer in answers] == [201 if n % 10 else 422 for n in range(100)]
    assert answers[0]["error"] == "VALIDATION_ERROR"
    assert answers[0]["errors"][0]["path"] == "$.score"
    for n in (1, 39, 41, 99):
        run = await runs.get(answers[n]["run_id"])
        assert (run["meta"], run["log"]["seq"]) == ({"n": n}, answers[n]["seq"])


async def test_a_batch_takes_what_comes_as_it_comes(runs: RunlogClient):
    async def producing() -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
            yield body()

    assert [answer["status"] async for answer in runs.batch(producing())] == [201] * 3
    assert [answer async for answer in runs.batch([])] == []


async def test_a_batch_that_breaks_off_is_sent_again_and_nothing_doubles(between: Between):
    label, tries = unique("label"), itertools.count()

    async def lose_first(request, forward):
        answer = await forward()
        return cut(request) if request.path.endswith("/batch") and next(tries) == 0 else answer

    between.meddle = lose_first
    async with RunlogClient(between.url) as runs:
        answers = [a async for a in runs.batch(body(context={"batch_label": label}) for _ in range(30))]
        there = {item["run_id"] async for item in runs.list(batch_label=label)}
    assert next(tries) == 2
    assert [answer.get("replayed") for answer in answers] == [True] * 30
    assert {answer["run_id"] for answer in answers} == there
    assert len(there) == 30


async def test_a_batch_goes_on_under_a_server_that_is_killed_and_restarted(own_server: Server):
    label, port, count = unique("label"), own_server.port, 3_000
    done = 0
    async with RunlogClient(f"http://127.0.0.1:{port}", retry_for_s=PATIENT_S) as runs:

        async def recording() -> None:
            nonlocal done
            async for answer in runs.batch(body(meta={"n": n}, context={"batch_label": label}) for n in range(count)):
                assert answer["status"] == 201, answer
                done += 1

        task = asyncio.create_task(recording())
        while done < count / 4 and not task.done():
            await asyncio.sleep(0.002)
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start, port)
        await task
        seen = sorted([run["meta"]["n"] async for run in runs.list(view="full", batch_label=label)])
    assert seen == list(range(count))


async def test_lines_that_were_not_taken_for_now_are_sent_again_and_only_they(between: Between):
    sent: list[int] = []

    async def half_busy(request, forward):
        lines = (await request.read()).splitlines()
        sent.append(len(lines))
        if len(sent) > 1:
            return await forward()
        refused = {"status": 422, "error": "VALIDATION_ERROR", "message": "m", "errors": []}
        busy = {"status": 503, "error": "LOG_BUSY", "message": "m", "retry_after_s": 1}
        text = "".join(json.dumps(refused if n < 2 else busy) + "\n" for n in range(len(lines)))
        return web.Response(text=text, content_type="application/x-ndjson")

    between.meddle = half_busy
    async with RunlogClient(between.url) as runs:
        answers = [answer async for answer in runs.batch(body() for _ in range(5))]
    assert sent == [5, 3]
    assert [answer["status"] for answer in answers] == [422, 422, 201, 201, 201]


async def test_a_batch_that_nobody_takes_tells_so(between: Between):
    async with RunlogClient(between.url + "/nowhere", retry_for_s=0) as runs:
        with pytest.raises(Refused, match="NOT_FOUND"):
            [answer async for answer in runs.batch([body()])]
    between.meddle = lambda request, _forward: asyncio.sleep(0, cut(request))
    async with RunlogClient(between.url, retry_for_s=0.3) as runs:
        with pytest.raises(Unreachable):
            [answer async for answer in runs.batch([body()])]


async def first(count: int, events: Any) -> list[Any]:
    """The first *count* of what comes, however long it takes."""
    found: list[Any] = []
    async with asyncio.timeout(60):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_events_come_from_the_past_and_then_as_they_happen(runs: RunlogClient):
    run = await runs.create(**body())
    events = runs.events(run_id=run["run_id"])
    (created,) = await first(1, events)
    assert (created["seq"], created["hash"]) == (run["log"]["seq"], run["log"]["event_sha256"])
    live = asyncio.create_task(first(2, runs.events(after=run["log"]["seq"], run_id=run["run_id"])))
    await runs.attach(run["run_id"], "a")
    await runs.explain(run["run_id"], "READY")
    assert [one["event"]["type"] for one in await live] == ["rmos.advisory.attached.v1", "rmos.explanation.set.v1"]


async def test_a_listener_misses_nothing_and_hears_nothing_twice_when_the_server_is_killed_or_stopped(
    own_server: Server,
):
    port, count = own_server.port, 60
    async with RunlogClient(f"http://127.0.0.1:{port}", retry_for_s=PATIENT_S) as runs:
        listening = asyncio.create_task(first(count, runs.events()))
        for n in range(count):
            await runs.create(**body(meta={"n": n}))
            if n in (20, 40):
                await asyncio.to_thread(own_server.kill if n == 20 else own_server.stop)
                await asyncio.to_thread(own_server.start, port)
        heard = await listening
    assert [one["seq"] for one in heard] == list(range(count))
    assert [one["event"]["data"]["run"]["meta"]["n"] for one in heard] == list(range(count))


async def test_a_stream_that_ends_for_good_is_an_error_and_one_that_broke_goes_on_where_it_was(between: Between):
    asked: list[tuple[str | None, str | None]] = []
    parts = [
        'id: 6\n\nid: 7\ndata: {"seq": 7, "hash": "", "event": {}}\n\nid: 8\ndata: {"seq": 8, "ha',
        'event: end\ndata: {"reason": "slow", "after": 9}\n\n',
        'event: end\ndata: {"reason": "LOG_CORRUPT", "after": 9}\n\n',
    ]

    async def stream(request, _forward):
        asked.append((request.query.get("after"), request.headers.get("Last-Event-ID")))
        return web.Response(text=parts[len(asked) - 1], content_type="text/event-stream")

    between.meddle = stream
    async with RunlogClient(between.url) as runs:
        events = runs.events(after="latest")
        assert (await anext(events))["seq"] == 7
        with pytest.raises(Refused, match="LOG_CORRUPT"):
            await anext(events)
    assert asked == [("latest", None), ("latest", "7"), ("latest", "9")]


async def test_a_stream_that_says_nothing_is_opened_again_after_a_pause(between: Between):
    asked: list[float] = []

    async def stream(_request, _forward):
        asked.append(time.monotonic())
        text = "" if len(asked) == 1 else 'id: 1\ndata: {"seq": 1}\n\n'
        return web.Response(text=text, content_type="text/event-stream")

    between.meddle = stream
    async with RunlogClient(between.url) as runs:
        assert (await anext(runs.events()))["seq"] == 1
    assert asked[1] - asked[0] >= 1


async def test_a_stream_that_is_refused_is_an_error(runs: RunlogClient):
    with pytest.raises(Refused, match="VALIDATION_ERROR"):
        await first(1, runs.events(run_id="nope", after=-5))
