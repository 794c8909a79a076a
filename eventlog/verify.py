"""Verifying a log, stopped or live: every byte of it against what was signed. Nothing is written, no lock is needed.

The checkpoint is read first, then every segment; so what a live log appends meanwhile is only an unsigned tail.
Any changed, missing, added or swapped byte below the checkpoint is found, and the first bad event is named.
"""

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from attrs import define, field

from eventlog.blobs import blob_path, holds
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.joining import Joining, Judge
from eventlog.locate import Finder
from eventlog.lock import is_held
from eventlog.note import Checkpoint, Note
from eventlog.opening import LOG_JSON, Identity, is_as_written, opened_checkpoint, parse_identity
from eventlog.parts import read_parts
from eventlog.posix import PosixDisk
from eventlog.seal_check import Seals
from eventlog.seals import CHECKPOINT, seal_path, sealed_segments
from eventlog.segment import SEGMENTS, segment_numbers, segment_path
from eventlog.signing import Verifier, encode_base64
from eventlog.stored_tiles import StoredTiles
from eventlog.strays import strays
from eventlog.stretch import Bad, Naming, Stretch
from eventlog.verdict import Fault, Verdict
from eventlog.whole import read_whole

_BYTES_MAX = 1 << 20
_BLOBS_KNOWN_MAX = 100_000

Progress = Callable[[int], None]
"""Hears how many bytes of the segments are done."""


def verify(
    data_dir: Path,
    attachments_dir: Path | None,
    naming: Naming | None,
    *,
    key: Verifier | None = None,
    on_progress: Progress = lambda _done: None,
) -> Verdict:
    """Return what is wrong with the log in *data_dir*; without *attachments_dir* blobs are left out."""
    with closing(PosixDisk(data_dir)) as disk:
        return _Verification(data_dir, attachments_dir, naming, disk, key, on_progress).run()


def segment_bytes(data_dir: Path) -> int:
    """Return how many bytes all segments have."""
    with closing(PosixDisk(data_dir)) as disk:
        return sum(disk.size(segment_path(each)) or 0 for each in segment_numbers(disk.names(SEGMENTS)))


@define
class _Verification:
    """One verification."""

    _data_dir: Path
    _attachments_dir: Path | None
    _naming: Naming | None
    _disk: PosixDisk
    _key: Verifier | None
    _on_progress: Progress
    verdict: Verdict = field(factory=Verdict)
    _is_live: bool = False
    """Whether the writer lock was held when the reading began, or when it ended."""
    _identity: Identity | None = None
    _is_from_before: bool = False
    """Whether nothing was ever signed, as in a log from before there were keys."""
    _signed: Checkpoint | None = None
    _seals: Seals = field(init=False)
    _segments: list[int] = field(factory=list)
    _joining: Joining = field(init=False)
    _tiles: StoredTiles = field(init=False)
    _agreed: int = 0
    """The size up to which a signed root proved the events."""
    _good_blobs: set[str] = field(factory=set)

    def run(self) -> Verdict:
        self._is_live = is_held(self._data_dir)
        self._read_identity()
        self._segments = segment_numbers(self._disk.names(SEGMENTS))
        sizes = [(each, self._disk.size(segment_path(each)) or 0) for each in self._segments]
        key = Verifier.parse(self.verdict.key) if self.verdict.key else None
        self._seals = Seals.read(self._disk, self._segments, key, self.verdict.add)
        self._tiles = StoredTiles(self._disk)
        self._joining = Joining(self.verdict.add, self._tiles.compare, self._targets())
        self._read_events(sizes)
        self._is_live = self._is_live or is_held(self._data_dir)
        self._judge_end()
        if not self._is_from_before:
            self._seals.judge(self._signed.size if self._signed else None, self.verdict, is_live=self._is_live)
        for fault in strays(self._disk, self._segments, self._joining.next_seq, is_live=self._is_live):
            self.verdict.add(fault)
        self.verdict.tiles_missing = self._tiles.missing
        return self.verdict

    def _read_identity(self) -> None:
        """Read `log.json` and the checkpoint, before anything that may grow."""
        key = self._key
        try:
            data = read_whole(self._disk, LOG_JSON, _BYTES_MAX)
            if data is None:
                raise LogDamaged(
                    "it is gone, and with it which log this is and the key that checks it: restore it from a backup"
                )
            self._identity = parse_identity(data)
            if not self._identity.vkey:
                raise LogDamaged(self._why_no_key())
            own = self._identity.verifier
            if not is_as_written(self._identity, data):
                self.verdict.add(Fault("it is not as it was written", LOG_JSON))
            if key is not None and key != own:
                self.verdict.add(Fault(f"it names the key {own.vkey}, not the one that was given", LOG_JSON))
            key = key or own
        except LogDamaged as error:
            self.verdict.add(Fault(error.what, LOG_JSON))
        if key is None:
            return
        self.verdict.key, self.verdict.is_self_consistent_only = key.vkey, self._key is None
        try:
            data, self._signed = opened_checkpoint(self._disk, key)
        except LogDamaged as error:
            self.verdict.add(Fault(error.what, CHECKPOINT))
            return
        if sum(map(key.made, Note.parse(data).signatures)) > 1:  # other lines are those of witnesses
            self.verdict.add(Fault("the log's own line stands in it more than once", CHECKPOINT))
        self.verdict.signed, self.verdict.origin = self._signed.size, self._signed.origin
        self.verdict.root = encode_base64(self._signed.root)

    def _why_no_key(self) -> str:
        self._is_from_before = self._disk.size(CHECKPOINT) is None and not sealed_segments(self._disk)
        if self._is_from_before:
            return "it names no key, for the log is from before there were keys: `runlog serve` signs it when it opens it next"
        return "it names no key, but a checkpoint or seals are there: the key was taken out of it; restore it from a backup"

    def _targets(self) -> dict[int, list[Judge]]:
        """Return which root is to be compared at which size."""
        targets: dict[int, list[Judge]] = {}
        for segment, seal in self._seals.good.items():
            targets.setdefault(seal.size, []).append(partial(self._compare_root, seal, seal_path(segment)))
        if self._signed is not None and self._signed.size:
            targets.setdefault(self._signed.size, []).append(partial(self._compare_root, self._signed, CHECKPOINT))
        return targets

    def _read_events(self, sizes: list[tuple[int, int]]) -> None:
        done = 0
        at: int | None = None
        source = self._identity.source_in_event if self._identity is not None else b""
        for segment, size in sizes:
            if not size and segment != self._segments[-1]:
                self.verdict.add(Fault("it has no events", segment_path(segment), 0, None))
                self._check_packed(segment, size)
        for part, found in read_parts(self._data_dir, sizes, self._naming, source):
            if at not in (None, part.segment):
                self._end_segment(at or 0)
            at = part.segment
            for one in found:
                if isinstance(one, Bad):
                    self._joining.bad(part.segment, one)
                else:
                    self._take(part.segment, one)
            if part.end == part.size:
                self._check_packed(part.segment, part.size)
            done += part.end - part.start
            self._on_progress(done)
        if at is not None and at != self._segments[-1]:
            self._end_segment(at)

    def _check_packed(self, segment: int, size: int) -> None:
        """Judge, when all of a segment was read, whether it could be unpacked to its end if it is kept packed."""
        path = segment_path(segment)
        if found := self._disk.fault_of_packed(path):
            what, end = found
            self.verdict.add(Fault(what, self._disk.stored(path), end, self._joining.next_seq if end < size else None))

    def _take(self, segment: int, stretch: Stretch) -> None:
        if self._is_live and self._signed and self._joining.next_seq >= self._signed.size and self._is_above(stretch):
            return
        self._joining.stretch(segment, stretch)
        for seq, digest, size in stretch.blobs:
            self._check_blob(segment, stretch, seq, digest, size)

    def _is_above(self, stretch: Stretch) -> bool:
        """Tell whether a stretch of a live log's tail does not fit: it is being written, or was cut off and written anew."""
        return stretch.first.seq != self._joining.next_seq or bool(stretch.bad)

    def _end_segment(self, segment: int) -> None:
        seal = self._seals.good.get(segment)
        self._joining.end_of_segment(seal.size if seal else None)
        if seal is not None and seal.size != self._joining.next_seq and not self._joining.is_broken:
            what = f"it is signed for {seal.size} events, and its segment ends at {self._joining.next_seq}"
            self._joining.doubt(Fault(what, seal_path(segment)))

    def _judge_end(self) -> None:
        """Judge what lies at the end of the newest segment, and whether all is there that was signed."""
        joining, signed = self._joining, self._signed.size if self._signed else 0
        newest = self._segments[-1] if self._segments else 0
        joining.end_of_segment(signed)
        doubts, waiting = joining.take_doubts(), [(at, bad) for at, bad in joining.take_waiting() if not bad.is_padding]
        if joining.next_seq < signed:
            where = segment_path(newest) if newest else SEGMENTS
            end = self._disk.size(where) if newest else None
            what, offset = (waiting[0][1].reason, waiting[0][1].offset) if waiting else ("the log ends here", end)
            missing = signed - joining.next_seq
            what = f"{what}; the checkpoint is signed for {signed} events"
            self.verdict.add(Fault(what, where, offset, joining.next_seq), max(missing, len(waiting)))
            waiting = []
            doubts = []
        for doubt in doubts:
            if doubt.seq is None or doubt.seq < signed:
                self.verdict.add(doubt)
            elif not waiting:  # it is for what waits that the batch is not whole
                self._above(doubt)
        for segment, bad in waiting:
            self._above(Fault(bad.reason, segment_path(segment), bad.offset, joining.next_seq))
        self.verdict.events = joining.next_seq
        self.verdict.unsigned_tail = max(0, joining.next_seq - signed)
        if not joining.is_broken and joining.next_seq >= signed and not self.verdict.bad:
            self._blame_tiles(is_actual=False)

    def _above(self, fault: Fault) -> None:
        """Report what is not whole above the checkpoint: of a live log the last batch may be on its way."""
        if self._is_live:
            self.verdict.note(f"Above the checkpoint, while the log is written: {fault.in_words}.")
        else:
            self.verdict.add(fault)

    def _compare_root(self, signed: Checkpoint, path: str, claimed: bytes, actual: bytes) -> bytes | None:
        """Return the one of two possible roots that was signed; if none was, find out which events were changed."""
        if signed.root in (claimed, actual):
            self._agreed = signed.size
            self._blame_tiles(is_actual=signed.root != claimed)
            return signed.root
        suspects = self._tiles.suspects(signed.size)
        for seq in suspects:
            self.verdict.add(self._changed(seq, "its bytes and its hash were changed together"))
        if not suspects and not self._is_known_bad(self._agreed, signed.size):
            last = signed.size - 1
            what = f"one or more of the events from {self._agreed} to {last} were changed with their hashes: the root of {path} is another"
            self.verdict.add(self._changed(self._agreed, what))
        return None

    def _is_known_bad(self, first: int, end: int) -> bool:
        return any(fault.seq is not None and first <= fault.seq < end for fault in self.verdict.faults)

    def _changed(self, seq: int, what: str) -> Fault:
        try:
            place = Finder(self._disk).place(seq)
        except LogCorrupt as error:
            return Fault(what, f"{SEGMENTS}/{error.segment}", error.offset, seq)
        return Fault(what, segment_path(place.segment), place.offset, seq)

    def _blame_tiles(self, *, is_actual: bool) -> None:
        """The events are those that were signed, so the tiles that differ from them are wrong."""
        for path in self._tiles.wrong(is_actual=is_actual):
            self.verdict.add(Fault("it is not the tile of the events", path))

    def _check_blob(self, segment: int, stretch: Stretch, seq: int, digest: str, size: int) -> None:
        if self._attachments_dir is None or digest in self._good_blobs:
            return
        self.verdict.blobs += 1
        try:
            path = blob_path(self._attachments_dir, digest)
        except ValueError:
            self.verdict.add(Fault("it names an attachment by what is no SHA-256", segment_path(segment), None, seq))
            return
        if not holds(path, digest, size):
            what = "the attachment that event names is " + ("missing" if not os.path.exists(path) else "not its bytes")
            self.verdict.add(Fault(what, f"attachments/{digest[:2]}/{digest[2:4]}/{digest}", None, seq))
        elif len(self._good_blobs) < _BLOBS_KNOWN_MAX:
            self._good_blobs.add(digest)
