"""Clients that post runs with all their might, and remember what they were told; and what must hold afterwards."""

import http.client
import json
import threading
from typing import Any

from attrs import define, field, frozen

from tests.commands import events_in, runlog
from tests.server import BASE, Server, body, unique, until


@frozen
class Sent:
    """One request under a key of its own; `run` is what its 201 said, None where none came."""

    key: str
    content: bytes
    run: dict[str, Any] | None


@define
class Load:
    """Threads that post runs, each over a connection of its own, until the server is gone or says anything but 201."""

    port: int
    sent: list[Sent] = field(factory=list)
    acknowledged: int = 0
    others: list[tuple[int, bytes]] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self, threads: int = 6) -> "Load":
        """Begin."""
        self._threads = [threading.Thread(target=self._post, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> list[Sent]:
        """Return all that was sent, once every thread has met the end of the server."""
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client still hangs though the server is gone"
        return self.sent

    def _post(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            while self._is_acknowledged(connection):
                self.acknowledged += 1
        finally:
            connection.close()

    def _is_acknowledged(self, connection: http.client.HTTPConnection) -> bool:
        key = unique("key")
        content = json.dumps(body(meta={"of": key})).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        run = None
        try:
            connection.request("POST", f"{BASE}/runs", content, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status == 201:
                run = json.loads(answer)
            else:
                self.others.append((response.status, answer))
        except (OSError, http.client.HTTPException):
            pass  # in doubt
        self.sent.append(Sent(key, content, run))
        return run is not None


def post(server: Server, **changes: Any) -> Sent:
    """Post one run that must succeed."""
    sent = try_to_post(server, **changes)[1]
    assert sent.run is not None
    return sent


def try_to_post(server: Server, **changes: Any) -> tuple[Any, Sent]:
    """Post one run; return the answer, and what was sent."""
    key = unique("key")
    content = json.dumps(body(**({"meta": {"of": key}} | changes))).encode()
    answer = server.post("/runs", content, {"Idempotency-Key": key})
    return answer, Sent(key, content, answer.json if answer.status == 201 else None)


def every_acknowledged_run_is_served(server: Server, sent: list[Sent]) -> None:
    """With the very bytes that were acknowledged: the hash is theirs."""
    for one in sent:
        if one.run is not None:
            served = server.run(one.run["run_id"])
            assert served["log"]["event_sha256"] == one.run["log"]["event_sha256"]
            assert served == one.run


def a_retry_never_doubles(server: Server, sent: list[Sent]) -> list[Sent]:
    """Retry everything, twice what was in doubt; return all of it as acknowledged."""
    settled = []
    for one in sent:
        run = one.run or retried(server, one)
        again = retried(server, one)
        assert again == run
        assert again["meta"]["of"] == one.key
        settled.append(Sent(one.key, one.content, run))
    return settled


def retried(server: Server, one: Sent) -> dict[str, Any]:
    """Send it again with its key; return the run."""
    answer = server.post("/runs", one.content, {"Idempotency-Key": one.key})
    assert answer.status == 201, answer.body
    run: dict[str, Any] = answer.json
    return run


def ids_listed(server: Server) -> list[str]:
    """Return the ids of every run that the lists show, page by page."""
    ids: list[str] = []
    query: dict[str, Any] = {"limit": 200}
    while True:
        answer = server.get("/runs", query=query)
        assert answer.status == 200, answer.body
        ids += [item["run_id"] for item in answer.json["items"]]
        if answer.json["next_cursor"] is None:
            return ids
        query["cursor"] = answer.json["next_cursor"]


def at_the_head(server: Server) -> None:
    """Wait until both projections have folded everything."""

    def is_there() -> bool:
        standings = server.request("GET", "/readyz").json["projections"].values()
        return all(one["lag"] == 0 for one in standings)

    until(is_there, "the projections were at the head", 20)


def all_agrees(server: Server, sent: list[Sent]) -> None:
    """The log, the lists and the tree hold each of these runs once, and nothing else; the server is stopped for it."""
    ids = sorted(one.run["run_id"] for one in sent if one.run is not None)
    at_the_head(server)
    assert sorted(ids_listed(server)) == ids
    assert server.get("/runs", query={"include_total": "true", "limit": 1}).json["total"] == len(ids)
    assert server.stop() == 0
    events = events_in(server.data_dir)
    assert sorted(event["subject"] for event in events) == ids
    assert sorted(event["idempotencykey"] for event in events) == sorted(one.key for one in sent)
    checked = runlog("projections", "check", "files", "--json", "--data-dir", server.data_dir)
    assert checked.code == 0, checked
    assert checked.json["files"] == len(ids)
