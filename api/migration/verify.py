"""Whether the API would serve what v1 has: every field of every record, every hash, every file. It never stops at one bad record.

What would be served is the catalog's row and what it points to, where the catalog covers the log; then the row must
be what the log gives, too. Without it the log alone decides.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import file_digest, sha256
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import define, field

from api.migration.folding import EventNotFolded, folded_view
from api.migration.holdings import Holdings
from api.migration.judging import value_of
from api.migration.report import Lines
from api.migration.served import Served, Shown, item_of
from api.migration.v1 import ImportedRun, RecordError, read_record
from api.migration.v1_text import V1Record
from eventlog.canonical import canonical
from eventlog.event import Recorded
from projections.run import events
from projections.run.events import UnknownEvent
from projections.run.fold import view_dict

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


def compare(
    records: Iterable[V1Record], holdings: Holdings, served: Served | None, attachments_dir: Path, found: Comparison
) -> None:
    """Put into *found* how what is served differs from *records*, and which blobs of theirs are not as they were.

    Raises:
        V1NotAnObject, V1Unreadable: from *records*; those before were compared.

    """
    bad_blobs: set[str] = set()
    for record in records:
        found.total += 1
        try:
            holdings.check_known(record.key)
        except UnknownEvent:  # told of by `list_unknown`, with those of other runs
            continue
        held = holdings.get(record.key)
        if held is None or held.is_withdrawn:
            found.missing.append(record.key)
            continue
        stream = holdings.stream(record.key)
        differences = list(_differences(record, stream, served.get(record.key) if served else None))
        for name, v1, here in differences:
            found.different.append({"run_id": record.key, "field": name, "v1": v1, "here": here})
        found.same += not differences
        for path in _bad_blobs(_in_force(stream), attachments_dir):
            if path not in bad_blobs:
                found.tampered.append(path)
                bad_blobs.add(path)
    if served is not None and served.fault:
        found.tampered.append(f"catalog.sqlite: {served.fault}")


def list_unknown(holdings: Holdings, found: Comparison) -> None:
    """Put into *found* every run that holds an event of an unknown type: what it is cannot be told."""
    for run_id, error in holdings.unknown():
        found.different.append({"run_id": run_id, "field": "$", "v1": None, "here": error.message})


def _in_force(stream: list[Recorded]) -> list[Recorded]:
    """Return the events from the last beginning on."""
    begin = max((i for i, one in enumerate(stream) if one.type in events.BEGINNINGS), default=len(stream))
    return stream[begin:]


def _differences(record: V1Record, stream: list[Recorded], shown: Shown | None) -> Iterator[tuple[str, Any, Any]]:
    """Give field, v1's value and ours; where the row of the catalog is not what the log gives, the log's and ours."""
    in_force = _in_force(stream)
    if not in_force:
        yield "$", "a record", "an event of this run is damaged"
        return
    try:
        # All of it gives the right revision; but an event before the last beginning may be damaged.
        view = folded_view(stream if stream[0].type in events.BEGINNINGS else in_force)
    except EventNotFolded as error:
        yield "$", "a record", error.message
        return
    assert view is not None, "it has a beginning"
    logged = view_dict(view)
    if shown is None:
        yield from _from_v1(record, in_force, logged)
        return
    here = logged if shown.view == view else _view_or_none(shown.view, logged)
    if here is None:
        yield "$", "a record", "the catalog has no row that leads to this run; rebuild it"
        return
    named = set()
    for difference in chain(_from_v1(record, in_force, here), _from_log(logged, here, shown.item)):
        if difference[0] not in named:
            yield difference
            named.add(difference[0])


def _view_or_none(view: bytes | None, logged: dict[str, Any]) -> dict[str, Any] | None:
    """Return a served view as values; None if the row does not point to a run."""
    try:
        here = view_dict(view) if view is not None else {}
    except ValueError:
        return None
    return here if here.keys() >= logged.keys() else None


def _from_log(
    logged: dict[str, Any], here: dict[str, Any], item: dict[str, Any] | None
) -> Iterator[tuple[str, Any, Any]]:
    """Give field, the log's value and the served one: of the view, and under `index` of the item of the list."""
    if here is not logged:
        for name in {**logged, **here}:
            yield from _walk(name, logged.get(name, _ABSENT), here.get(name, _ABSENT))
    if item is None:
        yield "index", "an item of the list", None
        return
    for name, value in item_of(logged).items():
        yield from _walk(f"index.{name}", value, item[name], null_is_absent=True)


def _from_v1(record: V1Record, stream: list[Recorded], here: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Give field, v1's value and ours; *here* is the view, *stream* what the log has from the import on."""
    try:
        value = value_of(record)
        run = read_record(record.key, value, find_blob=_sizes(stream).get)
    except RecordError as error:
        yield error.field, error.reason, here.get(error.field)
        return
    yield from _walk("", _view_of_v1(run), here)
    yield from _bad_hashes(here)
    first = stream[0]
    if first.type == events.IMPORTED:
        yield from _walk("v1", value, first.data.get("v1"), null_is_absent=True)
    else:
        yield "run_id", "a record of v1", "a run that was not imported"


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
