"""Lanes that nobody waits for stand aside while somebody waits for the catalog.

One interpreter runs one thread at a time, so a lane that works takes from the others. They stand aside for a bounded
while, and then have as long for themselves: neither endless reading nor a catalog that cannot go on holds them up.
"""

import threading
import time
from collections.abc import Callable

STOOD_MAX_S = 0.25
"""How long they stand aside at most at a time."""


class GiveWay:
    """The crossing of the lanes; any thread may call any method."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody waiting; *clock* tells seconds that never go back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._is_free = threading.Event()
        self._is_free.set()
        self._claimed_at = 0.0
        self._theirs_until = clock()
        """Until then the lanes that stood aside have the way."""

    def claim(self) -> None:
        """Have the others stand aside until `release`, unless it is their time."""
        with self._lock:
            now = self._clock()
            if self._is_free.is_set() and now >= self._theirs_until:
                self._claimed_at = now
                self._is_free.clear()

    def release(self) -> None:
        """Let the others go on: the catalog has committed, or has had its time."""
        with self._lock:
            if not self._is_free.is_set():
                now = self._clock()
                self._theirs_until = now + (now - self._claimed_at)
                self._is_free.set()

    def stand_aside(self) -> None:
        """Return at once, or when whoever has claimed the way is through."""
        if not self._is_free.is_set() and not self._is_free.wait(STOOD_MAX_S):
            self.release()
