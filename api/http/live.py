"""The newest events, held once for all who listen; and the pulse that wakes them.

A listener asks for what follows the event that it sent last. So it can neither miss one nor get one
twice, holds nothing itself, and one that reads slowly waits for nobody but itself: what is no
longer held here is in the log. The writer does no more for a thousand listeners than for one.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from aiohttp import web

from eventlog.batch import Batch
from eventlog.event import Recorded

_HELD_BYTES_MAX = 4 << 20
_END_S = 1.0
_AT_ONCE, _PAUSE_S = 16, 0.005
"""How many listeners are woken at once, and what others have of the time in between: a thousand take some of it, not all."""


class Live:
    """What is held for the listeners of one server."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Transport] = set()
        self.is_ending = False
        """Whether the server ends, and every listener with it."""
        self._held: deque[Recorded] = deque()
        self._size = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        """In the order in which they came."""
        self._pulse: asyncio.TimerHandle | None = None
        self._to_wake = 0
        """How many the pulse that is under way still has to wake."""
        self._is_due = False
        """Whether something was written since that pulse began."""

    @contextmanager
    def listening(self, transport: asyncio.Transport) -> Iterator[None]:
        """Count the client at *transport* as a listener meanwhile."""
        self._listeners.add(transport)
        try:
            yield
        finally:
            self._listeners.discard(transport)

    def committed(self, batch: Batch) -> None:
        """Hold what was written, if anybody listens, and wake who does before long."""
        if not self._listeners:
            self._held.clear()
            self._size = 0
            return
        for recorded in batch.events:
            self._held.append(recorded)
            self._size += len(recorded.bytes)
        while self._size > _HELD_BYTES_MAX:
            self._size -= len(self._held.popleft().bytes)
        self._is_due = True
        if self._pulse is None:
            self._begin_pulse()

    def end(self) -> None:
        """Have every listener end at once; hang up on those that do not take the news."""
        self.is_ending = True
        self._wake(len(self._waiting))
        asyncio.get_running_loop().call_later(_END_S, self._hang_up)

    def held_from(self, seq: int, count_max: int) -> list[Recorded] | None:
        """Return event *seq* and at most *count_max* in all that follow; None where they are not held any more."""
        if not self._held or seq < self._held[0].seq:
            return None
        start = seq - self._held[0].seq
        return [self._held[at] for at in range(start, min(start + count_max, len(self._held)))]

    async def moved(self, seconds: float) -> None:
        """Return when this listener is woken, or after *seconds*."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = None
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            return
        finally:
            self._waiting.pop(waiting, None)

    def _hang_up(self) -> None:
        for transport in self._listeners:
            transport.abort()

    def _begin_pulse(self) -> None:
        self._is_due, self._to_wake = False, len(self._waiting)
        self._go_on()

    def _go_on(self) -> None:
        """Wake the next few; then the writer, and whoever else is there, have their turn."""
        count = min(_AT_ONCE, self._to_wake)
        self._wake(count)
        self._to_wake -= count
        pause_s, then = (_PAUSE_S, self._go_on) if self._to_wake else (_PAUSE_S, self._end_pulse)
        self._pulse = asyncio.get_running_loop().call_later(pause_s, then)

    def _end_pulse(self) -> None:
        self._pulse = None
        if self._is_due:
            self._begin_pulse()

    def _wake(self, count: int) -> None:
        for waiting in list(islice(self._waiting, count)):
            del self._waiting[waiting]
            if not waiting.done():
                waiting.set_result(None)


LIVE = web.AppKey("live", Live)
