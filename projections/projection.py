"""What a projection is: state folded from events, saved together with how far it has folded.

A crash at any moment neither skips nor repeats an effect, because the position is saved in
the same transaction as the state that it covers.
"""

from pathlib import Path
from typing import Any, ClassVar, Protocol

from attrs import frozen

from eventlog.errors import EventLogError
from eventlog.event import Recorded
from eventlog.recovery import End


@frozen
class Saved:
    """How far a projection has folded, of which log, and with which version of its code."""

    log_id: str
    version: int
    end: End

    @property
    def position(self) -> int:
        """The seq of the last event that it covers; -1 before the first."""
        return self.end.next_seq - 1

    def as_row(self) -> tuple[Any, ...]:
        """Return the values in the order of `from_row`."""
        return (self.log_id, self.version, self.end.next_seq, self.end.segment, self.end.offset)

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "Saved":
        """Return what `as_row` gave."""
        return cls(row[0], row[1], End(*row[2:]))


class Projection(Protocol):
    """A read model. The runner alone calls these, on one thread, in the order of the log."""

    name: ClassVar[str]
    version: ClassVar[int]

    def saved(self) -> Saved | None:
        """Return how far the stored state covers the log; None if there is no state."""

    def apply(self, recorded: Recorded) -> None:
        """Fold one event into what the next `commit` will store; no effect before that."""

    def commit(self, saved: Saved) -> None:
        """Store all that was applied, and the position, as one. OSError and sqlite3.Error mean: not stored."""

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""

    def close(self) -> None:
        """Let go of files."""


class Swapped(Projection, Protocol):
    """A projection that is one database: a new one is folded beside it, and takes its place."""

    def __init__(self, path: Path, *, bulk: bool = False) -> None:
        """Open or make the database at *path*; *bulk* is for a new one that is folded from the first event."""

    def make_whole(self) -> None:
        """End the bulk; the database is then as if it had been fed event by event, and durable."""


@frozen
class ProjectionFailed(EventLogError):
    """An event could not be folded; this projection alone stops there, and nothing is skipped."""

    code: ClassVar[str] = "PROJECTION_FAILED"
    name: str
    seq: int
    type: str
    reason: str

    @property
    def message(self) -> str:
        kind = f" ({self.type})" if self.type else ""
        what = f"Projection {self.name} stopped at event {self.seq}{kind}: {self.reason}"
        if self.reason.endswith("."):  # an error of Runlog's own, which says itself what to do
            return what
        return f"{what}. Mend the cause, then restart the server, or call `runlog projections retry`; it goes on from there."
