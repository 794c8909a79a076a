"""A toolpath job that leaves a run behind, however it ends. The state is pure; the client does the sending."""

from typing import Any, Unpack

from attrs import define, field

from runlog_client.types import JobFacts, NewRun, RecordedJob, Run

MESSAGE_CHARACTERS_MAX = 8_192


@define
class Job:
    """What a job tells of itself while it runs. `result` is there once its block has ended."""

    facts: JobFacts
    result: RecordedJob = field(factory=RecordedJob)
    run: Run | None = None
    """The run that was recorded."""
    _blocked: str | None = None

    def tell(self, **facts: Unpack[JobFacts]) -> None:
        """Add to what is recorded: the score, the outputs, what the job found out; what was said before is replaced."""
        self.facts.update(facts)

    def block(self, reason: str, **facts: Unpack[JobFacts]) -> None:
        """Say that the safety policy stops this job. It is BLOCKED then, even if an exception ends it."""
        self._blocked = reason
        self.tell(**facts)

    def body(self, raised: BaseException | None) -> NewRun:
        """Return the run that this job has become, *raised* being the exception that ended it."""
        ended: dict[str, Any]
        if self._blocked is not None:
            ended = {"status": "BLOCKED", "block_reason": self._blocked}
        elif raised is not None:
            ended = {"status": "ERROR", "exception": _told(raised)}
        else:
            ended = {"status": "OK"}
        risk = "ERROR" if ended["status"] == "ERROR" else "UNKNOWN"
        body: Any = {"request_summary": {}, "feasibility": {}, "risk_level": risk, **self.facts, **ended}
        run: NewRun = body
        return run

    def recorded(self, run: Run) -> None:
        """Take the run that was recorded; `result` is what the job's own answer is to carry of it."""
        self.run = run
        self.result.update(
            {
                "_run_id": run["run_id"],
                "_run_artifact_path": f"{run['created_at_utc'][:10]}/{run['run_id']}.json",
                "_hashes": run["hashes"],
            }
        )


def _told(raised: BaseException) -> dict[str, str]:
    # What the operating system says may hold bytes that are no UTF-8, and JSON cannot carry them as they are.
    message = str(raised).encode("utf-8", "backslashreplace").decode()[:MESSAGE_CHARACTERS_MAX]
    return {"type": type(raised).__qualname__, "message": message}
