"""What a verification found: the first bad event with its place, how many there are, and what else is to be known."""

from typing import Any

from attrs import asdict, define, field, frozen

FAULTS_MAX = 100
EVENTS_MAX = 100_000
NOTES_MAX = 100


@frozen
class Fault:
    """Something that is not as it was written; *path* is under the data directory."""

    what: str
    path: str
    offset: int | None = None
    seq: int | None = None

    @property
    def in_words(self) -> str:
        """The fault in a line."""
        place = "" if self.offset is None else f", byte {self.offset}"
        event = "" if self.seq is None else f", seq {self.seq}"
        return f"{self.path}{place}{event}: {self.what}"


@define
class Verdict:
    """The outcome. Every fault is counted; the first `FAULTS_MAX` are told."""

    events: int = 0
    """Where the events end."""
    bad: int = 0
    first_bad: Fault | None = None
    """The first event that is bad, or else the first file."""
    faults: list[Fault] = field(factory=list)
    notes: list[str] = field(factory=list)
    signed: int = 0
    """How many events the checkpoint covers."""
    root: str = ""
    origin: str = ""
    unsigned_tail: int = 0
    """Good events above the checkpoint."""
    blobs: int = 0
    tiles_missing: int = 0
    key: str = ""
    is_self_consistent_only: bool = True
    """Whether the key came from the log itself."""
    _bad_events: set[tuple[int | None, str, int | None]] = field(factory=set)
    """Seq and place of the bad events so far, up to `EVENTS_MAX`: one that is bad in two ways counts once."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is bad."""
        return not self.bad

    def add(self, fault: Fault, count: int = 1) -> None:
        """Count a fault, which stands for *count* events or files."""
        place = (fault.seq, fault.path, fault.offset)
        if place not in self._bad_events:
            self.bad += count
        if fault.seq is not None and len(self._bad_events) < EVENTS_MAX:
            self._bad_events.add(place)
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(fault)
        first = self.first_bad
        if first is None or (fault.seq is not None and (first.seq is None or fault.seq < first.seq)):
            self.first_bad = fault

    def note(self, text: str) -> None:
        """Add what is to be known and is no fault."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(text)

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {"ok": self.is_good, **asdict(self, filter=lambda attribute, _: not attribute.name.startswith("_"))}
