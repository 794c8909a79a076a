"""What the log holds of each run, read from its segments: without a lock, beside a server too, and without a trace.

An event counts only if its bytes match their hash, and a batch that is not whole yet is not looked at.
What is noted lies in a temporary database without a name, so memory stays bounded.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, evolve, field, frozen

from eventlog.canonical import canonical
from eventlog.clock import time_us
from eventlog.errors import LogCorrupt
from eventlog.event import Place, Recorded
from eventlog.follow import EventMissing
from eventlog.frame import BadFrame, Frame, decode
from eventlog.opening import opened_checkpoint, read_identity
from eventlog.posix import PosixDisk
from eventlog.segment import SEGMENTS, segment_name, segment_numbers, segment_path
from projections.run import events
from projections.run.events import UnknownEvent

_LOOKS, _LOOK_AGAIN_S = 20, 0.01
_FAULTS_KEPT_MAX = 1000
_SCHEMA = """
CREATE TABLE run (
    run_id TEXT PRIMARY KEY, revision INTEGER, digest BLOB, import_id TEXT, withdrawn INTEGER, first INTEGER
) WITHOUT ROWID;
CREATE TABLE unknown (run_id TEXT PRIMARY KEY, seq INTEGER, type TEXT) WITHOUT ROWID;
CREATE TABLE event (run_id TEXT, seq INTEGER, segment INTEGER, offset INTEGER, length INTEGER,
    PRIMARY KEY (run_id, seq)) WITHOUT ROWID;
"""


@frozen
class Held:
    """What the log has under an id. `digest` is that of the v1 record it was imported from, None for another run."""

    revision: int
    digest: bytes | None = None
    import_id: str | None = None
    is_withdrawn: bool = False

    @property
    def in_force(self) -> "Held | None":
        """Itself, unless it was withdrawn: then an import may begin the id anew."""
        return None if self.is_withdrawn else self


def digest_of(record: Any) -> bytes:
    """Return what tells whether two v1 records (as the strict parser made them) are the same."""
    return sha256(canonical(record)).digest()


def held_after(held: Held | None, recorded: Recorded) -> Held:
    """Return what there is of a run after one more of its events."""
    revision = held.revision + 1 if held else 0
    match recorded.type:
        case events.CREATED:
            return Held(revision)
        case events.IMPORTED:
            data = recorded.data
            return Held(revision, digest_of(data.get("v1")), data.get("import_id"))
        case kind:
            # None before it: the event that began the run is damaged.
            return evolve(held or Held(-1), revision=revision, is_withdrawn=kind == events.WITHDRAWN)


def held_in(stream: Iterable[Recorded]) -> Held | None:
    """Return what there is of a run whose events are *stream*; None without any."""
    held: Held | None = None
    for recorded in stream:
        held = held_after(held, recorded)
    return held


@frozen
class Until:
    """Up to where to look: a seq, or a time in microseconds, both inclusive; None for no bound."""

    seq: int | None = None
    time_us: int | None = None

    def covers(self, recorded: Recorded) -> bool:
        """Tell whether *recorded* lies within."""
        if self.seq is not None:
            return recorded.seq <= self.seq
        return self.time_us is None or time_us(recorded.time) <= self.time_us


@frozen
class Damage:
    """A place in a segment where there is not what was written."""

    seq: int
    segment: str
    offset: int
    reason: str
    is_missing: bool = False
    """Whether it is another event that stands there, or none."""


@define
class Holdings:
    """The runs of one log; `damage` lists what could not be read, and where events are missing (at most 1,000)."""

    _data_dir: Path
    damage: list[Damage] = field(factory=list)
    last_seq: int = -1
    _db: sqlite3.Connection = field(init=False)
    _disk: PosixDisk = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with nothing."""
        self._disk = PosixDisk(self._data_dir)
        self._db = sqlite3.connect("", isolation_level=None)  # on disk if it grows, without a name
        self._db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
        self._db.execute("BEGIN")

    @classmethod
    def of(
        cls, data_dir: Path, until: Until | None = None, on_bytes: Callable[[int], None] | None = None
    ) -> "Holdings":
        """Return what the log in *data_dir* holds (nothing, if there is none); close it when done.

        Raises:
            LogDamaged: its `log.json` or its checkpoint counts for nothing.

        """
        holdings = cls(data_dir)
        until = until or Until()
        for recorded in holdings._events(on_bytes or (lambda _done: None)):
            if not until.covers(recorded):
                break
            holdings._add(recorded)
        return holdings

    def get(self, run_id: str) -> Held | None:
        """Return what there is under *run_id*."""
        row = self._db.execute(
            "SELECT revision, digest, import_id, withdrawn FROM run WHERE run_id = ?", (run_id,)
        ).fetchone()
        return Held(row[0], row[1], row[2], bool(row[3])) if row else None

    def pretend(self, run_id: str, held: Held) -> None:
        """Go on as if the log held *held*: what a rehearsal would have imported."""
        self._put(run_id, held, self.last_seq + 1)

    def stream(self, run_id: str) -> list[Recorded]:
        """Return the events of a run, oldest first, but those that are damaged."""
        rows = self._db.execute(
            "SELECT seq, segment, offset, length FROM event WHERE run_id = ? ORDER BY seq", (run_id,)
        ).fetchall()
        found = []
        for seq, *where in rows:
            place = Place(*where)
            frame = decode(self._disk.read(segment_path(place.segment), place.offset, place.length))
            found.append(Recorded(seq, frame.hash, frame.event, place))
        return found

    def event_at(self, seq: int, place: Place) -> Recorded | None:
        """Return event *seq*, which is said to lie at *place*; None if it does not."""
        try:
            frame = decode(self._disk.read(segment_path(place.segment), place.offset, place.length))
        except (BadFrame, FileNotFoundError, TypeError, ValueError, OverflowError):
            return None
        return Recorded(seq, frame.hash, frame.event, place) if frame.seq == seq else None

    def unknown(self) -> Iterator[tuple[str, UnknownEvent]]:
        """Give the runs that hold an event of a type not known here, with the first such event."""
        for run_id, seq, kind in self._db.execute("SELECT run_id, seq, type FROM unknown ORDER BY seq"):
            yield run_id, UnknownEvent(seq, kind)

    def check_known(self, run_id: str) -> None:
        """Return if all events of a run are of types known here.

        Raises:
            UnknownEvent: one is not.

        """
        if row := self._db.execute("SELECT seq, type FROM unknown WHERE run_id = ?", (run_id,)).fetchone():
            raise UnknownEvent(*row)

    def run_ids(self) -> Iterator[str]:
        """Give every id, in the order in which the runs came."""
        for row in self._db.execute("SELECT run_id FROM run ORDER BY first"):
            yield row[0]

    def of_imports(self, import_ids: Iterable[str]) -> Iterator[str]:
        """Give the runs in force that came with these imports, in their order."""
        wanted = json.dumps(list(import_ids))
        statement = "SELECT run_id FROM run WHERE withdrawn = 0 AND import_id IN (SELECT value FROM json_each(?)) ORDER BY first"
        for row in self._db.execute(statement, (wanted,)):
            yield row[0]

    def has_of_imports(self, import_ids: Iterable[str]) -> bool:
        """Tell whether any run came with these imports, also if it was withdrawn since."""
        statement = "SELECT 1 FROM run WHERE import_id IN (SELECT value FROM json_each(?)) LIMIT 1"
        return self._db.execute(statement, (json.dumps(list(import_ids)),)).fetchone() is not None

    def count(self, *, imported: bool = False, withdrawn: bool = False) -> int:
        """Return how many runs there are in force (or withdrawn), of all kinds or *imported*."""
        statement = "SELECT count(*) FROM run WHERE withdrawn = ? AND (import_id IS NOT NULL OR NOT ?)"
        return int(self._db.execute(statement, (withdrawn, imported)).fetchone()[0])

    def check_whole(self) -> None:
        """Return if every line could be read, and all is there that was signed.

        Raises:
            LogCorrupt: an event is not what was written, or is missing.

        """
        for damage in self.damage:
            raise (EventMissing if damage.is_missing else LogCorrupt)(damage.seq, damage.segment, damage.offset)

    def close(self) -> None:
        """Let go of everything."""
        self._db.close()
        self._disk.close()

    def __enter__(self) -> "Holdings":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, recorded: Recorded) -> None:
        run_id, place = recorded.stream, recorded.place
        self._put(run_id, held_after(self.get(run_id), recorded), recorded.seq)
        if recorded.type not in events.TYPES:
            self._db.execute("INSERT OR IGNORE INTO unknown VALUES (?, ?, ?)", (run_id, recorded.seq, recorded.type))
        self._db.execute(
            "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)",
            (run_id, recorded.seq, place.segment, place.offset, place.length),
        )
        self.last_seq = recorded.seq

    def _put(self, run_id: str, held: Held, seq: int) -> None:
        row = (run_id, held.revision, held.digest, held.import_id, held.is_withdrawn, seq)
        self._db.execute(
            "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET revision = excluded.revision,"
            " digest = excluded.digest, import_id = excluded.import_id, withdrawn = excluded.withdrawn",
            row,
        )

    def _events(self, on_bytes: Callable[[int], None]) -> Iterator[Recorded]:
        """Give the events of the whole batches; a good event of a damaged batch too, unless the log ends with it."""
        pending: list[Recorded] = []
        for frame, place in self._frames(on_bytes):
            if pending and frame.first > pending[-1].seq:
                yield from pending
                pending = []
            pending.append(Recorded(frame.seq, frame.hash, frame.event, place))
            if frame.seq == frame.last:
                yield from pending
                pending = []

    def _frames(self, on_bytes: Callable[[int], None]) -> Iterator[tuple[Frame, Place]]:
        signed = self._signed()  # before the segments: what it covers is in them, whatever a writer does meanwhile
        done = next_seq = number = offset = 0
        for number in segment_numbers(self._disk.names(SEGMENTS)):
            path, offset = segment_path(number), 0
            file = self._disk.open(path)
            while line := file.readline():
                if next_seq >= signed and not _is_frame_of(line, next_seq):
                    file, line = self._looked_at_again(path, offset, next_seq)
                if line.endswith(b"\n"):
                    try:
                        frame = decode(line)
                        if frame.seq != next_seq:
                            what = f"event {frame.seq} stands where {next_seq} belongs"
                            self._note_damage(next_seq, number, offset, what, is_missing=True)
                        next_seq = frame.seq + 1
                        yield frame, Place(number, offset, len(line))
                    except BadFrame as error:
                        self._note_damage(next_seq, number, offset, str(error))
                        next_seq += 1
                offset += len(line)
                on_bytes(done + offset)
            done += offset
        if next_seq < signed:
            what = f"the log ends here, and its checkpoint is signed for {signed} events"
            self._note_damage(next_seq, number, offset, what, is_missing=True)

    def _looked_at_again(self, path: str, offset: int, seq: int) -> tuple[BinaryIO, bytes]:
        """Return the line at *offset*, where event *seq* is due, as it is once no writer is at it; and where to read on.

        What was read may be from before it was written, or half from before and half from after. Where damage is
        known already, one look is enough: nobody writes behind it.
        """
        looks = 1 if self.damage else _LOOKS
        while True:
            file = self._disk.open(path, offset)
            line, looks = file.readline(), looks - 1
            if not looks or not line.endswith(b"\n") or _is_frame_of(line, seq):
                return file, line
            time.sleep(_LOOK_AGAIN_S)

    def _signed(self) -> int:
        """Return how many events the checkpoint covers; 0 without a log, or for one from before there were keys."""
        identity = read_identity(self._disk)
        if identity is None or not identity.vkey:
            return 0
        return opened_checkpoint(self._disk, identity.verifier)[1].size

    def _note_damage(self, seq: int, number: int, offset: int, reason: str, *, is_missing: bool = False) -> None:
        if len(self.damage) < _FAULTS_KEPT_MAX:
            segment = segment_name(number) if number else ""
            self.damage.append(Damage(seq, segment, offset, reason, is_missing))


def _is_frame_of(line: bytes, seq: int) -> bool:
    try:
        return decode(line).seq == seq
    except BadFrame:
        return False
