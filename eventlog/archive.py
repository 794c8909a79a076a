"""A log read beside its writer, or without one: what was signed, and nothing beyond it. No lock, no index, no trace.

Whatever it gives out is true: events match their hash, and proofs lead to the checkpoint that it opened with.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

from attrs import define

from eventlog.claims import claimed_hashes
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Place, Recorded
from eventlog.frame import FRAME_START, BadFrame, decode
from eventlog.locate import Finder, located
from eventlog.note import Checkpoint, Note
from eventlog.opening import Identity, opened_checkpoint, read_identity
from eventlog.posix import PosixDisk
from eventlog.proof_text import LogProof
from eventlog.segment import SEGMENTS, segment_name, segment_numbers, segment_path
from eventlog.tree import Tree

_READ_BYTES = 8 << 20


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

    def proof(self, seq: int) -> LogProof:
        """Return the proof that event *seq* is in the tree of the checkpoint.

        Raises:
            LogDamaged, LogCorrupt, TreeDamaged: the events do not lead to what was signed.

        """
        if self._tree is None:
            hashes = partial(claimed_hashes, self._disk, Finder(self._disk).place)
            size, root = self.checkpoint.size, self.checkpoint.root
            try:
                self._tree = Tree.open(self._disk, size, hashes, size, root)
            except LogDamaged as error:
                raise located(self._disk, error) from None
        return LogProof(seq, tuple(self._tree.inclusion_proof(seq, self.checkpoint.size)), self.note)

    def events(
        self, *, stream: str | None = None, first: int = 0, days: tuple[int, int] | None = None
    ) -> Iterator[Recorded]:
        """Yield the events from seq *first*: of one *stream*, or of the segments of *days* (first and last, `20260105`).

        Raises:
            LogCorrupt: one of them does not match its hash.

        """
        needle = b"" if stream is None else b'"subject":"%b"' % stream.encode()
        segments = [each for each in self.segments() if days is None or days[0] <= each // 10_000 <= days[1]]
        start = Finder(self._disk).place(first) if first and first < self.checkpoint.size else None
        for segment in segments:
            if first >= self.checkpoint.size or (start is not None and segment < start.segment):
                continue
            offset = start.offset if start is not None and segment == start.segment else 0
            for recorded in self._of_segment(segment, offset, needle):
                if recorded.seq >= self.checkpoint.size:
                    return
                if recorded.seq >= first and (stream is None or recorded.stream == stream):
                    yield recorded

    def _of_segment(self, segment: int, offset: int, needle: bytes) -> Iterator[Recorded]:
        """Yield the events of a segment whose lines hold *needle*; others are passed over unread."""
        rest = b""
        while data := self._disk.read(segment_path(segment), offset, _READ_BYTES):
            offset += len(data)
            data = rest + data
            base, start = offset - len(data), 0
            end = data.rfind(b"\n") + 1
            while start < end:
                if needle:
                    found = data.find(needle, start, end)
                    if found < 0:
                        break
                    start = data.rfind(b"\n", start, found) + 1 or start
                newline = data.find(b"\n", start)
                place = Place(segment, base + start, newline + 1 - start)
                recorded = _recorded(data[start : newline + 1], place, self.checkpoint.size)
                if recorded is None:
                    return
                yield recorded
                start = newline + 1
            rest = data[end:]


def _recorded(line: bytes, place: Place, signed: int) -> Recorded | None:
    """Return the event of a line; None if it lies above what was signed, and so may be anything."""
    try:
        frame = decode(line)
    except BadFrame:
        claimed = FRAME_START.match(line)
        seq = int(claimed[1]) if claimed else signed
        if seq >= signed:
            return None
        raise LogCorrupt(seq, segment_name(place.segment), place.offset) from None
    return Recorded(frame.seq, frame.hash, frame.event, place)
