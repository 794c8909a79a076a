"""Percentiles and medians of what was timed."""

from collections.abc import Iterable
from statistics import median

__all__ = ["median", "percentile", "summary"]


def percentile(values: list[float], part: float) -> float:
    """Return the value that *part* (0 to 1) of the *values* do not exceed (nearest rank); 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def summary(values: Iterable[float]) -> dict[str, float]:
    """Return p50, p90, p99, max and count, in the unit of the *values*."""
    ordered = sorted(values)
    return {
        "p50": percentile(ordered, 0.50),
        "p90": percentile(ordered, 0.90),
        "p99": percentile(ordered, 0.99),
        "max": ordered[-1] if ordered else 0.0,
        "count": len(ordered),
    }
