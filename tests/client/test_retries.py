"""What goes wrong between a client and a server: tried again until it is answered, and never recorded twice."""

import asyncio
import contextlib
import ssl
import time
from collections import Counter

import aiohttp
import pytest
from aiohttp import web

from runlog_client import Refused, RunlogClient, Unreachable
from runlog_client.transport import is_broken_connection, refusal
from tests.client.conftest import Between, cut
from tests.server import Server, body, free_port, unique

PATIENT_S = 60.0


async def test_nothing_doubles_and_nothing_is_lost_when_the_server_is_killed_and_restarted(own_server: Server):
    label, port, each = unique("label"), own_server.port, 40
    done = 0

    async def produce(runs: RunlogClient, worker: int) -> list[str]:
        nonlocal done
        made = []
        for i in range(each):
            run = await runs.create(**body(meta={"n": f"{worker}-{i}"}, context={"batch_label": label}))
            await runs.attach(run["run_id"], f"advisory-{i}")
            made.append(run["run_id"])
            done += 1
        return made

    async with RunlogClient(f"http://127.0.0.1:{port}", retry_for_s=PATIENT_S) as runs:
        producing = asyncio.gather(*(produce(runs, worker) for worker in range(8)))
        for share in (0.2, 0.5, 0.8):
            while done < share * 8 * each and not producing.done():
                await asyncio.sleep(0.005)
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start, port)
        made = [run_id for ids in await producing for run_id in ids]
        there = [run async for run in runs.list(view="full", batch_label=label)]
    assert sorted(run["run_id"] for run in there) == sorted(made)
    assert Counter(run["meta"]["n"] for run in there) == {f"{w}-{i}": 1 for w in range(8) for i in range(each)}
    assert all(run["log"]["revision"] == 1 for run in there)


async def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(between: Between):
    lost: list[int] = []

    async def lose_first(request: web.Request, forward):
        answer = await forward()
        if not lost:
            lost.append(answer.status)
            return cut(request)
        return answer

    between.meddle = lose_first
    label = unique("label")
    async with RunlogClient(between.url) as runs:
        run = await runs.create(**body(context={"batch_label": label}))
        assert [item["run_id"] async for item in runs.list(batch_label=label)] == [run["run_id"]]
    keys = [key for path, key in between.seen if path.endswith("/runs") and key is not None]
    assert lost == [201]
    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.parametrize(("status", "code"), [(429, "RATE_LIMITED"), (503, "LOG_BUSY"), (507, "LOG_FULL")])
async def test_what_passes_is_waited_for_as_long_as_the_server_asks(between: Between, status: int, code: str):
    times: list[float] = []

    async def busy(_request: web.Request, forward):
        times.append(time.monotonic())
        if len(times) == 1:
            refused = {"error": code, "message": "not now"}
            return web.json_response(refused, status=status, headers={"Retry-After": "1"})
        return await forward()

    between.meddle = busy
    async with RunlogClient(between.url) as runs:
        await runs.create(**body())
    assert len(times) == 2
    assert times[1] - times[0] >= 1


async def test_a_file_is_sent_from_its_beginning_with_every_try(between: Between, server: Server, tmp_path):
    tries = 0

    async def lose_first(request: web.Request, forward):
        nonlocal tries
        if not request.path.endswith("/attachments"):
            return await forward()
        tries += 1
        answer = await forward()
        return cut(request) if tries == 1 else answer

    between.meddle = lose_first
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * 4096)
    async with RunlogClient(between.url) as runs:
        run = await runs.create(**body())
        attachment = await runs.upload(run["run_id"], path, kind="scan")
    assert tries == 2
    assert (attachment["filename"], attachment["size_bytes"]) == ("large.bin", 1 << 20)
    assert server.run(run["run_id"])["log"]["revision"] == 1


async def test_the_key_goes_out_with_every_request_and_never_to_where_a_redirect_points(between: Between):
    sent: list[str | None] = []
    there = {"Location": "http://127.0.0.1:9/"}

    async def elsewhere(request: web.Request, forward):
        sent.append(request.headers.get("Authorization"))
        return await forward() if len(sent) == 1 else web.Response(status=302, headers=there)

    between.meddle = elsewhere
    async with RunlogClient(between.url, "name.secret") as runs:
        await runs.create(**body())
        with pytest.raises(Refused, match="HTTP_302"):
            await runs.get("run_000000000000")
    assert sent == ["Bearer name.secret"] * 2


async def test_what_will_not_pass_is_told_at_once(between: Between):
    async with RunlogClient(between.url) as runs:
        with pytest.raises(Refused, match="RUN_NOT_FOUND"):
            await runs.explain("run_000000000000", "READY")
    assert len(between.seen) == 1


async def test_a_server_that_asks_for_more_time_than_there_is_is_not_asked_again(between: Between):
    async def closed(_request: web.Request, _forward):
        return web.Response(status=503, text="closed until tomorrow", headers={"Retry-After": "86400"})

    between.meddle = closed
    async with RunlogClient(between.url, retry_for_s=20) as runs:
        with pytest.raises(Refused, match=r"HTTP_503 \(503\): closed until tomorrow") as refused:
            await runs.create(**body())
    assert refused.value.retry_after_s == 86400
    assert [key for _, key in between.seen] == [refused.value.idempotency_key]


async def test_a_server_that_is_not_there_is_an_error_that_tells_the_key_to_go_on_with(own_server: Server):
    port, label = free_port(), unique("label")
    async with RunlogClient(f"http://127.0.0.1:{port}", retry_for_s=0.5) as runs:
        with pytest.raises(Unreachable, match="idempotency_key=") as gone:
            await runs.create(**body())
    with contextlib.suppress(Unreachable):
        async with RunlogClient(f"http://127.0.0.1:{port}", retry_for_s=0) as runs:
            await runs.get("run_000000000000")
            pytest.fail("nothing listens there")
    async with RunlogClient(f"http://127.0.0.1:{own_server.port}") as runs:
        for _ in range(2):
            sent = body(context={"batch_label": label})
            await runs.create(**sent, idempotency_key=gone.value.idempotency_key)
        assert len([item async for item in runs.list(batch_label=label)]) == 1


def test_a_retry_after_may_be_a_time_and_what_cannot_be_read_is_none():
    assert refusal(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"").retry_after_s == 0.0
    assert refusal(503, {"Retry-After": "7"}, b"").retry_after_s == 7.0
    assert refusal(503, {"Retry-After": "soon"}, b"[]").retry_after_s is None
    assert refusal(502, {}, b"<html>").code == "HTTP_502"


def test_a_certificate_that_is_wrong_is_not_tried_again():
    wrong = aiohttp.ClientConnectorCertificateError(None, ssl.SSLCertVerificationError())
    assert not is_broken_connection(wrong)
    assert is_broken_connection(aiohttp.ServerDisconnectedError())
