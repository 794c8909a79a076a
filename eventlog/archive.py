"""A log read beside its writer, or without one: what was signed, and nothing beyond it. No lock, no index, no trace.

Whatever it gives out is true and whole: events match their hash and follow one another without a gap up to what was
signed, and each proof was checked against the checkpoint that it opened with.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

from attrs import define, frozen

from eventlog.claims import claimed_hashes
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Recorded
from eventlog.follow import EventMissing, Follower
from eventlog.frame import frame_start
from eventlog.locate import Finder, located
from eventlog.merkle import Frontier, ProofRefused, leaf_hash
from eventlog.note import Checkpoint, Note, NoteRefused, open_checkpoint
from eventlog.opening import Identity, opened_checkpoint, read_identity
from eventlog.posix import PosixDisk
from eventlog.proof_text import LogProof
from eventlog.recovery import End
from eventlog.seals import read_seal, sealed_segments
from eventlog.segment import SEGMENTS, segment_name, segment_numbers, segment_path
from eventlog.tree import Tree, TreeDamaged

_READ_BYTES = 1 << 20


@frozen
class EventsNotSigned(LogCorrupt):
    """From *seq* on there is an event that matches its hash and is not the one that was signed."""

    @property
    def message(self) -> str:
        return (
            f"From event {self.seq} on (segment {self.segment}, byte {self.offset}) the events are not those that were signed: "
            "one or more were changed together with their hash, so nothing is taken out. Run `runlog log verify` to see "
            "the extent, and restore that segment from a backup."
        )


@define
class Archive:
    """A log up to its checkpoint."""

    _disk: PosixDisk
    identity: Identity
    note: Note
    checkpoint: Checkpoint
    _tree: Tree | None = None

    @classmethod
    def open(cls, data_dir: Path) -> Self | None:
        """Return the log in *data_dir* as its checkpoint covers it now; None if there is none.

        Raises:
            LogDamaged: its `log.json` or its checkpoint counts for nothing.

        """
        disk = PosixDisk(data_dir)
        identity = read_identity(disk)
        if identity is None:
            return None
        if not identity.vkey:
            raise LogDamaged("it is from before there were keys, and `runlog serve` signs it when it opens it")
        data, checkpoint = opened_checkpoint(disk, identity.verifier)
        return cls(disk, identity, Note.parse(data), checkpoint)

    def refresh(self) -> None:
        """Go on to the checkpoint of now."""
        data, self.checkpoint = opened_checkpoint(self._disk, self.identity.verifier)
        self.note, self._tree = Note.parse(data), None

    def close(self) -> None:
        """Let go of every file."""
        self._disk.close()

    def segments(self) -> list[int]:
        """Return the segments that are there, in log order."""
        return segment_numbers(self._disk.names(SEGMENTS))

    def proof(self, recorded: Recorded) -> LogProof:
        """Return the proof that *recorded* stands at its seq in the tree of the checkpoint; it was checked.

        Raises:
            LogCorrupt: the events do not lead to what was signed, or *recorded* is not among them.

        """
        tree = self._tree = self._tree or self._opened_tree()
        try:
            hashes = tree.inclusion_proof(recorded.seq, self.checkpoint.size)
            proof = LogProof(recorded.seq, tuple(hashes), self.note)
            proof.check(bytes.fromhex(recorded.hash), self.checkpoint)
        except TreeDamaged as error:
            raise self._not_signed(LogDamaged(error.message, seq=error.first_seq)) from None
        except ProofRefused:
            place = recorded.place
            raise EventsNotSigned(recorded.seq, segment_name(place.segment), place.offset) from None
        return proof

    def events(self, *, first: int = 0, days: tuple[int, int] | None = None) -> Iterator[Recorded]:
        """Yield the events from seq *first*, all or those of the segments of *days* (first and last, `20260105`).

        Raises:
            LogCorrupt: one of them does not match its hash, or is missing. What came before it was yielded.

        """
        for some in self._read(self._start(first, days), self._size_of(days)):
            for recorded in some:
                day = recorded.place.segment // 10_000
                if days is not None and day > days[1]:
                    return
                if days is None or day >= days[0]:
                    yield recorded

    def stream(self, stream: str) -> list[Recorded]:
        """Return all events of *stream*, oldest first; the whole log is compared with the checkpoint, so that none is left out.

        Raises:
            LogCorrupt: any event of the log is not what was signed.

        """
        subject = b'"subject":"%b"' % stream.encode()
        frontier, found = Frontier(), list[Recorded]()
        for some in self._read(End(), self.checkpoint.size):
            frontier, _ = frontier.grown([leaf_hash(bytes.fromhex(each.hash)) for each in some])
            found += (each for each in some if subject in each.bytes and each.stream == stream)
        if frontier.root != self.checkpoint.root:
            for recorded in self.events():
                self.proof(recorded)  # one of them has none, and is named
        return found

    def _start(self, first: int, days: tuple[int, int] | None) -> End:
        """Return where to begin to read."""
        if days is not None:
            return self._sealed_before(days[0])
        if not 0 < first < self.checkpoint.size:
            return End(first)
        place = Finder(self._disk).place(first)
        return End(first, place.segment, place.offset)

    def _size_of(self, days: tuple[int, int] | None) -> int:
        """Return how many events to read: those up to the end of *days*, where a seal tells it; what follows may be damaged."""
        last = max((each for each in self.segments() if days and each // 10_000 <= days[1]), default=None)
        seal = self._seal(last) if last is not None else None
        if last is None or seal is None:
            return self.checkpoint.size
        following = min((each for each in self.segments() if each > last), default=None)
        head = frame_start(seal.size)
        if following is None or self._disk.read(segment_path(following), 0, len(head)) != head:
            return self.checkpoint.size  # a segment between them may be gone: reading on tells
        return min(self.checkpoint.size, seal.size)

    def _seal(self, segment: int) -> Checkpoint | None:
        """Return what a good seal of *segment* tells; None without one."""
        try:
            return open_checkpoint(read_seal(self._disk, segment) or b"", self.identity.verifier)
        except NoteRefused:
            return None

    def _sealed_before(self, day: int) -> End:
        """Return the end of the newest segment before *day* that has a good seal; what it tells needs no reading."""
        for segment in reversed(sealed_segments(self._disk)):
            if segment // 10_000 < day and (seal := self._seal(segment)) is not None:
                return End(seal.size, segment, self._disk.size(segment_path(segment)) or 0)
        return End()

    def _read(self, start: End, size: int) -> Iterator[list[Recorded]]:
        """Yield all events from *start* to the first *size*, some at once; LogCorrupt where the next one is not there."""
        segments = self.segments()
        newest = segments[-1] if segments else None
        # The checkpoint was read before the segments: what it covers is in them, whatever a writer does meanwhile.
        end = End(size, newest, (self._disk.size(segment_path(newest)) or 0) if newest else 0)
        follower = Follower(self._disk, start)
        while follower.at.next_seq < end.next_seq:
            some = follower.read(end, _READ_BYTES)
            yield [recorded for recorded in some if recorded.seq < end.next_seq]

    def _opened_tree(self) -> Tree:
        hashes = partial(claimed_hashes, self._disk, Finder(self._disk).place)
        size, root = self.checkpoint.size, self.checkpoint.root
        try:
            return Tree.open(self._disk, size, hashes, size, root)
        except LogDamaged as error:
            if error.segment:  # a frame that does not tell its hash
                raise EventMissing(error.seq, error.segment, error.offset) from None
            raise self._not_signed(error) from None

    def _not_signed(self, error: LogDamaged) -> EventsNotSigned:
        at = located(self._disk, error)
        return EventsNotSigned(at.seq, at.segment, at.offset)
