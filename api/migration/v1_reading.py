"""What is found out while one v1 record is read: a note for all that was derived, and nothing lost.

`kept` becomes the run's `meta.v1`. It has the shape of the record: what the run does not
show as it stood in v1 is kept at the same place that it had there (`decision.risk_level`
at `meta.v1.decision.risk_level`). Only nulls are dropped.
"""

from typing import Any, ClassVar

from attrs import Factory, define, frozen

from eventlog.canonical import canonical
from eventlog.errors import RunlogError

Place = tuple[str, ...]

_SHOWN_CHARACTERS = 80


@frozen
class Note:
    """One thing of a run that v1 did not say as it stands there now, and where it comes from."""

    run_id: str
    field: str
    note: str


@frozen
class RecordError(RunlogError):
    """A record that cannot become a run; `run_id` is its key in the v1 file."""

    code: ClassVar[str] = "VALIDATION_ERROR"
    run_id: str
    field: str
    reason: str

    @property
    def message(self) -> str:
        """What happened, and what to do next."""
        return (
            f"The v1 record {self.run_id} was not imported: {self.field}: {self.reason}. The other records are "
            "not affected. Correct it in a copy of the v1 file and migrate that copy."
        )


@define
class Reading:
    """A record, and what has been found out about it so far."""

    run_id: str
    record: dict[str, Any]
    notes: list[Note] = Factory(list)
    kept: dict[str, Any] = Factory(dict)

    def at(self, *place: str) -> Any:
        """Return what stands at *place* in the record, None where there is nothing."""
        value: Any = self.record
        for name in place:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    def note(self, field: str, text: str) -> None:
        """Say how *field* of the run came about."""
        self.notes.append(Note(self.run_id, field, text))

    def keep(self, *place: str) -> None:
        """Keep what stands at *place*, unless it is null."""
        value = self.at(*place)
        if value is None:
            return
        inner = self.kept
        for name in place[:-1]:
            inner = inner.setdefault(name, {})
        inner[place[-1]] = value

    def set_aside(self, field: str, place: Place, why: str) -> None:
        """Keep what stands at *place* instead of showing it as *field*, and say why."""
        self.keep(*place)
        self.note(field, f"{dotted(place)} is {shown(self.at(*place))}, {why}; kept in meta.v1")

    def error(self, field: str, reason: str) -> RecordError:
        """Return the error that ends the reading of this record."""
        return RecordError(self.run_id, field, reason)


def dotted(place: Place) -> str:
    """Return *place* as a reader writes it."""
    return ".".join(place)


def shown(value: Any) -> str:
    """Return *value* short enough for a note or a reason."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = canonical(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
