"""Rounds of the same load on the same target, and their medians."""

from collections.abc import Callable
from typing import Any, Protocol

from attrs import Factory, asdict, define

from bench.statistic import median
from bench.wrk import Round


class Target(Protocol):
    """What load is put on: a server or the echo peer."""

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far."""


@define
class Series:
    """The rounds so far. Rounds of two targets alternate, so that a slow minute of the machine hits both."""

    rounds: list[Round] = Factory(list)
    cpu_us: list[float] = Factory(list)

    def take(self, target: Target, load: Callable[[], Round]) -> None:
        """Make one round, and take the CPU time of the *target* for each request."""
        before = target.cpu_s()
        found = load()
        self.cpu_us.append((target.cpu_s() - before) / found.requests * 1e6)
        self.rounds.append(found)

    @property
    def good(self) -> int:
        """Good answers of all rounds."""
        return sum(found.good for found in self.rounds)

    @property
    def rate(self) -> float:
        """Good answers a second, the median."""
        return median(found.rate for found in self.rounds)

    @property
    def p50_us(self) -> float:
        """The median of the rounds' p50."""
        return median(found.p50_us for found in self.rounds)

    @property
    def p99_us(self) -> float:
        """The median of the rounds' p99."""
        return median(found.p99_us for found in self.rounds)

    def facts(self) -> dict[str, Any]:
        """Return everything, for the JSON file."""
        return {
            "rate": round(self.rate, 1),
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "cpu_us_per_request": round(median(self.cpu_us), 1),
            "rounds": [asdict(found) for found in self.rounds],
        }

    def text(self) -> str:
        """Return the rate and what a request costs, for the table."""
        return f"{self.rate:,.0f}/s, CPU {median(self.cpu_us):.0f} µs each"
