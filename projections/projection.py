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

    def reset(self) -> None:
        """Begin from nothing (a state that cannot be swapped converges instead)."""

    def apply(self, recorded: Recorded) -> None:
        """Fold one event into what the next `commit` will store; no effect before that."""

    def commit(self, saved: Saved) -> None:
        """Store all that was applied, and the position, as one. OSError and sqlite3.Error mean: not stored."""

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""

    def close(self) -> None:
        """Let go of files."""


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
        return (
            f"Projection {self.name} stopped at event {self.seq} ({self.type}): {self.reason}. Mend the cause, then "
            "restart the server; it goes on from there."
        )


def under(data_dir: Path, *, runs_dir: Path | None = None) -> tuple["Projection", ...]:
    """Return every projection of the data directory, in the order in which they are worth having."""
    from projections.catalog import Catalog
    from projections.files import Files

    return (Catalog(data_dir / "catalog.sqlite"), Files(data_dir, runs_dir or data_dir / "runs"))
