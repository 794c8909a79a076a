"""What a v1 value must be to be shown as a run's: the same rules that a new run is held to, no coercion.

Times and words are the exceptions: an ISO 8601 time with any offset is brought to UTC,
and status and risk words are taken in any case.
"""

import re
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

NAME_CHARACTERS_MAX = 200
SCORE_MAX = 100

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UTC_ZONES = {"Z", "z", "+00:00", "+0000", "+00", "-00:00", "-0000", "-00"}
_MICROSECOND_DIGITS = 6


@frozen
class Moment:
    """A time in UTC, six fractional digits and `Z`; `remark` says what v1's text had otherwise, if it had."""

    text: str
    remark: str


def moment(value: Any) -> Moment | None:
    """Return the time that *value* tells; None if it is not the text of a date with a time."""
    parts = _TIME.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        return None
    try:
        time = datetime.fromisoformat(value.upper())
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    text = time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return Moment(text, _remark(parts["zone"], parts["fraction"] or ""))


def _remark(zone: str | None, fraction: str) -> str:
    remarks = []
    if zone is None:
        remarks.append("has no offset and was taken as UTC")
    elif zone not in _UTC_ZONES:
        remarks.append("was brought to UTC")
    if fraction[_MICROSECOND_DIGITS:].strip("0"):
        remarks.append("was cut to microseconds")
    return " and ".join(remarks)


def upper_word(value: Any) -> str:
    """Return a word in upper case; "" for what is none, so that it matches nothing."""
    return value.upper() if isinstance(value, str) and value.isascii() else ""


def digest(value: Any) -> str | None:
    """Return 64 hex digits in lower case, or None."""
    return value.lower() if isinstance(value, str) and _DIGEST.fullmatch(value) else None


def is_name(value: Any) -> bool:
    """Tell whether *value* can be a run's mode or tool."""
    return is_short_text(value) and not value.isspace() and value != ""


def is_short_text(value: Any) -> bool:
    """Tell whether *value* can be a member of a run's context."""
    return isinstance(value, str) and len(value) <= NAME_CHARACTERS_MAX


def is_text(value: Any) -> bool:
    """Tell whether *value* is a string."""
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    """Tell whether *value* is an array of strings."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def is_object(value: Any) -> bool:
    """Tell whether *value* is an object."""
    return isinstance(value, dict)


def is_anything(value: Any) -> bool:
    """Any JSON but null, which means absent."""
    return True


def is_score(value: Any) -> bool:
    """Tell whether *value* is a number from 0 to 100; true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= SCORE_MAX


def is_size(value: Any) -> bool:
    """Tell whether *value* can be a number of bytes."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_line(value: Any, characters_max: int) -> bool:
    """Tell whether *value* is 1 to *characters_max* characters, none of them a control character."""
    return isinstance(value, str) and 1 <= len(value) <= characters_max and not _CONTROL.search(value)
