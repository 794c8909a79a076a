"""The brake of single writing: while a projection falls behind, the log's writer rests a little before each batch.

Producers that write as fast as they get answers then leave the projections the time that they need; whoever writes now
and then does not notice. One that failed, hangs, or is made anew, is not waited for: `/readyz` tells of it.
"""

import time
from collections.abc import Callable
from typing import Protocol

from projections.supervisor import Standing

LAG_S = 1.25
"""How far behind the head a projection may be before the writer rests; with its pauses between commits it may come near that."""
REST_MAX_S = 0.05
"""The longest rest; the batch after it holds the more."""
_REST_PER_LAG = 0.06
"""Seconds of rest for each second of lag beyond `LAG_S`."""
_LOOK_INTERVAL_S = 0.1
_HANGS_AFTER_S = 10.0
"""Without a commit. One that commits every few seconds is slow, and needs the brake."""


class Lagging(Protocol):
    """The projections, as far as the brake needs them."""

    standings: dict[str, Standing]

    def lags_s(self) -> dict[str, float]:
        """Return how far each is behind (seconds)."""


class Brake:
    """Tells how long to rest; asked before each batch."""

    def __init__(self, projections: Lagging, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* tells seconds that never go back."""
        self._projections, self._clock = projections, clock
        self._looked_at = clock()
        self._moved: dict[str, tuple[int, float]] = {}
        """Where each stood when it last moved, and when that was seen."""
        self._rest_s = 0.0

    def __call__(self) -> float:
        """Return how long to rest (seconds), 0 nearly always."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_INTERVAL_S:
            self._looked_at = now
            lags = self._projections.lags_s()
            lag = max(
                (lags[name] for name, one in self._projections.standings.items() if self._moves(one, now)), default=0
            )
            self._rest_s = min(REST_MAX_S, max(0.0, lag - LAG_S) * _REST_PER_LAG)
        return self._rest_s

    def _moves(self, standing: Standing, now: float) -> bool:
        seen = self._moved.get(standing.name)
        if seen is None or seen[0] != standing.position:
            seen = self._moved[standing.name] = (standing.position, now)
        return standing.goes_on and now - seen[1] < _HANGS_AFTER_S
