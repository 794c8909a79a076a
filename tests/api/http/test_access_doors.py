"""Where a server listens and how much it takes: the first key and the last, bounds, TLS, a Unix socket."""

import contextlib
import datetime
import http.client
import json
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.access.roles import Role
from api.access.store import add_key, revoke_key
from api.cli.__main__ import main
from tests.api.http.keyed import Keyed, listening
from tests.commands import runlog
from tests.server import BASE, ROOT, Server, body, clean_environment, free_port, refused, running, serve_command

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


# --- the first key and the last


class Restarting(Keyed):
    """Ready when it lives, whatever keys there are."""

    def __init__(self, folder: Path) -> None:
        Server.__init__(self, folder)
        self.options = []
        self.keys = {}


def test_the_first_key_closes_an_open_server_and_the_last_one_leaves_it_closed_for_good(tmp_path: Path):
    with running(Restarting(tmp_path)) as server:
        assert server.post("/runs", body()).status == 201
        assert server.post("/runs", body(), {"Authorization": "Bearer of.no.matter"}).status == 201
        with listening(server, {}) as lines:
            token = add_key(server.data_dir, "a", Role.OPERATOR)
            refused(server.post("/runs", body()), 401, "UNAUTHENTICATED")
            assert server.post("/runs", body(), server.by(token)).status == 201
            assert '"reason":"UNAUTHENTICATED"' in "".join(lines)
        revoke_key(server.data_dir, "a")
        for restarts in (False, True):
            if restarts:
                server.restart()
            refused(server.post("/runs", body(), server.by(token)), 401, "UNAUTHENTICATED")
            refused(server.post("/runs", body()), 401, "UNAUTHENTICATED")
            assert server.request("GET", "/healthz").status == 200
        assert "none, so nobody is let in" in server.output()
        (server.data_dir / "secrets" / "keys.json").unlink()
        refused(server.get("/runs"), 401, "UNAUTHENTICATED")
        token = add_key(server.data_dir, "a", Role.OPERATOR)
        assert server.get("/runs", server.by(token)).status == 200
        (server.data_dir / "secrets" / "keys.json").write_text("{")
        refused(server.get("/runs", server.by(token)), 401, "UNAUTHENTICATED")
        refused(server.get("/runs", server.by(token)), 401, "UNAUTHENTICATED")
        told = [line for line in server.log_lines() if line["event"] == "access.keys_not_readable"]
        assert [line["level"] for line in told] == [
            "error",
            "error",
        ]  # gone, then damaged: once each, not for every request
        assert told[0]["error"] != told[1]["error"]


def test_a_server_listens_beyond_loopback_once_there_is_a_key_and_not_with_damaged_ones(tmp_path: Path, capsys):
    data = tmp_path / "data"
    command = ["serve", "--host", "0.0.0.0", "--data-dir", str(data)]
    assert main(command) == 3
    assert f"runlog keys add NAME --role operator --data-dir {data}" in capsys.readouterr().err
    add_key(data, "a", Role.PRODUCER)
    with socket.create_server(("0.0.0.0", 0)) as taken:  # so that it gets as far as listening, and ends there
        ended = runlog(*command, "--port", taken.getsockname()[1])
    assert (ended.code, "Cannot listen on" in ended.err) == (3, True)
    revoke_key(data, "a")
    assert main(command) == 3
    (data / "secrets" / "keys.json").write_text("{")
    for options in ([], ["--allow-anonymous"]):
        assert main([*command, *options]) == 3
        assert "keys.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--tls-cert", "c.pem"], 2, "goes with tls_key"),
        (["--tls-key", "k.pem"], 2, "goes with tls_cert"),
    ],
)
def test_tls_needs_both_of_its_files(options, code, told, tmp_path: Path, capsys):
    assert main(["serve", "--data-dir", str(tmp_path / "data"), *options]) == code
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_is_none_makes_no_server(tmp_path: Path):
    (tmp_path / "none.pem").write_text("nothing")
    files = ("--tls-cert", tmp_path / "none.pem", "--tls-key", tmp_path / "none.pem")
    ended = runlog("serve", "--data-dir", tmp_path / "data", *files)
    assert (ended.code, "none.pem" in ended.err) == (3, True)
    assert not (tmp_path / "data").exists()


def test_the_configuration_is_printed_without_the_key(monkeypatch, capsys):
    monkeypatch.setenv("RUNLOG_API_KEY", "a.very-secret")
    for options in ([], ["--json"]):
        assert main(["serve", "--print-config", *options]) == 0
        shown = capsys.readouterr().out
        assert "***" in shown
        assert "very-secret" not in shown


# --- bounds


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    settings = "rate_limit_per_second = 0.01\nrate_burst = 4\nconnections_max = 8\nidle_timeout_s = 1\n"
    settings += 'allowed_host = ["runlog.example"]\ncors_origin = ["https://rmos.example"]\n'
    with running(Keyed(tmp_path_factory.mktemp("bounded"), settings)) as server:
        yield server


def test_a_key_that_asks_too_often_waits_and_nobody_else_does(bounded: Keyed):
    answers = [bounded.get("/runs", bounded.by("auditor")) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
    problem = refused(answers[-1], 429, "RATE_LIMITED")
    assert 1 <= int(answers[-1].headers["Retry-After"]) == problem["retry_after_s"] <= 100
    assert bounded.get("/runs", bounded.by("producer")).status == 200
    assert all(bounded.request("GET", "/healthz", headers=bounded.by("auditor")).status == 200 for _ in range(6))
    refused(bounded.get("/nope", bounded.by("producer")), 403, "FORBIDDEN")  # before the rate


def test_a_new_connection_takes_the_place_of_the_one_that_is_idle_for_longest(bounded: Keyed):
    bounded.hang_up()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connected(bounded)) for _ in range(8)]
        assert alive(connections[0])  # the second one is now idle for longest
        newest = stack.enter_context(connected(bounded))
        assert connections[1].recv(1) == b""
        assert all(alive(connection) for connection in [newest, connections[0], *connections[2:]])


def test_connections_whose_clients_left_take_nobodys_place(bounded: Keyed):
    """They end a little later than they are closed: one that comes just then was once refused."""
    bounded.hang_up()
    for _ in range(30):
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(connected(bounded))
        with socket.create_connection(("127.0.0.1", bounded.port), 30) as newest:
            newest.sendall(HEAD + b"\r\n")
            assert newest.recv(9) == b"HTTP/1.1 "  # a refused one gets nothing


@pytest.mark.parametrize("is_first", [True, False])
def test_a_head_that_stops_coming_is_ended(bounded: Keyed, is_first: bool):
    if is_first:
        connection = socket.create_connection(("127.0.0.1", bounded.port), 30)
    else:
        connection = connected(bounded)
        connection.sendall(HEAD[:-7])
    with connection:
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert [name for name, value in SAFE.items() if f"{name}: {value}\r\n".encode() not in answer] == []
    head, _, content = answer.partition(b"\r\n\r\n")
    told = json.loads(content)
    assert (told["error"], told["detail"]) == ("REQUEST_TIMEOUT", {"error": "REQUEST_TIMEOUT", "idle_s": 1})
    assert f"X-Request-Id: {told['request_id']}".encode() in head.split(b"\r\n")


def test_a_connection_that_only_waits_is_left_alone(bounded: Keyed):
    """Between two requests nothing is late."""
    with connected(bounded) as waiting, socket.create_connection(("127.0.0.1", bounded.port), 30) as late:
        assert late.recv(100).startswith(b"HTTP/1.1 408 ")  # so long at least
        assert alive(waiting)


def test_every_answer_has_the_headers_that_keep_browsers_from_harm(bounded: Keyed):
    answers = [
        bounded.request("GET", "/healthz"),
        bounded.get("/log/key"),
        bounded.get("/runs"),
        bounded.request("PUT", f"{BASE}/runs"),
        bounded.request("GET", "/healthz", headers={"Host": "alien.example"}),
        bounded.request("GET", "/rmos/runs"),
        bounded.raw(b"GET\r\n\r\n"),
        bounded.raw(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 401, 405, 403, 303, 400, 431]
    for answer in answers:
        assert {name: answer.headers[name] for name in SAFE} == SAFE
        assert answer.headers["Server"] == "Runlog"


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("runlog.example", "https://runlog.example", 303),
        ("runlog.example", "http://runlog.example", 303),
        ("runlog.example", "https://alien.example", 403),
        ("runlog.example", "https://runlog.example:444", 403),
        ("alien.example", "https://alien.example", 403),
        ("127.0.0.1:{port}", "https://127.0.0.1:{port}", 403),
        ("127.0.0.1", "http://[", 403),
    ],
)
def test_where_tls_ends_before_it_the_origin_is_that_of_the_allowed_host(bounded: Keyed, host, origin, status):
    headers = {"Host": host.format(port=bounded.port), "Origin": origin.format(port=bounded.port)}
    answer = bounded.form("/rmos/sign-in", f"key={bounded.keys['auditor']}".encode(), headers)
    assert answer.status == status
    assert ("; Secure" in answer.headers.get("Set-Cookie", "")) == (status == 303 and origin.startswith("https"))


def test_a_named_origin_may_ask_without_a_key_whether_it_may_read_and_nobody_else_may(bounded: Keyed):
    """A browser sends no key with that question."""
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for origin, status in (("https://rmos.example", 204), ("https://alien.example", 401)):
        assert bounded.request("OPTIONS", f"{BASE}/runs", headers={**asks, "Origin": origin}).status == status
        assert bounded.get("/runs", {"Origin": origin}).status == 401
    assert bounded.request("OPTIONS", f"{BASE}/runs", headers={"Origin": "https://rmos.example"}).status == 401


@pytest.mark.parametrize(("who", "begins"), [("nobody", b"HTTP/1.1 401 "), ("producer", b"HTTP/1.1 100 ")])
def test_only_who_may_send_a_body_is_bidden_to(bounded: Keyed, who: str, begins: bytes):
    head = (
        f"POST {BASE}/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        f"Expect: 100-continue\r\nAuthorization: {bounded.by(who)['Authorization']}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", bounded.port), 30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(13) == begins


def test_who_is_not_let_in_is_told_so_whatever_else_was_expected(bounded: Keyed):
    refused(bounded.get("/runs", {"Expect": "foo"}), 401, "UNAUTHENTICATED")
    refused(bounded.get("/runs", {"Expect": "foo", **bounded.by("producer")}), 400, "MALFORMED_REQUEST")


def connected(server: Server) -> socket.socket:
    """A connection that has been answered; on a slow machine, the first head itself may come too late."""
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", server.port), 30)
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            if alive(connection):
                return connection
        connection.close()
    pytest.fail("no connection was answered in time")


def alive(connection: socket.socket) -> bool:
    connection.sendall(HEAD + b"\r\n")
    with contextlib.closing(http.client.HTTPResponse(connection)) as response:
        response.begin()
        return response.status == 200 and b"ok" in response.read()


# --- TLS


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return paths


class Tls(Keyed):
    """A server that speaks HTTPS."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        cert, key = certificate(folder)
        self.options = ["--tls-cert", str(cert), "--tls-key", str(key)]
        self.context = ssl.create_default_context(cafile=cert)

    def asked(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self.context)
        with contextlib.closing(connection):
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            response.read()
            return response

    def _is_ready(self) -> bool:
        try:
            return self.asked("GET", "/healthz", None, {}).status == 200
        except OSError:
            return False


def test_over_tls_the_cookie_is_for_tls_alone_and_the_origin_is_https(tmp_path: Path):
    with running(Tls(tmp_path)) as server:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        content = f"key={server.keys['auditor']}".encode()
        plain = {**form, "Origin": f"http://localhost:{server.port}"}
        assert server.asked("POST", "/rmos/sign-in", content, plain).status == 403
        own = {**form, "Origin": f"https://localhost:{server.port}"}
        answer = server.asked("POST", "/rmos/sign-in", content, own)
        assert answer.status == 303
        assert "; Secure" in answer.headers["Set-Cookie"]
        session = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        assert server.asked("GET", f"{BASE}/runs", None, session).status == 200
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            connection.sendall(HEAD + b"\r\n")
            assert b"200" not in connection.recv(100)
        assert f"https://127.0.0.1:{server.port}" in server.output()


# --- a Unix socket


class Unix(Server):
    """A server on a socket in the file system."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        super().__init__(folder)
        self.path = folder / "s"
        self.data_dir.mkdir()
        (self.data_dir / "runlog.toml").write_text(settings)

    def command(self) -> list[str]:
        return [*super().command(), "--uds", str(self.path)]

    def asked(self, host: str = "localhost") -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.path))
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode())
            with contextlib.closing(http.client.HTTPResponse(connection)) as response:
                response.begin()
                return response.status

    def _is_ready(self) -> bool:
        try:
            return self.asked() == 200
        except OSError:
            return False


def test_on_a_unix_socket_it_serves_its_owner_alone_and_takes_no_port(tmp_path: Path):
    with running(Unix(tmp_path)) as server:
        found = server.path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert server.asked("alien.example") == 403
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), 5)
        other = serve_command(tmp_path / "other", free_port())
        ended = subprocess.run(
            [*other, "--uds", str(server.path)], cwd=ROOT, env=clean_environment(), capture_output=True, timeout=60
        )
        assert (ended.returncode, b"somebody listens there" in ended.stderr) == (3, True)
        assert server.asked() == 200
        server.kill()
        assert server.path.is_socket()  # as a crash leaves it
        (server.data_dir / "runlog.toml").write_text('uds_mode = "0660"\n')
        server.start()
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
        assert server.stop() == 0
        assert not server.path.exists()
        server.path.write_text("something of somebody's")
        refusal = runlog("serve", "--data-dir", server.data_dir, "--uds", server.path)
        assert (refusal.code, "no socket" in refusal.err) == (3, True)
        assert server.path.read_text() == "something of somebody's"
