"""POST /runs: what is taken out, shortened or moved into an attachment, and how large a body may be."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.canonical import sha256_json
from tests.server import BASE, FEW, JSON, TEXT, Server, body, canonical, digest, faults, fresh_id, refused

INLINE_MAX = 204_800
BODY_MAX = 4 * 1024 * 1024


# --- the client's own feasibility


def stripped(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return `meta.stripped`, in the order of its paths."""
    return sorted(run["meta"]["stripped"], key=lambda entry: entry["path"])


def test_the_clients_own_feasibility_never_gets_in(server: Server) -> None:
    """It is removed at any depth; where it stood and its hash are kept, once for each outermost one."""
    inner = {"ok": True, "feasibility": {"deeper": 1}}
    run = server.create(
        request_summary={
            "a": {"b": [{"feasibility": inner, "c": 1}, 2]},
            "feasibility": None,
            "d": [[{"feasibility": 0}]],
        },
        meta={"mine": 1},
    )
    assert run["request_summary"] == {"a": {"b": [{"c": 1}, 2]}, "d": [[{}]]}
    assert run["meta"]["mine"] == 1
    assert stripped(run) == [
        {"path": "$.request_summary.a.b[0].feasibility", "sha256": sha256_json(inner)},
        {"path": "$.request_summary.d[0][0].feasibility", "sha256": sha256_json(0)},
        {"path": "$.request_summary.feasibility", "sha256": None},
    ]
    assert b"deeper" not in server.get(f"/runs/{run['run_id']}/events").body


def test_stripping_touches_only_that_key_of_the_request_summary(server: Server) -> None:
    """Other keys, and other fields, keep theirs; without a find there is no `meta.stripped`."""
    summary = {"Feasibility": 1, "feasibility_hint": 2, "x": "feasibility", "y": ["feasibility"]}
    feasibility = {"feasibility": {"feasibility": 1}}
    run = server.create(
        request_summary=summary,
        feasibility=feasibility,
        details=feasibility,
        meta=feasibility,
        outputs={"opplan_json": feasibility},
    )
    assert run["request_summary"] == summary
    assert (
        run["feasibility"] == run["decision"]["details"] == run["meta"] == run["outputs"]["opplan_json"] == feasibility
    )


def without_feasibility(value: Any) -> Any:
    """The rule, said a second time."""
    if isinstance(value, dict):
        return {key: without_feasibility(member) for key, member in value.items() if key != "feasibility"}
    return [without_feasibility(item) for item in value] if isinstance(value, list) else value


KEYS = st.just("feasibility") | TEXT
NESTED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


@given(summary=st.dictionaries(KEYS, NESTED, max_size=4))
@FEW
def test_whatever_the_request_summary_no_feasibility_is_left(server: Server, summary: dict[str, Any]) -> None:
    """And everything else is."""
    run = server.create(request_summary=summary)
    assert canonical(run["request_summary"]) == canonical(without_feasibility(summary))
    assert ("stripped" in run["meta"]) == (run["request_summary"] != summary)


# --- long values of the request summary


@pytest.mark.parametrize("text", ["x" * 8192, "é" * 4096], ids=["ascii", "two bytes each"])
def test_a_string_of_8_kib_stays(server: Server, text: str) -> None:
    assert server.create(request_summary={"s": text})["request_summary"] == {"s": text}


@pytest.mark.parametrize("text", ["x" * 8193, "é" * 4096 + "x", "😀" * 2049], ids=["ascii", "two bytes", "four bytes"])
def test_a_longer_string_becomes_its_hash_size_and_head(server: Server, text: str) -> None:
    """The size is in bytes, the head in characters."""
    short = {"truncated": True, "sha256": sha256_json(text), "size": len(text.encode()), "head": text[:256]}
    run = server.create(request_summary={"s": text, "deep": [{"s": text}]})
    assert run["request_summary"] == {"s": short, "deep": [{"s": short}]}


def test_an_array_of_200_items_stays_and_one_of_201_becomes_its_hash_size_and_head(server: Server) -> None:
    whole, long = list(range(200)), list(range(201))
    short = {"truncated": True, "sha256": sha256_json(long), "size": 201, "head": long[:10]}
    assert server.create(request_summary={"a": whole, "b": {"c": long}})["request_summary"] == {
        "a": whole,
        "b": {"c": short},
    }


def test_what_stands_in_a_head_is_not_shortened_again(server: Server) -> None:
    """The outermost goes first, and what it holds is kept as it is."""
    items = ["x" * 9000, list(range(300))] + [0] * 199
    short = server.create(request_summary={"a": items})["request_summary"]["a"]
    assert short == {"truncated": True, "sha256": sha256_json(items), "size": 201, "head": items[:10]}


def test_shortening_comes_after_stripping(server: Server) -> None:
    """The hash is that of what is left, and what was stripped behind the head is listed too."""
    items = [{"n": n, "feasibility": n} for n in range(201)]
    left = [{"n": n} for n in range(201)]
    run = server.create(request_summary={"a": items})
    assert run["request_summary"]["a"] == {
        "truncated": True,
        "sha256": sha256_json(left),
        "size": 201,
        "head": left[:10],
    }
    assert len(run["meta"]["stripped"]) == 201
    assert {"path": "$.request_summary.a[200].feasibility", "sha256": sha256_json(200)} in run["meta"]["stripped"]


def test_only_the_request_summary_is_shortened(server: Server) -> None:
    """Feasibility, details and meta are evidence and stay whole."""
    large = {"s": "x" * 10_000, "a": list(range(500))}
    run = server.create(feasibility=large, details=large, meta=large, toolpaths=large, block_reason="r" * 10_000)
    assert run["feasibility"] == run["decision"]["details"] == run["meta"] == large
    assert run["decision"]["block_reason"] == "r" * 10_000


# --- large outputs


def test_gcode_up_to_204800_bytes_stays_inline(server: Server) -> None:
    text = "é" * (INLINE_MAX // 2)
    run = server.create(outputs={"gcode_text": text, "gcode_path": "mine.nc"})
    assert (run["outputs"]["gcode_text"], run["outputs"]["gcode_path"]) == (text, "mine.nc")
    assert run["attachments"] is None


def test_larger_gcode_becomes_an_attachment_in_the_same_append(server: Server) -> None:
    """One request, two events that follow each other; the text is there to download."""
    text = "G1 X1.25 (größer)\n" * 11_000
    answer = server.post("/runs", body(outputs={"gcode_text": text}))
    assert answer.status == 201
    run, sha256 = answer.json, digest(text.encode())
    run_id = run["run_id"]
    assert run["hashes"]["gcode_sha256"] == sha256
    assert run["outputs"]["gcode_text"] is None
    assert run["outputs"]["gcode_path"] == f"attachments/{sha256}"
    (attachment,) = run["attachments"]
    assert attachment == {
        "sha256": sha256,
        "kind": "gcode",
        "mime": "text/plain; charset=utf-8",
        "filename": f"{run_id}.nc",
        "size_bytes": len(text.encode()),
        "created_at_utc": attachment["created_at_utc"],
    }
    assert answer.headers["X-Log-Position"] == str(run["log"]["last_seq"]) == str(run["log"]["seq"] + 1)
    assert run["log"]["revision"] == 1
    assert server.run(run_id) == run
    assert server.get(f"/runs/{run_id}/attachments/{sha256}/download").body == text.encode()
    created, added = server.get(f"/runs/{run_id}/events").json["events"]
    assert (created["event"]["type"], added["event"]["type"]) == ("rmos.run.created.v1", "rmos.attachment.added.v1")
    assert added["event"]["data"] == {"attachment": attachment}
    assert added["event"]["time"] == attachment["created_at_utc"]


def test_a_larger_opplan_becomes_an_attachment_of_its_canonical_bytes(server: Server) -> None:
    """Sizes are those of the canonical form, however it was sent."""
    edge, plan = {"p": "é" * ((INLINE_MAX - 8) // 2)}, {"b": 1.0, "a": "ü" * (INLINE_MAX // 2)}
    assert len(canonical(edge)) == INLINE_MAX
    assert server.create(outputs={"opplan_json": edge})["outputs"]["opplan_json"] == edge
    run = server.create(outputs={"opplan_json": plan, "gcode_text": "x" * (INLINE_MAX + 1)})
    sha256 = sha256_json(plan)
    assert run["hashes"]["opplan_sha256"] == sha256
    assert run["outputs"]["opplan_json"] is None
    assert run["outputs"]["opplan_path"] == f"attachments/{sha256}"
    assert run["log"]["revision"] == 2
    assert {a["kind"]: a["filename"] for a in run["attachments"]} == {
        "gcode": f"{run['run_id']}.nc",
        "opplan": f"{run['run_id']}.opplan.json",
    }
    download = server.get(f"/runs/{run['run_id']}/attachments/{sha256}/download")
    assert download.body == canonical(plan)
    assert download.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("payload", "path"),
    [({"gcode_text": "x" * (INLINE_MAX + 1)}, "gcode_path"), ({"opplan_json": "x" * INLINE_MAX}, "opplan_path")],
    ids=["gcode", "opplan"],
)
def test_a_path_beside_a_payload_that_moves_is_a_422(server: Server, payload: dict[str, str], path: str) -> None:
    """The path would have to be overwritten; so it is refused, and nothing is written."""
    run_id = fresh_id()
    assert faults(server.post("/runs", body(run_id=run_id, outputs={**payload, path: "mine"}))) == [f"$.outputs.{path}"]
    refused(server.get(f"/runs/{run_id}"), 404, "RUN_NOT_FOUND")


MOVES = {
    "gcode_text": "x" * (INLINE_MAX + 1),
    "gcode_path": "mine",
    "opplan_json": "é" * (INLINE_MAX // 2),
    "opplan_path": "mine",
}
BESIDE = ["$.outputs.gcode_path", "$.outputs.opplan_path"]


@pytest.mark.parametrize(
    ("query", "changes", "found"),
    [
        ("", {}, BESIDE),
        ("", {"score": "x"}, [*BESIDE, "$.score"]),
        (
            "",
            {"outputs": {**MOVES, "preview_svg_path": 1, "surprise": 2}},
            [*BESIDE, "$.outputs.preview_svg_path", "$.outputs.surprise"],
        ),
        ("?x=1", {}, [*BESIDE, "?x"]),
    ],
    ids=["alone", "beside a field", "beside fields of the outputs", "beside the query"],
)
def test_a_path_beside_a_payload_that_moves_is_listed_with_all_other_faults(
    server: Server, query: str, changes: dict[str, Any], found: list[str]
) -> None:
    assert faults(server.post(f"/runs{query}", body(**{"outputs": MOVES, **changes}))) == sorted(found)


def test_a_create_that_conflicts_adds_no_attachment(server: Server) -> None:
    """What comes with a run comes wholly or not at all."""
    first = server.create(run_id=fresh_id())
    again = body(run_id=first["run_id"], outputs={"gcode_text": "y" * (INLINE_MAX + 1)})
    refused(server.post("/runs", again), 409, "ARTIFACT_EXISTS")
    assert server.run(first["run_id"]) == first


# --- the body as a whole


def of_size(size: int) -> bytes:
    """Return a valid body of exactly *size* bytes."""
    empty = len(json.dumps(body(meta={"filler": ""})))
    return json.dumps(body(meta={"filler": "x" * (size - empty)})).encode()


def test_a_body_of_4_mib_is_taken(server: Server) -> None:
    answer = server.post("/runs", of_size(BODY_MAX))
    assert answer.status == 201
    assert server.run(answer.json["run_id"]) == answer.json


def test_a_larger_body_is_a_413(server: Server) -> None:
    refused(server.post("/runs", of_size(BODY_MAX + 1)), 413, "BODY_TOO_LARGE")
    assert server.post("/runs", body()).status == 201


def test_a_larger_body_in_chunks_is_a_413(server: Server) -> None:
    """Also when its length was not announced."""
    whole = of_size(BODY_MAX + 1)
    chunks = (whole[start : start + 65_536] for start in range(0, len(whole), 65_536))
    answer = server.request("POST", f"{BASE}/runs", chunks, {"Content-Type": "application/json"})
    refused(answer, 413, "BODY_TOO_LARGE")


def test_a_body_in_chunks_is_taken(server: Server) -> None:
    whole = of_size(100_000)
    chunks = (whole[start : start + 1_000] for start in range(0, len(whole), 1_000))
    assert server.request("POST", f"{BASE}/runs", chunks, {"Content-Type": "application/json"}).status == 201


def test_an_announced_length_above_the_limit_is_a_413_at_once(server: Server) -> None:
    """The server does not wait for a body that it will not take."""
    head = f"POST {BASE}/runs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    refused(server.raw(f"{head}Content-Length: {BODY_MAX + 1}\r\n\r\n".encode()), 413, "BODY_TOO_LARGE")
