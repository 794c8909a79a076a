"""GET /events: pages of the log, and the log as it grows; every event once, in order, whoever listens."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.server import BASE, NOBODY, Server, body, digest, faults, refused, until

STREAM = {"Accept": "text/event-stream"}
CHANGING = ("Date", "X-Request-Id", "Transfer-Encoding")
"""What two answers, or one without its body, need not have alike."""


def page(server: Server, **query: Any) -> list[dict[str, Any]]:
    answer = server.get("/events", query=query)
    assert answer.status == 200, answer.body
    assert answer.headers.get_content_type() == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


class Listener:
    """One client of the stream, reading messages one at a time."""

    def __init__(self, connection: socket.socket, query: str, headers: dict[str, str]) -> None:
        lines = [f"GET {BASE}/events{query} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (STREAM | headers).items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = connection.makefile("rb")
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.file.readline()
        assert self.head.startswith(b"HTTP/1.1 200"), self.head
        self.text = b""

    def message(self) -> dict[str, str]:
        """Return the next message's fields; comments are passed over."""
        while True:
            while b"\n\n" not in self.text:
                self.text += self._chunk()
            one, _, self.text = self.text.partition(b"\n\n")
            if not one.startswith(b":"):
                return dict(line.split(": ", 1) for line in one.decode().split("\n"))

    def seqs(self, count: int) -> list[int]:
        return [int(self.message()["id"]) for _ in range(count)]

    def _chunk(self) -> bytes:
        size = int(self.file.readline() or b"0", 16)
        if not size:
            raise EOFError
        content = self.file.read(size)
        self.file.readline()
        return content


@contextmanager
def listening(server: Server, query: str = "", **headers: str) -> Iterator[Listener]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        listener = Listener(connection, query, named)
        with listener.file:
            yield listener


def several(server: Server, count: int) -> int:
    """Create runs; return the seq of the last."""
    lines = b"\n".join([json.dumps(body()).encode()] * count)
    answer = server.request("POST", f"{BASE}/runs/batch", lines, {"Content-Type": "application/x-ndjson"})
    return int(json.loads(answer.body.splitlines()[-1])["seq"])


def test_a_page_holds_the_events_as_they_stand_in_the_log(server: Server) -> None:
    run = server.create()
    server.post(f"/runs/{run['run_id']}/explanation", {"status": "PENDING"})
    own = server.get(f"/runs/{run['run_id']}/events").json["events"]
    lines = server.get("/events", query={"run_id": run["run_id"]}).body.splitlines()
    assert [json.loads(line) for line in lines] == own
    for line in lines:
        event = line[line.index(b'"event":') + 8 : -1]
        assert digest(event) == json.loads(line)["hash"]
        told = json.loads(event)
        assert (told["specversion"], told["subject"]) == ("1.0", run["run_id"])


def test_pages_follow_each_other_without_a_gap_to_the_head(server: Server) -> None:
    last = several(server, 30)
    everything = page(server)
    assert [one["seq"] for one in everything] == list(range(last + 1))
    assert page(server, after=-1) == everything
    assert [one["seq"] for one in page(server, after=last - 3)] == [last - 2, last - 1, last]
    assert page(server, after=last) == page(server, after=last + 1000) == page(server, after="latest") == []
    found, query = [], {"limit": ["7"]}
    while query:
        answer = server.request("GET", f"{BASE}/events?{'&'.join(f'{k}={v[0]}' for k, v in query.items())}")
        found += [json.loads(line)["seq"] for line in answer.body.splitlines()]
        link = answer.headers["Link"]
        query = parse_qs(urlsplit(link[1 : link.index(">")]).query) if link else {}
    assert found == list(range(last + 1))


def test_a_limit_is_clamped_and_filters_count_what_matches(server: Server) -> None:
    run = server.create()
    server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": "a"})
    server.create()
    assert len(page(server, limit=0)) == 1
    assert len(page(server, limit=99_999)) == page(server)[-1]["seq"] + 1
    attached = page(server, type="rmos.advisory.attached.v1")
    assert {one["event"]["type"] for one in attached} == {"rmos.advisory.attached.v1"}
    both = page(server, type="rmos.advisory.attached.v1", run_id=run["run_id"], limit=1)
    assert [one["event"]["subject"] for one in both] == [run["run_id"]]
    assert page(server, run_id=NOBODY) == page(server, run_id="nope") == page(server, type="none") == []


def test_what_cannot_be_asked_is_refused_with_every_fault(server: Server) -> None:
    assert faults(server.get("/events?after=x&limit=1.5&since=3")) == ["?after", "?limit", "?since"]
    assert faults(server.get("/events?after=1&after=2")) == ["?after"]
    assert faults(server.get("/events", STREAM | {"Last-Event-ID": "x"})) == ["Last-Event-ID"]
    refused(server.post("/events", {}), 405, "METHOD_NOT_ALLOWED")


def test_a_page_that_is_unchanged_is_not_sent_again(server: Server) -> None:
    several(server, 5)
    answer = server.get("/events?after=0&limit=3", {"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding, Accept")
    again = server.get("/events?after=0&limit=3", {"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    head = server.request("HEAD", f"{BASE}/events?after=0&limit=3")
    assert (head.status, head.body) == (200, b"")
    assert server.request("HEAD", f"{BASE}/events", headers=STREAM).headers.get_content_type() == "text/event-stream"


def test_a_large_page_is_whole(server: Server) -> None:
    ids = [server.create(meta={"x": "y" * 700_000})["run_id"] for _ in range(3)]
    after = server.run(ids[0])["log"]["seq"] - 1
    assert [one["event"]["subject"] for one in page(server, after=after)] == ids
    got, head = (server.request(method, f"{BASE}/events?after={after}") for method in ("GET", "HEAD"))
    told = [{key: value for key, value in answer.headers.items() if key not in CHANGING} for answer in (got, head)]
    assert (head.body, told[1]) == (b"", told[0])


def test_a_listener_catches_up_and_goes_on_without_a_gap_or_a_double(server: Server) -> None:
    several(server, 100)
    writers = [threading.Thread(target=several, args=(server, 200)) for _ in range(2)]
    for writer in writers:
        writer.start()
    with listening(server) as listener:
        first = listener.seqs(200)
        for writer in writers:
            writer.join()
        last = several(server, 3)
        assert first + listener.seqs(last + 1 - len(first)) == list(range(last + 1))
        assert server.create()["log"]["seq"] == listener.seqs(1)[0] == last + 1


def test_a_message_is_the_event_as_a_page_has_it_under_its_seq(server: Server) -> None:
    last = several(server, 2)
    with listening(server, f"?after={last - 1}") as listener:
        message = listener.message()
        assert b"text/event-stream" in listener.head
    assert set(message) == {"id", "data"}
    assert message["id"] == str(last)
    line = server.get("/events", query={"after": last - 1}).body.decode().rstrip("\n")
    assert message["data"] == line
    event = line[line.index('"event":') + 8 : -1]
    assert hashlib.sha256(event.encode()).hexdigest() == json.loads(line)["hash"]


def test_a_listener_that_comes_back_says_what_it_has_seen_and_that_wins(server: Server) -> None:
    last = several(server, 5)
    with listening(server, "?after=0", Last_Event_ID=str(last - 2)) as listener:
        assert listener.seqs(2) == [last - 1, last]
    with listening(server, "?after=latest") as listener:
        run = server.create()
        assert listener.seqs(1) == [run["log"]["seq"]]


def test_a_listener_hears_only_what_it_asked_for(server: Server) -> None:
    run = server.create()
    path = f"/runs/{run['run_id']}/explanation"
    server.post(path, {"status": "PENDING"})
    with listening(server, f"?run_id={run['run_id']}&type=rmos.explanation.set.v1&limit=3") as listener:
        listener.seqs(1)
        several(server, 20)
        server.post(path, {"status": "READY"})
        server.post(path, {"status": "ERROR"})
        listener.seqs(2)
        end = listener.message()
        assert (end["event"], json.loads(end["data"])["reason"]) == ("end", "limit")
        with pytest.raises(EOFError):
            listener.message()


def test_a_damaged_event_hides_no_other_of_its_run_nor_of_the_log(own_server: Server) -> None:
    """A page ends before it, the next one says so, and what follows can be read; with a filter or without."""
    run_id = own_server.create()["run_id"]
    own_server.create()
    path = f"/runs/{run_id}/explanation"
    for status in ("PENDING", "READY", "ERROR"):  # 2 to 4
        own_server.post(path, {"status": status})
    assert own_server.stop() == 0
    (segment,) = (own_server.data_dir / "log" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"READY"', b'"REEDY"'))
    own_server.start()
    for of_run, before in ((f"&run_id={run_id}", [0, 2]), ("", [0, 1, 2])):
        answer = own_server.get(f"/events?after=-1{of_run}")
        assert ([json.loads(line)["seq"] for line in answer.body.splitlines()], answer.headers["Link"]) == (
            before,
            None,
        )
        limited = own_server.get(f"/events?limit={len(before)}{of_run}")
        assert "after=2&" in limited.headers["Link"]
        problem = refused(own_server.get(f"/events?after=2{of_run}"), 503, "LOG_CORRUPT")
        assert (problem["seq"], problem["segment"]) == (3, segment.name)
        assert [json.loads(line)["seq"] for line in own_server.get(f"/events?after=3{of_run}").body.splitlines()] == [4]
        with listening(own_server, f"?after=-1{of_run}") as listener:
            assert listener.seqs(len(before)) == before
            assert json.loads(listener.message()["data"]) == {"reason": "LOG_CORRUPT", "after": 2}
        with listening(own_server, f"?after=3&limit=1{of_run}") as listener:
            assert listener.seqs(1) == [4]


def test_every_listener_is_told_the_end_and_the_server_ends_at_once(own_server: Server) -> None:
    with listening(own_server) as first, listening(own_server, "?after=latest") as second:
        own_server.create()
        assert first.seqs(1) == second.seqs(1) == [0]
        stopping = threading.Thread(target=own_server.stop)
        stopping.start()
        for listener in (first, second):
            end = listener.message()
            assert (end["event"], json.loads(end["data"])) == ("end", {"reason": "shutdown", "after": 0})
        stopping.join()


def test_a_listener_that_does_not_read_is_let_go_and_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "runlog.toml").write_text("listener_stall_timeout_s = 1\n")
    server = Server(tmp_path)
    server.start()
    try:
        with listening(server) as slow, listening(server) as quick:
            for _ in range(16):
                server.create(meta={"x": "y" * 1_500_000})
                quick.seqs(1)
            until(lambda: any(line["event"] == "listener.too_slow" for line in server.log_lines()), "it is let go", 60)
            assert _heard_to_the_end(slow) < 16
    finally:
        server.stop()
    assert "Traceback" not in server.output()


def _heard_to_the_end(slow: Listener) -> int:
    """Return how many events the listener got before it was told the end, or before the connection was cut."""
    heard = 0
    try:
        while "id" in slow.message():
            heard += 1
    except (EOFError, ConnectionError, ValueError):
        pass
    return heard


def test_a_hundred_listeners_hear_each_event(server: Server) -> None:
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(100)]
    try:
        listeners = [Listener(connection, "?after=latest", {}) for connection in connections]
        last = several(server, 3)
        assert {tuple(listener.seqs(3)) for listener in listeners} == {(last - 2, last - 1, last)}
    finally:
        for connection in connections:
            connection.close()
        for listener in listeners:
            listener.file.close()
