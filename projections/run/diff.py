"""Two runs compared: what differs, how grave it is, and where.

The answer is a function of the two views alone, byte for byte: everything in it stands in the order that the
diff contract gives, or sorted. Two values are the same here if and only if their canonical bytes are, so where the
hashes of two payloads that are compared differ, an item says why. However hostile the views, the answer stays
within a small multiple of their size.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Literal

from attrs import define, field

Severity = Literal["CRITICAL", "WARNING", "INFO"]
View = Mapping[str, Any]
Entry = dict[str, Any]

ITEMS_MAX = 2_000
# Each item repeats the keys above it, so under one key of 2 MiB, 2,000 items would make an answer of 4 GiB.
PATH_CHARS_MAX = 4 * 1024 * 1024

DRIFT_DECIMALS = 6
DRIFT_NONE_MAX = 0.01
DRIFT_INFO_MAX = 5.0

HASHES = ("feasibility_sha256", "toolpaths_sha256", "gcode_sha256", "opplan_sha256")
VERSION_STAMPS = ("engine_version", "toolchain_version", "post_processor_version", "config_fingerprint")

_SEVERITIES: tuple[Severity, ...] = ("CRITICAL", "WARNING", "INFO")  # the gravest first
_ABSENT: Any = object()  # null is a value; this stands for a key or an index that is not there


def diff(a: View, b: View) -> dict[str, Any]:
    """Return how run *b* differs from run *a*, both merged views as parsed from JSON.

    The form is that of the diff contract: `differences` are the fields that are judged, in the order of its
    severity table; `items` are all differing paths of `decision`, `hashes`, `feasibility` and
    `outputs.opplan_json`, the first 2,000 of them, while `counts` cover them all. `gcode_text` is never in it.
    `diff(b, a)` is the same with the sides exchanged. The parts of *a* and *b* are shared, not copied.
    """
    differences = _differences(a, b)
    severity, summary = _judged(differences)
    walk = _Walk()
    for section in ("decision", "hashes", "feasibility"):
        walk.compare(section, a[section], b[section])
    walk.compare("outputs.opplan_json", a["outputs"]["opplan_json"], b["outputs"]["opplan_json"])
    return {
        "severity": severity,
        "run_a": a["run_id"],
        "run_b": b["run_id"],
        "summary": summary,
        "differences": differences,
        "difference_count": len(differences),
        "hashes": [_hash(key, a["hashes"][key], b["hashes"][key]) for key in HASHES],
        "items": walk.items,
        "counts": walk.counts,
        "truncated": walk.truncated,
    }


def _judged(differences: list[Entry]) -> tuple[Severity, str]:
    """Return the overall severity, and the summary in the diff contract's words (which know no singular)."""
    counts = Counter(entry["severity"] for entry in differences)
    severity: Severity = next((level for level in _SEVERITIES if counts[level]), "INFO")
    if all(entry["field"] == "run_id" for entry in differences):
        return severity, "Runs are identical"
    return severity, (
        f"[{severity}] {len(differences)} differences: "
        f"{counts['CRITICAL']} critical, {counts['WARNING']} warnings, {counts['INFO']} info"
    )


def _hash(key: str, a: str | None, b: str | None) -> dict[str, Any]:
    return {"key": key, "a": a, "b": b, "match": a == b}


# The severity table. One function a kind of rule; each returns an entry, or None where the sides agree.


def _differences(a: View, b: View) -> list[Entry]:
    """Return the entries of the fields that differ, in the order of the severity table."""
    decision_a, decision_b = a["decision"], b["decision"]
    hashes_a, hashes_b = a["hashes"], b["hashes"]
    advisories_a, advisories_b = _each(a["advisory_inputs"], "advisory_id"), _each(b["advisory_inputs"], "advisory_id")
    entries = (
        _same_run(a["run_id"], b["run_id"]),
        _state("status", a["status"], b["status"], grave="ERROR"),
        _state("decision.risk_level", decision_a["risk_level"], decision_b["risk_level"], grave="RED"),
        _score(decision_a["score"], decision_b["score"]),
        _plain("hashes.feasibility_sha256", hashes_a[HASHES[0]], hashes_b[HASHES[0]], "CRITICAL"),
        *(_plain(f"hashes.{key}", hashes_a[key], hashes_b[key], "WARNING") for key in HASHES[1:]),
        _plain("decision.block_reason", decision_a["block_reason"], decision_b["block_reason"], "WARNING"),
        _warnings(decision_a["warnings"], decision_b["warnings"]),
        _plain("tool_id", a["tool_id"], b["tool_id"], "INFO"),
        _plain("mode", a["mode"], b["mode"], "INFO"),
        _plain("advisory_inputs", advisories_a, advisories_b, "INFO"),
        _plain("explanation_status", a["explanation_status"], b["explanation_status"], "INFO"),
        _plain("attachments", _each(a["attachments"], "sha256"), _each(b["attachments"], "sha256"), "INFO"),
        *(_plain(f"context.{key}", a["context"].get(key), b["context"].get(key), "INFO") for key in VERSION_STAMPS),
    )
    return [entry for entry in entries if entry is not None]


def _entry(name: str, a: Any, b: Any, severity: Severity) -> Entry:
    return {"field": name, "a": a, "b": b, "severity": severity}


def _plain(name: str, a: Any, b: Any, severity: Severity) -> Entry | None:
    return None if a == b else _entry(name, a, b, severity)


def _same_run(a: str, b: str) -> Entry | None:
    """Equal ids are what needs saying here: two runs of different ids are the normal case."""
    return {**_entry("run_id", a, b, "INFO"), "note": "Both sides are the same run."} if a == b else None


def _state(name: str, a: str, b: str, *, grave: str) -> Entry | None:
    return _plain(name, a, b, "CRITICAL" if grave in (a, b) else "WARNING")


def _score(a: float | None, b: float | None) -> Entry | None:
    """Return the entry with the drift, without a sign; it is null where one side has no score."""
    if a is None or b is None:
        return None if a is b else {**_entry("decision.score", a, b, "INFO"), "drift": None}
    drift = round(abs(b - a), DRIFT_DECIMALS)  # else 87.53 - 87.52 would be above 0.01
    if drift <= DRIFT_NONE_MAX:
        return None
    return {**_entry("decision.score", a, b, "INFO" if drift <= DRIFT_INFO_MAX else "WARNING"), "drift": drift}


def _warnings(a: list[str], b: list[str]) -> Entry | None:
    """Return the entry with what *b* has more and less often; both are empty if only the order differs."""
    if a == b:
        return None
    more, less = Counter(b), Counter(a)
    added, removed = sorted((more - less).elements()), sorted((less - more).elements())
    return {**_entry("decision.warnings", a, b, "INFO"), "added": added, "removed": removed}


def _each(members: list[dict[str, Any]] | None, key: str) -> list[str]:
    return [member[key] for member in members or ()]


@define
class _Walk:
    """One walk over two values: keys in alphabetical order, arrays by index, each node once.

    It recurses; the strict parser lets no value nest deeper than 64.
    """

    items: list[dict[str, Any]] = field(factory=list)
    counts: dict[str, int] = field(factory=lambda: {"added": 0, "removed": 0, "changed": 0})
    truncated: bool = False
    _path: list[str | int] = field(factory=list)  # written out only for items that are kept
    _path_chars_left: int = PATH_CHARS_MAX

    def compare(self, step: str | int, a: Any, b: Any) -> None:
        """Record what differs at *step* (a key or an index) below the present path, and below that."""
        if a is b:
            return
        self._path.append(step)
        if a is _ABSENT:
            self._found("added", None, b)
        elif b is _ABSENT:
            self._found("removed", a, None)
        elif type(a) is not type(b):  # before any `==`: to Python 1, 1.0 and True are equal
            self._found("changed", a, b)
        elif isinstance(a, dict):
            for key in sorted({**a, **b}):
                self.compare(key, a.get(key, _ABSENT), b.get(key, _ABSENT))
        elif isinstance(a, list):
            for index, (in_a, in_b) in enumerate(zip_longest(a, b, fillvalue=_ABSENT)):
                self.compare(index, in_a, in_b)
        elif a != b or (a == 0 and repr(a) != repr(b)):  # 0.0 == -0.0, but they are written, and hashed, differently
            self._found("changed", a, b)
        self._path.pop()

    def _found(self, op: str, a: Any, b: Any) -> None:
        self.counts[op] += 1
        if self.truncated:
            return  # nothing is written out any more, so that a long path costs nothing from here on
        path = _written(self._path)
        self._path_chars_left -= len(path)
        self.truncated = len(self.items) == ITEMS_MAX or self._path_chars_left < 0
        if not self.truncated:
            self.items.append({"path": path, "op": op, "a": a, "b": b})


def _written(path: list[str | int]) -> str:
    """Return *path* as text, `decision.warnings[2]`; keys stand in it as they are."""
    return str(path[0]) + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[1:])
