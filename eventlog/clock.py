"""The clock as a port, UTC times as text, and event ids.

Times inside are whole microseconds since 1970, UTC; as text they are RFC 3339 with
always six fractional digits and `Z`, so every time is 27 characters long.
"""

import os
import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Clock(Protocol):
    """Where the present comes from."""

    def now_us(self) -> int:
        """Return the present in microseconds since 1970, UTC; it may step back or leap."""


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return the present in microseconds since 1970, UTC."""
        return time.time_ns() // 1000


def time_text(us: int) -> str:
    """Return *us* as RFC 3339 text: `2026-01-05T05:07:16.690677Z`."""
    second, fraction = divmod(us, 1_000_000)
    return f"{_second_text(second)}.{fraction:06d}Z"


@lru_cache(16)
def _second_text(second: int) -> str:
    """Times come in order, thousands a second; so the calendar is asked once a second."""
    return (_EPOCH + timedelta(seconds=second)).isoformat().removesuffix("+00:00")


def time_us(text: str) -> int:
    """Return the microseconds of an RFC 3339 *text* with an offset; digits beyond the sixth are cut.

    Raises:
        ValueError: it is no such time.

    """
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    moment = datetime.fromisoformat(text.upper())
    return (moment - _EPOCH) // timedelta(microseconds=1)


def day_of(us: int) -> int:
    """Return the UTC day of *us* as a number, `20260105`."""
    moment = _EPOCH + timedelta(microseconds=us)
    return moment.year * 10_000 + moment.month * 100 + moment.day


class RandomPool:
    """Random hex of the system's source, fetched much at a time: a system call for each would cost more than its use."""

    def __init__(self, size: int = 4096) -> None:
        """Fetch *size* bytes at a time."""
        self._size = size
        self._pool: list[str] = []

    def take(self) -> str:
        """Return 32 hex digits (128 bits) that were never returned before. Any thread may call it."""
        try:
            return self._pool.pop()  # one step that no other thread divides
        except IndexError:
            fresh = os.urandom(self._size).hex()
            self._pool.extend(fresh[at : at + 32] for at in range(32, len(fresh), 32))
            return fresh[:32]


_POOL = RandomPool()


def random_hex(count: int) -> str:
    """Return *count* bytes, at most 16, of the system's random source as hex."""
    assert count <= 16, "more than a pool's portion"
    return _POOL.take()[: 2 * count]


_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def uuid7(now_us: int) -> str:
    """Return a UUIDv7 (RFC 9562) as 32 hex digits: 48 bits of time, 74 from the system's random source.

    The randomness is the system's so that an event's public hash tells nothing about the event.
    """
    random = _POOL.take()
    return f"{(now_us // 1000) & 0xFFFF_FFFF_FFFF:012x}7{random[:3]}{_VARIANTS[random[3]]}{random[4:19]}"
