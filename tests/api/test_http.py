"""The HTTP around the answers: who may ask, compression, and requests that are none."""

import http.client
import socket

import pytest

from tests.server import BASE, NOBODY, Answer, Server, body, refused

# --- Host and Origin


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "127.0.0.1", "localhost:{port}", "localhost", "LocalHost", "[::1]:{port}"]
)
def test_a_loopback_name_is_a_good_host(server: Server, host: str) -> None:
    assert server.get("/runs?limit=1", {"Host": host.format(port=server.port)}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "alien.example",
        "alien.example:{port}",
        "127.0.0.1.alien.example",
        "localhost.alien.example",
        "alien-localhost",
        "localhost@alien.example",
        "alien@localhost",
        "localhost/alien.example",
        "localhost:80:80",
        "localhost:alien",
        "10.0.0.1:{port}",
        "0.0.0.0:{port}",
        "",
        "[::2]",
    ],
)
def test_any_other_host_is_a_403(server: Server, host: str) -> None:
    """A page elsewhere must not reach a local server through a name of its own."""
    for target in (f"{BASE}/runs", f"{BASE}/runs/{NOBODY}", f"{BASE}/nope", "/nope"):
        refused(server.request("GET", target, headers={"Host": host.format(port=server.port)}), 403, "FORBIDDEN")
    refused(server.post("/runs", body(), {"Host": host.format(port=server.port)}), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://alien.example"},
        {"Origin": "https://alien.example:8080"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.alien.example"},
        {"Origin": "nonsense"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
    ],
    ids=str,
)
def test_a_post_from_another_origin_is_a_403(server: Server, headers: dict[str, str]) -> None:
    """With or without a cookie, on every route, and nothing is written."""
    run = server.create()
    alien = {name: value.format(port=server.port) for name, value in headers.items()}
    refused(server.post("/runs", body(), alien), 403, "FORBIDDEN")
    refused(server.post(f"/runs/{run['run_id']}/explanation", {"status": "READY"}, alien), 403, "FORBIDDEN")
    refused(server.upload(run["run_id"], b"bytes", alien, kind="k"), 403, "FORBIDDEN")
    assert server.run(run["run_id"]) == run
    assert server.create()["log"]["seq"] == run["log"]["seq"] + 1


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_post_from_the_same_origin_is_taken(server: Server, site: str) -> None:
    headers = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": site}
    assert server.post("/runs", body(), headers).status == 201
    local = {"Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"}
    assert server.post("/runs", body(), local).status == 201


def test_reading_from_another_origin_is_no_fault(server: Server) -> None:
    """It is the browser that keeps the answer from the page."""
    headers = {"Origin": "http://alien.example", "Sec-Fetch-Site": "cross-site"}
    answer = server.get("/runs?limit=1", headers)
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


# --- compression

GZIP = {"Accept-Encoding": "gzip"}


def large(server: Server) -> str:
    """Return the path of a run whose view is above 1 KiB."""
    return f"/runs/{server.create(meta={'filler': 'x' * 3000})['run_id']}"


def test_json_above_1_kib_is_compressed_for_those_who_accept_it(server: Server) -> None:
    """The tag is weak then, and caches are told what the answer depends on."""
    path = large(server)
    plain, packed = server.get(path), server.get(path, GZIP)
    assert plain.headers["Content-Encoding"] is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body)
    assert packed.json == plain.json
    for answer in (plain, packed):
        assert "accept-encoding" in answer.headers["Vary"].lower()
    assert packed.headers["ETag"] == f"W/{plain.headers['ETag']}"


def test_lists_events_and_refusals_are_compressed_too(server: Server) -> None:
    path = large(server)
    wrong = "&".join(f"foo{n}=1" for n in range(60))
    for target, status in ((f"{path}/events", 200), ("/runs?view=full", 200), (f"/runs?{wrong}", 422)):
        answer = server.get(target, GZIP)
        assert (answer.status, answer.headers["Content-Encoding"]) == (status, "gzip")
        assert "accept-encoding" in answer.headers["Vary"].lower()
        assert answer.json == answer.json


def test_a_created_run_is_compressed_as_a_read_one_is(server: Server) -> None:
    answer = server.post("/runs", body(meta={"filler": "x" * 3000}), GZIP)
    assert (answer.status, answer.headers["Content-Encoding"]) == (201, "gzip")
    assert answer.headers["ETag"].startswith('W/"')
    assert answer.json["meta"] == {"filler": "x" * 3000}


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br", "*;q=0", "", "gzip;q=0.0, deflate;q=0, identity"])
def test_nobody_gets_gzip_who_did_not_ask_for_it(server: Server, accepted: str) -> None:
    answer = server.get(large(server), {"Accept-Encoding": accepted})
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, None)
    assert not answer.headers["ETag"].startswith("W/")


@pytest.mark.parametrize("accepted", ["gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "GZIP"])
def test_gzip_is_found_among_others(server: Server, accepted: str) -> None:
    assert server.get(large(server), {"Accept-Encoding": accepted}).headers["Content-Encoding"] == "gzip"


def test_small_answers_are_not_compressed(server: Server) -> None:
    assert server.get(f"/runs/{NOBODY}", GZIP).headers["Content-Encoding"] is None
    assert server.request("GET", "/healthz", headers=GZIP).headers["Content-Encoding"] is None


def test_the_weak_tag_of_a_compressed_view_is_known_again(server: Server) -> None:
    path = large(server)
    weak = server.get(path, GZIP).headers["ETag"]
    for headers in ({"If-None-Match": weak}, {"If-None-Match": weak, **GZIP}):
        answer = server.get(path, headers)
        assert (answer.status, answer.body) == (304, b"")


def test_an_attachment_is_served_as_its_bytes(server: Server) -> None:
    """A part of a file is a part of its bytes, whatever the client accepts."""
    run_id = server.create()["run_id"]
    sha256 = server.upload(run_id, b"x" * 5000, {"Content-Type": "text/plain"}, kind="k").json["sha256"]
    answer = server.get(f"/runs/{run_id}/attachments/{sha256}/download", GZIP | {"Range": "bytes=0-99"})
    assert (answer.status, answer.body, answer.headers["Content-Encoding"]) == (206, b"x" * 100, None)


# --- requests that are none

HEAD = f"POST {BASE}/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BROKEN = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no method": b"nonsense\r\n\r\n",
    "unknown method": b"F@O / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "bad version": b"GET / HTTP/9.9.9\r\nHost: 127.0.0.1\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nBad Name: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nnonsense\r\n\r\n",
    "length is no number": HEAD.encode() + b"Content-Length: abc\r\n\r\n",
    "negative length": HEAD.encode() + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEAD.encode() + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": HEAD.encode() + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
}


def is_problem(answer: Answer) -> bool:
    """Tell whether a refusal has the one shape, whoever raised it."""
    problem = refused(answer, answer.status, answer.json["error"])
    return set(problem) >= {"error", "message", "request_id", "detail"}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN)
def test_what_is_no_http_is_a_400_in_the_one_shape(server: Server, sent: bytes) -> None:
    """Also where the HTTP library raises it; and the server goes on."""
    answer = server.raw(sent)
    assert answer.status == 400
    assert is_problem(answer)
    assert server.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("raw", [b"\xff", b"\xc3\xa9", b"\x80\x00", b"\xed\xa0\x80"], ids=ascii)
@pytest.mark.parametrize(
    "line",
    [
        b"GET /@ HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /api/rmos/runs/@ HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /api/rmos/runs?@=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /api/rmos/runs?mode=@ HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /api/rmos/runs HTTP/1.1\r\nHost: @\r\n",
        b"POST /api/rmos/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nOrigin: @\r\n",
        b"POST /api/rmos/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Type: @\r\n",
        b"POST /api/rmos/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Encoding: @\r\n",
    ],
    ids=["path", "id", "name", "value", "host", "origin", "type", "encoding"],
)
def test_bytes_beyond_ascii_in_a_head_are_never_a_500(server: Server, line: bytes, raw: bytes) -> None:
    """A refusal may repeat what it refuses, whatever that is."""
    answer = server.raw(line.replace(b"@", raw) + b"\r\n")
    assert answer.status < 500
    assert answer.status == 200 or is_problem(answer)


@pytest.mark.parametrize(
    ("line", "host", "status", "allow"),
    [
        ("POST /api/rmos/runs", "127.0.0.1", 400, None),
        ("GET /api/rmos/runs", "127.0.0.1", 400, None),
        ("GET /api/rmos/runs", "evil.example", 403, None),
        ("GET /nope", "127.0.0.1", 404, None),
        ("GET /nope", "evil.example", 403, None),
        ("DELETE /api/rmos/runs", "127.0.0.1", 405, "GET,HEAD,POST"),
        ("PATCH /api/rmos/nope", "127.0.0.1", 405, "GET, HEAD"),
        ("POST /api/rmos/stats", "127.0.0.1", 405, "GET,HEAD"),
    ],
)
def test_what_a_client_expects_is_refused_in_the_one_shape_and_after_what_goes_before(
    server: Server, line: str, host: str, status: int, allow: str | None
) -> None:
    head = f"{line} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = server.raw(f"{head}Expect: nonsense\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    assert answer.status == status
    assert is_problem(answer)
    assert (answer.headers["Allow"] or "").replace(" ", "") == (allow or "").replace(" ", "")


def test_a_client_may_wait_for_the_100_before_it_sends(server: Server) -> None:
    head = HEAD.encode() + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 422 ")


@pytest.mark.parametrize(
    ("version", "expects", "begins"),
    [
        ("1.0", ["100-continue"], b"HTTP/1.0 422 "),  # it does not know that there is a 100 (RFC 9110, 10.1.1)
        ("1.1", ["100-continue", "nonsense"], b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 "),
    ],
)
def test_expectations_are_those_of_the_version_and_of_all_lines(
    server: Server, version: str, expects: list[str], begins: bytes
) -> None:
    head = (
        f"POST {BASE}/runs HTTP/{version}\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    head += "".join(f"Expect: {one}\r\n" for one in expects)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Content-Length: 2\r\n\r\n{}")
        assert b"".join(iter(lambda: connection.recv(1000), b"")).startswith(begins)


def test_nobody_is_bidden_to_send_a_body_to_where_no_route_is(server: Server) -> None:
    for line, begins in (("POST /nope", b"HTTP/1.1 404 "), (f"PUT {BASE}/runs", b"HTTP/1.1 405 ")):
        head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head.encode())
            assert connection.recv(13) == begins


@pytest.mark.parametrize(
    "headers",
    [{"X-Large": "x" * 100_000}, {f"X-{n}": "x" * 1000 for n in range(200)}, {"X-Long-" + "n" * 50_000: "x"}],
    ids=["one value", "many", "one name"],
)
def test_headers_that_are_too_large_are_a_431(server: Server, headers: dict[str, str]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    sent = f"GET {BASE}/runs HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()
    refused(server.raw(sent), 431, "HEADERS_TOO_LARGE")
    assert server.request("GET", "/healthz").status == 200


def test_a_target_that_is_too_long_is_refused_in_the_one_shape(server: Server) -> None:
    answer = server.raw(f"GET {BASE}/runs?x={'x' * 100_000} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert answer.status in (414, 431)
    assert is_problem(answer)


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(server: Server) -> None:
    before = server.create()["log"]["seq"]
    for part in (b"", b"P", HEAD.encode(), HEAD.encode() + b"Content-Length: 500\r\n\r\n{"):
        server.send_and_leave(part)
    assert server.create()["log"]["seq"] == before + 1


@pytest.mark.parametrize("path", ["/runs", f"/runs/{NOBODY}/attachments?kind=k"])
def test_chunks_that_cannot_be_told_apart_are_a_400_at_once(server: Server, path: str) -> None:
    """Also where they come after the head, while the body is waited for."""
    head = f"POST {BASE}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b'5\r\n{"mod\r\nzz\r\nabc\r\n')
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = Answer(response.status, response.headers, response.read())
        response.close()
        assert connection.recv(1000) == b""
    assert "chunk size" in refused(answer, 400, "MALFORMED_REQUEST")["reason"]


def test_chunks_of_a_body_that_nobody_wants_may_break(server: Server) -> None:
    """They end the connection after the answer, and are no fault of the server's."""
    head = f"POST {BASE}/nope HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()[:1]) == (404, b"{")
        connection.sendall(b"zz\r\nabc\r\n")
        assert connection.recv(1000) == b""
        response.close()
    assert server.request("GET", "/healthz").status == 200


# --- headers that come in several lines


def test_a_header_that_is_a_list_may_come_in_several_lines(server: Server) -> None:
    """RFC 9110, 5.3: they are one list."""
    path = large(server)
    get = f"GET {BASE}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    etag = server.get(path).headers["ETag"]
    assert server.raw(f'{get}If-None-Match: "zz"\r\nIf-None-Match: {etag}\r\n\r\n'.encode()).status == 304
    packed = server.raw(f"{get}Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    assert packed.headers["Content-Encoding"] == "gzip"
    encoded = f"{HEAD}Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}"
    refused(server.raw(encoded.encode()), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_many_requests_may_follow_each_other_on_one_connection(server: Server) -> None:
    """Also behind refused ones: a body that was not wanted is not taken for the next request."""
    for content in (b"{", b"GET / HTTP/1.1\r\n\r\n", b"x" * 70_000):
        for path in ("/nope", f"/runs/{NOBODY}", "/runs", f"/runs/{NOBODY}/explanation"):
            assert server.post(path, content, {"Content-Type": "text/plain"}).status in (404, 405, 415)
            assert server.get("/runs?limit=1").status == 200
