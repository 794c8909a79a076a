"""Answers that wait for their client: bounded in memory, over all clients together, without ever holding up the work.

A client that does not read may go on sending. What waits for it is kept, within its own bound
(beyond it faults are told in brief), and within the share that the memory for all allows; a client
that takes more than its share is let go: what it sent is recorded, and it can ask again.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp import web
from attrs import define, field

_PIECE_BYTES = 65_536
_ALL_BYTES_MAX = 256 << 20
BRIEF_ABOVE_BYTES = 16 << 20
"""Fifty thousand answers to good lines take half of it."""


@define(eq=False)
class UnreadOfAll:
    """What waits for all clients together."""

    clients: int = 0
    size: int = 0

    def is_too_much(self, own: int) -> bool:
        """Tell whether there is too much, and a client with *own* bytes of it has more than its share."""
        return self.size > _ALL_BYTES_MAX and own * self.clients > self.size


UNREAD = web.AppKey("unread", UnreadOfAll)


@define(eq=False)
class Unread:
    """What waits for one client."""

    _all: UnreadOfAll
    _hang_up: Callable[[], None]
    size: int = 0
    taken: int = 0
    """Pieces that the client took so far."""
    _pieces: deque[bytes] = field(factory=deque)
    _changed: asyncio.Event = field(factory=asyncio.Event)
    _ended: bool = False

    def __enter__(self) -> "Unread":
        self._all.clients += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._all.clients -= 1
        self._all.size -= self.size

    @property
    def is_brief(self) -> bool:
        """Whether what is long is to be told in brief now."""
        return self.size > BRIEF_ABOVE_BYTES

    def add(self, lines: list[bytes]) -> None:
        """Keep *lines* for the client; hang up if it has more than its share unread."""
        piece = b"".join(lines)
        self._pieces.append(piece)
        self._count(len(piece))
        self._changed.set()
        if self._all.is_too_much(self.size):
            self._hang_up()

    def end(self) -> None:
        """Say that nothing more comes."""
        self._ended = True
        self._changed.set()

    async def send(self, response: web.StreamResponse) -> None:
        """Give all of it to the client, as fast as it reads.

        Raises:
            ConnectionError: the client is gone.

        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._pieces:
                piece = self._pieces.popleft()
                for at in range(0, len(piece), _PIECE_BYTES):
                    await response.write(piece[at : at + _PIECE_BYTES])
                    self.taken += 1
                self._count(-len(piece))
            if self._ended:
                return

    def _count(self, more: int) -> None:
        self.size += more
        self._all.size += more
