"""What a migration did with each record, and all of it together; memory stays bounded however much there is to tell."""

import json
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, Literal

import attrs
from attrs import define, field, frozen

Outcome = Literal["imported", "unchanged", "conflict", "failed"]
Line = Any
"""One entry of a list, as JSON has it: an error, a note, a difference, an id."""

_IN_MEMORY_BYTES_MAX = 4 << 20


@frozen
class Verdict:
    """What became of one record, or would. `errors` are {run_id, field, reason}, `notes` {run_id, field, note}."""

    run_id: str
    outcome: Outcome
    errors: tuple[Line, ...] = ()
    notes: tuple[Line, ...] = ()


def failed(run_id: str, name: str, reason: str) -> Verdict:
    """Return the verdict on a record that cannot become a run."""
    return Verdict(run_id, "failed", ({"run_id": run_id, "field": name, "reason": reason},))


def conflict(run_id: str, *, is_imported: bool) -> Verdict:
    """Return the verdict on a record whose id the log has for something else."""
    how = "a run imported from other content" if is_imported else "a run that was not imported"
    error = {"run_id": run_id, "field": "run_id", "reason": f"the log has {how} under this id"}
    return Verdict(run_id, "conflict", (error,))


class Lines:
    """A list that may be very long: beyond a few MiB it lies in a temporary file without a name."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        """Begin with *lines*."""
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES_MAX, "w+b")  # noqa: SIM115 (it ends with this list)
        self._count = 0
        for line in lines:
            self.append(line)

    def append(self, line: Line) -> None:
        """Add *line*."""
        self._file.write(json.dumps(line).encode() + b"\n")
        self._count += 1

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def texts(self) -> Iterator[str]:
        """Give each line as JSON."""
        self._file.seek(0)
        for text in self._file:
            yield text.decode().rstrip("\n")
        self._file.seek(0, 2)

    def __iter__(self) -> Iterator[Line]:
        return map(json.loads, self.texts())

    def __len__(self) -> int:
        return self._count


@define
class Report:
    """What a migration did, or (`dry_run`) would do; `--json` prints it as it is."""

    total: int = 0
    imported: int = 0
    unchanged: int = 0
    conflicts: int = 0
    failed: int = 0
    errors: Lines = field(factory=Lines)
    notes: Lines = field(factory=Lines)
    backup: dict[str, str] | None = None
    import_id: str | None = None
    dry_run: bool = False

    @property
    def is_good(self) -> bool:
        """Tell whether every record is in the log as v1 has it."""
        return not self.errors

    @property
    def counts(self) -> dict[str, int]:
        """The numbers alone."""
        names = ("total", "imported", "unchanged", "conflicts", "failed")
        return {name: getattr(self, name) for name in names}

    def take(self, verdict: Verdict) -> None:
        """Count a record, and list what there is to tell of it."""
        self.total += 1
        match verdict.outcome:
            case "imported":
                self.imported += 1
            case "unchanged":
                self.unchanged += 1
            case "conflict":
                self.conflicts += 1
            case "failed":
                self.failed += 1
        for error in verdict.errors:
            self.errors.append(error)
        for note in verdict.notes:
            self.notes.append(note)

    def end(self, reason: str) -> None:
        """List why the text ended before its end."""
        self.errors.append({"run_id": "", "field": "$", "reason": reason})

    def close(self) -> None:
        """Let go of the lists."""
        self.errors.close()
        self.notes.close()


def json_chunks(facts: Any) -> Iterator[str]:
    """Give a report as the text of a JSON object, piece by piece; any attrs class whose lists may be `Lines`."""
    glue = "{"
    for name in attrs.fields_dict(type(facts)):
        value = getattr(facts, name)
        yield f"{glue}{json.dumps(name)}: "
        glue = ", "
        if not isinstance(value, Lines):
            yield json.dumps(value)
            continue
        between = "["
        for text in value.texts():
            yield between + text
            between = ", "
        yield "[]" if between == "[" else "]"
    yield "}\n"
