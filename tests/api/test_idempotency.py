"""Idempotency-Key: a retry gets the recorded answer, and never doubles anything."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventlog.canonical import sha256_json
from tests.server import BASE, Answer, Server, body, faults, fresh_id, refused, unique

RECORDED = ("Location", "ETag", "X-Log-Position", "Content-Type")


def is_replay_of(again: Answer, first: Answer) -> bool:
    """Check that *again* is what *first* was, and says that it is a replay."""
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status, again.json) == (first.status, first.json)
    return [again.headers[name] for name in RECORDED] == [first.headers[name] for name in RECORDED]


def test_a_retry_gets_the_same_answer_and_makes_no_second_run(server: Server) -> None:
    """Status, body, place, version and position are those of the first."""
    key, sent = {"Idempotency-Key": unique()}, body()
    first = server.post("/runs", sent, key)
    assert first.status == 201
    assert is_replay_of(server.post("/runs", sent, key), first)
    assert server.create()["log"]["seq"] == first.json["log"]["seq"] + 1


def test_a_retry_gets_the_answer_as_of_then(server: Server) -> None:
    """What was added to the run since does not show in it."""
    key, sent = {"Idempotency-Key": unique()}, body(run_id=fresh_id())
    first = server.post("/runs", sent, key)
    assert server.post(f"/runs/{sent['run_id']}/attach-advisory", {"advisory_id": "later"}).status == 200
    assert is_replay_of(server.post("/runs", sent, key), first)
    assert server.run(sent["run_id"]) != first.json


def test_the_same_value_in_other_writing_is_the_same_request(server: Server) -> None:
    """The parsed body is compared, not its bytes; the request id does not count."""
    key, sent = unique(), body()
    first = server.post("/runs", sent, {"Idempotency-Key": key, "X-Request-Id": "one"})
    other = json.dumps(dict(reversed(sent.items())), indent=3).encode()
    again = server.post("/runs", other, {"Idempotency-Key": key, "X-Request-Id": "two"})
    assert is_replay_of(again, first)
    assert again.headers["X-Request-Id"] == "two"
    assert again.json["meta"]["request_id"] == "one"


def test_the_same_key_with_another_request_is_refused(server: Server) -> None:
    """Another body, another path or another query; 1 and 1.0 are two values."""
    key = {"Idempotency-Key": unique()}
    first = server.post("/runs", body(score=1), key)
    assert first.status == 201
    others = [
        server.post("/runs", body(score=1.0), key),
        server.post("/runs", body(score=1, meta={}), key),
        server.post(f"/runs/{first.json['run_id']}/explanation", {"status": "READY"}, key),
        server.upload(first.json["run_id"], b"bytes", key, kind="k"),
    ]
    for other in others:
        refused(other, 422, "IDEMPOTENCY_KEY_REUSED")
    assert server.run(first.json["run_id"]) == first.json


def test_every_post_that_adds_to_a_run_can_be_retried(server: Server) -> None:
    """The answer is that of then, even when the same thing has been changed since."""
    run_id = server.create()["run_id"]
    requests = [
        lambda key: server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"}, key),
        lambda key: server.post(f"/runs/{run_id}/explanation", {"status": "READY", "summary": "s"}, key),
        lambda key: server.upload(run_id, b"some bytes", {"Content-Type": "text/plain", **key}, kind="note"),
    ]
    keys = [{"Idempotency-Key": unique()} for _ in requests]
    firsts = [send(key) for send, key in zip(requests, keys, strict=True)]
    assert [first.status for first in firsts] == [200, 200, 201]
    assert server.post(f"/runs/{run_id}/explanation", {"status": "ERROR"}).status == 200
    now = server.run(run_id)
    for send, key, first in zip(requests, keys, firsts, strict=True):
        assert is_replay_of(send(key), first)
    assert server.run(run_id) == now


def test_an_upload_with_other_bytes_type_or_query_is_another_request(server: Server) -> None:
    run_id, key = server.create()["run_id"], {"Idempotency-Key": unique()}
    assert server.upload(run_id, b"bytes", key | {"Content-Type": "text/plain"}, kind="k").status == 201
    others = [
        server.upload(run_id, b"other", key | {"Content-Type": "text/plain"}, kind="k"),
        server.upload(run_id, b"bytes", key | {"Content-Type": "text/html"}, kind="k"),
        server.upload(run_id, b"bytes", key | {"Content-Type": "text/plain"}, kind="k", filename="f"),
    ]
    for other in others:
        refused(other, 422, "IDEMPOTENCY_KEY_REUSED")
    assert len(server.run(run_id)["attachments"]) == 1


def test_a_refused_request_does_not_use_up_its_key(server: Server) -> None:
    """A 422 and a 409 leave it free for the corrected request."""
    key, taken = {"Idempotency-Key": unique()}, server.create(run_id=fresh_id())["run_id"]
    assert server.post("/runs", body(status="FOO"), key).status == 422
    assert server.post("/runs", body(run_id=taken), key).status == 409
    assert server.post(f"/runs/{fresh_id()}/explanation", {"status": "READY"}, key).status == 404
    answer = server.post("/runs", body(), key)
    assert answer.status == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_a_request_that_changed_nothing_does_not_use_up_its_key(server: Server) -> None:
    """Only one that wrote an event does."""
    run_id, key = server.create()["run_id"], {"Idempotency-Key": unique()}
    for _ in range(2):
        assert server.post(f"/runs/{run_id}/explanation", {"status": "NONE"}, key).status == 200
    answer = server.post(f"/runs/{run_id}/explanation", {"status": "READY"}, key)
    assert (answer.status, answer.json["explanation_status"]) == (200, "READY")
    assert "Idempotency-Replayed" not in answer.headers


def test_of_concurrent_retries_one_writes_and_the_others_get_its_answer(server: Server) -> None:
    """All twenty hear of the same run."""
    key, sent = {"Idempotency-Key": unique()}, body()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.post("/runs", sent, key), range(20)))
    assert {answer.status for answer in answers} == {201}
    assert [answer.json for answer in answers] == [answers[0].json] * 20
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1


@pytest.mark.parametrize("key", ["x", "x" * 255, "!~#'\"{}|", "a b"])
def test_a_key_may_be_1_to_255_printable_characters(server: Server, key: str) -> None:
    key = key if len(key) == 255 else f"{key} {unique()}"
    first = server.post("/runs", body(), {"Idempotency-Key": key})
    assert first.status == 201
    assert is_replay_of(server.post("/runs", body(), {"Idempotency-Key": key}), first)


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"], ids=ascii)
def test_any_other_key_is_a_422(server: Server, key: str) -> None:
    """A key that could not be kept must not be ignored: the retry would double."""
    run_id = fresh_id()
    assert faults(server.post("/runs", body(run_id=run_id), {"Idempotency-Key": key}))
    refused(server.get(f"/runs/{run_id}"), 404, "RUN_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "content_type", "content", "others"),
    [
        ("/runs?x=1", "application/json", body(), ["?x"]),
        ("/runs/batch?x=1", "application/x-ndjson", body(), ["?x"]),
        ("/runs/{}/attachments", "text/plain", body(), ["?kind"]),
        ("/admin/import", "application/x-ndjson", {"import": {"v1_path": "v1.json", "v1_sha256": "0" * 64}}, []),
    ],
    ids=["run", "batch", "upload", "import"],
)
def test_two_keys_are_a_422(
    server: Server, path: str, content_type: str, content: dict[str, object], others: list[str]
) -> None:
    """Under which of them a retry would come cannot be known."""
    run, sent = server.create(), json.dumps(content)
    head = f"POST {BASE}{path.format(run['run_id'])} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
    keys = f"Idempotency-Key: {unique()}\r\nIdempotency-Key: {unique()}\r\n"
    answer = server.raw(f"{head}{keys}Content-Length: {len(sent)}\r\n\r\n{sent}".encode())
    assert faults(answer) == [*others, "Idempotency-Key"]
    assert server.create()["log"]["seq"] == run["log"]["seq"] + 1


def test_keys_that_differ_in_case_are_two(server: Server) -> None:
    key = unique()
    first = server.post("/runs", body(), {"Idempotency-Key": key + "a"}).json
    assert server.post("/runs", body(), {"Idempotency-Key": key + "A"}).json["run_id"] != first["run_id"]


def test_the_key_and_the_hash_of_the_request_stand_in_the_event(server: Server) -> None:
    """The hash is that of method, decoded path, query and parsed body."""
    key, sent = unique(), body(meta={"n": 1.0, "é": [2**70]})
    run_id = server.post("/runs", sent, {"Idempotency-Key": key}).json["run_id"]
    (entry,) = server.get(f"/runs/{run_id}/events").json["events"]
    assert entry["event"]["idempotencykey"] == key
    request = {"method": "POST", "path": f"{BASE}/runs", "query": {}, "body": sent}
    assert entry["event"]["requestsha256"] == sha256_json(request)


def test_keys_survive_a_restart_and_a_kill(own_server: Server) -> None:
    """They are in the log."""
    run_key, advisory_key = {"Idempotency-Key": unique()}, {"Idempotency-Key": unique()}
    run_id = fresh_id()
    sent, path, advisory = body(run_id=run_id), f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"}
    created = own_server.post("/runs", sent, run_key)
    attached = own_server.post(path, advisory, advisory_key)
    assert (created.status, attached.status) == (201, 200)
    own_server.restart()
    assert is_replay_of(own_server.post("/runs", sent, run_key), created)
    own_server.kill()
    own_server.start()
    assert is_replay_of(own_server.post(path, advisory, advisory_key), attached)
    refused(own_server.post("/runs", body(mode="other"), run_key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert own_server.run(run_id) == attached.json
