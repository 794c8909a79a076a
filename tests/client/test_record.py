"""A job and the run that it leaves behind, however it ends."""

import asyncio

import pytest

from runlog_client import Job, RunlogClient, RunlogClientError
from tests.server import Server, free_port, unique

JOB = {"mode": "adaptive", "tool_id": "adaptive_gcode"}


async def test_a_job_that_ends_well_is_recorded_as_ok_with_what_it_told(runs: RunlogClient):
    async with runs.record(**JOB, request_summary={"depth_mm": 1.5}, request_id="r-1") as job:
        job.tell(feasibility={"score": 80}, risk_level="GREEN", score=80)
        job.tell(outputs={"gcode_text": "G21\n"}, toolpaths=[[0, 0], [1, 1]])
        assert job.result == {}
    run = await runs.get(job.result["_run_id"])
    assert run == job.run
    assert (run["status"], run["decision"]["risk_level"], run["decision"]["score"]) == ("OK", "GREEN", 80)
    assert run["outputs"]["gcode_text"] == "G21\n"
    assert run["meta"] == {"request_id": "r-1"}
    assert job.result == {
        "_run_id": run["run_id"],
        "_run_artifact_path": f"{run['created_at_utc'][:10]}/{run['run_id']}.json",
        "_hashes": run["hashes"],
    }
    assert None not in (run["hashes"]["toolpaths_sha256"], run["hashes"]["gcode_sha256"])


async def test_the_path_is_the_one_that_lists_tell(runs: RunlogClient):
    label = unique("label")
    async with runs.record(**JOB, context={"batch_label": label}) as job:
        pass
    (item,) = [item async for item in runs.list(batch_label=label)]
    assert item["artifact_path"] == job.result["_run_artifact_path"]


async def test_a_job_that_raises_is_recorded_as_error_and_the_exception_goes_on(runs: RunlogClient):
    job = Job({})

    async def work() -> None:
        nonlocal job
        async with runs.record(**JOB) as job:
            job.tell(feasibility={"depth": 0}, warnings=["careful"])
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        await work()
    run = await runs.get(job.result["_run_id"])
    assert (run["status"], run["decision"]["risk_level"]) == ("ERROR", "ERROR")
    assert run["meta"]["exception"] == {"type": "ZeroDivisionError", "message": "division by zero"}
    assert (run["feasibility"], run["decision"]["warnings"]) == ({"depth": 0}, ["careful"])


async def test_a_message_that_is_no_text_is_recorded_all_the_same(runs: RunlogClient):
    with pytest.raises(OSError, match="no such"):
        async with runs.record(**JOB) as job:
            raise OSError("no such file: \udcff" + "x" * 10_000)
    assert job.run is not None
    assert job.run["meta"]["exception"]["message"].startswith("no such file: \\udcffxxx")


async def test_a_job_that_says_so_is_recorded_as_blocked_and_its_reason_beside(runs: RunlogClient):
    async with runs.record(**JOB, risk_level="YELLOW") as job:
        job.block("too deep for this tool", risk_level="RED")
    assert job.run is not None
    assert (job.run["status"], job.run["decision"]["risk_level"]) == ("BLOCKED", "RED")
    assert job.run["decision"]["block_reason"] == "too deep for this tool"


async def test_a_job_that_is_blocked_and_then_raises_to_say_so_stays_blocked(runs: RunlogClient):
    job = Job({})

    async def work() -> None:
        nonlocal job
        async with runs.record(**JOB) as job:
            job.block("not with this material")
            raise PermissionError("409")

    with pytest.raises(PermissionError):
        await work()
    assert job.run is not None
    assert (job.run["status"], job.run["decision"]["risk_level"]) == ("BLOCKED", "UNKNOWN")
    assert "exception" not in job.run["meta"]


async def test_a_job_that_is_cancelled_is_recorded_and_stays_cancelled(runs: RunlogClient):
    begun, label = asyncio.Event(), unique("label")

    async def work() -> None:
        async with runs.record(**JOB, context={"batch_label": label}):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (item,) = [item async for item in runs.list(view="full", batch_label=label)]
    assert (item["status"], item["meta"]["exception"]["type"]) == ("ERROR", "CancelledError")


async def test_a_job_that_cannot_be_recorded_is_an_error_and_one_that_failed_keeps_its_own():
    async with RunlogClient(f"http://127.0.0.1:{free_port()}", retry_for_s=0) as runs:
        with pytest.raises(RunlogClientError):
            async with runs.record(**JOB) as job:
                pass
        assert job.result == {}
        with pytest.raises(ZeroDivisionError) as raised:
            async with runs.record(**JOB):
                _ = 1 / 0
    assert any("could not be recorded" in note for note in raised.value.__notes__)


async def test_jobs_at_the_same_time_do_not_meet(runs: RunlogClient, server: Server):
    async def work(n: int) -> str:
        async with runs.record(**JOB) as job:
            job.tell(meta={"n": n})
            await asyncio.sleep(0)
        return job.result["_run_id"]

    ids = await asyncio.gather(*map(work, range(20)))
    assert [server.run(run_id)["meta"]["n"] for run_id in ids] == list(range(20))
