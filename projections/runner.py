"""The runner: tails the log and feeds one projection, in order, each event once.

It reads no further than the durable end that it is given. An error of the machine (a full
disk, a locked database) is raised to be tried again from the saved position; an exception
in `apply` stops this projection alone, at the event before, and nothing is skipped. Events may be
folded as they come and stored less often: what was not stored yet is lost with the process, and folded again.
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
        stand_aside: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on from where *projection* was saved, about *bytes_at_once* of the log from one commit to the next.

        *stand_aside* is called before each event, and returns when it is this one's turn.
        """
        self._projection, self._disk, self._bytes_at_once, self._read = projection, disk, bytes_at_once, read
        self._stand_aside = stand_aside
        self.failed: ProjectionFailed | None = None
        self._saved = projection.saved() or Saved(identity.log_id, projection.version, End())
        self._follower = Follower(disk, self._saved.end)
        self._folded = self._saved.end
        """What was applied ends here; what lies behind the saved end is to be stored."""
        self._gathered_bytes = 0

    @property
    def folded(self) -> int:
        """The seq of the last event that was applied, stored or not; -1 before the first."""
        return self._folded.next_seq - 1

    @property
    def position(self) -> int:
        """The seq of the last event whose effects are stored; -1 before the first."""
        return self._saved.position

    @property
    def quarantined(self) -> int:
        """How many files the projection found changed by others."""
        return int(getattr(self._projection, "quarantined", 0))

    def run_to(
        self,
        end: End,
        on_progress: Callable[[int], None] = lambda _position: None,
        is_due: Callable[[], bool] = lambda: True,
    ) -> None:
        """Fold everything up to *end*, and store it when it *is_due* or grows large; *on_progress* hears each new position.

        Raises:
            OSError, sqlite3.Error: nothing past the position was stored; call again later.

        """
        try:
            goes_on = self.failed is None
            while goes_on and self._folded.next_seq < end.next_seq:
                goes_on = self._fold(end)
                if not goes_on or self._gathered_bytes >= self._bytes_at_once:
                    self._store(on_progress)
            if self._folded != self._saved.end and is_due():
                self._store(on_progress)
        except BaseException:
            self._rewind()
            raise

    def close(self) -> None:
        """Close the projection."""
        self._projection.close()

    def _fold(self, end: End) -> bool:
        """Apply the next events, those before a failing one too; tell whether there was none that fails."""
        last: Recorded | None = None
        try:
            for recorded in self._read(self._follower, end, self._bytes_at_once):
                self._stand_aside()
                self._apply(recorded)
                self._gathered_bytes += recorded.place.length
                last = recorded
            else:
                self._folded, last = self._follower.at, None
        except LogCorrupt as error:
            self._fail(ProjectionFailed(self._projection.name, error.seq, "", str(error)), error.segment, error.offset)
        except ProjectionFailed as failure:
            place = recorded.place
            self._fail(failure, segment_name(place.segment), place.offset)
        if last is not None:
            self._folded = _behind(last)
        return self.failed is None

    def _store(self, on_progress: Callable[[int], None]) -> None:
        saved = evolve(self._saved, end=self._folded)
        self._projection.commit(saved)
        self._saved, self._gathered_bytes = saved, 0
        on_progress(self.position)

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
        self.failed = None  # what it failed at is met again, once those before it are stored
        self._projection.rollback()
        self._follower = Follower(self._disk, self._saved.end)
        self._folded, self._gathered_bytes = self._saved.end, 0


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
