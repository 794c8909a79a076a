"""Lanes that nobody waits for stand aside while somebody waits for the catalog.

One interpreter runs one thread at a time, so a lane that works takes from the others. For how long they
stand aside is bounded: a catalog that cannot go on must not hold them up.
"""

import threading

STOOD_MAX_S = 0.25
"""How long they stand aside at most for one commit of the catalog."""


class GiveWay:
    """The crossing of the lanes; any thread may call any method."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._is_free = threading.Event()
        self._is_free.set()
        self._is_spent = False
        """Whether the bound was reached, and the catalog has not committed since."""

    def claim(self) -> None:
        """Have the others stand aside until `release`."""
        if not self._is_spent:
            self._is_free.clear()

    def release(self) -> None:
        """Let the others go on: the catalog has committed."""
        self._is_spent = False
        self._is_free.set()

    def stand_aside(self) -> None:
        """Return at once, or when whoever has claimed the way is through."""
        if not self._is_free.is_set() and not self._is_free.wait(STOOD_MAX_S):
            self._is_spent = True
            self._is_free.set()
