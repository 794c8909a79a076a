"""Every refusal has one shape, says what to do, and gives nothing of the server away."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server import ABSENT, BASE, FEW, NOBODY, TEXT, Answer, Server, body, refused, unique, words

TOO_LARGE = b"x" * (4 * 1024 * 1024 + 1)

REFUSALS: dict[str, tuple[int, str, Callable[[Server, dict[str, str]], Answer]]] = {
    "host": (403, "FORBIDDEN", lambda s, h: s.get("/runs", h | {"Host": "alien.example"})),
    "origin": (403, "FORBIDDEN", lambda s, h: s.post("/runs", body(), h | {"Origin": "http://alien.example"})),
    "put": (405, "METHOD_NOT_ALLOWED", lambda s, h: s.request("PUT", f"{BASE}/runs", b"", h)),
    "method": (405, "METHOD_NOT_ALLOWED", lambda s, h: s.get(f"/runs/{NOBODY}/attach-advisory", h)),
    "route": (404, "NOT_FOUND", lambda s, h: s.get("/nope", h)),
    "outside": (404, "NOT_FOUND", lambda s, h: s.request("GET", "/nope", headers=h)),
    "run": (404, "RUN_NOT_FOUND", lambda s, h: s.get(f"/runs/{NOBODY}", h)),
    "large": (413, "BODY_TOO_LARGE", lambda s, h: s.post("/runs", TOO_LARGE, h)),
    "type": (415, "UNSUPPORTED_MEDIA_TYPE", lambda s, h: s.post("/runs", b"{}", h | {"Content-Type": "text/plain"})),
    "text": (400, "MALFORMED_JSON", lambda s, h: s.post("/runs", b"{", h)),
    "field": (422, "VALIDATION_ERROR", lambda s, h: s.post("/runs", {}, h)),
    "query": (422, "VALIDATION_ERROR", lambda s, h: s.get("/runs?foo=1", h)),
    "hash": (422, "HASH_MISMATCH", lambda s, h: s.post("/runs", body(hashes={"feasibility_sha256": "0" * 64}), h)),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_its_status_its_code_and_the_one_shape(server: Server, name: str) -> None:
    """The facts stand at the top and again under `detail`; the request's id is in both."""
    status, error, send = REFUSALS[name]
    problem = refused(send(server, {"X-Request-Id": f"r-{name}"}), status, error)
    assert problem["request_id"] == f"r-{name}"
    assert problem["detail"]["error"] == error
    assert len(problem["message"]) > 10


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_without_a_request_id_gets_one(server: Server, name: str) -> None:
    answer = REFUSALS[name][2](server, {})
    assert answer.json["request_id"] == answer.headers["X-Request-Id"] != ""


# --- methods and routes


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/runs", {"GET", "HEAD", "POST"}),
        (f"/runs/{NOBODY}", {"GET", "HEAD"}),
        ("/runs/diff", {"GET", "HEAD"}),
        (f"/runs/{NOBODY}/attach-advisory", {"POST"}),
        (f"/runs/{NOBODY}/explanation", {"POST"}),
        (f"/runs/{NOBODY}/attachments", {"GET", "HEAD", "POST"}),
        (f"/runs/{NOBODY}/attachments/verify", {"GET", "HEAD"}),
        (f"/runs/{NOBODY}/attachments/{'0' * 64}", {"GET", "HEAD"}),
        ("/nope", {"GET", "HEAD"}),
        ("/nope/nope/nope", {"GET", "HEAD"}),
        ("/runs/a/b/c/d/e", {"GET", "HEAD"}),
        ("/runs/nope", {"GET", "HEAD"}),
        ("/", {"GET", "HEAD"}),
    ],
)
def test_nothing_under_the_base_can_be_changed_or_deleted(
    server: Server, method: str, path: str, allowed: set[str]
) -> None:
    """Whatever the path: 405, and what is allowed instead."""
    answer = server.request(method, BASE + path, b'{"status": "OK"}', {"Content-Type": "application/json"})
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    listed = {name.strip() for name in answer.headers["Allow"].split(",")}
    assert listed - {"OPTIONS"} == allowed


def test_a_run_is_untouched_by_a_delete(server: Server) -> None:
    run = server.create()
    for method in ("PATCH", "PUT", "DELETE"):
        assert server.request(method, f"{BASE}/runs/{run['run_id']}", b"{}").status == 405
    assert server.run(run["run_id"]) == run


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("part", ["attach-advisory", "explanation"])
def test_another_method_than_a_route_has_is_a_405(server: Server, method: str, part: str) -> None:
    answer = server.request(method, f"{BASE}/runs/{NOBODY}/{part}")
    assert answer.status == 405
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["", "/download", "/events", "/advisories", f"/attachments/{'0' * 64}", "/attachments/verify"]
)
def test_a_post_where_one_can_only_read_is_a_405(server: Server, path: str) -> None:
    answer = server.post(f"/runs/{NOBODY}{path}", {})
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert {"GET", "HEAD"} <= {name.strip() for name in answer.headers["Allow"].split(",")}


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/nope", f"/runs/{NOBODY}/nope", f"/runs/{NOBODY}/events/nope", "/run", "/RUNS", "//runs"]
)
def test_an_unknown_route_is_a_404_for_every_other_method(server: Server, method: str, path: str) -> None:
    refused(server.request(method, BASE + path), 404, "NOT_FOUND")


# --- request ids


@pytest.mark.parametrize("request_id", ["a", "x" * 128, "with space", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"])
@pytest.mark.parametrize("target", [f"{BASE}/runs?limit=1", f"{BASE}/runs/{NOBODY}", "/nope", "/healthz", "/readyz"])
def test_a_request_id_comes_back(server: Server, target: str, request_id: str) -> None:
    for method in ("GET", "HEAD"):
        assert (
            server.request(method, target, headers={"X-Request-Id": request_id}).headers["X-Request-Id"] == request_id
        )


@pytest.mark.parametrize("request_id", [ABSENT, "", "x" * 129, "x" * 4000, "caf\xe9", "a\tb", "\xff\xfe"], ids=ascii)
def test_any_other_request_id_is_replaced(server: Server, request_id: str) -> None:
    """By one that is new each time, printable, and the one that stands in the run."""
    headers = {} if request_id is ABSENT else {"X-Request-Id": request_id}
    answers = [server.post("/runs", body(), headers) for _ in range(2)]
    made = [answer.headers["X-Request-Id"] for answer in answers]
    assert [answer.status for answer in answers] == [201, 201]
    assert made[0] != made[1]
    assert all(re.fullmatch(r"[!-~]{8,128}", text) for text in made)
    assert request_id not in made


def test_a_request_id_comes_back_on_a_304(server: Server) -> None:
    path = f"/runs/{server.create()['run_id']}"
    known = {"If-None-Match": server.get(path).headers["ETag"], "X-Request-Id": "r-304"}
    answer = server.get(path, known)
    assert (answer.status, answer.headers["X-Request-Id"]) == (304, "r-304")


# --- no input makes a 500


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "OPTIONS"]),
    parts=st.lists(st.sampled_from(["runs", NOBODY, "attachments", "verify", "diff", "events"]) | TEXT, max_size=5),
    query=st.dictionaries(st.sampled_from(["at", "a", "kind", "limit", "cursor"]) | TEXT, TEXT, max_size=3),
)
@FEW
def test_any_path_and_query_is_answered_and_never_with_a_500(
    server: Server, method: str, parts: list[str], query: dict[str, str]
) -> None:
    path = "/".join(quote(part, safe="") for part in parts if part not in ("batch", "log", "stats", "openapi.json"))
    asked = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    answer = server.request(method, f"{BASE}/{path}?{asked}")
    assert answer.status < 500
    if answer.status >= 400 and method != "HEAD":
        refused(answer, answer.status, answer.json["error"])


@given(value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60))
@FEW
def test_any_header_value_is_answered_and_never_with_a_500(server: Server, value: str) -> None:
    names = words(
        "If-None-Match Range Idempotency-Key Content-Digest Content-Type Accept Accept-Encoding traceparent X-Request-Id "
        "If-Modified-Since If-Range Cookie Authorization Sec-Fetch-Site Origin Content-Encoding"
    )
    run_id = server.create()["run_id"]
    for name in names:
        for answer in (
            server.get(f"/runs/{run_id}", {name: value}),
            server.get("/runs?limit=1", {name: value}),
            server.post(f"/runs/{run_id}/explanation", {"status": "PENDING"}, {name: value}),
            server.upload(run_id, b"bytes", {name: value}, kind=unique("k"), filename="f"),
        ):
            assert answer.status < 500, (name, value, answer.body)


def test_no_answer_tells_where_the_server_keeps_its_files(server: Server) -> None:
    """Neither a page, nor a view, nor a refusal."""
    run = server.create(outputs={"gcode_text": "x" * 204_801})
    path, sha256 = f"/runs/{run['run_id']}", run["attachments"][0]["sha256"]
    parts = [
        "",
        "/download",
        "/events",
        "/advisories",
        "/attachments",
        f"/attachments/{sha256}",
        "/attachments/verify",
        "/nope",
    ]
    answers: list[Any] = [server.get(path + part) for part in parts]
    answers += [server.get("/runs?view=full"), server.get("/runs"), server.request("GET", "/readyz")]
    for answer in answers:
        for secret in (str(server.data_dir), str(server.folder), "site-packages", "Traceback"):
            assert secret.encode() not in answer.body
            assert secret not in str(answer.headers)
