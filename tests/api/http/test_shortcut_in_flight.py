"""While a create of the short way waits for the disk: nothing is lost, doubled or answered out of its turn."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest
from aiohttp.streams import StreamReader

from eventlog.errors import LogFull
from tests.api.http.inside import HEALTH, Inside, SlowDisk, Ways, create, serving, until, watched, whole
from tests.server import fresh_id, unique

pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return watched(monkeypatch)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


def named(name: str, **changes: Any) -> bytes:
    return create(None, f"X-Request-Id: {name}", **changes)


def is_held(inside: Inside) -> bool:
    """Tell whether the server reads no more of its one client."""
    transport = inside.connection.transport
    return isinstance(transport, asyncio.Transport) and not transport.is_reading()


async def test_requests_that_come_in_one_piece_are_answered_in_their_order(tmp_path: Path):
    async with serving(tmp_path) as inside, inside.client() as client:
        client.send(b"".join(named(f"n{number}") for number in range(40)) + HEALTH + named("last"))
        answers = [await client.answer() for _ in range(42)]
    assert [answer.status for answer in answers] == [201] * 40 + [200, 201]
    creates = [*answers[:40], answers[41]]
    assert [answer.headers["X-Request-Id"] for answer in creates] == [*(f"n{number}" for number in range(40)), "last"]
    assert [answer.json["log"]["seq"] for answer in creates] == list(range(41))


@pytest.mark.parametrize("cut", [0, 1, 60])
async def test_what_comes_while_a_create_waits_is_answered_after_it(
    tmp_path: Path, ways: Ways, disk: SlowDisk, cut: int
):
    """Also if half of a request came with the first one, or while that waited, and the other half later."""
    second = named("second")
    async with serving(tmp_path) as inside, inside.client() as client:
        disk.hold()
        client.send(named("first") + second[:cut])
        await until(lambda: ways.begun == [True])
        client.send(second[cut:] + HEALTH + named("third")[:50])
        await until(lambda: is_held(inside))
        assert len(ways.begun) == 1
        disk.let_go()
        answers = [await client.answer() for _ in range(3)]
        client.send(named("third")[50:])
        answers.append(await client.answer())
        answers.append(await client.ask(HEALTH))
    assert [answer.status for answer in answers] == [201, 201, 200, 201, 200]
    assert [answer.headers["X-Request-Id"] for answer in answers if answer.status == 201] == [
        "first",
        "second",
        "third",
    ]
    assert inside.service.log.head == 2


async def test_a_create_behind_another_goes_the_short_way_too_and_the_client_is_read_on(
    tmp_path: Path, ways: Ways, disk: SlowDisk
):
    async with serving(tmp_path) as inside, inside.client() as client:
        disk.hold()
        client.send(named("first"))
        await until(lambda: ways.begun == [True])
        client.send(named("second"))
        await until(lambda: is_held(inside))
        disk.let_go()
        answers = [await client.answer(), await client.answer(), await client.ask(named("third"))]
        assert [answer.headers["X-Request-Id"] for answer in answers] == ["first", "second", "third"]
        assert ways.begun == ways.answered == [True, True, True]
        disk.hold()
        client.send(named("fourth"))
        await until(lambda: len(ways.begun) == 4)
        client.send(HEALTH[:20])
        await until(lambda: is_held(inside))
        disk.let_go()
        assert (await client.answer()).headers["X-Request-Id"] == "fourth"
        assert (await client.ask(HEALTH[20:])).status == 200


async def test_of_two_creates_of_one_id_in_flight_one_is_refused_as_on_the_whole_way(
    tmp_path: Path, ways: Ways, disk: SlowDisk
):
    request = named("same", run_id=fresh_id())
    async with serving(tmp_path) as inside, inside.client() as one, inside.client() as two:
        disk.hold()
        one.send(request)
        await until(lambda: ways.begun == [True])
        two.send(request)
        await until(lambda: ways.begun == [True, True])
        two.send(named("after"))
        disk.let_go()
        first, second, after = await one.answer(), await two.answer(), await two.answer()
        assert (first.status, second.status, after.status) == (201, 409, 201)
        assert ways.answered[:2] == [True, False]
        by_the_whole_way = await one.ask(whole(request))
    assert second.json == by_the_whole_way.json
    assert (second.headers | {"Date": ""}) == (by_the_whole_way.headers | {"Date": ""})
    assert inside.service.log.head == 1


async def test_of_creates_with_one_key_in_flight_one_is_recorded_and_the_others_are_told_of_it(
    tmp_path: Path, ways: Ways, disk: SlowDisk
):
    key = f"Idempotency-Key: {unique()}"
    requests = [create(None, key), create(None, key), create(None, key, mode="other")]
    async with serving(tmp_path) as inside, inside.client() as one, inside.client() as two, inside.client() as three:
        disk.hold()
        for number, (client, request) in enumerate(zip((one, two, three), requests, strict=True), 1):
            client.send(request)
            await until(lambda number=number: ways.begun == [True] * number)
        disk.let_go()
        first, again, other = [await client.answer() for client in (one, two, three)]
    assert (first.status, again.status, other.status) == (201, 201, 422)
    assert "Idempotency-Replayed" not in first.headers
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert other.json["error"] == "IDEMPOTENCY_KEY_REUSED"
    assert inside.service.log.head == 0


@pytest.mark.parametrize(
    ("failure", "statuses"),
    [(LogFull(), [507, 201]), (OSError(errno.EIO, "a secret of the disk"), [503, 503])],
    ids=["full for a moment", "broken"],
)
async def test_what_the_disk_did_not_take_is_answered_by_the_whole_way(
    tmp_path: Path, ways: Ways, disk: SlowDisk, failure: Exception, statuses: list[int]
):
    async with serving(tmp_path) as inside, inside.client() as client:
        disk.failure = failure
        client.send(named("first"))
        answers = [await client.answer(), await client.ask(named("second"))]
        assert ways.answered[:1] == [False]
    assert [(answer.status, answer.headers["X-Request-Id"]) for answer in answers] == list(
        zip(statuses, ("first", "second"), strict=True)
    )
    assert all(b"secret" not in answer.content for answer in answers)
    assert inside.service.log.head == statuses.count(201) - 1


async def test_a_refusal_that_nobody_was_told_of_is_not_told_to_the_next_request(tmp_path: Path):
    """As when the key of the refused one was revoked meanwhile: then it is refused for that."""
    async with serving(tmp_path) as inside, inside.client() as client:
        assert (await client.ask(named("first"))).status == 201
        inside.connection.refusal = (StreamReader(inside.connection, 1), LogFull())
        assert (await client.ask(whole(named("second")))).status == 201


async def test_what_cannot_be_told_of_although_it_is_durable_is_no_silence_and_does_not_start_anew(
    tmp_path: Path, ways: Ways, monkeypatch: pytest.MonkeyPatch
):
    """As on a terminal that is gone: the line that tells of the run cannot be written."""

    class Broken:
        def info(self, *_: Any, **__: Any) -> None:
            raise OSError(errno.EIO, "no terminal")

    monkeypatch.setattr("api.service.logger", Broken())
    async with serving(tmp_path) as inside, inside.client() as client:
        client.send(create())
        assert b" 201 " not in await client.rest()
        assert ways.begun == [True]
    assert inside.service.log.head == 0


@pytest.mark.parametrize("more", [b"", named("dropped"), HEALTH[:20]], ids=["alone", "with another", "with a half"])
async def test_a_server_that_ends_answers_first_and_at_once(tmp_path: Path, ways: Ways, disk: SlowDisk, more: bytes):
    """Not after its shutdown timeout, which is longer than this test waits."""
    async with serving(tmp_path) as inside, inside.client() as client, inside.client():
        disk.hold()
        client.send(named("first"))
        await until(lambda: ways.begun == [True])
        client.send(more)
        ending = asyncio.create_task(inside.runner.cleanup())
        await until(lambda: not inside.runner.sites)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not ending.done()
        disk.let_go()
        answer = await client.answer()
        assert await client.rest() == b""
        async with asyncio.timeout(20):
            await ending
    assert (answer.status, answer.headers["X-Request-Id"]) == (201, "first")
    assert inside.service.log.head == 0


async def test_a_server_that_ends_also_tells_of_a_refusal(tmp_path: Path, ways: Ways, disk: SlowDisk):
    request = named("same", run_id=fresh_id())
    async with serving(tmp_path) as inside, inside.client() as one, inside.client() as two:
        disk.hold()
        one.send(request)
        await until(lambda: ways.begun == [True])
        two.send(request)
        await until(lambda: ways.begun == [True, True])
        ending = asyncio.create_task(inside.runner.cleanup())
        await until(lambda: not inside.runner.sites)
        disk.let_go()
        answers = [await client.answer() for client in (one, two)]
        async with asyncio.timeout(20):
            await ending
    assert [answer.status for answer in answers] == [201, 409]


async def test_a_client_that_leaves_takes_nothing_back_and_holds_nobody_up(tmp_path: Path, ways: Ways, disk: SlowDisk):
    async with serving(tmp_path) as inside:
        async with inside.client() as client:
            disk.hold()
            client.send(create())
            await until(lambda: ways.begun == [True])
            connection = inside.connection
            client.writer.transport.abort()
            await until(lambda: not connection.connected)
        disk.let_go()
        await until(lambda: ways.answered == [True])
        async with inside.client() as client:
            assert (await client.ask(create())).json["log"]["seq"] == 1
        await until(lambda: connection not in inside.runner.server.connections)  # type: ignore[union-attr]


async def test_a_connection_is_not_idle_while_its_create_is_in_flight(tmp_path: Path, ways: Ways, disk: SlowDisk):
    """Neither its keep-alive timer nor a newcomer ends it."""
    async with serving(tmp_path, connections_max=1) as inside, inside.client() as client:
        disk.hold()
        client.send(create())
        await until(lambda: ways.begun == [True])
        connection = inside.connection
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        assert connection.connected
        async with inside.client() as newcomer:
            assert await newcomer.rest() == b""
        disk.let_go()
        assert (await client.answer()).status == 201
        assert (await client.ask(create())).status == 201
        assert connection.is_idle
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        assert await client.rest() == b""


async def test_a_client_that_does_not_read_gets_no_more_worked_on_for_it(tmp_path: Path, ways: Ways):
    """Its next answer takes aiohttp's way, which waits until it reads."""
    async with serving(tmp_path) as inside, inside.client() as client:
        assert (await client.ask(create())).status == 201
        inside.connection.pause_writing()
        assert ways.taken()
        client.send(named("one"))
        await until(lambda: inside.service.log.head == 1)
        client.send(named("two"))
        assert (await client.answer()).headers["X-Request-Id"] == "one"  # the operating system takes it all the same
        assert inside.service.log.head == 1
        inside.connection.resume_writing()
        assert (await client.answer()).headers["X-Request-Id"] == "two"
        assert ways.begun == [] or ways.taken()
        assert (await client.ask(create())).status == 201
