"""What becomes of one v1 record: the same judgement in a rehearsal, in earnest, and through a server. Pure.

What is in the log already stays as it is: the same record again is unchanged, another one under its
id a conflict. Under an id that was withdrawn a record begins anew.
"""

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from attrs import frozen

from api.migration.holdings import Held, digest_of
from api.migration.report import Verdict, conflict, failed
from api.migration.v1 import ImportedRun, Note, RecordError, read_record
from api.migration.v1_events import FindBlob
from api.migration.v1_text import V1Record
from eventlog.batch import Expected, Stream
from eventlog.event import Draft
from eventlog.strict_json import InvalidJson, MalformedJson, parse
from projections.run import events

MakeDraft = Callable[[str, str, dict[str, Any]], Draft]
"""Makes the draft of an event of a type, of a stream, with data."""


@frozen
class Importable:
    """A record that is to be imported, and what its stream must be like when it is."""

    run: ImportedRun
    expected: Expected
    digest: bytes
    drafts: tuple[Draft, ...]

    @property
    def size(self) -> int:
        """How many bytes its events take."""
        return sum(draft.size for draft in self.drafts)

    @property
    def verdict(self) -> Verdict:
        """What is said of it once it is imported."""
        return Verdict(self.run.run_id, "imported", notes=tuple(_as_dicts(self.run.notes)))


def judge(
    record: V1Record, held: Held | None, find_blob: FindBlob, import_id: str, make: MakeDraft
) -> Verdict | Importable:
    """Return what *record* becomes, where the log has *held* under its key."""
    try:
        value = value_of(record)
    except RecordError as error:
        return failed(record.key, error.field, error.reason)
    in_force = held.in_force if held else None
    digest = digest_of(value)
    if in_force and in_force.digest == digest:
        return Verdict(record.key, "unchanged")
    try:
        run = read_record(record.key, value, find_blob=find_blob)
    except RecordError as error:
        return failed(record.key, error.field, error.reason)
    if in_force:
        return conflict(record.key, is_imported=in_force.digest is not None)
    expected: Expected = held.revision if held else Stream.ABSENT
    return Importable(run, expected, digest, tuple(_drafts(run, import_id, make)))


def value_of(record: V1Record) -> Any:
    """Return what stands in the text of *record*.

    Raises:
        RecordError: it has none, or not one of a single meaning.

    """
    if record.fault:
        raise RecordError(record.key, "$", record.fault)
    try:
        return parse(record.text)
    except InvalidJson as error:
        reason = "; ".join(fault.message for fault in error.errors)
        raise RecordError(record.key, error.errors[0].path, reason) from None
    except MalformedJson as error:
        raise RecordError(record.key, "$", f"the record is not JSON: {error.reason}") from None


def payloads_beside(run: ImportedRun) -> list[tuple[str, dict[str, Any]]]:
    """Return type and data of the events that come with the imported one."""
    payloads: list[tuple[str, dict[str, Any]]] = []
    payloads += [(events.ADVISORY_ATTACHED, {"advisory": advisory}) for advisory in run.advisories]
    if run.explanation is not None:
        payloads.append((events.EXPLANATION_SET, run.explanation))
    payloads += [(events.ATTACHMENT_ADDED, {"attachment": attachment}) for attachment in run.attachments]
    return payloads


def _drafts(run: ImportedRun, import_id: str, make: MakeDraft) -> list[Draft]:
    data = {"run": run.run, "import_id": import_id, "v1": run.v1, "notes": _as_dicts(run.notes)}
    return [make(kind, run.run_id, payload) for kind, payload in [(events.IMPORTED, data), *payloads_beside(run)]]


def _as_dicts(notes: Iterable[Note]) -> list[dict[str, str]]:
    return [attrs.asdict(note) for note in notes]
