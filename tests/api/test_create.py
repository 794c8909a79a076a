"""POST /runs: what is kept, what is computed, and who wins an id."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.canonical import sha256_json
from tests.server import BASE, FEW, JSON, TEXT, Server, body, canonical, digest, fresh_id, refused, words

CONTEXT = words(
    "event_type session_id batch_label workflow_session_id workflow_mode tool_kind material_id machine_id "
    "parent_run_id engine_version toolchain_version post_processor_version config_fingerprint"
)


def test_a_create_answers_201_with_the_artifact_that_a_get_then_serves(server: Server) -> None:
    """The answer names the run, its place, its version and the log's position."""
    answer = server.post("/runs", body())
    run = answer.json
    assert answer.status == 201
    assert answer.headers.get_content_type() == "application/json"
    assert urlsplit(answer.headers["Location"]).path == f"{BASE}/runs/{run['run_id']}"
    assert answer.headers["X-Log-Position"] == str(run["log"]["seq"])
    read = server.get(f"/runs/{run['run_id']}")
    assert read.json == run
    assert read.headers["ETag"] == answer.headers["ETag"]


def test_what_was_sent_is_what_is_kept(server: Server) -> None:
    """Every plain field comes back as it went in."""
    sent = body(
        status="BLOCKED",
        risk_level="RED",
        score=12.25,
        block_reason="spindle überlastet",
        warnings=["a", "", "a"],
        details={"z": [1, None], "a": {"deep": True}},
    )
    run = server.create(**sent)
    for name in ("mode", "tool_id", "status", "request_summary", "feasibility"):
        assert run[name] == sent[name]
    assert run["decision"] == {
        name: sent[name] for name in ("risk_level", "score", "block_reason", "warnings", "details")
    }


def test_an_id_is_minted_when_the_client_names_none(server: Server) -> None:
    """`run_` and 12 lower-case hex digits, another one each time."""
    ids = {server.create()["run_id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(re.fullmatch(r"run_[0-9a-f]{12}", run_id) for run_id in ids)


def test_the_client_may_name_its_own_id(server: Server) -> None:
    """The id is the client's if it is free."""
    run_id = fresh_id()
    assert server.create(run_id=run_id)["run_id"] == run_id


def test_null_for_an_optional_field_means_absent(server: Server) -> None:
    """Also inside `outputs`, `hashes`, `exception` and `context`."""
    optional = words("score block_reason warnings details outputs toolpaths hashes exception context meta run_id")
    plain = server.create()
    nulls = server.create(**dict.fromkeys(optional))
    inner = server.create(
        outputs=dict.fromkeys(plain["outputs"]), hashes=dict.fromkeys(plain["hashes"]), context=dict.fromkeys(CONTEXT)
    )
    for name in ("decision", "hashes", "outputs", "context", "meta", "attachments"):
        assert nulls[name] == inner[name] == plain[name]


@pytest.mark.parametrize("score", [0, 100, 0.0, 99.999, 1e-7])
def test_a_score_may_be_any_number_from_0_to_100(server: Server, score: float) -> None:
    """Both ends are in."""
    assert server.create(score=score)["decision"]["score"] == score


@pytest.mark.parametrize("risk_level", ["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"])
@pytest.mark.parametrize("status", ["OK", "BLOCKED", "ERROR"])
def test_each_status_goes_with_each_risk_level(server: Server, status: str, risk_level: str) -> None:
    """Neither word restricts the other."""
    run = server.create(status=status, risk_level=risk_level)
    assert (run["status"], run["decision"]["risk_level"]) == (status, risk_level)


def test_names_may_have_200_characters_of_any_kind(server: Server) -> None:
    """Characters are counted, not bytes."""
    run = server.create(mode="é" * 200, tool_id="😀" * 200, context={"session_id": "ü" * 200})
    assert (run["mode"], run["tool_id"], run["context"]) == ("é" * 200, "😀" * 200, {"session_id": "ü" * 200})


def test_every_key_of_the_context_is_kept(server: Server) -> None:
    """All thirteen of them, and none that was not given."""
    context = {name: f"the {name}" for name in CONTEXT}
    assert server.create(context=context)["context"] == context
    assert server.create(context={"session_id": "s"})["context"] == {"session_id": "s"}
    assert server.create()["context"] == {}


def test_an_exception_becomes_meta_exception(server: Server) -> None:
    """It stands beside what the client put into `meta`."""
    exception = {"type": "ValueError", "message": "no such tool"}
    assert server.create(status="ERROR", exception=exception, meta={"a": 1})["meta"] == {"a": 1, "exception": exception}


def test_the_request_id_goes_into_meta_only_where_there_is_none(server: Server) -> None:
    """The client's own `meta.request_id` is never overwritten."""
    header = {"X-Request-Id": "from-the-header"}
    assert server.post("/runs", body(), header).json["meta"] == {"request_id": "from-the-header"}
    kept = {"request_id": "from the client", "more": []}
    assert server.post("/runs", body(meta=kept), header).json["meta"] == kept


@given(meta=st.dictionaries(TEXT, JSON, max_size=5))
@FEW
def test_any_object_as_meta_comes_back_exactly(server: Server, meta: dict[str, object]) -> None:
    """1, 1.0 and true stay apart, and no digit or character is lost."""
    ours = {"exception", "stripped", "feasibility_missing", "v1"}
    sent = {name: value for name, value in meta.items() if name not in ours}
    run = server.create(meta=sent)
    assert canonical(run["meta"]) == canonical(sent)
    assert canonical(server.run(run["run_id"])["meta"]) == canonical(sent)


@given(feasibility=st.dictionaries(TEXT, JSON, max_size=5))
@FEW
def test_the_feasibility_hash_is_that_of_the_served_feasibility(server: Server, feasibility: dict[str, object]) -> None:
    """It holds for every run ever served, so for any feasibility."""
    run = server.create(feasibility=feasibility)
    assert canonical(run["feasibility"]) == canonical(feasibility)
    assert run["hashes"]["feasibility_sha256"] == sha256_json(run["feasibility"])


@pytest.mark.parametrize("payload", [{}, [], 0, False, "", "text", {"b": [1.0, 1], "a": "é"}], ids=json.dumps)
def test_payloads_are_hashed_by_their_canonical_form(server: Server, payload: object) -> None:
    """Anything but null counts as a payload, also what is empty."""
    run = server.create(toolpaths=payload, outputs={"opplan_json": payload})
    assert run["hashes"]["toolpaths_sha256"] == run["hashes"]["opplan_sha256"] == sha256_json(payload)
    assert canonical(run["outputs"]["opplan_json"]) == canonical(payload)


@pytest.mark.parametrize("text", ["", "G0 X0\n", "(früh \u2013 spät)\r\nG1 X1.5 😀"])
def test_gcode_is_hashed_as_utf8_text(server: Server, text: str) -> None:
    """The text itself is hashed, not its JSON form."""
    run = server.create(outputs={"gcode_text": text})
    assert run["outputs"]["gcode_text"] == text
    assert run["hashes"]["gcode_sha256"] == digest(text.encode())


def test_of_toolpaths_only_the_hash_is_kept(server: Server) -> None:
    """The payload stands nowhere in the log."""
    run = server.create(toolpaths={"marker": "do-not-keep-me"})
    assert "toolpaths" not in run
    assert b"do-not-keep-me" not in server.get(f"/runs/{run['run_id']}/events").body


def test_paths_of_outputs_are_kept_as_text(server: Server) -> None:
    """They are the producer's words; a small text may stand beside its path."""
    outputs = {"gcode_text": "G0", "gcode_path": "a.nc", "opplan_path": "b.json", "preview_svg_path": "../c.svg"}
    assert server.create(outputs=outputs)["outputs"] == outputs | {"opplan_json": None}


PAYLOADS = {"feasibility": {"f": 1}, "toolpaths": [1, 2], "outputs": {"gcode_text": "G0 X1", "opplan_json": {"o": 1}}}
HASHES = {
    "feasibility_sha256": sha256_json({"f": 1}),
    "toolpaths_sha256": sha256_json([1, 2]),
    "gcode_sha256": digest(b"G0 X1"),
    "opplan_sha256": sha256_json({"o": 1}),
}


def test_hashes_that_agree_are_accepted(server: Server) -> None:
    """The producer may send those that it already has."""
    assert server.create(**PAYLOADS, hashes=HASHES)["hashes"] == HASHES


@pytest.mark.parametrize("name", HASHES)
def test_a_hash_that_disagrees_is_refused(server: Server, name: str) -> None:
    """Each of the four is checked, and nothing is written."""
    run_id = fresh_id()
    refused(server.post("/runs", body(**PAYLOADS, run_id=run_id, hashes={name: "0" * 64})), 422, "HASH_MISMATCH")
    refused(server.get(f"/runs/{run_id}"), 404, "RUN_NOT_FOUND")


def test_a_hash_without_its_payload_is_kept(server: Server) -> None:
    """What the server cannot compute it takes from the producer."""
    given_ = {name: value for name, value in HASHES.items() if name != "feasibility_sha256"}
    run = server.create(hashes=given_)
    assert run["hashes"] == given_ | {"feasibility_sha256": sha256_json(run["feasibility"])}


def test_a_taken_id_is_a_conflict_and_the_first_run_stays(server: Server) -> None:
    """Nothing is written, so the next run takes the next place in the log."""
    first = server.create(run_id=fresh_id())
    for again in (body(run_id=first["run_id"]), body(run_id=first["run_id"], mode="another", status="ERROR")):
        problem = refused(server.post("/runs", again), 409, "ARTIFACT_EXISTS")
        assert problem["run_id"] == first["run_id"]
    assert server.run(first["run_id"]) == first
    assert server.create()["log"]["seq"] == first["log"]["seq"] + 1


def test_of_fifty_concurrent_creates_of_one_id_exactly_one_wins(server: Server) -> None:
    """49 conflicts, and the run is the winner's."""
    run_id = fresh_id()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: server.post("/runs", body(run_id=run_id, mode=f"m{n}")), range(50)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    (winner,) = [answer.json for answer in answers if answer.status == 201]
    assert server.run(run_id) == winner
    assert all(answer.json["error"] == "ARTIFACT_EXISTS" for answer in answers if answer.status == 409)


def test_concurrent_creates_get_one_place_each_and_rising_times(server: Server) -> None:
    """One order: no place twice, no gap, and times rise with places."""
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: server.create(), range(64)))
    runs.sort(key=lambda run: run["log"]["seq"])
    first = runs[0]["log"]["seq"]
    assert [run["log"]["seq"] for run in runs] == list(range(first, first + 64))
    times = [run["created_at_utc"] for run in runs]
    assert times == sorted(set(times))


def test_a_run_survives_a_kill_right_after_its_201(own_server: Server) -> None:
    """The answer means that it is on disk, and no refused write comes to life."""
    runs = [own_server.create(score=n) for n in range(5)]
    refused(own_server.post("/runs", body(run_id=runs[0]["run_id"])), 409, "ARTIFACT_EXISTS")
    own_server.kill()
    own_server.start()
    assert [own_server.run(run["run_id"]) for run in runs] == runs
    refused(own_server.post("/runs", body(run_id=runs[0]["run_id"])), 409, "ARTIFACT_EXISTS")
    assert own_server.create()["log"]["seq"] == runs[-1]["log"]["seq"] + 1
