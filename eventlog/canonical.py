"""The one canonical JSON form, and its SHA-256.

Exactly the bytes of `json.dumps(value, sort_keys=True, separators=(",", ":"),
ensure_ascii=False, allow_nan=False).encode()`. A hash is always taken of these
bytes, or of stored bytes; nothing is re-serialised to check a hash.
"""

import json
import math
import re
from hashlib import sha256
from typing import Any

import orjson

from eventlog.errors import NotCanonical

_ORJSON_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)

# Each begins with what is seldom, for only so it searches fast, and then looks back at what stands before: in a string
# such a thing is found only now and then (`X0.0000` of a program is not), and that costs nothing but time.
_EXPONENT = re.compile(rb"-(?<=[0-9]e-)")
_ZEROS = re.compile(rb"0\.0000(?<![^-\[,: ]0\.0000)")


def canonical(value: Any) -> bytes:
    """Return the canonical bytes of a *value that the strict parser made* (or that is built of such).

    orjson writes the same bytes as the standard library but for floats with
    1e-9 <= |x| < 1e-4 (recognised by `e-` or `0.0000` in its output) and for integers
    beyond 64 bits (a TypeError); these few go through the standard library.
    """
    try:
        fast = orjson.dumps(value, option=_ORJSON_OPTIONS)
    except TypeError:
        return _by_standard_library(value)
    if _may_differ(fast):
        return _by_standard_library(value)
    return fast


def pretty(value: Any) -> bytes:
    """Return *value* as indented JSON with keys in their given order: the form of the contract's files."""
    try:
        fast = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except TypeError:
        fast = b"0.0000"
    if _may_differ(fast):
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()
    return fast


def _may_differ(fast: bytes) -> bool:
    """Tell whether a float in *fast* may be one that orjson spells otherwise than the standard library."""
    # A pattern of one character and a search from the end: each takes less than half the time of what `in` does.
    return _EXPONENT.search(fast) is not None or (fast.rfind(b"0.0000") >= 0 and _ZEROS.search(fast) is not None)


def sha256_json(value: Any) -> str:
    """Return the SHA-256, 64 hex digits, of the canonical form of any *value*.

    Raises:
        NotCanonical: for a top-level `None`, and anywhere for NaN, infinities, lone
            surrogates, keys that are not strings and types that JSON does not have.

    """
    if value is None:
        raise NotCanonical("there is nothing to hash (null)")
    _refuse_what_json_lacks(value)
    try:
        return sha256(_by_standard_library(value)).hexdigest()
    except UnicodeEncodeError:
        raise NotCanonical("it holds a lone surrogate") from None
    except RecursionError:
        raise NotCanonical("it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise NotCanonical(str(error)) from None


def _by_standard_library(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _refuse_what_json_lacks(value: Any) -> None:
    """The standard library would turn the key 1 into "1"; two values must not share a hash."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise NotCanonical("it has a key that is not a string")
            todo.extend(item.values())
        elif isinstance(item, list | tuple):
            todo.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise NotCanonical("it holds NaN or an infinity")
