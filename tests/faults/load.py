"""Clients that write with all their might, and remember what they were told; and what must hold afterwards."""

import http.client
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from tests.commands import events_in, runlog
from tests.server import BASE, Server, body, digest, unique, until


@frozen
class Sent:
    """One request under a key of its own; `run` is what its 201 said, None where none came."""

    key: str
    content: bytes
    run: dict[str, Any] | None


@frozen
class Added:
    """One request that added to a run under a key of its own; `name` is the advisory's or the attachment's."""

    key: str
    path: str
    content: bytes
    name: str
    is_acknowledged: bool


@define
class Load:
    """Threads that write, each over a connection of its own, until the server is gone or says anything but 200 or 201.

    One of three adds advisories and attachments to the run *adding_to*, if there is one; the others post runs.
    """

    port: int
    adding_to: str | None = None
    sent: list[Sent] = field(factory=list)
    added: list[Added] = field(factory=list)
    acknowledged: int = 0
    others: list[tuple[int, bytes]] = field(factory=list)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self, threads: int = 6) -> "Load":
        """Begin."""
        adders = threads // 3 if self.adding_to else 0
        writes = [self._is_added] * adders + [self._is_acknowledged] * (threads - adders)
        self._threads = [threading.Thread(target=self._write, args=[write], daemon=True) for write in writes]
        for thread in self._threads:
            thread.start()
        return self

    def join(self) -> list[Sent]:
        """Return all that was sent, once every thread has met the end of the server."""
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a client still hangs though the server is gone"
        return self.sent

    def _write(self, write: Callable[[http.client.HTTPConnection], bool]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            while write(connection):
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

    def _is_added(self, connection: http.client.HTTPConnection) -> bool:
        key = unique("key")
        content: bytes = json.dumps({"advisory_id": key}).encode()
        path, name, kind = f"/runs/{self.adding_to}/attach-advisory", key, "application/json"
        if len(self.added) % 2:
            content = key.encode() * 500
            path, name, kind = f"/runs/{self.adding_to}/attachments?kind=k", digest(content), "application/octet-stream"
        is_acknowledged = False
        try:
            connection.request("POST", BASE + path, content, {"Content-Type": kind, "Idempotency-Key": key})
            response = connection.getresponse()
            answer = response.read()
            is_acknowledged = response.status in (200, 201)
            if not is_acknowledged:
                self.others.append((response.status, answer))
        except (OSError, http.client.HTTPException):
            pass  # in doubt
        self.added.append(Added(key, path, content, name, is_acknowledged))
        return is_acknowledged


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


def every_acknowledged_addition_is_served(server: Server, run_id: str, added: list[Added]) -> None:
    """Each once, each attachment with its bytes; and nothing that nobody sent."""
    view = server.run(run_id)
    served = [one["advisory_id"] for one in view["advisory_inputs"]]
    served += [one["sha256"] for one in view["attachments"] or []]
    assert len(served) == len(set(served))
    assert {one.name for one in added if one.is_acknowledged} <= set(served) <= {one.name for one in added}
    for one in (one for one in added if one.name in served and "/attachments" in one.path):
        assert server.get(f"/runs/{run_id}/attachments/{one.name}/download").body == one.content


def every_addition_is_settled(server: Server, added: list[Added]) -> list[Added]:
    """Retry everything with its key; return all of it as acknowledged."""
    for one in added:
        kind = "application/octet-stream" if "/attachments" in one.path else "application/json"
        answer = server.post(one.path, one.content, {"Idempotency-Key": one.key, "Content-Type": kind})
        assert answer.status in (200, 201), answer.body
        assert not one.is_acknowledged or "Idempotency-Replayed" in answer.headers
    return [evolve(one, is_acknowledged=True) for one in added]


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

    until(is_there, "the projections were at the head", 60)


def all_agrees(server: Server, sent: list[Sent], added: Sequence[Added] = ()) -> None:
    """The log, the lists and the tree hold each of these once, and nothing else; the server is stopped for it."""
    ids = sorted(one.run["run_id"] for one in sent if one.run is not None)
    at_the_head(server)
    assert sorted(ids_listed(server)) == ids
    assert server.get("/runs", query={"include_total": "true", "limit": 1}).json["total"] == len(ids)
    assert server.stop() == 0
    events = events_in(server.data_dir)
    assert sorted(event["subject"] for event in events if event["type"] == "rmos.run.created.v1") == ids
    assert sorted(event["idempotencykey"] for event in events) == sorted(one.key for one in (*sent, *added))
    verified = runlog("log", "verify", "--json", "--data-dir", server.data_dir)
    assert verified.code == 0, verified
    checked = runlog("projections", "check", "files", "--json", "--data-dir", server.data_dir)
    assert checked.code == 0, checked
    assert checked.json["files"] == len(ids) + sum(one.path.endswith("/attach-advisory") for one in added)
