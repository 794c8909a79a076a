"""What came with a v1 run and becomes events of its own: advisories, the explanation, attachments.

An entry is taken if what identifies it is sound (an advisory's id; a digest whose bytes
are found); what else of it is missing or cannot be shown gets its default. Whatever is
not shown as it stood, and every entry not taken, is kept whole in `meta.v1`, with a note:
one bad entry costs neither the run nor itself.
"""

import re
from collections.abc import Callable
from typing import Any, get_args

from attrs import frozen

from api.migration.v1_reading import Reading, shown
from api.migration.v1_values import digest, is_line, is_size, is_text, moment, upper_word
from projections.run.model import ADVISORIES_MAX, ATTACHMENTS_MAX, AdvisoryKind, ExplanationStatus

ADVISORY_ID_CHARACTERS_MAX = 512
ADVISORY_KINDS = get_args(AdvisoryKind)
EXPLANATION_STATUSES = get_args(ExplanationStatus)
SUMMARY_CHARACTERS_MAX = 65_536
ATTACHMENT_KIND_CHARACTERS_MAX = 64
FILENAME_CHARACTERS_MAX = 255
MIME_CHARACTERS_MAX = 255

_MIME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+ *(?:;[ -~]*)?")

Entry = dict[str, Any]
FindBlob = Callable[[str], int | None]


@frozen
class _List:
    """A list of v1: the key that identifies an entry, and those that two entries of one identity must share."""

    name: str
    identity: str
    content: tuple[str, ...]
    entries_max: int


_ADVISORIES = _List("advisory_inputs", "advisory_id", ("kind", "engine_id", "engine_version"), ADVISORIES_MAX)
_ATTACHMENTS = _List("attachments", "sha256", ("kind", "mime", "filename"), ATTACHMENTS_MAX)


@frozen
class _UnfitError(Exception):
    """Why an entry makes no event."""

    reason: str


def read_advisories(reading: Reading, created_at_utc: str) -> tuple[Entry, ...]:
    """Return the run's advisories in their order."""

    def read(entry: Entry) -> Entry:
        return _advisory(entry, created_at_utc)

    return _read_list(reading, _ADVISORIES, read)


def read_attachments(reading: Reading, created_at_utc: str, find_blob: FindBlob) -> tuple[Entry, ...]:
    """Return those of the run's attachments whose bytes are there."""

    def read(entry: Entry) -> Entry:
        return _attachment(entry, created_at_utc, find_blob)

    return _read_list(reading, _ATTACHMENTS, read)


def read_explanation(reading: Reading) -> Entry | None:
    """Return the run's explanation; None for status NONE without a summary."""
    given, summary = reading.at("explanation_status"), reading.at("explanation_summary")
    status = "NONE" if given is None else upper_word(given)
    if status not in EXPLANATION_STATUSES:
        reading.set_aside("explanation_status", ("explanation_status",), "which is no status")
        if summary is not None:
            reading.keep("explanation_summary")
            reading.note("explanation_summary", "has no status that can be shown; kept in meta.v1")
        return None
    if given not in (None, status):
        reading.set_aside("explanation_status", ("explanation_status",), f"taken as {status}")
    if summary is not None and not (is_text(summary) and len(summary) <= SUMMARY_CHARACTERS_MAX):
        what = f"not a string of at most {SUMMARY_CHARACTERS_MAX} characters"
        reading.set_aside("explanation_summary", ("explanation_summary",), what)
        summary = None
    if status == "NONE" and summary is None:
        return None
    if given is None:
        reading.note("explanation_status", "v1 has a summary without a status")
    return {"status": status, "summary": summary}


def _read_list(reading: Reading, what: _List, read: Callable[[Entry], Entry]) -> tuple[Entry, ...]:
    entries = reading.at(what.name)
    if entries is not None and not isinstance(entries, list):
        reading.set_aside(what.name, (what.name,), "not an array")
        return ()
    taken: dict[str, Entry] = {}
    for i, entry in enumerate(entries or ()):
        if entry is None:
            continue
        given = {what.identity: entry} if isinstance(entry, str) else entry
        try:
            item = read(given)
            remarks = _differences(given, item) + _settle(taken, item, what)
        except _UnfitError as unfit:
            remarks = [(f"{unfit.reason}; no event was made of it, kept in meta.v1", True)]
        for remark, _ in remarks:
            reading.note(f"{what.name}[{i}]", remark)
        if any(is_lossy for _, is_lossy in remarks):
            reading.kept.setdefault(what.name, []).append(entry)
    return tuple(taken.values())


def _settle(taken: dict[str, Entry], item: Entry, what: _List) -> list[tuple[str, bool]]:
    """Add *item* to what is *taken*, unless it is there; a remark goes with whether anything is lost by it."""
    before = taken.get(item[what.identity])
    if before is None:
        if len(taken) == what.entries_max:
            raise _UnfitError(f"a run holds at most {what.entries_max} of them")
        taken[item[what.identity]] = item
        return []
    if any(item[name] != before[name] for name in what.content):
        raise _UnfitError(f"an earlier entry has the same {what.identity} with other content")
    return [(f"an earlier entry has the same {what.identity} and content", item != before)]


def _differences(given: Entry, item: Entry) -> list[tuple[str, bool]]:
    """Say what *item* has otherwise than v1's entry, and whether anything is lost by it."""
    remarks = []
    for name, value in item.items():
        was = given.get(name)
        if was is None:
            if value is not None:
                remarks.append((f"{name} was not given; taken as {shown(value)}", False))
        elif name == "created_at_utc" and (time := moment(was)):
            if time.remark:
                remarks.append((f"{name} {shown(was)} {time.remark}; kept in meta.v1", True))
        elif type(was) is not type(value) or was != value:
            remarks.append((f"{name} is {shown(was)}; taken as {shown(value)}, kept in meta.v1", True))
    if beyond := sorted(name for name, was in given.items() if name not in item and was is not None):
        remarks.append((f"has more than an event takes ({', '.join(beyond)[:200]}); kept in meta.v1", True))
    return remarks


def _advisory(entry: Any, created_at_utc: str) -> Entry:
    if not isinstance(entry, dict):
        raise _UnfitError(f"is {shown(entry)}, neither an object nor an id")
    advisory_id = entry.get("advisory_id")
    if not is_line(advisory_id, ADVISORY_ID_CHARACTERS_MAX):
        raise _UnfitError(
            f"advisory_id is {shown(advisory_id)}, not 1 to {ADVISORY_ID_CHARACTERS_MAX} characters "
            "without control characters"
        )
    kind = entry.get("kind")
    return {
        "advisory_id": advisory_id,
        "kind": kind if kind in ADVISORY_KINDS else "unknown",
        "created_at_utc": _time(entry, created_at_utc),
        "request_id": _text(entry, "request_id"),
        "engine_id": _text(entry, "engine_id"),
        "engine_version": _text(entry, "engine_version"),
    }


def _attachment(entry: Any, created_at_utc: str, find_blob: FindBlob) -> Entry:
    if not isinstance(entry, dict):
        raise _UnfitError(f"is {shown(entry)}, neither an object nor a digest")
    sha256 = digest(entry.get("sha256"))
    if sha256 is None:
        raise _UnfitError(f"sha256 is {shown(entry.get('sha256'))}, not 64 hex digits")
    size, claimed = find_blob(sha256), entry.get("size_bytes")
    if size is None:
        raise _UnfitError(f"the bytes of {sha256} were not found, or do not match it")
    if is_size(claimed) and claimed != size:
        raise _UnfitError(f"the bytes of {sha256} are {size}, not the {shown(claimed)} that v1 says")
    kind, mime, filename = entry.get("kind"), entry.get("mime"), entry.get("filename")
    return {
        "sha256": sha256,
        "kind": kind if is_line(kind, ATTACHMENT_KIND_CHARACTERS_MAX) else "unknown",
        "mime": mime if _is_mime(mime) else "application/octet-stream",
        "filename": filename if _is_filename(filename) else sha256,
        "size_bytes": size,
        "created_at_utc": _time(entry, created_at_utc),
    }


def _time(entry: Entry, otherwise: str) -> str:
    time = moment(entry.get("created_at_utc"))
    return time.text if time else otherwise


def _text(entry: Entry, name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) else None


def _is_filename(value: Any) -> bool:
    return is_line(value, FILENAME_CHARACTERS_MAX) and "/" not in value and "\\" not in value


def _is_mime(value: Any) -> bool:
    """It is served as a header one day: no control character, nothing beyond ASCII."""
    return isinstance(value, str) and len(value) <= MIME_CHARACTERS_MAX and _MIME.fullmatch(value) is not None
