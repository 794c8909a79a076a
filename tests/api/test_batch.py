"""POST /runs/batch: a line in, a line out, each once it is durable; whatever the client does."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.lines import Lines
from tests.server import BASE, FEW, Answer, Server, body, canonical, digest, fresh_id, refused, running, unique

NDJSON = {"Content-Type": "application/x-ndjson"}
GOOD = {"status", "run_id", "seq", "feasibility_sha256"}


def batch(server: Server, *lines: Any, **headers: str) -> list[dict[str, Any]]:
    """Send *lines* (bytes as they are, anything else as JSON), and return the answers."""
    answer = send(
        server, b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines), headers
    )
    assert answer.status == 200, answer.body
    assert answer.headers.get_content_type() == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def send(server: Server, content: Any, headers: dict[str, str] | None = None) -> Answer:
    named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    return server.request("POST", f"{BASE}/runs/batch", content, NDJSON | named)


def head_of(length: int | None, path: str = "/runs/batch") -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head = "\r\n".join(
        (
            f"POST {BASE}{path} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/x-ndjson",
            "Connection: close",
            size,
        )
    )
    return f"{head}\r\n\r\n".encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with narrow bounds."""
    folder: Path = tmp_path_factory.mktemp("small")
    (folder / "data").mkdir()
    bounds = "post_batch_bytes_max = 20000\npost_batch_lines_max = 5\nbody_bytes_max = 4000\nidle_timeout_s = 1\n"
    (folder / "data" / "runlog.toml").write_text(bounds)
    with running(Server(folder)) as server:
        yield server


def test_every_line_is_a_run_and_the_answers_come_in_the_order_of_the_lines(server: Server) -> None:
    tool = unique("tool")
    answers = batch(server, *(body(tool_id=f"{tool}-{n}", feasibility={"n": n}) for n in range(300)))
    assert [set(one) for one in answers] == [GOOD] * 300
    assert [one["status"] for one in answers] == [201] * 300
    assert [one["seq"] for one in answers] == sorted(one["seq"] for one in answers)
    for n in (0, 150, 299):
        run = server.run(answers[n]["run_id"])
        assert run["tool_id"] == f"{tool}-{n}"
        assert run["log"]["seq"] == answers[n]["seq"]
        assert run["hashes"]["feasibility_sha256"] == answers[n]["feasibility_sha256"] == digest(canonical({"n": n}))


def test_a_bad_line_is_answered_in_its_place_and_does_not_stop_the_rest(server: Server) -> None:
    taken = server.create(run_id=fresh_id())["run_id"]
    good = body()
    answers = batch(
        server, good, body(score="1", mode=""), b"{nope", good, body(run_id=taken), b'{"a":1,"a":2}', b"[]", good
    )
    assert [one["status"] for one in answers] == [201, 422, 400, 201, 409, 422, 422, 201]
    assert [one.get("error") for one in answers][1:7] == [
        "VALIDATION_ERROR",
        "MALFORMED_JSON",
        None,
        "ARTIFACT_EXISTS",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
    ]
    assert sorted(fault["path"] for fault in answers[1]["errors"]) == ["$.mode", "$.score"]
    assert answers[4]["run_id"] == taken
    assert all(one["message"] for one in answers if one["status"] != 201)


def test_blank_lines_are_no_lines_and_the_last_needs_no_end(server: Server) -> None:
    assert len(batch(server, b"", b"  \r", body(), b"", b"\t", body())) == 2
    assert batch(server, b"") == []
    assert batch(server, b"\n\n\n") == []


def test_the_same_line_under_the_same_key_is_recorded_once(server: Server) -> None:
    key = unique("key")
    line = body(idempotency_key=key)
    (first,) = batch(server, line)
    again = batch(server, line, body(idempotency_key=key, mode="other"), body(idempotency_key=unique()))
    assert again[0] == first | {"replayed": True}
    assert (again[1]["status"], again[1]["error"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert again[2]["status"] == 201
    two = unique("two")
    within = batch(server, body(idempotency_key=two), body(idempotency_key=two))
    assert within[1] == within[0] | {"replayed": True}


def test_a_line_and_a_single_post_of_it_are_two_requests(server: Server) -> None:
    """The path is part of what a key stands for; it is that of the batch, and the body is the line without its key."""
    key = unique("key")
    (line,) = batch(server, body(idempotency_key=key))
    (entry,) = server.get(f"/runs/{line['run_id']}/events").json["events"]
    asked = {"method": "POST", "path": f"{BASE}/runs/batch", "query": {}, "body": body()}
    assert (entry["event"]["idempotencykey"], entry["event"]["requestsha256"]) == (key, digest(canonical(asked)))
    refused(server.post("/runs", body(), {"Idempotency-Key": key}), 422, "IDEMPOTENCY_KEY_REUSED")
    single = unique("single")
    assert server.post("/runs", body(), {"Idempotency-Key": single}).status == 201
    assert batch(server, body(idempotency_key=single))[0]["error"] == "IDEMPOTENCY_KEY_REUSED"


def test_a_key_of_the_whole_request_makes_its_retry_record_nothing(server: Server) -> None:
    key = unique("all")
    lines = [body(), b"{bad", body()]
    first = batch(server, *lines, Idempotency_Key=key)
    again = batch(server, *lines, Idempotency_Key=key)
    assert [one["status"] for one in first] == [201, 400, 201]
    assert again[0] == first[0] | {"replayed": True}
    assert again[2] == first[2] | {"replayed": True}
    assert first[0]["run_id"] != first[2]["run_id"]


def test_a_key_that_is_none_is_a_fault_among_the_others(server: Server) -> None:
    for key in ("", "ü", 1, "x" * 256):
        (answer,) = batch(server, body(idempotency_key=key, score=-1))
        assert sorted(fault["path"] for fault in answer["errors"]) == ["$.idempotency_key", "$.score"]
    assert batch(server, body(idempotency_key=None))[0]["status"] == 201


def test_a_large_output_becomes_an_attachment_as_of_a_single_post(server: Server) -> None:
    gcode = "G1 X1\n" * 40_000
    (answer,) = batch(server, body(outputs={"gcode_text": gcode}))
    run = server.run(answer["run_id"])
    assert run["outputs"]["gcode_path"] == f"attachments/{digest(gcode.encode())}"
    assert run["log"]["seq"] == answer["seq"]
    assert run["log"]["last_seq"] == answer["seq"] + 1


def test_what_the_request_carries_is_recorded_with_each_line(server: Server) -> None:
    answers = batch(server, body(), body(meta={"request_id": "own"}), X_Request_Id="r-batch")
    assert [server.run(one["run_id"])["meta"]["request_id"] for one in answers] == ["r-batch", "own"]
    found = [
        line for line in server.log_lines() if line["event"] == "run.created" and line["run_id"] == answers[0]["run_id"]
    ]
    assert found[0]["request_id"] == "r-batch"


def test_the_request_is_refused_as_a_whole_before_its_first_line_only(server: Server, small: Server) -> None:
    target = f"{BASE}/runs/batch"
    refused(server.post("/runs/batch", body()), 415, "UNSUPPORTED_MEDIA_TYPE")
    refused(server.request("POST", target, b"{}", NDJSON | {"Content-Encoding": "gzip"}), 415, "UNSUPPORTED_MEDIA_TYPE")
    refused(server.request("POST", f"{target}?dry=1", b"", NDJSON), 422, "VALIDATION_ERROR")
    refused(send(server, b"", {"Idempotency-Key": "ü".encode().decode("latin-1")}), 422, "VALIDATION_ERROR")
    refused(send(small, b"x" * 20_001), 413, "BODY_TOO_LARGE")
    refused(server.request("GET", f"{BASE}/runs/batch"), 404, "RUN_NOT_FOUND")


def test_a_body_that_turns_out_too_long_ends_with_a_line_that_says_so(small: Server) -> None:
    line = json.dumps(body()).encode() + b"\n"
    answers = [json.loads(one) for one in send(small, iter([line] * 7)).body.splitlines()]
    assert [one["status"] for one in answers] == [201] * 5 + [413]
    assert answers[5]["error"] == "BODY_TOO_LARGE"
    padded = line[:-1] + b" " * 3500 + b"\n"
    answers = [json.loads(one) for one in send(small, iter([padded, padded, padded, b"\n" * 12_000])).body.splitlines()]
    assert [one["status"] for one in answers] == [201] * 3 + [413]
    exact = [json.loads(one)["status"] for one in send(small, iter([line] * 5)).body.splitlines()]
    assert exact == [201] * 5


def test_a_line_above_the_bound_of_a_body_is_refused_alone(small: Server) -> None:
    answers = batch(small, body(), body(meta={"x": "y" * 5000}), body())
    assert [one["status"] for one in answers] == [201, 413, 201]


def test_a_blank_line_is_no_line_however_long(small: Server) -> None:
    blank = b" " * 5000
    assert [one["status"] for one in batch(small, blank, body(), blank, body(), blank + b"x")] == [201, 201, 413]


def next_answer(answers: Any) -> dict[str, Any]:
    """Return the next line of a chunked answer."""
    while not (line := answers.readline()).startswith(b'{"status"'):
        assert line, "the answer ended"
    answer: dict[str, Any] = json.loads(line)
    return answer


def test_a_line_is_answered_while_the_next_has_not_been_sent(server: Server) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(head_of(None))
        for _ in range(3):
            connection.sendall(chunk(json.dumps(body()).encode() + b"\n"))
            answer = next_answer(answers)
            assert server.run(answer["run_id"])["log"]["seq"] == answer["seq"]
        connection.sendall(b"0\r\n\r\n")
        assert answers.read().endswith(b"0\r\n\r\n")


def test_a_client_that_reads_nothing_until_it_has_sent_everything_is_served(server: Server) -> None:
    """More answers than any socket holds: reading must not wait for the client to read."""
    line, count = b"x\n", 40_000
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head_of(len(line) * count))
        connection.sendall(line * count)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.read().count(b"\n") == count
        response.close()


def test_the_line_that_a_client_did_not_end_before_it_left_is_no_run(server: Server) -> None:
    for length in (100_000, None):
        tool = unique("tool")
        line = json.dumps(body(tool_id=tool)).encode()
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
            connection.makefile("rb") as answers,
        ):
            connection.sendall(head_of(length) + (chunk(line + b"\n") if length is None else line + b"\n"))
            first = next_answer(answers)
            connection.sendall(chunk(line) if length is None else line)
        assert batch(server, body())[0]["status"] == 201
        (only,) = server.get("/runs", query={"tool_id": tool}).json["items"]
        assert only["run_id"] == first["run_id"]


FIRST = {
    "/runs/batch": json.dumps(body()).encode() + b"\n",
    "/admin/import": json.dumps({"import": {"v1_path": "v1.json", "v1_sha256": "0" * 64}}).encode() + b"\n",
}
"""The first line of each body of lines; it is answered at once."""


@pytest.mark.parametrize("path", FIRST)
def test_a_body_that_stops_coming_ends_with_a_line_that_says_so(small: Server, path: str) -> None:
    """And what was answered is not to be sent again."""
    with socket.create_connection(("127.0.0.1", small.port), timeout=30) as connection:
        connection.sendall(head_of(10_000, path) + FIRST[path] + b'{"mode"')
        response = http.client.HTTPResponse(connection)
        response.begin()
        first, last = [json.loads(line) for line in response.read().splitlines()]
        response.close()
    assert first.get("status", 201) == 201
    assert (last["status"], last["error"], last["idle_s"]) == (408, "REQUEST_TIMEOUT", 1)
    tells_what_is_done(last)


@pytest.mark.parametrize("path", FIRST)
def test_a_body_whose_chunks_cannot_be_told_apart_ends_with_a_line_that_says_so(server: Server, path: str) -> None:
    """At once: nothing more of it can come."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(head_of(None, path) + chunk(FIRST[path]))
        while not (line := answers.readline()).startswith(b"{"):
            assert line, "the answer ended"
        connection.sendall(b"zz\r\nabc\r\n")
        _, size, last, *_ = answers.read().split(b"\r\n")
    assert int(size, 16) == len(last)
    problem = json.loads(last)
    assert (problem["status"], problem["error"]) == (400, "MALFORMED_REQUEST")
    tells_what_is_done(problem)


def tells_what_is_done(last: dict[str, Any]) -> None:
    """Check that who does as the *last* line says doubles nothing."""
    assert "lines answered before this one are done" in last["message"]
    assert "nothing" not in last["message"].lower()


@pytest.mark.parametrize("size", [1, 12, 13, 50, 200])
def test_a_long_blank_line_is_no_line_in_whatever_pieces_it_comes(size: int) -> None:
    content = b" " * 50 + b"\n" + b" " * 50 + b"x\n" + b"x" + b" " * 50 + b"\n" + b"\t" * 50
    lines, found = Lines(line_bytes_max=12), []
    for at in range(0, len(content), size):
        found += lines.feed(content[at : at + size])
    assert found + lines.end() == [None, None]


@FEW
@given(
    st.lists(st.sampled_from([b"\n", b" ", b"x", b" " * 13, b"x" * 13]), max_size=40).map(b"".join),
    st.lists(st.integers(0, 20), max_size=30),
)
def test_a_body_is_cut_into_the_same_lines_however_it_comes_in_pieces(content: bytes, sizes: list[int]) -> None:
    lines = Lines(line_bytes_max=12)
    found, at = [], 0
    for size in [*sizes, len(content)]:
        found += lines.feed(content[at : at + size])
        at += size
    found += lines.end()
    expected = [line if len(line) <= 12 else None for line in content.split(b"\n") if line.strip()]
    assert found == expected
