"""Which files a run's events give: paths, and exact bytes. Pure.

The tree is a function of the log: the same events give the same paths with the same bytes,
and two ids never share a path.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from eventlog.canonical import pretty
from eventlog.clock import time_text, time_us
from eventlog.event import Recorded
from projections.run import events
from projections.run.events import run_of
from projections.run.model import HASH_NAMES

SAFE_ID_CHARACTERS_MAX = 64
ID_HASH_CHARACTERS = 12

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_BEFORE_DECISION = ("run_id", "created_at_utc", "mode", "tool_id", "status", "request_summary", "feasibility")
_DECISION = ("risk_level", "score", "block_reason", "warnings", "details")
_OUTPUTS = ("gcode_text", "opplan_json", "gcode_path", "opplan_path", "preview_svg_path")
_ADVISORY = ("advisory_id", "kind", "created_at_utc", "request_id", "engine_id", "engine_version")


def safe_id(text: str) -> str:
    """Return the id *text* as part of a file name; `~` is in no cleaned id, so two ids never meet."""
    cleaned = _UNSAFE.sub("_", text)
    if cleaned == text and len(text) <= SAFE_ID_CHARACTERS_MAX:
        return text
    return f"{cleaned[:SAFE_ID_CHARACTERS_MAX]}~{sha256(text.encode()).hexdigest()[:ID_HASH_CHARACTERS]}"


def date_of(run: dict[str, Any]) -> str:
    """Return the folder of *run*: the UTC date of its creation, whatever offset its time has."""
    created: str = run["created_at_utc"]
    return created[:10] if created[-1] == "Z" else time_text(time_us(created))[:10]


def core_path(date: str, run_id: str) -> str:
    """Return the path of the core artifact, relative to the runs root, as are all paths here."""
    return f"{date}/{run_id}.json"


def advisory_path(date: str, run_id: str, advisory_id: str) -> str:
    """Return the path of one advisory."""
    return f"{date}/{run_id}_advisory_{safe_id(advisory_id)}.json"


def explanation_path(date: str, run_id: str) -> str:
    """Return the path of the current explanation."""
    return f"{date}/{run_id}_explanation.json"


def added_range(date: str, run_id: str) -> tuple[str, str]:
    """Return the bounds (the upper one excluded) between which all paths of a run sort, but its core's."""
    return f"{date}/{run_id}_", f"{date}/{run_id}`"  # the character after the underscore


def core_file(run: dict[str, Any]) -> bytes:
    """Return the bytes of the core artifact: *run* as created, with nothing added yet."""
    core = {key: run[key] for key in _BEFORE_DECISION}
    core["decision"] = _picked(run["decision"], _DECISION)
    core["hashes"] = _picked(run["hashes"], HASH_NAMES)
    core["outputs"] = _picked(run["outputs"], _OUTPUTS)
    core["advisory_inputs"] = []
    core["explanation_status"] = "NONE"
    core["explanation_summary"] = None
    core["attachments"] = None
    if run["context"]:
        core["context"] = run["context"]
    core["meta"] = run["meta"]
    return pretty(core)


def advisory_file(advisory: dict[str, Any]) -> bytes:
    """Return the bytes of an advisory's file."""
    return pretty(_picked(advisory, _ADVISORY))


def explanation_file(status: str, summary: str | None, updated_at_utc: str) -> bytes:
    """Return the bytes of the explanation's file."""
    return pretty({"status": status, "summary": summary, "updated_at_utc": updated_at_utc})


def file_of(recorded: Recorded, date: str) -> tuple[str, bytes] | None:
    """Return path and bytes of the file that an event gives to its run, which lies under *date*; None if it gives none."""
    run_id, data = recorded.stream, recorded.data
    match recorded.type:
        case events.CREATED | events.IMPORTED:
            return core_path(date, run_id), core_file(data["run"])
        case events.ADVISORY_ATTACHED:
            advisory = data["advisory"]
            return advisory_path(date, run_id, advisory["advisory_id"]), advisory_file(advisory)
        case events.EXPLANATION_SET:
            content = explanation_file(data["status"], data["summary"], recorded.time)
            return explanation_path(date, run_id), content
        case _:
            return None


def contents(stream: Iterable[Recorded]) -> dict[str, list[bytes]]:
    """Return all contents that the events of one *stream* ever give, for each path."""
    given: dict[str, list[bytes]] = {}
    date = ""
    for recorded in stream:
        if recorded.type in events.BEGINNINGS:
            date = date_of(run_of(recorded))
        if file := file_of(recorded, date):
            given.setdefault(file[0], []).append(file[1])
    return given


def current(stream: Iterable[Recorded]) -> dict[str, bytes]:
    """Return the files that stand after all events of one *stream*; none once it is withdrawn."""
    files: dict[str, bytes] = {}
    date = ""
    for recorded in stream:
        if recorded.type == events.WITHDRAWN:
            files.clear()
        elif recorded.type in events.BEGINNINGS:
            date = date_of(run_of(recorded))
        if file := file_of(recorded, date):
            files[file[0]] = file[1]
    return files


def _picked(value: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Stored objects have their keys sorted; files have them in the contract's order."""
    return {key: value[key] for key in keys}
