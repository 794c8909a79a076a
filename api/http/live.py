"""The newest events, held once for all who listen; and the pulse that wakes them.

A listener asks for what follows the event that it sent last. So it can neither miss one nor get one
twice, holds nothing itself, and one that reads slowly waits for nobody but itself: what is no
longer held here is in the log. The writer does no more for a thousand listeners than for one.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from eventlog.batch import Batch
from eventlog.event import Recorded

_HELD_BYTES_MAX = 4 << 20
_END_S = 1.0
_PULSE_PER_LISTENER_S = 0.0002
"""Between two pulses: what it takes to serve a listener, so that a thousand take a part of the server's time only."""


class Live:
    """What is held for the listeners of one server."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Transport] = set()
        self.is_ending = False
        """Whether the server ends, and every listener with it."""
        self._held: deque[Recorded] = deque()
        self._size = 0
        self._moved = asyncio.Event()
        self._pulse: asyncio.TimerHandle | None = None
        self._pulsed_at = 0.0

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
        if self._pulse is None:
            loop = asyncio.get_running_loop()
            next_at = self._pulsed_at + len(self._listeners) * _PULSE_PER_LISTENER_S
            self._pulse = loop.call_at(max(next_at, loop.time()), self._wake)

    def end(self) -> None:
        """Have every listener end at once; hang up on those that do not take the news."""
        self.is_ending = True
        self._wake()
        asyncio.get_running_loop().call_later(_END_S, self._hang_up)

    def held_from(self, seq: int, count_max: int) -> list[Recorded] | None:
        """Return event *seq* and at most *count_max* in all that follow; None where they are not held any more."""
        if not self._held or seq < self._held[0].seq:
            return None
        start = seq - self._held[0].seq
        return [self._held[at] for at in range(start, min(start + count_max, len(self._held)))]

    async def moved(self, seconds: float) -> None:
        """Return at the next pulse, or after *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return

    def _hang_up(self) -> None:
        for transport in self._listeners:
            transport.abort()

    def _wake(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
        self._pulse, self._pulsed_at = None, asyncio.get_running_loop().time()
        self._moved.set()
        self._moved = asyncio.Event()


LIVE = web.AppKey("live", Live)
