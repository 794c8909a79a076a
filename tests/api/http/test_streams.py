"""Streams and their clients: heartbeats, events that others can read, and clients that do not read or are cut off."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import from_json

from tests.commands import events_in
from tests.server import BASE, Answer, Server, body, running, until

NDJSON = {"Content-Type": "application/x-ndjson"}
LINES = 15_000
HEAD = f"POST {BASE}/runs/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that loses patience quickly."""
    folder: Path = tmp_path_factory.mktemp("quick")
    (folder / "data").mkdir()
    (folder / "data" / "runlog.toml").write_text("heartbeat_interval_s = 0.05\nidle_timeout_s = 2\n")
    with running(Server(folder)) as server:
        yield server


@contextlib.contextmanager
def stream(server: Server, query: str) -> Iterator[Iterator[str]]:
    """The blocks of a stream of events."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        ask = f"GET {BASE}/events{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        connection.sendall(ask.encode())
        with connection.makefile("rb") as file:
            yield _blocks(file)


def _blocks(file: Any) -> Iterator[str]:
    while file.readline() != b"\r\n":
        pass
    text = b""
    while size := int(file.readline() or b"0", 16):
        text += file.read(size)
        file.readline()
        *whole, text = text.split(b"\n\n")
        yield from (one.decode() for one in whole)


def test_a_stream_opens_with_a_comment_and_has_one_whenever_nothing_else_comes(quick: Server) -> None:
    with stream(quick, "?after=latest") as blocks:
        opening = next(blocks)
        heartbeats = [next(blocks) for _ in range(3)]
        run_id = quick.create()["run_id"]
        message = next(one for one in blocks if not one.startswith(":"))
    assert opening.startswith(":")
    assert all(one.startswith(":") for one in heartbeats)
    assert opening not in heartbeats
    assert f'"subject":"{run_id}"' in message


def test_a_kept_connection_may_be_silent_for_longer_than_a_request_may(quick: Server) -> None:
    """What its next answer is must not be the 408 of a request that it never began."""
    with (
        socket.create_connection(("127.0.0.1", quick.port), timeout=60) as kept,
        socket.create_connection(("127.0.0.1", quick.port), timeout=60) as halved,
    ):
        content = json.dumps(body()).encode()
        head = f"POST {BASE}/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        kept.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        assert kept.recv(12) == b"HTTP/1.1 201"
        halved.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert halved.recv(12) == b"HTTP/1.1 408"  # so longer than that has passed
        kept.setblocking(False)
        received = b""
        with contextlib.suppress(BlockingIOError):
            while piece := kept.recv(1 << 16):
                received += piece
        assert b" 408 " not in received
        kept.setblocking(True)
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.recv(12) == b"HTTP/1.1 200"


def test_every_event_is_a_cloud_event_to_the_library_of_its_standard(quick: Server) -> None:
    run_id = quick.create()["run_id"]
    headers = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "X-Request-Id": "of-a-test", "Idempotency-Key": "key-1"}
    assert quick.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "é"}, headers).status == 200
    assert quick.post(f"/runs/{run_id}/explanation", {"status": "READY"}).status == 200
    assert quick.upload(run_id, b"G0\n", kind="gcode").status == 201
    assert quick.post(f"/admin/runs/{run_id}/withdraw", {"reason": "recorded twice"}).status == 200
    rows = quick.get("/events", query={"run_id": run_id}).body.splitlines()
    with stream(quick, f"?run_id={run_id}&limit=5") as blocks:
        messages = [one for one in blocks if one.startswith("id: ")]
    assert [one.partition("\ndata: ")[2].encode() for one in messages] == rows
    assert len(rows) == 5
    for row in rows:
        sent = row.partition(b',"event":')[2][:-1]
        event, old = JSONFormat().read(CloudEvent, sent), from_json(sent)
        told = json.loads(sent)
        assert (event.get_id(), event.get_type(), event.get_subject()) == (told["id"], told["type"], run_id)
        assert event.get_data() == old.data == told["data"]
        assert dict(old.get_attributes()) == {name: value for name, value in told.items() if name != "data"}
        assert all(name.isalnum() and name.islower() for name in told)


def test_a_client_of_a_batch_that_reads_nothing_is_cut_off_and_holds_nobody_up(quick: Server) -> None:
    """More answers than the sockets hold; what it sent is judged all the same, and memory stays bounded."""
    quick.create()
    before = resident_kib(quick)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(("127.0.0.1", quick.port))
        content = b"{}\n" * LINES
        slow.sendall(f"{HEAD}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        assert quick.create()["status"] == "OK"
        assert quick.request("POST", f"{BASE}/runs/batch", json.dumps(body()).encode(), NDJSON).status == 200
        until(lambda: "batch.too_slow" in quick.output(), "the one that does not read is cut off", 60)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := slow.recv(1 << 16):
                received += piece
    assert received.count(b'"status":422') < LINES
    assert resident_kib(quick) - before < 100_000


def resident_kib(server: Server) -> int:
    text = Path(f"/proc/{server.pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


def test_a_batch_that_a_kill_cuts_short_is_sent_again_under_its_keys_and_nothing_doubles(own_server: Server) -> None:
    lines = [json.dumps(body(idempotency_key=f"line-{number}", meta={"n": number})).encode() for number in range(2000)]
    first = acknowledged_before_the_kill(own_server, b"\n".join(lines) + b"\n")
    own_server.start()
    again = answers(own_server.request("POST", f"{BASE}/runs/batch", b"\n".join(lines), NDJSON))
    assert [one["status"] for one in again] == [201] * len(lines)
    for told, then in zip(first, again, strict=False):
        assert then == {**told, "replayed": True}
    own_server.stop()
    recorded = events_in(own_server.data_dir)
    assert sorted(one["data"]["run"]["meta"]["n"] for one in recorded) == list(range(len(lines)))
    assert {one["subject"] for one in recorded} == {one["run_id"] for one in again}


def acknowledged_before_the_kill(server: Server, content: bytes) -> list[dict[str, Any]]:
    """Send a batch of which the end does not come, kill the server under it, and return what it had answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        sending = threading.Thread(target=_send, args=(connection, content))
        sending.start()
        received = b""
        while received.count(b'"run_id"') < 300:
            received += connection.recv(1 << 16)
        server.kill()
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                received += piece
        sending.join(30)
    whole = [line for line in received.split(b"\n") if line.startswith(b'{"status"') and line.endswith(b"}")]
    return [json.loads(line) for line in whole]


def _send(connection: socket.socket, content: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        connection.sendall(f"{HEAD}Content-Length: {len(content) + 1}\r\n\r\n".encode())
        connection.sendall(content)


def answers(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]
