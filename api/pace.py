"""The pace of bulk writing: the projections stay within a second of the head, however fast lines come.

Whoever writes in bulk asks here before each portion. It waits for every projection that runs to
cover what was durable a moment ago. One that failed, or is made anew, is not waited for: that may
take hours, and `/readyz` tells of it.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from projections.supervisor import Standing

_BEHIND_S = 0.2
"""How far a projection may be behind when a portion is let in. What it takes to fold the portions under way comes on top."""
_SAMPLE_INTERVAL_S = 0.1
"""Each step costs the projections a commit, so they are not asked for smaller ones."""
_WAIT_S = 2.0
"""A projection that does not get there by then hangs, and is not waited for until it moves again."""


class Folding(Protocol):
    """The projections, as far as the pace needs them."""

    standings: dict[str, Standing]

    def hurry(self) -> None:
        """Have them work now on what there is."""

    async def wait(self, name: str, seq: int, timeout_s: float) -> bool:
        """Return whether projection *name* came to cover event *seq* within *timeout_s*."""


class Pace:
    """One pace for all bulk writes of a server."""

    def __init__(
        self, projections: Folding, head: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """*head* tells the seq of the last durable event, *clock* seconds that never go back."""
        self._projections, self._head, self._clock = projections, head, clock
        self._heads: deque[tuple[float, int]] = deque(maxlen=64)
        """When the head stood where: times, and seqs."""
        self._wanted = -1
        """What the projections are to cover by now."""
        self._hangs_at: dict[str, int] = {}

    async def keep(self) -> None:
        """Return when the next portion may be written."""
        now = self._clock()
        if not self._heads or now - self._heads[-1][0] > _SAMPLE_INTERVAL_S:
            self._heads.append((now, self._head()))
            self._projections.hurry()  # they work while the next portions come, not only once somebody waits
        while self._heads and now - self._heads[0][0] > _BEHIND_S:
            self._wanted = self._heads.popleft()[1]
        for standing in self._projections.standings.values():
            if self._is_to_wait_for(standing) and not standing.covers(self._wanted):
                position = standing.position
                await self._projections.wait(standing.name, self._wanted, _WAIT_S)
                if standing.position == position:
                    self._hangs_at[standing.name] = position

    def _is_to_wait_for(self, standing: Standing) -> bool:
        return standing.goes_on and self._hangs_at.get(standing.name) != standing.position
