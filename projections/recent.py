"""The newest events, read, checked and parsed once for all the lanes of a process, which follow each other closely.

A lane that lags behind what is kept reads the log for itself, and misses nothing: what is given
here is what a follower at the same place would give. What every lane has read is let go.
"""

from threading import Lock

from attrs import define, field, frozen

from eventlog.event import Recorded
from eventlog.follow import Follower
from eventlog.recovery import End

BYTES_MAX = 32 << 20
"""Of the log, kept for lanes that lag."""
PARSED_BYTES_MAX = 8 << 20
"""Of the log, kept parsed, which takes five times as much; a lane that lags further parses for itself."""


@frozen
class _Part:
    """What lies between two places of the log."""

    events: list[Recorded]
    end: End
    size: int


@define(eq=False)
class Recent:
    """What *readers* lanes read; any thread may call `read`."""

    _readers: int
    _bytes_max: int = BYTES_MAX
    _parsed_bytes_max: int = PARSED_BYTES_MAX
    _parts: dict[End, _Part] = field(factory=dict, init=False)
    """By where they begin, the oldest first."""
    _reads: dict[End, int] = field(factory=dict, init=False)
    _parsed: dict[End, _Part] = field(factory=dict, init=False)
    """Those of them that are kept parsed."""
    _parsed_size: int = field(default=0, init=False)
    _newest: int = field(default=0, init=False)
    """Up to which seq it has ever read. What lies before, only one that lags reads: it is not kept for others."""
    size: int = field(default=0, init=False)
    """How many bytes of the log are kept."""
    _lock: Lock = field(factory=Lock, init=False)

    def read(self, follower: Follower, end: End, bytes_max: int) -> list[Recorded]:
        """Return what `follower.read(end, bytes_max)` does (but perhaps more or less at once), and move it as that does.

        Raises:
            LogCorrupt: the next event's bytes are not what was written.

        """
        with self._lock:  # also while reading: the others want the same
            start = follower.at
            part = self._parts.get(start)
            if part is not None and part.end.next_seq <= end.next_seq:
                follower.at = part.end
                self._count(start)
                return part.events
            events = follower.read(end, bytes_max)
            if part is None and self._readers > 1 and start.next_seq >= self._newest:
                self._newest = follower.at.next_seq
                self._keep(start, _Part(events, follower.at, sum(one.place.length for one in events)))
            return events

    def _keep(self, start: End, part: _Part) -> None:
        self._parts[start], self._reads[start] = part, 1
        self.size += part.size
        self._parsed[start] = part
        self._parsed_size += part.size
        while self.size > self._bytes_max:
            self._drop(next(iter(self._parts)))
        while self._parsed_size > self._parsed_bytes_max and len(self._parsed) > 1:
            self._thin_out()

    def _thin_out(self) -> None:
        """Keep of the oldest part that is kept parsed the bytes alone."""
        part = self._parsed.pop(next(iter(self._parsed)))
        self._parsed_size -= part.size
        for recorded in part.events:
            recorded.forget_parsed()

    def _count(self, start: End) -> None:
        self._reads[start] += 1
        if self._reads[start] >= self._readers:
            self._drop(start)

    def _drop(self, start: End) -> None:
        if (parsed := self._parsed.pop(start, None)) is not None:
            self._parsed_size -= parsed.size
        self.size -= self._parts.pop(start).size
        del self._reads[start]
