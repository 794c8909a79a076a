"""What clients of the old store call things: the same facts once more, under the names that they read. Pure.

Nothing is decided or compared by rules of its own here; all of it follows from the run and from `diff`.
"""

from collections.abc import Mapping
from typing import Any

from eventlog.canonical import canonical
from projections.run.diff import View

VALUE_CHARACTERS_MAX = 80


def attachment_row(attachment: Mapping[str, Any]) -> dict[str, str]:
    """Return the old names of an attachment's digest, file name and type."""
    return {
        "att_id": attachment["sha256"],
        "path": attachment["filename"],
        "content_type": attachment["mime"],
    }


def diffs(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the judged differences of two runs in their old form, each with a sentence."""
    return [
        {
            "field": one["field"],
            "a_value": one["a"],
            "b_value": one["b"],
            "severity": one["severity"],
            "message": one.get("note") or f"{one['field']}: {_shown(one['a'])} → {_shown(one['b'])}",
        }
        for one in differences
    ]


def sections(a: View, b: View) -> dict[str, Any]:
    """Return what differs between two merged views, by the top-level keys of each section."""
    in_a, in_b = (_digests(view["attachments"]) for view in (a, b))
    return {
        "request_diff": _changed(a["request_summary"], b["request_summary"]),
        "feasibility_diff": _changed(a["feasibility"], b["feasibility"]),
        "decision_diff": _changed(a["decision"], b["decision"]),
        "hashes_diff": _changed(a["hashes"], b["hashes"]),
        "attachments_diff": {
            "only_in_a": [digest for digest in in_a if digest not in in_b],
            "only_in_b": [digest for digest in in_b if digest not in in_a],
        },
    }


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return `{key: {a, b}}` of the keys whose values are not the same JSON; null where a key is not there."""
    return {
        key: {"a": a.get(key), "b": b.get(key)}
        for key in sorted({*a, *b})
        if key not in a or key not in b or not _is_same(a[key], b[key])
    }


def _is_same(a: Any, b: Any) -> bool:
    """Tell whether two values are the same JSON: 1, 1.0 and true are three, though Python holds them equal."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_is_same(value, b[key]) for key, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_is_same, a, b))
    return bool(a == b) and repr(a) == repr(b)  # 0.0 == -0.0, but they are written differently


def _digests(attachments: list[dict[str, Any]] | None) -> dict[str, None]:
    return dict.fromkeys(one["sha256"] for one in attachments or ())


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else canonical([value])[1:-1].decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 1]}…"
