"""How often one actor may ask: a bucket of tokens for each, filled steadily. Pure: the time comes in."""

from attrs import define, field, frozen


@frozen
class Level:
    """How full a bucket was, and when."""

    tokens: float
    at: float


@define
class Buckets:
    """A bucket for each actor; there are as many as there are keys."""

    per_second: float
    """Tokens that come in a second; 0: there is no limit."""
    burst: int
    """Tokens that a full bucket holds."""
    _levels: dict[str, Level] = field(factory=dict)

    def take(self, actor: str, now: float) -> float:
        """Take a token; return 0, or in how many seconds there will be one if there is none now."""
        if not self.per_second:
            return 0.0
        level = self._levels.get(actor) or Level(self.burst, now)
        tokens = min(float(self.burst), level.tokens + max(0.0, now - level.at) * self.per_second)
        if tokens < 1:
            self._levels[actor] = Level(tokens, now)
            return (1 - tokens) / self.per_second
        self._levels[actor] = Level(tokens - 1, now)
        return 0.0
