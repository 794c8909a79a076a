"""How a command on a run can be refused. Facts as fields; the edge decides on statuses."""

from typing import ClassVar

from attrs import frozen

from eventlog.errors import RunlogError
from eventlog.strict_json import Fault


@frozen
class InvalidCommand(RunlogError):
    """A request breaks rules of its fields; every fault is listed."""

    code: ClassVar[str] = "VALIDATION_ERROR"
    errors: tuple[Fault, ...]

    @property
    def message(self) -> str:
        first = self.errors[0]
        more = f" and {len(self.errors) - 1} more" if len(self.errors) > 1 else ""
        return f"{first.path}: {first.message}{more}. Nothing was recorded; correct the request and send it again."


@frozen
class RunNotFound(RunlogError):
    """There is no run of this id."""

    code: ClassVar[str] = "RUN_NOT_FOUND"
    run_id: str

    @property
    def message(self) -> str:
        return f"There is no run {self.run_id[:80]!r}. Check the id, or list the runs with GET /api/rmos/runs."


@frozen
class RunWithdrawn(RunlogError):
    """The run is no longer in force; the log keeps it."""

    code: ClassVar[str] = "RUN_WITHDRAWN"
    run_id: str
    reason: str
    at_utc: str
    seq: int

    @property
    def message(self) -> str:
        return (
            f"Run {self.run_id} was withdrawn at {self.at_utc} ({self.reason}). Its history is still at "
            f"/api/rmos/runs/{self.run_id}/events, and the run with ?include_withdrawn=true."
        )


@frozen
class ImmutabilityViolation(RunlogError):
    """A run of this id is recorded already, and what is recorded is never changed."""

    code: ClassVar[str] = "ARTIFACT_EXISTS"
    run_id: str

    @property
    def message(self) -> str:
        return (
            f"Run {self.run_id} is recorded already and never changes; nothing was written. Leave out run_id to "
            "have a new one made, or use an Idempotency-Key to repeat a request safely."
        )


@frozen
class AdvisoryConflict(RunlogError):
    """An advisory of this id with other content is attached already."""

    code: ClassVar[str] = "ADVISORY_CONFLICT"
    run_id: str
    advisory_id: str

    @property
    def message(self) -> str:
        return (
            f"Run {self.run_id} already carries an advisory {self.advisory_id[:80]!r} with another kind or engine; it "
            "stays as it is. Attach the new one under its own advisory_id."
        )


@frozen
class AttachmentConflict(RunlogError):
    """The same bytes are attached already under another kind, type or name."""

    code: ClassVar[str] = "ATTACHMENT_CONFLICT"
    run_id: str
    sha256: str

    @property
    def message(self) -> str:
        return (
            f"Run {self.run_id} already has these bytes ({self.sha256}) with another kind, Content-Type or filename; "
            "they stay as they are."
        )


@frozen
class RunFull(RunlogError):
    """The run holds as many advisories or attachments as a run may."""

    code: ClassVar[str] = "RUN_FULL"
    run_id: str
    what: str
    count_max: int

    @property
    def message(self) -> str:
        return f"Run {self.run_id} holds {self.count_max} {self.what}, which is the most; add it to another run."


@frozen
class HashMismatch(RunlogError):
    """A hash that the client gave is not the hash of what it sent."""

    code: ClassVar[str] = "HASH_MISMATCH"
    errors: tuple[Fault, ...]

    @property
    def message(self) -> str:
        return (
            f"{self.errors[0].path}: {self.errors[0].message}. Nothing was recorded; check that the payload and its hash "
            "belong together."
        )
