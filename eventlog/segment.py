"""Segments: their names, when a new one begins, and scanning one for whole batches.

A segment is `YYYY-MM-DD.NNNN.jsonl`, one UTC day and a part from 0000. Inside the
program it is one number, day and part together: `202601050000`; numbers sort as names do.
"""

import re
from functools import lru_cache

from attrs import define, field, frozen

from eventlog.errors import LogDamaged
from eventlog.event import Place
from eventlog.frame import BadFrame, Frame, decode
from eventlog.record import record

SEGMENTS = "log/segments"
PART_MAX = 9999

_COMPRESSED = ".zst"
_NAME = re.compile(r"(\d{4})-(\d\d)-(\d\d)\.(\d{4})\.jsonl", re.ASCII)


def segment_name(number: int) -> str:
    """Return the file name of segment *number*."""
    day, part = divmod(number, 10_000)
    return f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}.{part:04d}.jsonl"


@lru_cache(16)
def segment_path(number: int) -> str:
    """Return the path of segment *number* under the data directory."""
    return f"{SEGMENTS}/{segment_name(number)}"


def segment_number(name: str) -> int | None:
    """Return the number of the segment of that file *name*; None if it is not a segment's."""
    found = _NAME.fullmatch(name)
    return int("".join(found.groups())) if found else None


@frozen
class SegmentCompressed(LogDamaged):
    """The newest segment is there only compressed, and it is the one that is written to."""

    @property
    def message(self) -> str:
        return (
            f"The log cannot be read: its newest segment {self.segment} is there only as {self.segment}.zst, and only "
            f"finished ones may be. Nothing was changed. Run `zstd -d --rm {self.segment}.zst` in {SEGMENTS}, then try again."
        )


def segment_numbers(names: list[str]) -> list[int]:
    """Return the numbers of those *names* that are segments, in log order.

    Raises:
        SegmentCompressed: one is shown only compressed, so it is the newest; left out it would look like lost events.

    """
    numbers = sorted(number for name in names if (number := segment_number(name)) is not None)
    for name in names:
        plain = name.removesuffix(_COMPRESSED)
        if plain != name and segment_number(plain) is not None and plain not in names:
            raise SegmentCompressed("a segment is compressed", plain)
    return numbers


def segment_for(day: int, current: int | None, current_bytes: int, batch_bytes: int, bytes_max: int) -> int:
    """Return the segment for a batch of *day* (`20260105`): the current one, its next part, or a new day's.

    A segment takes at least one batch, however large; a day's last part takes all the rest.
    """
    if current is None or current // 10_000 != day:
        return day * 10_000
    if current_bytes and current_bytes + batch_bytes > bytes_max and current % 10_000 < PART_MAX:
        return current + 1
    return current


@record
class Placed:
    """A good frame and where it lies."""

    frame: Frame
    place: Place


@define
class BatchScan:
    """Takes a segment's bytes piece by piece and gives back the frames of whole, good batches.

    A frame is good if its line is complete and exact, its hash matches, and it has the expected
    seq and batch; a batch is good if all its frames are there. The first frame that is not good
    stops the scan: `fault` says why, `good_end` and `next_seq` where the good batches end.
    """

    segment: int
    next_seq: int
    good_end: int
    fault: str | None = None
    mid_batch: bool = False
    """Whether the first frame may stand inside its batch: for a reader that stopped there."""
    _batch: list[Placed] = field(factory=list)
    _rest: bytes = b""
    _offset: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start reading where the good batches end so far."""
        self._offset = self.good_end

    @property
    def fault_at(self) -> tuple[int, int]:
        """The seq that was expected where the scan stopped, and its byte offset."""
        return self.next_seq + len(self._batch), self._offset

    def feed(self, data: bytes) -> list[Placed]:
        """Return the frames of the batches that *data* completes."""
        whole: list[Placed] = []
        if self.fault is not None:
            return whole
        data = self._rest + data
        start = 0
        while (newline := data.find(b"\n", start)) >= 0:
            line = data[start : newline + 1]
            if not self._take(line):
                break
            start = newline + 1
            if self._batch[-1].frame.seq == self._batch[-1].frame.last:
                whole += self._batch
                self.next_seq += len(self._batch)
                self.good_end = self._offset
                self._batch = []
        self._rest = data[start:]
        return whole

    def _take(self, line: bytes) -> bool:
        try:
            frame = decode(line)
        except BadFrame as error:
            self.fault = str(error)
            return False
        expected_seq = self.next_seq + len(self._batch)
        if self._batch:
            first, last = self._batch[0].frame.first, self._batch[0].frame.last
        else:
            first, last = (min(frame.first, expected_seq) if self.mid_batch else expected_seq), frame.last
        if frame.seq != expected_seq or (frame.first, frame.last) != (first, last) or last < frame.seq:
            self.fault = (
                f"seq {expected_seq} of its batch was expected, found {frame.seq} ({frame.first} to {frame.last})"
            )
            return False
        self.mid_batch = False
        self._batch.append(Placed(frame, Place(self.segment, self._offset, len(line))))
        self._offset += len(line)
        return True
