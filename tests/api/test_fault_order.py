"""A request with several faults is answered with the first in one fixed order."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ABSENT, BASE, NOBODY, Server, body, faults, fresh_id, refused, running, unique

TOO_LARGE = b"x" * (4 * 1024 * 1024 + 1)
PLAIN = {"Content-Type": "text/plain"}
ALIEN_HOST = {"Host": "alien.example"}
ALIEN_ORIGIN = {"Origin": "https://alien.example"}


@pytest.mark.parametrize("alien", [ALIEN_HOST, ALIEN_ORIGIN], ids=["Host", "Origin"])
@pytest.mark.parametrize("path", ["/runs", "/nope", f"/runs/{NOBODY}/attach-advisory", f"/runs/{NOBODY}/events"])
def test_a_foreign_host_or_origin_comes_before_everything(server: Server, alien: dict[str, str], path: str) -> None:
    """Before the unknown route, the wrong method, the type and the body."""
    refused(server.post(path, b"{", alien | PLAIN), 403, "FORBIDDEN")


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_foreign_host_comes_before_a_forbidden_method(server: Server, method: str) -> None:
    refused(server.request(method, f"{BASE}/runs", b"", ALIEN_HOST), 403, "FORBIDDEN")


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/nope", "/runs/nope/nope", f"/runs/{NOBODY}"])
def test_a_forbidden_method_comes_before_the_unknown_route_and_the_size(server: Server, method: str, path: str) -> None:
    refused(server.request(method, BASE + path, TOO_LARGE, PLAIN), 405, "METHOD_NOT_ALLOWED")


def test_an_unknown_route_comes_before_the_size_and_the_body(server: Server) -> None:
    for content in (TOO_LARGE, b"{", b""):
        refused(server.post("/nope", content, PLAIN), 404, "NOT_FOUND")


def test_a_wrong_method_comes_before_the_size_and_the_body(server: Server) -> None:
    for content in (TOO_LARGE, b"{", b""):
        refused(server.post(f"/runs/{NOBODY}/events", content, PLAIN), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("headers", [PLAIN, {"Content-Type": ABSENT}, {"Content-Encoding": "gzip"}], ids=str)
def test_the_size_comes_before_the_type(server: Server, headers: dict[str, str]) -> None:
    refused(server.post("/runs", TOO_LARGE, headers), 413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("headers", [PLAIN, {"Content-Type": ABSENT}, {"Content-Encoding": "gzip"}], ids=str)
@pytest.mark.parametrize("content", [b"", b"{", b"{}"])
def test_the_type_comes_before_the_text_and_the_fields(server: Server, content: bytes, headers: dict[str, str]) -> None:
    refused(server.post("/runs?surprise=1", content, headers), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_the_text_comes_before_the_query(server: Server) -> None:
    """What is no JSON is a 400, whatever else is wrong."""
    refused(server.post("/runs?surprise=1", b"{", {"Idempotency-Key": "x" * 256}), 400, "MALFORMED_JSON")


def test_faults_of_the_query_are_listed(server: Server) -> None:
    """A query fault has the path `?name`, and nothing is created."""
    run_id = fresh_id()
    assert "?surprise" in faults(server.post("/runs?surprise=1", body(run_id=run_id)))
    refused(server.get(f"/runs/{run_id}"), 404, "RUN_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "sent", "wrong"),
    [
        ("/runs", body(status="FOO"), "$.status"),
        (f"/runs/{NOBODY}/attach-advisory", {"advisory_id": ""}, "$.advisory_id"),
        (f"/admin/runs/{NOBODY}/withdraw", {"reason": ""}, "$.reason"),
    ],
)
def test_faults_of_query_key_and_body_are_listed_together(
    server: Server, path: str, sent: dict[str, str], wrong: str
) -> None:
    found = faults(server.post(f"{path}?surprise=1", sent, {"Idempotency-Key": "x" * 256}))
    assert sorted(found) == sorted(["?surprise", "Idempotency-Key", wrong])


def test_the_fields_come_before_a_used_key(server: Server) -> None:
    """A hash that disagrees, too."""
    key = {"Idempotency-Key": unique()}
    assert server.post("/runs", body(), key).status == 201
    assert faults(server.post("/runs", body(status="FOO"), key)) == ["$.status"]
    disagreeing = body(hashes={"feasibility_sha256": "0" * 64})
    refused(server.post("/runs", disagreeing, key), 422, "HASH_MISMATCH")


def test_a_used_key_comes_before_the_missing_run(server: Server) -> None:
    key = {"Idempotency-Key": unique()}
    assert server.post("/runs", body(), key).status == 201
    again = server.post(f"/runs/{NOBODY}/attach-advisory", {"advisory_id": "a"}, key)
    refused(again, 422, "IDEMPOTENCY_KEY_REUSED")


def test_a_replay_comes_before_the_conflict(server: Server) -> None:
    """A retry of the create that took the id is no conflict with itself."""
    key, sent = {"Idempotency-Key": unique()}, body(run_id=fresh_id())
    first, again = server.post("/runs", sent, key), server.post("/runs", sent, key)
    assert (first.status, again.status) == (201, 201)
    refused(server.post("/runs", sent, {"Idempotency-Key": unique()}), 409, "ARTIFACT_EXISTS")


def test_a_used_key_comes_before_the_conflict(server: Server) -> None:
    key, run_id = {"Idempotency-Key": unique()}, fresh_id()
    assert server.post("/runs", body(run_id=run_id), key).status == 201
    refused(server.post("/runs", body(run_id=run_id, mode="other"), key), 422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("run_id", [NOBODY, "nope"])
def test_the_fields_come_before_the_missing_run(server: Server, run_id: str) -> None:
    """Also where the id is none."""
    assert faults(server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": ""})) == ["$.advisory_id"]
    assert faults(server.post(f"/runs/{run_id}/explanation", {"status": "FOO"})) == ["$.status"]
    assert faults(server.upload(run_id, b"bytes")) == ["?kind"]
    assert faults(server.get(f"/runs/{run_id}?surprise=1")) == ["?surprise"]
    refused(server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"}), 404, "RUN_NOT_FOUND")
    refused(server.post(f"/runs/{run_id}/explanation", {"status": "READY"}), 404, "RUN_NOT_FOUND")
    refused(server.upload(run_id, b"bytes", kind="k"), 404, "RUN_NOT_FOUND")


def test_a_digest_that_disagrees_comes_before_the_missing_run(server: Server) -> None:
    wrong = {"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}
    refused(server.upload(NOBODY, b"bytes", wrong, kind="k"), 422, "HASH_MISMATCH")
    refused(server.upload(NOBODY, [b"by", b"tes"], wrong, kind="k"), 422, "HASH_MISMATCH")
    refused(server.upload(NOBODY, [b"by", b"tes"], kind="k"), 404, "RUN_NOT_FOUND")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes small attachments only."""
    folder: Path = tmp_path_factory.mktemp("narrow")
    (folder / "data").mkdir()
    (folder / "data" / "runlog.toml").write_text("attachment_bytes_max = 2000\n")
    with running(Server(folder)) as server:
        yield server


@pytest.mark.parametrize("content", [b"x" * 2001, [b"x" * 1000, b"x" * 1001]], ids=["known", "chunked"])
@pytest.mark.parametrize("run_id", [NOBODY, "nope"])
def test_the_size_of_an_upload_comes_before_its_metadata(
    narrow: Server, run_id: str, content: bytes | list[bytes]
) -> None:
    """However it is sent."""
    refused(narrow.upload(run_id, content), 413, "BODY_TOO_LARGE")
    refused(narrow.upload(run_id, content, {"Content-Encoding": "gzip"}), 413, "BODY_TOO_LARGE")
    refused(narrow.upload(run_id, content, kind="k"), 413, "BODY_TOO_LARGE")
    allowed = b"".join(content)[:2000] if isinstance(content, list) else content[:2000]
    small = [allowed] if isinstance(content, list) else allowed
    refused(narrow.upload(run_id, small, {"Content-Encoding": "gzip"}), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert faults(narrow.upload(run_id, small)) == ["?kind"]


def test_a_missing_run_comes_before_one_that_was_withdrawn(server: Server) -> None:
    gone = server.create()["run_id"]
    assert server.post(f"/admin/runs/{gone}/withdraw", {"reason": "a mistake"}).status == 200
    for a, b in ((gone, NOBODY), (NOBODY, gone)):
        refused(server.get(f"/runs/diff?a={a}&b={b}"), 404, "RUN_NOT_FOUND")
        refused(server.get(f"/runs_v2/diff/{a}/{b}"), 404, "RUN_NOT_FOUND")
    refused(server.get(f"/runs_v2/diff/{gone}/{gone}"), 410, "RUN_WITHDRAWN")


def test_the_type_of_lines_comes_before_the_query(server: Server) -> None:
    for path in ("/runs/batch", "/admin/import"):
        refused(server.post(f"{path}?surprise=1", b"", PLAIN), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_faults_of_the_fields_come_before_a_hash_that_disagrees(server: Server) -> None:
    """Every fault of form is listed; what disagrees is judged of a well-formed body only."""
    wrong = body(status="FOO", hashes={"feasibility_sha256": "0" * 64})
    assert "$.status" in faults(server.post("/runs", wrong))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        'application/json;charset="UTF-8"',
        "application/json; v=1",
    ],
)
def test_the_json_type_may_be_written_in_its_ways(server: Server, content_type: str) -> None:
    assert server.post("/runs", body(), {"Content-Type": content_type}).status == 201


@pytest.mark.parametrize(
    "content_type",
    [
        ABSENT,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; v=1; charset=latin-1",
        "application/x-ndjson",
        "application/octet-stream",
        "nonsense",
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/runs", f"/runs/{NOBODY}/attach-advisory", f"/runs/{NOBODY}/explanation"])
def test_any_other_type_is_a_415(server: Server, path: str, content_type: str) -> None:
    refused(server.post(path, body(), {"Content-Type": content_type}), 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "nonsense"])
def test_a_compressed_body_is_a_415(server: Server, encoding: str) -> None:
    answer = server.post("/runs", json.dumps(body()).encode(), {"Content-Encoding": encoding})
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_identity_is_no_encoding(server: Server) -> None:
    assert server.post("/runs", body(), {"Content-Encoding": "identity"}).status == 201
