"""JSON text to values, strictly: what parses here has exactly one meaning and one canonical form.

Refused: duplicate keys, NaN and infinities, numbers that overflow a double, integers
above 1,000 digits, lone surrogates, nesting above 64. Integers beyond 64 bits keep
their value. The fast path (orjson) answers only where it is certain that the slow one
(the standard library with hooks) would say the same; a property test holds the two equal.
"""

import json
import math
import re
from typing import Any, ClassVar

import orjson
from attrs import frozen

from eventlog.errors import EventLogError

NESTING_MAX = 64
INTEGER_DIGITS_MAX = 1000

_ONLY_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_NINETEEN_DIGITS = b"0" * 19
_ESCAPED = re.compile(rb'\\["\\]')
"""An escaped quote or backslash: one after the other, so that a backslash that was escaped escapes nothing."""
# Possessive: to remember where it could go back to takes a hundred bytes for each of a string.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


@frozen
class Fault:
    """One thing wrong with an input: where (`$.a[0]`, `?name`), and what to do about it."""

    path: str
    message: str


@frozen
class MalformedJson(EventLogError):
    """The text is not JSON at all."""

    code: ClassVar[str] = "MALFORMED_JSON"
    reason: str
    offset: int = 0

    @property
    def message(self) -> str:
        return f"The body is not JSON: {self.reason}. Send one JSON value in UTF-8 without a byte order mark."


@frozen
class InvalidJson(EventLogError):
    """The text is JSON, but not of the kind that has one meaning."""

    code: ClassVar[str] = "VALIDATION_ERROR"
    errors: tuple[Fault, ...]

    @property
    def message(self) -> str:
        return f"{self.errors[0].message} ({self.errors[0].path}). Correct it and send the request again."


def parse(text: bytes, nesting_max: int = NESTING_MAX) -> Any:
    """Return the value of *text*, which may be nested *nesting_max* levels deep.

    Raises:
        MalformedJson: *text* is not JSON, is empty, or starts with a byte order mark.
        InvalidJson: it is JSON, but one of the refused kinds above.

    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _parse_slowly(text, nesting_max)
    if _is_certainly_strict(text, value, nesting_max):
        return value
    return _parse_slowly(text, nesting_max)


def parse_own(text: bytes) -> Any:
    """Return the value of *text* that this log wrote (so it is canonical), keeping large integers."""
    if _NINETEEN_DIGITS in text.translate(_ONLY_DIGITS):
        return json.loads(text)  # orjson would make a float of an integer beyond 64 bits
    return orjson.loads(text)


def _is_certainly_strict(text: bytes, value: Any, nesting_max: int) -> bool:
    """Tell by counting, without a walk: no large integer, no deep nesting, as many strings written as kept.

    orjson keeps one of two equal keys; so a text with a duplicate holds more strings than what was kept.
    """
    if text.count(b"{") + text.count(b"[") > nesting_max and _nesting(text) > nesting_max:
        return False
    kept = orjson.dumps(value)
    if kept == text:  # written as orjson writes: nothing of it was lost, or the two would differ
        return True
    return _NINETEEN_DIGITS not in text.translate(_ONLY_DIGITS) and _quotes(text) == _quotes(kept)


def _quotes(text: bytes) -> int:
    """Return how many quotes of *text* (valid JSON) begin or end a string."""
    quotes = text.count(b'"')
    return quotes - _ESCAPED.findall(text).count(b'\\"') if b"\\" in text else quotes


def _nesting(text: bytes) -> int:
    """Return how deep the brackets of *text* (valid JSON) go."""
    depth = deepest = 0
    for token in _STRING_OR_BRACKET.findall(text):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest


def _parse_slowly(text: bytes, nesting_max: int = NESTING_MAX) -> Any:
    if text.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson("it starts with a byte order mark")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise MalformedJson(f"byte {error.start} is not UTF-8", error.start) from None
    faults: list[Fault] = []
    try:
        value = json.loads(
            decoded,
            object_pairs_hook=lambda pairs: _object(pairs, faults),
            parse_int=lambda digits: _integer(digits, faults),
            parse_float=lambda digits: _float(digits, faults),
            parse_constant=lambda name: faults.append(Fault("$", f"{name} is not a JSON number")),
        )
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg} at character {error.pos}", error.pos) from None
    except RecursionError:
        raise InvalidJson((Fault("$", f"nesting is deeper than {nesting_max} levels"),)) from None
    if _nesting(text) > nesting_max:
        faults.append(Fault("$", f"nesting is deeper than {nesting_max} levels"))
    if "\\u" in decoded:
        faults.extend(_lone_surrogates(value, "$"))
    if faults:
        raise InvalidJson(tuple(faults))
    return value


def _object(pairs: list[tuple[str, Any]], faults: list[Fault]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        doubled = {key for key, _ in pairs if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
        faults.extend(Fault("$", f"the key {_printable(key)} stands twice in one object") for key in sorted(doubled))
    return members


def _integer(digits: str, faults: list[Fault]) -> int:
    if len(digits.lstrip("-")) > INTEGER_DIGITS_MAX:
        faults.append(Fault("$", f"an integer has more than {INTEGER_DIGITS_MAX} digits"))
        return 0
    return int(digits)


def _float(digits: str, faults: list[Fault]) -> float:
    number = float(digits)
    if math.isinf(number):
        faults.append(Fault("$", f"the number {digits[:40]} is too large for a double"))
    return number


def _lone_surrogates(value: Any, path: str) -> list[Fault]:
    faults: list[Fault] = []
    todo: list[tuple[Any, str]] = [(value, path)]
    while todo:
        item, where = todo.pop()
        if isinstance(item, str):
            if not _is_encodable(item):
                faults.append(Fault(where, "the text holds a lone surrogate, which is no character"))
        elif isinstance(item, dict):
            for key, member in item.items():
                if not _is_encodable(key):
                    faults.append(Fault(where, "a key holds a lone surrogate, which is no character"))
                else:
                    todo.append((member, f"{where}.{key}"))
        elif isinstance(item, list):
            todo.extend((member, f"{where}[{i}]") for i, member in enumerate(item))
    return faults


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(key: str) -> str:
    return repr(key[:80].encode(errors="replace").decode())
