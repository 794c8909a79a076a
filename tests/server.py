"""The real server as a process of its own, driven over plain HTTP: what every test of the contract stands on.

Nothing of the server is imported here. A `Server` is started with the command that an
operator uses, on a data directory that does not exist yet, and is only ever spoken to
through its socket, its signals and its files.
"""

import base64
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from attrs import frozen
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "tests" / "data" / "attachments"
BASE = "/api/rmos"
NOBODY = "run_000000000000"  # a well-formed id that no test creates
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
START_S = 60
STOP_S = 15


class _Absent:
    def __repr__(self) -> str:
        return "absent"  # the same in every process: it stands in the ids of tests


ABSENT: Any = _Absent()

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=15,
)


@frozen
class Answer:
    """One HTTP response, wholly read."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, unpacked first if it came compressed."""
        packed = self.headers["Content-Encoding"] == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


class Server:
    """A `serve` process on a data directory of its own, and a small client for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: dict[int, http.client.HTTPConnection] = {}

    # --- the process

    def start(self, port: int = 0) -> None:
        """Start, and return once /readyz says 200; fail with what the process printed if it does not get there."""
        self.port = port or free_port()
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self._process = subprocess.Popen(self.command(), cwd=ROOT, env=clean_environment(), stdout=out, stderr=err)
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None:
                pytest.fail(f"serve exited with {self._process.returncode} before it was ready:\n{self.output()}")
            if time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"serve was not ready within {START_S} s:\n{self.output()}")
            time.sleep(0.02)

    def command(self) -> list[str]:
        """Return the command line that starts it."""
        return serve_command(self.data_dir, self.port)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Ask the process to end (SIGTERM), with this client's idle connections open; return its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"serve did not end within {STOP_S} s of SIGTERM:\n{self.output()}")
        finally:
            self.hang_up()

    def kill(self) -> None:
        """End the process as a crash does (SIGKILL)."""
        self.hang_up()
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)

    def restart(self) -> None:
        """Stop, if it still runs, and start again on the same data."""
        self.stop()
        self.start()

    def output(self) -> str:
        """Return all that the process has printed."""
        return "".join((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the diagnostics so far: each whole line of stderr, parsed."""
        lines = (self.folder / "stderr").read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").status == 200
        except OSError:
            self.hang_up()
            return False

    # --- the client

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, query: Mapping[str, Any] | None = None
    ) -> Answer:
        """GET *path*, which is relative to the base path."""
        return self.request("GET", BASE + path + (f"?{urlencode(query)}" if query else ""), headers=headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """POST *body* (bytes as they are, anything else as JSON) to *path* under the base path."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        wanted = {"Content-Type": "application/json", **(headers or {})}
        return self.request("POST", BASE + path, content, {k: v for k, v in wanted.items() if v is not ABSENT})

    def upload(
        self, run_id: str, content: bytes | Iterable[bytes], headers: Mapping[str, str] | None = None, **query: str
    ) -> Answer:
        """POST *content* as an attachment; an iterable goes out in chunks, without a Content-Length."""
        return self.request("POST", f"{BASE}/runs/{run_id}/attachments?{urlencode(query)}", content, headers)

    def create(self, **changes: Any) -> dict[str, Any]:
        """Create a run that must succeed, and return it."""
        answer = self.post("/runs", body(**changes))
        assert answer.status == 201, answer.body
        run: dict[str, Any] = answer.json
        return run

    def run(self, run_id: str) -> dict[str, Any]:
        """Return the present view of a run that must be there."""
        answer = self.get(f"/runs/{run_id}")
        assert answer.status == 200, answer.body
        run: dict[str, Any] = answer.json
        return run

    def request(
        self, method: str, target: str, content: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request over this thread's kept-alive connection; once more if that had been closed meanwhile."""
        connection = self._connections.get(threading.get_ident())
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            self._connections[threading.get_ident()] = connection
        was_open = connection.sock is not None
        try:
            return _exchange(connection, method, target, content, headers or {})
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            if not was_open:
                raise
        return _exchange(connection, method, target, content, headers or {})

    def raw(self, sent: bytes) -> Answer:
        """Send exactly these bytes over a connection of their own and read one response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(sent)
            response = http.client.HTTPResponse(connection)
            try:
                response.begin()
                return Answer(response.status, response.headers, response.read())
            finally:
                response.close()

    def send_and_leave(self, sent: bytes) -> None:
        """Send these bytes and close the connection, as a client does that dies."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(sent)

    def hang_up(self) -> None:
        """Close every connection of this client."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def _exchange(
    connection: http.client.HTTPConnection, method: str, target: str, content: Any, headers: Mapping[str, str]
) -> Answer:
    # A server may refuse a body before it has read it all; its answer is there to be read nevertheless.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, target, content, dict(headers))
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


AnyServer = TypeVar("AnyServer", bound=Server)


@contextlib.contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Start *server*, and stop it in the end; nothing may have made it stumble."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
    assert "Traceback" not in server.output()


def serve_command(data_dir: Path, port: int) -> list[str]:
    """Return the command line of a server."""
    return [sys.executable, "-m", "api.cli.__main__", "serve", "--data-dir", str(data_dir), "--port", str(port)]


def clean_environment() -> dict[str, str]:
    """Return this environment without what configures Runlog."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RUNLOG_", "RMOS_"))}


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], Any], what: str, seconds: float = 10) -> Any:
    """Poll *condition* until it is true, and return its value; fail after *seconds*."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"within {seconds} s it never came to be that {what}")
        time.sleep(0.01)
    return value


def body(**changes: Any) -> dict[str, Any]:
    """Return a valid body for POST /runs with *changes*; `ABSENT` takes a field out."""
    valid = {
        "mode": "adaptive",
        "tool_id": "adaptive_gcode",
        "status": "OK",
        "request_summary": {"material": "maple", "depth_mm": 1.5},
        "feasibility": {"score": 87.5, "risk_level": "GREEN"},
        "risk_level": "GREEN",
    }
    return {name: value for name, value in (valid | changes).items() if value is not ABSENT}


def words(text: str) -> list[str]:
    """Return the words of *text*: long lists of names are easier to read so."""
    return text.split()


def unique(prefix: str = "x") -> str:
    """Return a text that no other test uses, so that tests can share a server."""
    return f"{prefix}-{uuid.uuid4().hex}"


def fresh_id() -> str:
    """Return a run id of the client's own that is not taken."""
    return f"run_{uuid.uuid4().hex[:12]}"


def canonical(value: Any) -> bytes:
    """Return the canonical JSON bytes, by the standard library alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(content: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def content_digest(content: bytes) -> str:
    """Return the value of a Content-Digest field for *content*."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def refused(answer: Answer, status: int, error: str) -> dict[str, Any]:
    """Check that *answer* is this problem, in the one shape that all have; return it."""
    assert answer.status == status, answer.body
    assert answer.headers.get_content_type() == "application/json"
    problem: dict[str, Any] = answer.json
    assert problem["error"] == error, problem
    assert problem["message"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    facts = {name: fact for name, fact in problem.items() if name not in ("message", "request_id", "detail")}
    assert facts.items() <= problem["detail"].items()
    assert b"Traceback" not in answer.body
    assert str(ROOT).encode() not in answer.body
    return problem


def faults(answer: Answer) -> list[str]:
    """Check that *answer* is a 422 that lists its faults; return their paths, sorted."""
    errors = refused(answer, 422, "VALIDATION_ERROR")["errors"]
    assert all(set(error) == {"path", "message"} and error["message"] for error in errors), errors
    return sorted(error["path"] for error in errors)
