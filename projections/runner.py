"""The runner: tails the log and feeds one projection, in order, each event once.

It reads no further than the durable end that it is given. An error of the machine (a full
disk, a locked database) is raised to be tried again from the saved position; an exception
in `apply` stops this projection alone, at the event before, and nothing is skipped.
"""

from collections.abc import Callable

import structlog
from attrs import evolve

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, RunlogError
from eventlog.event import Recorded
from eventlog.follow import Follower
from eventlog.opening import Identity
from eventlog.recovery import End
from eventlog.segment import segment_name
from projections.projection import Projection, ProjectionFailed, Saved

logger = structlog.get_logger("projections.runner")

_BYTES_AT_ONCE = 2 << 20
"""Of the log between two commits: bounds the memory, and how long a reader waits for what is told meanwhile."""

Read = Callable[[Follower, End, int], list[Recorded]]
"""What `Follower.read` is, or `Recent.read`, which shares what was read."""


class Runner:
    """Runs one projection; synchronous, for one thread."""

    def __init__(
        self,
        projection: Projection,
        disk: Disk,
        identity: Identity,
        *,
        bytes_at_once: int = _BYTES_AT_ONCE,
        read: Read = Follower.read,
    ) -> None:
        """Go on from where *projection* was saved, about *bytes_at_once* of the log from one commit to the next."""
        self._projection, self._disk, self._bytes_at_once, self._read = projection, disk, bytes_at_once, read
        self.failed: ProjectionFailed | None = None
        self._saved = projection.saved() or Saved(identity.log_id, projection.version, End())
        self._follower = Follower(disk, self._saved.end)

    @property
    def position(self) -> int:
        """The seq of the last event whose effects are stored; -1 before the first."""
        return self._saved.position

    @property
    def quarantined(self) -> int:
        """How many files the projection found changed by others."""
        return int(getattr(self._projection, "quarantined", 0))

    def run_to(self, end: End, on_progress: Callable[[int], None] = lambda _position: None) -> None:
        """Fold everything up to *end*; *on_progress* hears the position after each commit.

        Raises:
            OSError, sqlite3.Error: nothing past the position was stored; call again later.

        """
        while self.failed is None and self._saved.end.next_seq < end.next_seq:
            try:
                self._step(end)
            except BaseException:
                self._rewind()
                raise
            on_progress(self.position)

    def close(self) -> None:
        """Close the projection."""
        self._projection.close()

    def _step(self, end: End) -> None:
        """Fold and store the next events; those before a failing one are stored too."""
        reached = self._saved.end
        try:
            for recorded in self._read(self._follower, end, self._bytes_at_once):
                self._apply(recorded)
                reached = _behind(recorded)
            else:
                reached = self._follower.at if self._follower.at.next_seq > reached.next_seq else reached
        except LogCorrupt as error:
            self._fail(ProjectionFailed(self._projection.name, error.seq, "", str(error)), error.segment, error.offset)
        except ProjectionFailed as failure:
            place = recorded.place
            self._fail(failure, segment_name(place.segment), place.offset)
        saved = evolve(self._saved, end=reached)
        self._projection.commit(saved)
        self._saved = saved

    def _apply(self, recorded: Recorded) -> None:
        try:
            self._projection.apply(recorded)
        except OSError:
            raise
        except Exception as error:
            if _is_of_sqlite(error):
                raise
            raise ProjectionFailed(
                self._projection.name, recorded.seq, _type_of(recorded), _reason_of(error)
            ) from error

    def _fail(self, failure: ProjectionFailed, segment: str, offset: int) -> None:
        self.failed = failure
        logger.error(
            "projection.failed",
            name=failure.name,
            segment=segment or None,
            offset=offset if segment else None,
            seq=failure.seq,
            type=failure.type,
            error=failure.reason,
        )

    def _rewind(self) -> None:
        self._projection.rollback()
        self._follower = Follower(self._disk, self._saved.end)


def reason_to_start_over(projection: Projection, identity: Identity, end: End) -> str | None:
    """Return why the stored state cannot be gone on from, in the log of *identity* that ends at *end*; None if it can."""
    saved = projection.saved()
    if saved is None:
        return "it has no state"
    if saved.log_id != identity.log_id:
        return "it was folded from another log"
    if saved.version != projection.version:
        return f"its code is version {projection.version}, and it was folded by {saved.version}"
    if saved.end.next_seq > end.next_seq:
        return f"it stands at event {saved.position}, and the log ends at {end.next_seq - 1}"
    return None


def _behind(recorded: Recorded) -> End:
    place = recorded.place
    return End(recorded.seq + 1, place.segment, place.offset + place.length)


def _type_of(recorded: Recorded) -> str:
    try:
        return recorded.type
    except Exception:  # the event itself may be what cannot be read
        return ""


def _reason_of(error: Exception) -> str:
    return str(error) if isinstance(error, RunlogError) else f"{type(error).__name__}: {error}"


def _is_of_sqlite(error: Exception) -> bool:
    import sqlite3

    return isinstance(error, sqlite3.Error)
