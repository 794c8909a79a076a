"""Each method of the client, against the real server."""

import hashlib

import pytest

from runlog_client import Refused, RunlogClient
from tests.server import FILES, Server, body, fresh_id, unique


async def test_a_run_is_recorded_and_read_back_as_it_was_answered(runs: RunlogClient):
    run = await runs.create(**body(context={"session_id": unique()}))
    assert run == await runs.get(run["run_id"])
    assert run["status"] == "OK"


async def test_what_is_added_to_a_run_shows_in_the_answer_and_in_the_past_it_does_not(runs: RunlogClient):
    run = await runs.create(**body())
    advisory_id = unique("advisory/ä")
    attached = await runs.attach(run["run_id"], advisory_id, "note", engine_id="e", engine_version="1")
    explained = await runs.explain(run["run_id"], "READY", "why it was so")
    assert [one["advisory_id"] for one in attached["advisory_inputs"]] == [advisory_id]
    assert (explained["explanation_status"], explained["explanation_summary"]) == ("READY", "why it was so")
    assert await runs.get(run["run_id"], at=run["log"]["seq"]) == run
    assert await runs.get(run["run_id"], at=attached["log"]["last_seq"]) == attached


async def test_bytes_and_a_file_are_uploaded_with_their_digests(runs: RunlogClient, server: Server):
    run = await runs.create(**body())
    program = next(FILES.glob("a3fa*.nc"))
    first = await runs.upload(run["run_id"], b"\x00preview", kind="preview", mime="image/png", filename="ä.png")
    second = await runs.upload(run["run_id"], program, kind="gcode", mime="text/plain")
    assert first["sha256"] == hashlib.sha256(b"\x00preview").hexdigest()
    assert (first["filename"], first["mime"]) == ("ä.png", "image/png")
    assert (second["sha256"], second["filename"]) == (program.stem, program.name)
    kept = server.get(f"/runs/{run['run_id']}/attachments/{program.stem}/download").body
    assert kept == program.read_bytes()


async def test_a_list_goes_over_all_pages_in_both_views(runs: RunlogClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runlog_client.client.PAGE_LIMIT", 3)
    label = unique("label")
    made = [await runs.create(**body(context={"batch_label": label})) for _ in range(7)]
    newest_first = [run["run_id"] for run in reversed(made)]
    assert [item["run_id"] async for item in runs.list(batch_label=label)] == newest_first
    assert [run async for run in runs.list(view="full", batch_label=label, include_withdrawn=False)] == made[::-1]
    assert [item async for item in runs.list(batch_label=label, status="ERROR")] == []


async def test_two_runs_are_compared(runs: RunlogClient):
    a, b = await runs.create(**body()), await runs.create(**body(status="BLOCKED", risk_level="RED"))
    found = await runs.diff(a["run_id"], b["run_id"])
    assert found["severity"] == "CRITICAL"
    assert [entry["field"] for entry in found["differences"]] == ["status", "decision.risk_level"]


async def test_a_refusal_tells_its_code_its_facts_and_every_fault(runs: RunlogClient):
    with pytest.raises(Refused) as refused:
        await runs.create(**body(score=101, risk_level="PURPLE"), request_id="mine")
    error = refused.value
    assert (error.status, error.code, error.request_id) == (422, "VALIDATION_ERROR", "mine")
    assert sorted(fault["path"] for fault in error.facts["errors"]) == ["$.risk_level", "$.score"]
    assert "$.score: must be from 0 to 100" in str(error)
    run_id = fresh_id()
    await runs.create(**body(run_id=run_id))
    with pytest.raises(Refused, match="ARTIFACT_EXISTS"):
        await runs.create(**body(run_id=run_id))


@pytest.mark.parametrize("run_id", ["run_000000000000", "nope", "../runs", "a/b", "?x=1", "%00", "run_000000000000\n"])
async def test_an_id_of_any_kind_is_sent_as_one_and_not_found(runs: RunlogClient, run_id: str):
    with pytest.raises(Refused, match="RUN_NOT_FOUND"):
        await runs.get(run_id)


async def test_integers_beyond_64_bits_keep_their_value_both_ways(runs: RunlogClient):
    run = await runs.create(**body(feasibility={"n": 2**200}))
    assert (await runs.get(run["run_id"]))["feasibility"] == {"n": 2**200}


async def test_a_nan_is_refused_before_it_is_sent(runs: RunlogClient):
    with pytest.raises(ValueError, match="JSON compliant"):
        await runs.create(**body(score=float("nan")))


async def test_a_client_that_was_not_opened_says_how():
    with pytest.raises(RuntimeError, match="async with RunlogClient"):
        await RunlogClient("http://127.0.0.1:1").get("run_000000000000")
