"""SIGTERM while bodies are on their way: what is in flight is finished, within its bound; then exit code 0."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import record
from tests.server import BASE, Answer, Server, body, running, until

LINE = json.dumps(body()).encode() + b"\n"


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Server]:
    """A server that gives what is in flight two seconds."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "runlog.toml").write_text("shutdown_timeout_s = 2\n")
    with running(Server(tmp_path)) as server:
        yield server


def begun(server: Server, path: str, content_type: str, length: int, first: bytes) -> socket.socket:
    """Send the head of a POST and the *first* bytes of its body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"POST {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}"
    connection.sendall(f"{head}\r\n\r\n".encode() + first)
    return connection


def answered(connection: socket.socket) -> Answer:
    with connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = Answer(response.status, response.headers, response.read())
        response.close()
        return answer


def is_ending(server: Server) -> bool:
    """Tell whether it takes no more connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_a_request_whose_body_is_on_its_way_is_finished(own_server: Server) -> None:
    """An upload and a batch, each with the second half of its body sent after the signal."""
    run_id = own_server.create()["run_id"]
    upload = begun(own_server, f"/runs/{run_id}/attachments?kind=k", "text/plain", 10, b"hello")
    batch = begun(own_server, "/runs/batch", "application/x-ndjson", 2 * len(LINE), LINE)
    until(lambda: own_server.get("/runs").json["count"] == 2, "the first line was recorded", 20)
    answers: list[Answer] = []

    def finish() -> None:
        until(lambda: is_ending(own_server), "no more connections are taken", 20)
        upload.sendall(b"world")
        batch.sendall(LINE)
        answers.extend((answered(upload), answered(batch)))

    client = threading.Thread(target=finish)
    client.start()
    assert own_server.stop() == 0
    client.join(20)
    assert answers[0].status == 201
    assert [json.loads(line)["status"] for line in answers[1].body.splitlines()] == [201, 201]


def test_a_batch_whose_body_does_not_come_is_told_so_and_holds_nobody_up(impatient: Server) -> None:
    batch = begun(impatient, "/runs/batch", "application/x-ndjson", 2 * len(LINE), LINE)
    until(lambda: impatient.get("/runs").json["count"] == 1, "the first line was recorded", 20)
    reading: list[Answer] = []
    reader = threading.Thread(target=lambda: reading.append(answered(batch)))
    reader.start()
    assert impatient.stop() == 0
    reader.join(20)
    lines = [json.loads(line) for line in reading[0].body.splitlines()]
    assert [line["status"] for line in lines] == [201, 503]
    assert (lines[1]["error"], lines[1]["retry_after_s"]) == ("LOG_BUSY", 1)
    tells_what_is_done(lines[1]["message"])


def test_an_import_is_told_that_the_server_ends_after_the_verdicts_of_what_it_sent(own_server: Server) -> None:
    head = json.dumps({"import": {"v1_path": "v1.json", "v1_sha256": "0" * 64}}).encode() + b"\n"
    line = json.dumps({"run_id": "run_" + "0" * 16, "record": record("run_" + "0" * 16)}).encode() + b"\n"
    importing = begun(own_server, "/admin/import", "application/x-ndjson", 1_000_000, head + line)
    until(lambda: list((own_server.data_dir / "imports").glob("*.json")), "the import has begun", 20)
    reading: list[Answer] = []
    reader = threading.Thread(target=lambda: reading.append(answered(importing)))

    def go_on() -> None:
        until(lambda: is_ending(own_server), "no more connections are taken", 20)
        reader.start()
        while reader.is_alive():  # it hears of it at its next line
            with contextlib.suppress(OSError):
                importing.sendall(line)
            reader.join(0.02)

    client = threading.Thread(target=go_on)
    client.start()
    assert own_server.stop() == 0
    client.join(20)
    begin, verdict, *others, last = [json.loads(line) for line in reading[0].body.splitlines()]
    assert "import_id" in begin
    assert verdict["outcome"] == "imported"
    assert {one["outcome"] for one in others} <= {"unchanged"}
    assert (last["status"], last["error"]) == (503, "LOG_BUSY")
    tells_what_is_done(last["message"])


def tells_what_is_done(message: str) -> None:
    """Check that it gives the true reason, and who does as it says doubles nothing."""
    assert "The server is ending" in message
    assert "lines answered before this one are done" in message
