"""The seals of a log, read for verifying: whether each counts, and whether one is missing.

Of a live log they are judged by the checkpoint that was read before them: until each segment that ends below it has
its seal, no checkpoint is shown. What ends at it or above may still wait for the next one.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Self

from attrs import frozen

from eventlog.disk import Disk
from eventlog.note import Checkpoint, Note, NoteRefused, open_checkpoint
from eventlog.seals import first_seq, read_seal, seal_path, sealed_segments
from eventlog.signing import Verifier
from eventlog.verdict import Fault, Verdict


@frozen
class Seals:
    """The seals that were there when the reading began."""

    _disk: Disk
    _segments: list[int]
    _there: list[int]
    good: dict[int, Checkpoint]
    """By segment: those that count."""

    @classmethod
    def read(cls, disk: Disk, segments: list[int], key: Verifier | None, on_fault: Callable[[Fault], None]) -> Self:
        """Return the seals of *segments*; none counts without the *key*. *on_fault* hears what is wrong with one."""
        there, good = sealed_segments(disk), dict[int, Checkpoint]()
        for segment in there:
            if segment not in segments[:-1] or key is None:
                continue
            data = read_seal(disk, segment) or b""
            try:
                good[segment] = open_checkpoint(data, key)
            except NoteRefused as error:
                on_fault(Fault(f"it counts for nothing: {error.reason}", seal_path(segment)))
                continue
            if len(Note.parse(data).signatures) > 1:
                on_fault(Fault("it has more lines than the one that it was signed with", seal_path(segment)))
        return cls(disk, segments, there, good)

    def judge(self, signed: int | None, verdict: Verdict, *, is_live: bool) -> None:
        """Add to *verdict* which seals are missing, or too many; *signed* is the size of the checkpoint that was read."""
        for segment, following in pairwise(self._segments):
            if segment in self._there:
                continue
            if is_live and (following == self._segments[-1] or self._may_wait(following, signed)):
                verdict.note(f"{seal_path(segment)} is not there yet.")
            else:
                verdict.add(Fault("the seal of a finished segment is missing", seal_path(segment)))
        if self._segments and self._segments[-1] in self._there and not is_live:
            path = seal_path(self._segments[-1])
            verdict.add(Fault("it is the seal of a segment that is not finished", path))

    def _may_wait(self, following: int, signed: int | None) -> bool:
        """Tell whether the segment before *following* ends where *signed* does, or above: then it was the newest still."""
        end = first_seq(self._disk, following)
        return signed is not None and end is not None and end >= signed
