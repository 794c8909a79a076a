"""What can go wrong for a caller: refused, unreachable, or evidence that does not hold.

Each error has a stable `code`, its facts as fields, and a message that says what to do next.
"""

from typing import Any

from attrs import field, frozen


class RunlogClientError(Exception):
    """The root of every error that this client raises on purpose."""

    @property
    def message(self) -> str:
        """What happened, and what to do next."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.message


@frozen
class Refused(RunlogClientError):
    """The server answered with an error; those that a wait may cure were waited for first."""

    status: int
    code: str
    """Runlog's own code, such as `ADVISORY_CONFLICT`; `HTTP_<status>` if the answer was not Runlog's."""
    text: str
    facts: dict[str, Any] = field(factory=dict)
    request_id: str | None = None
    retry_after_s: float | None = None
    idempotency_key: str | None = None
    """Of the write that was refused. After `LOG_HALTED` it may be recorded: repeat it under this key."""

    @property
    def message(self) -> str:
        faults = "".join(f" {one.get('path')}: {one.get('message')}." for one in self.facts.get("errors") or ())
        return f"{self.code} ({self.status}): {self.text}{faults}"


@frozen
class Unreachable(RunlogClientError):
    """No answer came within the time for retries. A write may have been recorded all the same."""

    code = "UNREACHABLE"
    url: str
    reason: str
    idempotency_key: str | None = None

    @property
    def message(self) -> str:
        again = ""
        if self.idempotency_key is not None:
            again = f" Whether it was recorded is not known: repeat it with idempotency_key={self.idempotency_key!r}."
        return f"{self.url} gave no answer: {self.reason}. See that the server runs and can be reached.{again}"


@frozen
class ProofRefused(RunlogClientError):
    """What should prove that a run was recorded does not."""

    code = "PROOF_REFUSED"
    run_id: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"The evidence of {self.run_id} does not hold: {self.reason}. Make sure that the key is the one that the "
            "log's operator published; if it is, do not rely on this log, and tell its operator and its auditors."
        )
