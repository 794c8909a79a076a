"""Whether the log serves what v1 has: every field of every record, every hash, every file. It never stops at one bad record."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from attrs import define, field

from api.migration.holdings import Holdings
from api.migration.report import Lines
from api.migration.v1 import ImportedRun, RecordError, read_record
from api.migration.v1_text import V1Record
from eventlog.canonical import canonical
from eventlog.event import Recorded
from eventlog.strict_json import InvalidJson, MalformedJson, parse
from projections.run import events
from projections.run.fold import fold_stream, view_dict, view_of

_ABSENT = object()


@define
class Comparison:
    """What was found; `different` are {run_id, field, v1, here}, `tampered` paths of files that are not as written."""

    total: int = 0
    same: int = 0
    missing: Lines = field(factory=Lines)
    different: Lines = field(factory=Lines)
    tampered: Lines = field(factory=Lines)

    @property
    def is_good(self) -> bool:
        """Tell whether there is nothing to say."""
        return not (self.missing or self.different or self.tampered)


def compare(records: Iterable[V1Record], holdings: Holdings, attachments_dir: Path, found: Comparison) -> None:
    """Put into *found* how what the log serves differs from *records*, and which blobs of theirs are not as they were.

    Raises:
        V1NotAnObject, V1Unreadable: from *records*; those before were compared.

    """
    for record in records:
        found.total += 1
        held = holdings.get(record.key)
        if held is None or held.is_withdrawn:
            found.missing.append(record.key)
            continue
        stream = _in_force(holdings.stream(record.key))
        differences = list(_differences(record, stream))
        for name, v1, here in differences:
            found.different.append({"run_id": record.key, "field": name, "v1": v1, "here": here})
        found.same += not differences
        for path in _bad_blobs(stream, attachments_dir):
            found.tampered.append(path)


def _in_force(stream: list[Recorded]) -> list[Recorded]:
    """Return the events from the last beginning on."""
    begin = max((i for i, one in enumerate(stream) if one.type in events.BEGINNINGS), default=len(stream))
    return stream[begin:]


def _differences(record: V1Record, stream: list[Recorded]) -> Iterator[tuple[str, Any, Any]]:
    folded = fold_stream(stream)
    if folded is None:
        yield "$", "a record", "an event of this run is damaged"
        return
    here = view_dict(view_of(*folded))
    try:
        value = _value_of(record)
        run = read_record(record.key, value, find_blob=_sizes(stream).get)
    except RecordError as error:
        yield error.field, error.reason, here.get(error.field)
        return
    yield from _walk("", _view_of_v1(run), here)
    yield from _bad_hashes(here)
    first = stream[0]
    if first.type == events.IMPORTED:
        yield from _walk("v1", value, first.data["v1"], null_is_absent=True)
    else:
        yield "run_id", "a record of v1", "a run that was not imported"


def _value_of(record: V1Record) -> Any:
    """Return the record as values.

    Raises:
        RecordError: it cannot be read.

    """
    if record.fault:
        raise RecordError(record.key, "$", record.fault)
    try:
        return parse(record.text)
    except InvalidJson as error:
        raise RecordError(record.key, error.errors[0].path, error.errors[0].message) from None
    except MalformedJson as error:
        raise RecordError(record.key, "$", error.reason) from None


def _view_of_v1(run: ImportedRun) -> dict[str, Any]:
    explanation = run.explanation or {"status": "NONE", "summary": None}
    return {
        **run.run,
        "advisory_inputs": list(run.advisories),
        "explanation_status": explanation["status"],
        "explanation_summary": explanation["summary"],
        "attachments": list(run.attachments) or None,
    }


def _walk(path: str, v1: Any, here: Any, *, null_is_absent: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Give path, v1's value and ours where they differ; keys that the view alone has at its top are no difference."""
    if isinstance(v1, dict) and isinstance(here, dict):
        names = v1 if not path else {**v1, **here}
        for name in names:
            below = f"{path}.{name}" if path else name
            yield from _walk(below, v1.get(name, _ABSENT), here.get(name, _ABSENT), null_is_absent=null_is_absent)
        return
    if null_is_absent and v1 in (None, _ABSENT) and here in (None, _ABSENT):
        return
    if v1 is _ABSENT or here is _ABSENT or canonical(v1) != canonical(here):
        yield path, None if v1 is _ABSENT else v1, None if here is _ABSENT else here


def _bad_hashes(here: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    outputs, hashes = here["outputs"], here["hashes"]
    text, plan = outputs["gcode_text"], outputs["opplan_json"]
    payloads = {
        "feasibility_sha256": canonical(here["feasibility"]),
        "gcode_sha256": None if text is None else text.encode(),
        "opplan_sha256": None if plan is None else canonical(plan),
    }
    for name, payload in payloads.items():
        if payload is not None and (computed := sha256(payload).hexdigest()) != hashes[name]:
            yield f"hashes.{name}", computed, hashes[name]


def _sizes(stream: list[Recorded]) -> dict[str, int]:
    attachments = (one.data["attachment"] for one in stream if one.type == events.ATTACHMENT_ADDED)
    return {one["sha256"]: one["size_bytes"] for one in attachments}


def _bad_blobs(stream: list[Recorded], attachments_dir: Path) -> Iterator[str]:
    for digest in _sizes(stream):
        place = Path(digest[:2], digest[2:4], digest)
        with suppress(OSError), (attachments_dir / place).open("rb") as file:
            if file_digest(file, "sha256").hexdigest() == digest:
                continue
        yield f"attachments/{place}"
