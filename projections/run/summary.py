"""The cleaning of a `request_summary`: no feasibility that a client sent is ever stored as such.

Every key `feasibility` at any depth is removed, and the outermost ones are listed with
their hashes, so that a discrepancy stays auditable. Then, outermost first, what is too
long is replaced by its hash, its size and its head. The input is never changed, and what
needs no cleaning is shared with it.
"""

from hashlib import sha256
from typing import Any

from eventlog.canonical import canonical

STRING_BYTES_MAX = 8 * 1024
ARRAY_ITEMS_MAX = 200
HEAD_CHARACTERS = 256
HEAD_ITEMS = 10
PATH_CHARACTERS_MAX = 512

_STRIPPED_KEY = "feasibility"
_CHARACTER_BYTES_MAX = 4
_SURELY_SHORT_STRING = STRING_BYTES_MAX // _CHARACTER_BYTES_MAX


def clean_summary(summary: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return *summary* (of values that the strict parser made) cleaned, and what was stripped from it.

    What was stripped is a list of `{path, sha256}`, a path such as
    `$.request_summary.a.b[0].feasibility` (cut, with an ellipsis, above PATH_CHARACTERS_MAX),
    the SHA-256 that of the canonical JSON (null for null).
    """
    if _is_clean(summary):
        return summary, []
    stripped: list[dict[str, Any]] = []
    bare = _without_feasibility(summary, [], stripped)
    return _shortened(bare), stripped


def _is_clean(value: Any) -> bool:
    """The usual summary is small and clean: one look, no copy."""
    if type(value) is dict:
        if _STRIPPED_KEY in value:
            return False
        members = value.values()
    else:
        if len(value) > ARRAY_ITEMS_MAX:
            return False
        members = value
    for member in members:
        kind = type(member)
        if kind is str:
            if len(member) > _SURELY_SHORT_STRING and _is_long(member):
                return False
        elif (kind is dict or kind is list) and not _is_clean(member):
            return False
    return True


def _is_long(text: str) -> bool:
    return len(text) > _SURELY_SHORT_STRING and len(text.encode()) > STRING_BYTES_MAX


def _without_feasibility(value: Any, trail: list[str], stripped: list[dict[str, Any]]) -> Any:
    """Return *value* itself if nothing in it is to be stripped, else a copy of the changed parts."""
    if type(value) is dict:
        members = {}
        for key, member in value.items():
            if key == _STRIPPED_KEY:
                stripped.append({"path": _path(trail), "sha256": _hash(member)})
            else:
                members[key] = _member_without(member, f".{key}", trail, stripped)
        return value if len(members) == len(value) and _are_same(members.values(), value.values()) else members
    items = [_member_without(item, f"[{i}]", trail, stripped) for i, item in enumerate(value)]
    return value if _are_same(items, value) else items


def _member_without(value: Any, step: str, trail: list[str], stripped: list[dict[str, Any]]) -> Any:
    if type(value) is not dict and type(value) is not list:
        return value
    trail.append(step)
    member = _without_feasibility(value, trail, stripped)
    trail.pop()
    return member


def _path(trail: list[str]) -> str:
    """One key of megabytes above many stripped ones would make gigabytes of paths; so a long path is cut."""
    path = "$.request_summary"
    for step in trail:
        path += step[:PATH_CHARACTERS_MAX]
        if len(path) > PATH_CHARACTERS_MAX:
            return f"{path[:PATH_CHARACTERS_MAX]}…"
    return f"{path}.{_STRIPPED_KEY}"


def _shortened(value: Any) -> Any:
    """Return *value* itself if nothing in it is too long, else a copy of the changed parts."""
    if type(value) is dict:
        members = {key: _shortened(member) for key, member in value.items()}
        return value if _are_same(members.values(), value.values()) else members
    if type(value) is list:
        if len(value) > ARRAY_ITEMS_MAX:
            return _stub(value, len(value), value[:HEAD_ITEMS])
        items = [_shortened(item) for item in value]
        return value if _are_same(items, value) else items
    if type(value) is str and _is_long(value):
        return _stub(value, len(value.encode()), value[:HEAD_CHARACTERS])
    return value


def _stub(value: Any, size: int, head: Any) -> dict[str, Any]:
    return {"truncated": True, "sha256": _hash(value), "size": size, "head": head}


def _hash(value: Any) -> str | None:
    return None if value is None else sha256(canonical(value)).hexdigest()


def _are_same(ours: Any, theirs: Any) -> bool:
    return all(a is b for a, b in zip(ours, theirs, strict=True))
