"""Clients that mean harm, over bare sockets: no 500, no hang, nothing outside the data directory, memory bounded.

The others are served meanwhile. What schemathesis finds over every route stands beside the API's tests.
"""

import contextlib
import gzip
import http.client
import json
import os
import re
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands import everything_under, runlog
from tests.server import BASE, FILES, NOBODY, Server, body, refused, until

IDLE_S = 3
CONNECTIONS = 1000
MIB = 1 << 20
GROWTH_MAX = 220 * MIB
"""Of the server's memory, by any one attack; a body is at most 4 MiB, and takes many times that while it is parsed."""
CANARY = "what lies outside the data directory is nobody's"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is soon tired of waiting; whatever was done to it, its log verifies and nothing else was touched."""
    server = Server(tmp_path_factory.mktemp("hostile"))
    server.data_dir.mkdir()
    (server.data_dir / "runlog.toml").write_text(f"idle_timeout_s = {IDLE_S}\n")
    (server.folder / "canary").write_text(CANARY)
    try:
        server.start()
        server.create()
        yield server
    finally:
        code = server.stop()
    assert code == 0
    assert "Traceback" not in server.output()
    outside = everything_under(server.folder).keys() - {"data", "canary", "stdout", "stderr"}
    assert not [path for path in outside if not path.startswith("data/")]
    assert (server.folder / "canary").read_text() == CANARY
    verified = runlog("log", "verify", "--json", "--data-dir", server.data_dir)
    assert verified.code == 0, verified


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    """After each attack the server takes and serves runs, and has not grown much."""
    server.hang_up()
    before = memory_of(server)
    yield
    run_id = server.create()["run_id"]
    until(lambda: server.get(f"/runs/{run_id}").status == 200, "it was served", 60)
    until(lambda: server.request("GET", "/readyz").status == 200, "all was well", 60)
    assert memory_of(server) - before < GROWTH_MAX


def memory_of(server: Server) -> int:
    """The most that it ever held (bytes)."""
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    return int(kib) * 1024


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=120)


def post_head(length: int, *headers: str) -> bytes:
    lines = ["Host: localhost", "Content-Type: application/json", f"Content-Length: {length}", *headers]
    return "\r\n".join((f"POST {BASE}/runs HTTP/1.1", *lines, "", "")).encode()


def is_closed(connection: socket.socket) -> bool:
    """Tell whether the server has closed it, after whatever it had to say."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


@contextlib.contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} files may be open here, and this needs {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_connections_do_not_keep_others_out(server: Server) -> None:
    """The oldest idle one makes room; one that only waits is ended after a while."""
    with many_files(), contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        for _ in range(20):
            with connected(server) as other:
                other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        assert server.run(server.create()["run_id"])
        for connection in idle[:: CONNECTIONS // 20]:
            assert is_closed(connection)


def test_a_connection_beyond_the_busy_ones_is_closed_and_a_client_that_leaves_is_no_error(tmp_path: Path) -> None:
    """Or a stranger could fill the log with errors that are none."""
    server = Server(tmp_path)
    server.data_dir.mkdir()
    (server.data_dir / "runlog.toml").write_text("connections_max = 3\n")
    try:
        server.start()
        server.hang_up()
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connected(server)).sendall(post_head(1000) + b'{"mode":')
            until(lambda: is_refused_at_once(server), "all were busy", 60)
        until(lambda: not is_refused_at_once(server), "there was room again", 60)
    finally:
        assert server.stop() == 0
    assert {line["level"] for line in server.log_lines()} == {"info"}


def is_refused_at_once(server: Server) -> bool:
    with connected(server) as connection:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(100) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True


def test_bodies_that_never_end_are_ended_and_hold_nobody_up(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(server)) for _ in range(100)]
        for connection in slow:
            connection.sendall(post_head(1000) + b'{"mode":')
        assert server.run(server.create()["run_id"])
        for connection in slow:
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def nested(open_: str, close: str) -> bytes:
    """As deep as 4 MiB let it be."""
    depth = 4_000_000 // len(open_ + close)
    return (open_ * depth + close * depth).encode()


DEEP_AND_WIDE = {
    "arrays in arrays": nested("[", "]"),
    "objects in objects": nested('{"a":', "}"),
    "arrays that never close": b"[" * 4_000_000,
    "strings that never close": b'["' * 2_000_000,
    "a million items": b"[" + b"0," * 1_999_000 + b"0]",
    "empty objects": b"[" + b"{}," * 1_300_000 + b"{}]",
    "many keys": json.dumps({str(number): 0 for number in range(300_000)}).encode(),
    "the same key": b"{" + b'"a":0,' * 600_000 + b'"a":0}',
    "many digits": b"1" * 4_000_000,
    "a large exponent": b'{"score":1e' + b"9" * 3_000_000 + b"}",
    "escapes": b'"' + b"\\ud83d" * 600_000 + b'"',
}


@pytest.mark.parametrize("text", DEEP_AND_WIDE.values(), ids=DEEP_AND_WIDE)
def test_json_that_is_deep_or_wide_is_refused(server: Server, text: bytes) -> None:
    assert server.post("/runs", text).status in (400, 422)


@pytest.mark.parametrize("field", ["request_summary", "details", "hashes", "nope"])
def test_a_run_that_is_wide_within_is_taken_or_refused(server: Server, field: str) -> None:
    wide = {f"{number}": [] for number in range(200_000)}
    assert server.post("/runs", body(**{field: wide})).status in (201, 422)


def test_a_million_faults_are_counted_and_not_all_listed(server: Server) -> None:
    """Or a small body would make a large answer."""
    for changes in ({"warnings": [0] * 1_300_000}, {f"{number}": 0 for number in range(200_000)}):
        answer = server.post("/runs", json.dumps(body(**changes), separators=(",", ":")).encode())
        problem = refused(answer, 422, "VALIDATION_ERROR")
        assert 1000 <= len(problem["errors"]) < 1100
        assert "more" in problem["errors"][-1]["message"]
        assert len(answer.body) < MIB


@pytest.mark.parametrize("path", ["/runs", "/runs/batch", f"/runs/{NOBODY}/attachments?kind=k", "/admin/import"])
def test_a_compressed_bomb_is_refused_unopened(server: Server, path: str) -> None:
    bomb = gzip.compress(bytes(64 * MIB), 1)
    for encoding in ("gzip", "deflate", "br", "gzip, gzip", "zstd"):
        refused(server.post(path, bomb, {"Content-Encoding": encoding}), 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "line",
    [
        b"X-%d: " + b"x" * 1000 + b"\r\n",
        b"x" * 1000,
        b"X: y\r\n",
        b" folded\r\n",
        b"Cookie: %d=" + b";" * 500 + b"\r\n",
    ],
    ids=["many", "one without an end", "one again and again", "folded", "cookies"],
)
def test_headers_without_end_are_cut_off(server: Server, line: bytes) -> None:
    """With a 431, or without a word."""
    with connected(server) as connection:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
            while sent < 64 * MIB:
                connection.sendall((line % sent if b"%d" in line else line) * 100)
                sent += 100 * len(line)
        assert sent < 64 * MIB, "it took whatever came"


TRICKS = [
    *("../canary", "..%2fcanary", "%2e%2e/canary", "%2e%2e%2f%2e%2e%2fcanary", "%252e%252e%252fcanary", "....//canary"),
    *("..\\canary", "..%5ccanary", "%c0%ae%c0%ae/canary", "%00", "run_000000000000%00.json", "canary%0a", "%0d%0aX: y"),
    *("/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "file:%2f%2f%2fetc%2fpasswd", "C:%5c", "~root", "."),
    *("run_٠٠٠٠٠٠٠٠٠٠٠٠", "run_００００００００００００", "RUN_000000000000", "run_000000000000\n", "𝟎" * 64, "%ff%fe"),  # noqa: RUF001
    *("proc/self/environ", "%2e%2e%2f" * 30 + "etc%2fpasswd", "a" * 3000, "%", "%zz", "{run_id}", "*", "$(id)", "'--"),
]
PLACES = [
    *("/{}", f"{BASE}/{{}}", f"{BASE}/runs/{{}}", f"{BASE}/runs/{{}}/attachments", f"{BASE}/runs/{{}}/download"),
    *(f"{BASE}/runs/{NOBODY}/{{}}", f"{BASE}/runs/{NOBODY}/attachments/{{}}/download", f"{BASE}/log/tile/{{}}"),
    *(f"{BASE}/log/tile/entries/{{}}", f"{BASE}/log/{{}}", f"{BASE}/runs_v2/diff/{{}}/{{}}", f"{BASE}/admin/{{}}"),
    *(f"{BASE}/admin/projections/{{}}/rebuild", f"{BASE}/runs?cursor={{}}", f"{BASE}/events?after={{}}", "{}"),
    *(f"{BASE}/runs/diff?a={{}}&b={{}}", f"{BASE}/runs/{NOBODY}/attachments?kind=k&filename={{}}", "/docs/{}"),
    *("/rmos/{}", "/static/{}", "/rmos/static/{}"),
]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_no_path_leads_out_of_the_data_directory(server: Server, method: str) -> None:
    secret = [CANARY.encode(), b"root:x:", b"PRIVATE+KEY", next(FILES.iterdir()).name.encode()]
    with connected(server) as connection:
        for place in PLACES:
            for trick in TRICKS:
                target = place.replace("{}", trick).encode()
                connection, answer, status = asked(server, connection, method, target)
                assert status < 500, (target, answer)
                assert not [each for each in secret if each in answer], target
        connection.close()


def asked(server: Server, connection: socket.socket, method: str, target: bytes) -> tuple[socket.socket, bytes, int]:
    """Ask over *connection*, or another where that was closed; return the one that is open, what was read, the status."""
    connection.sendall(method.encode() + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    answer = response.read()
    if response.will_close:
        connection.close()
        connection = connected(server)
    return connection, answer, response.status


REQUESTS = st.builds(
    lambda method, target, version, lines, end: b" ".join((method, target, version)) + b"\r\n" + lines + end,
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"get"]) | st.binary(max_size=8),
    st.sampled_from([*(place.encode() for place in PLACES), b"*", b"http://localhost/healthz"])
    | st.binary(max_size=40),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b""]),
    st.lists(
        st.sampled_from([b"Host: localhost", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Upgrade: h2c"])
        | st.sampled_from([b"Connection: upgrade", b"Expect: 100-continue", b"Range: bytes=0-", b"Last-Event-ID: 1"])
        | st.binary(max_size=30),
        max_size=4,
    ).map(lambda lines: b"".join(line + b"\r\n" for line in lines)),
    st.sampled_from([b"\r\n", b"\r\n5\r\nabcde\r\n0\r\n\r\n", b"\r\nabcde", b"\r\n\0\xff", b""]),
)


@given(sent=REQUESTS)
@settings(max_examples=5000 if "FUZZ" in os.environ else 60, deadline=None, suppress_health_check=[*HealthCheck])
def test_no_bytes_make_a_500_or_a_hang(server: Server, sent: bytes) -> None:
    """What may be the beginning of a request may be waited for; else there is an answer, and nothing is logged."""
    with connected(server) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError, TimeoutError):
        connection.sendall(sent)
        connection.settimeout(0.1)
        answer = connection.recv(65536)
        assert not answer or int(answer.split()[1]) < 500 or answer.split()[1] == b"501", answer


@pytest.mark.parametrize("sent", [b"CONNECT  \r\n\r\n", b"CONNECT  \r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_a_request_without_a_target_is_answered(server: Server, sent: bytes) -> None:
    """The HTTP library would break on it, and the client wait for ever."""
    refused(server.raw(sent), 400, "MALFORMED_REQUEST")


def test_an_unread_answer_holds_nobody_up(server: Server) -> None:
    """A client that asks again and again and reads nothing is no longer listened to."""
    server.create(meta={"filler": "x" * 100_000})
    request = f"GET {BASE}/runs?view=full HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with connected(server) as greedy:
        greedy.settimeout(1)
        with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            for _ in range(2000):
                greedy.sendall(request * 50)
        until(lambda: server.get("/runs?limit=1").status == 200, "others were served", 60)


def test_who_reads_nothing_is_let_go_and_who_reads_slowly_is_not(server: Server) -> None:
    """After `idle_timeout_s` without a byte; till then its next requests wait, and memory with them."""
    run_id = server.create(meta={"filler": "x" * 25_000})["run_id"]
    file = f"/runs/{run_id}/attachments/{server.upload(run_id, bytes(8 * MIB), kind='k').json['sha256']}/download"
    server.create(meta={"filler": "x" * 3_500_000})
    held = sockets_of(server)
    with contextlib.ExitStack() as stack:
        for path, times in ((f"/runs/{run_id}", 20_000), ("/runs?view=full", 20), (file, 1), ("/events", 1)):
            stack.enter_context(unread(server, path, times))
        slow = stack.enter_context(unread(server, file, 1))
        taken = [len(slow.recv(2048))]
        until(lambda: taken.append(len(slow.recv(2048))) or sockets_of(server) == held + 1, "they were let go", 60)
        while piece := slow.recv(MIB):
            taken.append(len(piece))
        assert sum(taken) > 8 * MIB
    assert not [line for line in server.log_lines() if line["event"] == "http.failed"]


def unread(server: Server, path: str, times: int) -> socket.socket:
    """Ask for *path* as often as the server takes it, and do not read; return the connection."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        last = f"GET {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall((last.replace("close", "keep-alive") * (times - 1) + last).encode())
    connection.settimeout(60)
    return connection


def sockets_of(server: Server) -> int:
    """How many sockets it has open: of one that is closed with much unread, its client does not hear before it reads."""
    count = 0
    for file in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += os.readlink(file).startswith("socket:")
    return count
