"""Keys and roles over HTTP: who is let in, as whom, from when to when, and what is told of it."""

import json
from collections.abc import Iterator

import pytest

from api.access.roles import Role
from api.access.store import add_key, revoke_key
from tests.api.http.keyed import NOBODY, Keyed, listening
from tests.commands import events_in, runlog
from tests.server import BASE, Answer, body, fresh_id, refused, running, unique, until

BODY = json.dumps(body()).encode()
JSON = {"Content-Type": "application/json"}
TOO_LARGE = b"x" * (4 * 1024 * 1024 + 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with running(Keyed(tmp_path_factory.mktemp("keyed"))) as keyed:
        yield keyed


def asked(server: Keyed, method: str, path: str, headers: dict[str, str]) -> Answer:
    return server.request(method, path, BODY if method == "POST" else None, {**JSON, **headers})


# --- who is let in


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("POST", f"{BASE}/runs", (401, 201, 403, 201)),
        ("GET", f"{BASE}/runs", (401, 200, 200, 200)),
        ("HEAD", f"{BASE}/runs", (401, 200, 200, 200)),
        ("GET", f"{BASE}/runs/recent", (401, 200, 200, 200)),
        ("GET", f"{BASE}/runs_v2/diff/a/b", (401, 404, 404, 404)),
        ("GET", f"{BASE}/events", (401, 403, 200, 200)),
        ("GET", f"{BASE}/stats", (401, 403, 200, 200)),
        ("GET", f"{BASE}/admin/projections", (401, 403, 200, 200)),
        ("POST", f"{BASE}/admin/projections/stats/retry", (401, 403, 403, 202)),
        ("POST", f"{BASE}/admin/runs/run_0123456789ab/withdraw", (401, 403, 403, 422)),
        ("GET", "/readyz", (401, 403, 200, 200)),
        ("GET", "/metrics", (401, 403, 200, 200)),
        ("GET", "/healthz", (200, 200, 200, 200)),
        ("GET", f"{BASE}/log/key", (200, 200, 200, 200)),
        ("GET", f"{BASE}/log/checkpoint", (200, 200, 200, 200)),
        ("GET", f"{BASE}/log/proof/consistency", (401, 403, 422, 422)),
    ],
)
def test_each_role_may_do_what_it_is_for(server: Keyed, method: str, path: str, statuses: tuple[int, ...]):
    given = [asked(server, method, path, NOBODY)]
    given += [asked(server, method, path, server.by(role)) for role in ("producer", "auditor", "operator")]
    assert tuple(answer.status for answer in given) == statuses


def test_a_tile_can_be_read_without_a_key(server: Keyed):
    assert asked(server, "POST", f"{BASE}/runs", server.by("producer")).status == 201
    until(lambda: asked(server, "GET", f"{BASE}/log/tile/0/000.p/1", NOBODY).status == 200, "a tile is there")


def test_who_comes_without_a_key_is_told_how_to_come_with_one(server: Keyed):
    answer = server.get("/runs")
    problem = refused(answer, 401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="runlog"'
    assert "Authorization: Bearer" in problem["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer .",
        "Bearer prod",
        "Bearer prod.",
        "Bearer {producer}x",
        "Bearer x{producer}",
        "Bearer {producer} {operator}",
        "Basic {producer}",
        "{producer}",
        "Bearer prod.{operator}",
        "Bearer \xff\xfe.\xff",
        "Bearer " + "a" * 4000,
    ],
)
def test_what_is_no_key_is_refused_on_every_closed_route_and_says_so(server: Keyed, wrong: str):
    headers = {"Authorization": wrong.format(**server.keys)}
    answer = server.get("/runs", headers)
    refused(answer, 401, "UNAUTHENTICATED")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="runlog", error="invalid_token"'
    assert server.request("GET", "/healthz", headers=headers).status == 200


def test_the_scheme_may_be_written_in_its_ways(server: Keyed):
    for scheme in ("bearer", "BEARER", "Bearer "):
        assert server.get("/runs", {"Authorization": f"{scheme} {server.keys['auditor']}"}).status == 200


def test_a_refused_role_is_told_which_it_needs(server: Keyed):
    problem = refused(asked(server, "POST", f"{BASE}/runs", server.by("auditor")), 403, "FORBIDDEN")
    assert (problem["role"], problem["needed"]) == ("auditor", ["producer", "operator"])
    assert "producer or operator" in problem["message"]


# --- the order of faults


@pytest.mark.parametrize("who", ["nobody", "auditor"])
def test_key_and_role_come_after_the_method_and_the_host_and_before_all_else(server: Keyed, who: str):
    headers = NOBODY if who == "nobody" else server.by(who)
    status, code = (401, "UNAUTHENTICATED") if who == "nobody" else (403, "FORBIDDEN")
    for path in ("/nope", f"/runs/{fresh_id()}/events", "/runs"):  # no route, no such method, a body that will not do
        for content in (TOO_LARGE, b"{", b""):
            refused(server.post(path, content, {**headers, "Content-Type": "text/plain"}), status, code)
    for method in ("PUT", "PATCH", "DELETE"):
        refused(server.request(method, f"{BASE}/runs", b"", headers), 405, "METHOD_NOT_ALLOWED")
    refused(server.get("/runs", {**headers, "Host": "alien.example"}), 403, "FORBIDDEN")
    alien = {**headers, "Origin": "https://alien.example"}
    assert refused(server.post("/runs", b"", alien), 403, "FORBIDDEN")["header"] == "Origin"


def test_an_unknown_route_is_unknown_only_to_those_who_could_use_it(server: Keyed):
    refused(server.get("/nope", server.by("producer")), 403, "FORBIDDEN")
    refused(server.get("/nope", server.by("auditor")), 404, "NOT_FOUND")
    refused(server.post("/runs/nope/nope", b"", server.by("producer")), 404, "NOT_FOUND")
    refused(server.request("GET", f"{BASE}/runs/..%2fadmin", headers=server.by("producer")), 404, "RUN_NOT_FOUND")


# --- as whom


def test_the_name_of_the_key_is_the_actor_of_all_that_it_writes(server: Keyed):
    run_id = fresh_id()
    assert server.post("/runs", body(run_id=run_id), server.by("producer")).status == 201
    assert server.post(f"/runs/{run_id}/explanation", {"status": "READY"}, server.by("operator")).status == 200
    assert server.upload(run_id, b"bytes", server.by("producer"), kind="k").status == 201
    ndjson = {"Content-Type": "application/x-ndjson"}
    assert server.post("/runs/batch", BODY + b"\n", {**server.by("producer"), **ndjson}).status == 200
    withdrawn = server.post(f"/admin/runs/{run_id}/withdraw", {"reason": "for a test"}, server.by("operator"))
    assert withdrawn.status == 200
    actors = [event["actor"] for event in events_in(server.data_dir) if event["subject"] == run_id]
    assert actors == ["prod", "oper", "prod", "oper"]
    assert events_in(server.data_dir)[-2]["actor"] == "prod"


def test_an_idempotency_key_belongs_to_one_actor(server: Keyed):
    key = {"Idempotency-Key": unique()}
    first = server.post("/runs", body(), {**server.by("producer"), **key})
    again = server.post("/runs", body(), {**server.by("producer"), **key})
    other = server.post("/runs", body(), {**server.by("operator"), **key})
    assert (first.status, again.status, other.status) == (201, 201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json == first.json
    assert other.headers["Idempotency-Replayed"] is None
    assert other.json["run_id"] != first.json["run_id"]
    uploaded = [
        server.upload(
            first.json["run_id"],
            b"x",
            {**server.by("producer"), "Idempotency-Key": key["Idempotency-Key"] + "u"},
            kind="k",
        )
        for _ in range(2)
    ]
    assert [answer.headers["Idempotency-Replayed"] for answer in uploaded] == [None, "true"]


# --- from when to when


def test_the_next_request_sees_what_the_command_did(server: Keyed):
    added = runlog("keys", "add", "late", "--role", "producer", "--data-dir", server.data_dir, "--json")
    headers, key = server.by(added.json["key"]), {"Idempotency-Key": unique()}
    first = server.post("/runs", body(), {**headers, **key})
    assert first.status == 201
    assert runlog("keys", "revoke", "late", "--data-dir", server.data_dir).code == 0
    refused(server.post("/runs", body(), {**headers, **key}), 401, "UNAUTHENTICATED")
    anew = server.by(add_key(server.data_dir, "late", Role.PRODUCER))
    refused(server.get("/runs", headers), 401, "UNAUTHENTICATED")
    assert server.post("/runs", body(), {**anew, **key}).json == first.json  # a name is one actor
    revoke_key(server.data_dir, "late")


def test_a_stream_ends_when_its_key_is_revoked(server: Keyed):
    headers = server.by(add_key(server.data_dir, "listener", Role.AUDITOR))
    with listening(server, headers) as lines:
        revoke_key(server.data_dir, "listener")
        assert asked(server, "POST", f"{BASE}/runs", server.by("producer")).status == 201
        told = "".join(lines)
    assert told.startswith("event: end\ndata: ")
    assert '"reason":"UNAUTHENTICATED"' in told


# --- what is told of it


def test_what_is_refused_is_counted_and_a_write_is_logged_with_who_what_and_why(server: Keyed):
    before = refusals(server)
    request_id = unique("id")
    named = {"X-Request-Id": request_id}
    refused(asked(server, "POST", f"{BASE}/runs", {**server.by("auditor"), **named}), 403, "FORBIDDEN")
    refused(asked(server, "POST", f"{BASE}/admin/projections/stats/retry", named), 401, "UNAUTHENTICATED")
    refused(asked(server, "POST", f"{BASE}/runs", {**named, "Origin": "http://a.example"}), 403, "FORBIDDEN")
    refused(asked(server, "GET", f"{BASE}/runs", {**named, "Host": "a.example"}), 403, "FORBIDDEN")
    refused(asked(server, "GET", f"{BASE}/runs", {**named, "Authorization": "Bearer a.b"}), 401, "UNAUTHENTICATED")
    counted = {reason: count - before.get(reason, 0) for reason, count in refusals(server).items()}
    assert {reason: n for reason, n in counted.items() if n} == {
        "role": 1,
        "no_key": 1,
        "origin": 1,
        "host": 1,
        "unknown_key": 1,
    }
    lines = [line for line in server.log_lines() if line.get("request_id") == request_id]
    assert {(line["event"], line["level"]) for line in lines} == {("access.refused", "warning")}
    assert [(line["actor"], line["route"], line["reason"]) for line in lines] == [
        ("audi", f"{BASE}/runs", "role"),
        ("anonymous", f"{BASE}/admin/projections/{{name}}/retry", "no_key"),
        ("anonymous", f"{BASE}/runs", "origin"),
    ]


def test_no_secret_is_in_anything_that_the_server_wrote_or_kept(server: Keyed):
    token = server.keys["operator"]
    secret = token.rpartition(".")[2]
    post = ("POST", f"{BASE}/runs")
    for method, path, headers in (
        (*post, {"Authorization": f"Basic {token}"}),
        (*post, {"Authorization": f"Bearer {token}x"}),
        (*post, {"Cookie": f"runlog_session={token}"}),
        (*post, {"Host": token}),
        (*post, {"Origin": f"http://{token}"}),
        (*post, {"Content-Type": token, **server.by("producer")}),
        ("POST", f"{BASE}/runs?key={token}", {}),
        ("POST", f"{BASE}/runs?key={token}", server.by("producer")),
        ("POST", f"{BASE}/{token}", {}),
        ("GET", f"{BASE}/runs/{token}", server.by("auditor")),
        ("POST", f"{BASE}/admin/projections/{token}/retry", server.by("operator")),
        ("BREW", f"/{token}", {}),
    ):
        assert asked(server, method, path, headers).status >= 400
    server.raw(f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization : Bearer {token}\r\n\r\n".encode())
    server.raw(f"GET /\0{token} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert server.form("/rmos/sign-in", f"key={token}x".encode()).status == 401
    server.signed_in("operator")
    assert secret not in server.output()
    kept = [path for path in server.data_dir.rglob("*") if path.is_file()]
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
    assert secret not in server.request("GET", "/metrics", headers=server.by("auditor")).body.decode()


def test_commands_that_go_through_a_server_show_it_their_key(server: Keyed):
    url = f"http://127.0.0.1:{server.port}"
    without = runlog("projections", "list", "--url", url)
    assert (without.code, "401 UNAUTHENTICATED" in without.err) == (3, True)
    asked_with = runlog("projections", "list", "--url", url, "--json", RUNLOG_API_KEY=server.keys["auditor"])
    assert [one["name"] for one in asked_with.json["projections"]] == ["catalog", "files", "stats"]
    v1 = server.folder / "v1.json"
    v1.write_text("{}")
    arguments = ("migrate", "--v1-path", v1, "--url", url, "--no-backup", "--data-dir", server.folder / "none")
    assert runlog(*arguments, RUNLOG_API_KEY=server.keys["operator"]).code == 0


def refusals(server: Keyed) -> dict[str, int]:
    text = server.request("GET", "/metrics", headers=server.by("auditor")).body.decode()
    rows = [line for line in text.splitlines() if line.startswith("runlog_http_refused_total{")]
    return {row.split('"')[1]: int(float(row.split()[-1])) for row in rows}
