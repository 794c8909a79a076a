"""A run folded from its events as the log has them, where an event that cannot be folded is named rather than a crash."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from attrs import frozen

from eventlog.errors import RunlogError
from eventlog.event import Recorded
from projections.run import events
from projections.run.events import UnknownEvent
from projections.run.fold import fold_stream, view_of


@frozen
class EventNotFolded(RunlogError):
    """An event of a known type whose data are not those of its type (exit code 3)."""

    code: ClassVar[str] = "EVENT_NOT_FOLDED"
    seq: int
    type: str

    @property
    def message(self) -> str:
        return (
            f"Event {self.seq} is of type {self.type!r}, but its data are not those of that type, so the state of its "
            "run is not known. Look at it with `runlog log tail`, and find out which program wrote it."
        )


def folded_view(stream: Iterable[Recorded]) -> bytes | None:
    """Return the merged view as JSON after all of *stream*; None where no event begins a run.

    Raises:
        UnknownEvent: a type is not known here.
        EventNotFolded: an event is not what its type says.

    """
    last: list[Recorded] = []

    def told() -> Iterator[Recorded]:
        for one in stream:
            last[:] = [one]
            if one.type not in events.TYPES:
                raise UnknownEvent(one.seq, one.type)
            yield one

    try:
        folded = fold_stream(told())
        return None if folded is None else view_of(*folded)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError):
        raise EventNotFolded(last[0].seq, last[0].type) from None
