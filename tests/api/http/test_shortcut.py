"""The short way of a plain create: from outside, nobody can tell it from the whole way."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api.access.roles import Role
from api.access.store import add_key, revoke_key
from api.http.auth import ACCESS
from eventlog.logging import REQUEST_ID
from tests.api.http.inside import Answer, Inside, Ways, create, serving, watched, whole
from tests.server import ABSENT, BASE, TIME, body, fresh_id, unique

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning"),
]

OF_EACH = ("Date", "ETag", "Location", "X-Log-Position", "Content-Length")
PLAIN = create()
CHUNKED = create().replace(f"Content-Length: {len(json.dumps(body()))}".encode(), b"Transfer-Encoding: chunked")
GROWING = "[" + ",".join(["1e15"] * 3000) + "]"
"""Numbers that are written longer than they were sent."""


def of_size(size: int) -> bytes:
    """A valid body of so many bytes."""
    content = json.dumps(body()).encode()
    return content + b" " * (size - len(content))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def inside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inside]:
    async with serving(tmp_path_factory.mktemp("inside")) as server:
        yield server


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return watched(monkeypatch)


def shown(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """What two answers to one request have in common: all but whose they are, and when."""
    packed = answer.headers.get("Content-Encoding") == "gzip"
    told = json.loads(gzip.decompress(answer.content) if packed else answer.content)
    own = {answer.headers["X-Request-Id"]: "<id>"}
    if answer.status == 201:
        assert told["log"]["seq"] == int(answer.headers["X-Log-Position"])
        assert answer.headers["Location"] == f"{BASE}/runs/{told['run_id']}"
        assert answer.headers["ETag"].startswith("W/" if packed else '"')
        assert TIME.fullmatch(told["created_at_utc"])
        own[told["run_id"]] = "<run>"
        told |= {"log": sorted(told["log"]), "created_at_utc": None}
    headers = {name: "" if name in OF_EACH else own.get(value, value) for name, value in answer.headers.items()}
    text = json.dumps(told, sort_keys=True)
    for each, name in own.items():
        text = text.replace(each, name)
    return answer.status, headers, text


async def both(inside: Inside, ways: Ways, request: bytes) -> tuple[Answer, bool]:
    """Send *request* as it is and by the whole way, hold the answers equal; return the first, and whether it went short."""
    async with inside.client() as client:
        answer = await client.ask(request)
    is_short = ways.taken()
    async with inside.client() as client:
        other = await client.ask(whole(request))
    assert not ways.taken()
    assert shown(answer) == shown(other)
    return answer, is_short


PLAIN_ONES = {
    "plain": PLAIN,
    "every header": create(None, "X-Request-Id: one of ours", "User-Agent: x", "Accept: */*", "Connection: keep-alive"),
    "request id too long": create(None, "X-Request-Id: " + "x" * 129),
    "bytes that are no text": create(None, "X-Request-Id: \xff", "traceparent: \xff", "Authorization: Bearer a.\xff"),
    "traced": create(None, f"traceparent: 00-{'1' * 32}-{'2' * 16}-01"),
    "compressed": create(None, "Accept-Encoding: gzip", meta={"note": "x" * 2000}),
    "too short to compress": create(None, "Accept-Encoding: gzip"),
    "not to be compressed": create(None, "Accept-Encoding: gzip;q=0, br", meta={"note": "x" * 2000}),
    "grows": create(json.dumps(body(meta={"grows": "@"})).replace('"@"', GROWING).encode()),
    "charset": create(None, kind='application/json; charset="utf-8"'),
    "shortened": create(None, request_summary={"feasibility": {"a": 1}, "long": "x" * 9000}),
    "outputs": create(None, outputs={"gcode_text": "G0\n", "opplan_json": [1]}, toolpaths=[1], score=3, warnings=["w"]),
    "as large as may be": create(of_size(16_384)),
}


@pytest.mark.parametrize("name", PLAIN_ONES)
async def test_a_plain_create_goes_the_short_way_and_its_answer_does_not_show_it(inside: Inside, ways: Ways, name: str):
    answer, is_short = await both(inside, ways, PLAIN_ONES[name])
    assert (answer.status, is_short) == (201, True)


OTHERS = {
    "to be closed": (201, create(None, "Connection: close")),
    "HTTP/1.0": (201, PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "HTTP/1.0, kept": (201, create(None, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")),
    "chunked": (201, CHUNKED.replace(b"\r\n\r\n", b"\r\n\r\n%x\r\n" % len(of_size(0))) + b"\r\n0\r\n\r\n"),
    "asks first": (201, create(None, "Expect: 100-continue")),
    "too large": (201, create(of_size(16_385))),
    "same origin": (201, create(None, "Origin: http://localhost")),
    "path in other writing": (201, PLAIN.replace(b"/runs ", b"/%72uns ")),
    "a header twice": (201, create(None, "Accept: a/b", "Accept: */*")),
    "empty": (400, create(b"")),
    "no body": (400, create(b"").replace(b"Content-Length: 0\r\n", b"")),
    "no JSON": (400, create(b"{")),
    "no text": (400, create(b"\xff")),
    "foreign host": (403, PLAIN.replace(b"localhost", b"alien.example")),
    "foreign origin": (403, create(None, "Origin: https://alien.example")),
    "PUT": (405, PLAIN.replace(b"POST", b"PUT", 1)),
    "no type": (415, create(None, kind=None)),
    "wrong type": (415, create(None, kind="text/plain")),
    "wrong charset": (415, create(None, kind="application/json; charset=latin-1")),
    "compressed body": (415, create(None, "Content-Encoding: gzip")),
    "query": (422, PLAIN.replace(b"/runs ", b"/runs?surprise=1 ")),
    "no object": (422, create(b"[]")),
    "doubled field": (422, create(b'{"mode": "a", "mode": "b"}')),
    "NaN": (422, create(b'{"score": NaN}')),
    "many faults": (422, create(None, mode=" ", tool_id=ABSENT, status="?", score=True, hashes={"more": 1}, more=1)),
    "wrong hash": (422, create(None, hashes={"feasibility_sha256": "0" * 64})),
    "long key and a fault": (422, create(None, "Idempotency-Key: " + "x" * 256, mode=1)),
    "empty key": (422, create(None, "Idempotency-Key: ")),
    "two keys": (422, create(None, "Idempotency-Key: one", "idempotency-key: two")),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_any_other_request_is_answered_as_ever(inside: Inside, ways: Ways, name: str):
    status, request = OTHERS[name]
    answer, is_short = await both(inside, ways, request)
    assert (answer.status, is_short) == (status, False)


async def test_a_create_under_an_id_that_is_taken_is_refused_alike_also_if_that_run_was_withdrawn(
    inside: Inside, ways: Ways
):
    run_id = fresh_id()
    async with inside.client() as client:
        assert (await client.ask(create(run_id=run_id))).json["run_id"] == run_id
        assert ways.taken()
        first, is_short = await both(inside, ways, create(run_id=run_id))
        withdraw = create(b'{"reason": "recorded twice"}').replace(
            b"/runs ", f"/admin/runs/{run_id}/withdraw ".encode()
        )
        assert (await client.ask(withdraw)).status == 200
    second, is_short_too = await both(inside, ways, create(run_id=run_id))
    assert (first.status, second.status) == (409, 409)
    assert not is_short
    assert not is_short_too


async def test_the_first_use_of_a_key_goes_the_short_way_and_what_it_recorded_is_the_answer_to_every_other(
    inside: Inside, ways: Ways
):
    key = f"Idempotency-Key: {unique()}"
    async with inside.client() as client:
        first = await client.ask(create(None, key))
    assert ways.taken()
    again, is_short = await both(inside, ways, create(None, key))
    assert not is_short
    assert (again.status, again.content, again.headers["Idempotency-Replayed"]) == (201, first.content, "true")
    other, is_short = await both(inside, ways, create(None, key, mode="other"))
    assert not is_short
    assert (other.status, other.json["error"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_what_one_way_recorded_under_a_key_the_other_knows_for_the_same_request(inside: Inside, ways: Ways):
    request = create(None, f"Idempotency-Key: {unique()}")
    async with inside.client() as client:
        first = await client.ask(whole(request))
        again = await client.ask(request)
    assert (again.status, again.content) == (201, first.content)


async def test_a_create_by_the_short_way_is_counted_logged_and_recorded_as_any_other(
    inside: Inside, ways: Ways, monkeypatch: pytest.MonkeyPatch
):
    lines: list[Any] = []

    class Logger:
        def info(self, event: str, **facts: Any) -> None:
            lines.append((event, sorted(facts), facts["run_id"], REQUEST_ID.get()))

    monkeypatch.setattr("api.service.logger", Logger())
    series = f'runlog_http_requests_total{{method="POST",route="{BASE}/runs",status="201"}}'
    before = await inside.metric(series)
    traced = f"traceparent: 00-{'1' * 32}-{'2' * 16}-01"
    events = []
    async with inside.client() as client:
        plain = create(None, "X-Request-Id: mine", traced)
        ways.taken()
        for request, is_short in ((plain, True), (whole(plain), False)):
            answer = await client.ask(request)
            assert ways.taken() == is_short
            recorded = inside.service.log.read(answer.json["log"]["seq"])
            assert recorded is not None
            event = json.loads(recorded.bytes)
            del event["id"], event["time"], event["subject"]
            del event["data"]["run"]["run_id"], event["data"]["run"]["created_at_utc"]
            events.append(event)
            assert lines.pop() == (
                "run.created",
                ["risk_level", "run_id", "seq", "status"],
                answer.json["run_id"],
                "mine",
            )
    assert events[0] == events[1]
    assert events[0]["data"]["run"]["meta"] == {"request_id": "mine"}
    assert await inside.metric(series) == before + 2


@pytest.mark.parametrize(
    ("who", "status", "is_short"), [("producer", 201, True), ("operator", 201, True), ("auditor", 403, False)]
)
async def test_a_key_lets_in_alike(tmp_path: Path, ways: Ways, who: str, status: int, is_short: bool):
    token = add_key(tmp_path / "data", who, Role(who))
    async with serving(tmp_path) as inside:
        answer, went_short = await both(inside, ways, create(None, f"Authorization: Bearer {token}"))
        assert (answer.status, went_short) == (status, is_short)
        for nobody in (PLAIN, create(None, f"Authorization: Bearer {who}.x"), create(None, f"Authorization: {token}")):
            answer, went_short = await both(inside, ways, nobody)
            assert (answer.status, went_short) == (401, False)


async def test_a_key_that_was_revoked_lets_nobody_in_any_more_not_even_in_the_turn_that_saw_it_good(
    tmp_path: Path, ways: Ways
):
    """An event loop may read a request in the turn in which an earlier one was answered: uvloop does."""
    token = add_key(tmp_path / "data", "p", Role.PRODUCER)
    add_key(tmp_path / "data", "other", Role.PRODUCER)
    request = create(None, f"Authorization: Bearer {token}")
    async with serving(tmp_path) as inside, inside.client() as client:
        assert (await client.ask(request)).status == 201
        assert ways.taken()
        inside.runner.app[ACCESS].keys.of_this_turn()
        revoke_key(tmp_path / "data", "p")
        inside.connection.data_received(request)
        assert (await client.answer()).status == 401
        assert (await client.ask(request)).status == 401


@pytest.mark.parametrize("settings", [{"cors_origin": ("https://rmos.example",)}, {"rate_limit_per_second": 9.0}])
async def test_where_every_answer_has_more_to_it_there_is_no_short_way(
    tmp_path: Path, ways: Ways, settings: dict[str, Any]
):
    async with serving(tmp_path, **settings) as inside:
        answer, is_short = await both(inside, ways, PLAIN)
    assert (answer.status, is_short) == (201, False)
