"""One v1 record becomes one run and what comes with it, or one error that says why not.

Every field of the record, nulls apart, can be found again: in the run, in the advisories,
explanation and attachments that become its events, or at its own place under `meta.v1`.
Whatever the run shows otherwise than v1 did has a note. What cannot be known (an id, a
time, a status) is an error of that record, never a guess.
"""

from typing import Any

from attrs import frozen

from api.migration.v1_events import FindBlob, read_advisories, read_attachments, read_explanation
from api.migration.v1_fields import (
    CONTEXT,
    OUTPUTS,
    STORED_HASHES,
    read_context,
    read_decision,
    read_hashes,
    read_meta,
    read_name,
    read_outputs,
)
from api.migration.v1_reading import Note, Reading, RecordError, shown
from api.migration.v1_values import moment, upper_word
from projections.run.events import is_run_id
from projections.run.summary import clean_summary

__all__ = ["ImportedRun", "Note", "RecordError", "read_record"]

STATUSES = {"OK": "OK", "BLOCKED": "BLOCKED", "ERROR": "ERROR", "FAILED": "ERROR"}

_FIELDS_WITH_A_PLACE = {
    *("run_id", "created_at_utc", "mode", "tool_id", "status", "request_summary", "feasibility", "decision"),
    *("outputs", "meta", "advisory_inputs", "explanation_status", "explanation_summary", "attachments"),
    *STORED_HASHES.values(),
    *OUTPUTS,
    *CONTEXT,
}


@frozen
class ImportedRun:
    """A v1 record read: the run, the record verbatim, and the payloads of the events beside it."""

    run_id: str
    run: dict[str, Any]
    v1: dict[str, Any]
    notes: tuple[Note, ...]
    advisories: tuple[dict[str, Any], ...]
    explanation: dict[str, Any] | None
    attachments: tuple[dict[str, Any], ...]


def read_record(key: str, record: Any, *, find_blob: FindBlob) -> ImportedRun:
    """Return what the v1 *record* under *key* becomes; nothing in it is changed.

    *find_blob* gives the size in bytes of the blob of a digest (64 lower-case hex digits),
    None if there is none whose bytes match it. Values are those that the strict parser made.

    Raises:
        RecordError: the record is not an object, or its id, time or status cannot be read.

    """
    if not isinstance(record, dict):
        raise RecordError(key, "$", f"the record is {shown(record)}, not an object")
    reading = Reading(key, record)
    _check_run_id(reading)
    run = _run(reading)
    created_at_utc = run["created_at_utc"]
    advisories = read_advisories(reading, created_at_utc)
    explanation = read_explanation(reading)
    attachments = read_attachments(reading, created_at_utc, find_blob)
    if kept := _kept(reading):
        run["meta"]["v1"] = kept
    return ImportedRun(reading.run_id, run, record, tuple(reading.notes), advisories, explanation, attachments)


def _run(reading: Reading) -> dict[str, Any]:
    created_at_utc, status = _created_at_utc(reading), _status(reading)
    summary, stripped = _request_summary(reading)
    feasibility, is_missing = _feasibility(reading)
    outputs = read_outputs(reading)
    meta = read_meta(reading)
    if stripped:
        meta["stripped"] = stripped
    if is_missing:
        meta["feasibility_missing"] = True
    return {
        "run_id": reading.run_id,
        "created_at_utc": created_at_utc,
        "mode": read_name(reading, "mode"),
        "tool_id": read_name(reading, "tool_id"),
        "status": status,
        "request_summary": summary,
        "feasibility": feasibility,
        "decision": read_decision(reading),
        "hashes": read_hashes(reading, feasibility, outputs),
        "outputs": outputs,
        "context": read_context(reading),
        "meta": meta,
    }


def _check_run_id(reading: Reading) -> None:
    """The id stands in the record, or is its key, or both say the same."""
    run_id, key = reading.at("run_id"), reading.run_id
    if run_id is None:
        reading.note("run_id", "taken from the record's key in the file")
    elif run_id != key:
        raise reading.error("run_id", f"{shown(run_id)} stands under the key {shown(key)}; which is meant is not known")
    if not is_run_id(key):
        raise reading.error("run_id", f"{shown(key)} is not an id of a run")


def _created_at_utc(reading: Reading) -> str:
    place = "created_at_utc"
    value = reading.at(place)
    time = moment(value)
    if time is None:
        raise reading.error(place, f"{shown(value)} is not a date with a time")
    if time.remark:
        reading.keep(place)
        reading.note(place, f"{shown(value)} {time.remark}; kept in meta.v1")
    return time.text


def _status(reading: Reading) -> str:
    value = reading.at("status")
    status = STATUSES.get(upper_word(value))
    if status is None:
        raise reading.error("status", f"{shown(value)} is none of OK, BLOCKED, ERROR, FAILED")
    if status != value:
        reading.set_aside("status", ("status",), f"taken as {status}")
    return status


def _request_summary(reading: Reading) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    value = reading.at("request_summary")
    if not isinstance(value, dict):
        if value is None:
            reading.note("request_summary", "v1 has none; taken as {}")
        else:
            reading.set_aside("request_summary", ("request_summary",), "not an object; taken as {}")
        return {}, []
    summary, stripped = clean_summary(value)
    if stripped:
        reading.note("request_summary", f"feasibility was removed at {len(stripped)} places; see meta.stripped")
    if summary is not value:
        reading.note("request_summary", "cleaned; v1's own is in the imported event")
    return summary, stripped


def _feasibility(reading: Reading) -> tuple[dict[str, Any], bool]:
    value = reading.at("feasibility")
    if isinstance(value, dict):
        return value, False
    if value is None:
        reading.note("feasibility", "v1 has none; taken as {}")
    else:
        reading.set_aside("feasibility", ("feasibility",), "not an object; taken as {}")
    return {}, True


def _kept(reading: Reading) -> dict[str, Any]:
    """Fields that a run has no place for are kept whole; last, so that they are never kept in part."""
    for name, value in reading.record.items():
        if name not in _FIELDS_WITH_A_PLACE and value is not None:
            reading.kept[name] = value
    return reading.kept
