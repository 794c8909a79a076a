"""The clock as a port, UTC times as text, and event ids.

Times inside are whole microseconds since 1970, UTC; as text they are RFC 3339 with
always six fractional digits and `Z`, so every time is 27 characters long.
"""

import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
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
    moment = _EPOCH + timedelta(microseconds=us)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


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
    """Bytes of the system's random source, fetched many at a time: a system call for each would cost more than its use."""

    def __init__(self, size: int = 4096) -> None:
        """Fetch *size* bytes at a time."""
        self._size = size
        self._pool = b""
        self._at = size
        self._lock = threading.Lock()

    def take(self, count: int) -> bytes:
        """Return *count* bytes that were never returned before."""
        with self._lock:
            if self._at + count > len(self._pool):
                self._pool, self._at = os.urandom(self._size), 0
            self._at += count
            return self._pool[self._at - count : self._at]


_POOL = RandomPool()


def random_hex(count: int) -> str:
    """Return *count* bytes of the system's random source as hex."""
    return _POOL.take(count).hex()


def uuid7(now_us: int) -> str:
    """Return a UUIDv7 (RFC 9562) as 32 hex digits: 48 bits of time, 74 from the system's random source.

    The randomness is the system's so that an event's public hash tells nothing about the event.
    """
    random = int.from_bytes(_POOL.take(10), "big")
    high = ((now_us // 1000) & 0xFFFF_FFFF_FFFF) << 80
    return f"{high | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF:032x}"
