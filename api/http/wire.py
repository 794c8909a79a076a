"""JSON bodies to commands: validated once, here, and believed from here on.

cattrs structures a body into a frozen class; the hooks below make it strict (it coerces by
default), and collects every fault. A good body, which has none, takes a shorter way by the same hooks.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from attrs import fields
from cattrs import Converter
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from eventlog.strict_json import Fault
from projections.run import model
from projections.run.decide import PAYLOADS
from projections.run.errors import InvalidCommand
from projections.run.events import is_native_run_id

T = TypeVar("T")

FAULTS_MAX = 1000
"""How many of one kind are listed in one place; the rest are counted. A body of 4 MiB may have a million."""
NEAREST_MAX = 20
"""For how many unknown fields the nearest known one is looked for: it takes longer than all else together."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UNKNOWN = "is not a field of this request"
_NESTED = (model.Outputs, model.Hashes, model.RaisedException, model.Context)
_COMMANDS = (model.CreateRun, model.AttachAdvisory, model.SetExplanation, model.Withdraw)


class _Wrong(ValueError):
    """A value breaks its rule, or several of its parts do: (path below the value, message) each."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__(faults)
        self.faults = faults


def command_of(body: Any, command: type[T]) -> T:
    """Return *body* (parsed strictly) as a *command*.

    Raises:
        InvalidCommand: with every fault in the body.

    """
    try:
        quick: T = _QUICK[command](body, command)
        return quick
    except Exception:  # whatever it was, the detailed converter words it
        return _structured_slowly(body, command)


def _structured_slowly(body: Any, command: type[T]) -> T:
    try:
        return _DETAILED.structure(body, command)
    except (_Wrong, ClassValidationError) as error:
        raise InvalidCommand(tuple(_faults(error, "$", command))) from None


def _faults(error: BaseException, path: str, cls: Any) -> list[Fault]:
    if isinstance(error, _Wrong):
        return [Fault(path + below, message) for below, message in error.faults]
    if isinstance(error, ForbiddenExtraKeysError):
        return _unknown_fields(sorted(error.extra_fields), path, cls)
    if isinstance(error, KeyError):
        return [Fault(path, "is required")]
    assert isinstance(error, ClassValidationError), repr(error)
    found: list[Fault] = []
    with_name, others = error.group_exceptions()
    for inner, note in with_name:
        nested = next((n for n in _NESTED if n in get_args(note.type)), cls)
        found += _faults(inner, f"{path}.{note.name}", nested)
    for inner in others:
        found += _faults(inner, path, cls)
    return found


def _unknown_fields(names: list[str], path: str, cls: Any) -> list[Fault]:
    found = [
        Fault(f"{path}.{name[:200]}", _unknown(name, cls) if number < NEAREST_MAX else _UNKNOWN)
        for number, name in enumerate(names[:FAULTS_MAX])
    ]
    if len(names) > FAULTS_MAX:
        found.append(Fault(path, f"has {len(names) - FAULTS_MAX} more fields that are not of this request"))
    return found


def _unknown(name: str, cls: Any) -> str:
    near = get_close_matches(name[:200], [f.name for f in fields(cls)], n=1)
    return _UNKNOWN + (f"; did you mean {near[0]}?" if near else "")


def text(value: Any, _kind: Any = None, *, length_max: int | None = None, blank: bool = True) -> str:
    """Return *value* if it is a string within its length; else say what is wrong."""
    if not isinstance(value, str):
        raise _Wrong(("", "must be a string"))
    if length_max is not None and len(value) > length_max:
        raise _Wrong(("", f"must have at most {length_max} characters, and has {len(value)}"))
    if not blank and not value.strip():
        raise _Wrong(("", "must not be blank"))
    return value


def _text_of(length_max: int, *, blank: bool = True) -> Callable[[Any, Any], str]:
    """Return `text` with these bounds, for the rules of which each run has a dozen: a good value takes one look."""

    def check(value: Any, kind: Any) -> str:
        if type(value) is str and len(value) <= length_max and (blank or value.strip()):
            return value
        return text(value, kind, length_max=length_max, blank=blank)

    return check


def _score(value: Any, _kind: Any) -> float:
    if type(value) not in (float, int):  # so no bool; the parser let no NaN through
        raise _Wrong(("", "must be a number from 0 to 100"))
    if not 0 <= value <= 100:
        raise _Wrong(("", f"must be from 0 to 100, not {str(value)[:40]}"))
    number: float = value
    return number


def _sha256(value: Any, _kind: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise _Wrong(("", "must be 64 lower-case hex digits"))
    return value


def _run_id(value: Any, _kind: Any) -> str:
    if not isinstance(value, str) or not is_native_run_id(value):
        raise _Wrong(("", "must be `run_` and 12 lower-case hex digits"))
    return value


def has_controls(value: str) -> bool:
    """Tell whether *value* holds a control character."""
    return not value.isprintable() and any(unicodedata.category(c) == "Cc" for c in value)


def _advisory_id(value: Any, _kind: Any) -> str:
    if not text(value, length_max=512):
        raise _Wrong(("", "must not be empty"))
    if has_controls(value):
        raise _Wrong(("", "must not hold control characters"))
    return str(value)


def _reason(value: Any, _kind: Any) -> str:
    if len(text(value, length_max=500, blank=False)) < 6:
        raise _Wrong(("", f"must have at least 6 characters, and has {len(value)}"))
    if has_controls(value):
        raise _Wrong(("", "must not hold control characters"))
    return str(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(("", "must be an object"))
    return value


def _own_meta(value: Any, _kind: Any) -> dict[str, Any]:
    taken = [name for name in model.RESERVED_META if name in _object(value)]
    if taken:
        raise _Wrong(*((f".{name}", "is set by Runlog itself; use another key") for name in taken))
    return dict(value)


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _Wrong(("", "must be an array of strings"))
    wrong = [i for i, item in enumerate(value) if not isinstance(item, str)]
    if not wrong:
        return value
    more = len(wrong) - FAULTS_MAX
    rest = [("", f"has {more} more items that must be strings")] if more > 0 else []
    raise _Wrong(*((f"[{i}]", "must be a string") for i in wrong[:FAULTS_MAX]), *rest)


def _one_of(kind: Any) -> Callable[[Any, Any], str]:
    allowed = get_args(kind)

    def check(value: Any, _kind: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _Wrong(("", f"must be one of {', '.join(allowed)}"))
        return value

    return check


_HOOKS: tuple[tuple[Any, Callable[[Any, Any], Any]], ...] = (
    (str, text),
    (model.Label, _text_of(200, blank=False)),
    (model.ShortText, _text_of(200)),
    (model.Reason, _reason),
    (model.Summary, _text_of(65_536)),
    (model.Score, _score),
    (model.Sha256, _sha256),
    (model.NativeRunId, _run_id),
    (model.AdvisoryId, _advisory_id),
    (model.OwnMeta, _own_meta),
    (model.Json, lambda value, _kind: value),
)


def _is_literal(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return bool(origin is Literal)


def _is_optional(kind: Any) -> bool:
    return NoneType in get_args(kind) and len(get_args(kind)) == 2


def _optional(converter: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """Resolve an optional field's rule once; by itself cattrs looks it up for each value."""
    (other,) = (arg for arg in get_args(kind) if arg is not NoneType)
    inner = converter.get_structure_hook(other)
    return lambda value, _kind: None if value is None else inner(value, other)


def _of_object(inner: Callable[[Any, Any], Any], value: Any, kind: Any) -> Any:
    return inner(_object(value), kind)


def _of_outputs(inner: Callable[[Any, Any], Any], value: Any, kind: Any) -> Any:
    """Refuse a path also where Runlog sets it itself: beside what is so large that it is kept as an attachment."""
    given = _object(value)
    beside = [
        (f".{one.path}", f"must be absent: {one.name} is so large that it is kept as an attachment")
        for one in PAYLOADS
        if given.get(one.path) is not None and one.is_large(given.get(one.name))
    ]
    if not beside:
        return inner(given, kind)
    try:
        inner(given, kind)
    except ClassValidationError as error:
        raise ClassValidationError(error.message, [error, _Wrong(*beside)], kind) from None
    raise _Wrong(*beside)


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, check in _HOOKS:
        converter.register_structure_hook(kind, check)
    converter.register_structure_hook_func(lambda kind: kind == dict[str, Any], lambda value, _: _object(value))
    converter.register_structure_hook_func(lambda kind: kind == list[str], lambda value, _: _strings(value))
    converter.register_structure_hook_factory(_is_literal, _one_of)
    converter.register_structure_hook_factory(_is_optional, partial(_optional, converter))
    for cls in (*_NESTED, *_COMMANDS):
        inner = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)
        hook = _of_outputs if cls is model.Outputs else _of_object
        converter.register_structure_hook(cls, partial(hook, inner))
    return converter


def _quick(cls: type[Any]) -> Callable[[Any, Any], Any]:
    """Return what makes a *cls* of a good object by the rules of its fields, and of a bad one whatever exception.

    It looks at the fields that are given, and cattrs at all that there are: a run gives half of them.
    """
    rules: dict[str, Callable[[Any, Any], Any]] = {}
    optional = set()
    for one in fields(cls):
        kind = one.type
        if _is_optional(kind):
            optional.add(one.name)
            (kind,) = (arg for arg in get_args(kind) if arg is not NoneType)
        rules[one.name] = _quick(kind) if kind in _NESTED else _DETAILED.get_structure_hook(kind)

    def structure(value: Any, _kind: Any) -> Any:
        given = {}
        for name, member in value.items():
            if member is not None or name not in optional:
                given[name] = rules[name](member, None)
        return cls(**given)

    return partial(_of_outputs, structure) if cls is model.Outputs else structure


_DETAILED = _converter()
_QUICK: Mapping[type, Callable[[Any, Any], Any]] = {kind: _quick(kind) for kind in _COMMANDS}
