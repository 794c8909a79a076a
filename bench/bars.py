"""Every bar, in one place: what must hold at this stage, what must hold in the end, what to reach for."""

from attrs import frozen


@frozen
class Bar:
    """A limit for one figure; `text` and `reach` are what the table shows."""

    text: str
    reach: str = ""
    at_least: float = float("-inf")
    at_most: float = float("inf")

    def holds(self, value: float) -> bool:
        """Tell whether *value* meets it."""
        return self.at_least <= value <= self.at_most


BARS = {
    "P1": Bar("≥ 0.35 x echo (final 0.45)", "0.70", at_least=0.35),
    "P2": Bar("≥ 0.25 x echo", "0.50", at_least=0.25),
    "P2 lag": Bar("≤ 2 s all the time", at_most=2.0),
    "P3": Bar("≤ 3 x disk + echo", "1.5 x disk + echo", at_most=3.0),
    "P4": Bar("≥ 15,000 runs/s", "40,000", at_least=15_000),
    "P5": Bar("≥ 0.5 x echo", "0.8", at_least=0.5),
    "P5 growth": Bar("≤ 1.3 x the small set", at_most=1.3),
    "P6 p50": Bar("p50 ≤ 5 ms", "1 ms", at_most=5.0),
    "P6 p99": Bar("p99 ≤ 25 ms", at_most=25.0),
    "P7": Bar("≥ 12,000 events/s", "40,000", at_least=12_000),
    "P7 memory": Bar("≤ 300 MB", at_most=300.0),
    "P8": Bar("≥ 8,000 runs/s", "20,000", at_least=8_000),
    "P8 memory": Bar("≤ 300 MB", at_most=300.0),
    "P9": Bar("≥ 0.35 x read, slice, sha, compare", "0.8", at_least=0.35),
    "pages": Bar("≤ 200 ms", at_most=200.0),
    "P10": Bar("≤ 120 MB (final 200 at 1,000,000)", "120 MB", at_most=120.0),
    "P11": Bar("≤ 1.5 s", "0.5 s", at_most=1.5),
    "P11 growth": Bar("≤ 1.2 x the small set", at_most=1.2),
    "P13": Bar("p99 ≤ 10 x p99 of P5", "3 x", at_most=10.0),
    "P14": Bar("≤ 6 KB", "3 KB", at_most=6.0),
    "proof": Bar("≤ 1 KB", at_most=1024),
    "proof time": Bar("≤ 1 ms", at_most=1.0),
}
