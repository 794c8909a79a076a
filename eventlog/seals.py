"""Seals: the signed checkpoint of exactly the end of each finished segment, kept beside it for ever.

A seal is only written once; it is signed when its segment's events are durable, and never before.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from eventlog.disk import Disk
from eventlog.errors import LogDamaged
from eventlog.event import Place
from eventlog.frame import FRAME_START
from eventlog.note import Checkpoint, Note, NoteRefused, signed_checkpoint
from eventlog.segment import segment_name, segment_number, segment_path
from eventlog.signing import Signer
from eventlog.tree import Tree
from eventlog.whole import keep_whole, read_whole

CHECKPOINT = "log/checkpoint"
CHECKPOINTS = "log/checkpoints"
_BYTES_MAX = 1 << 20


def seal_name(segment: int) -> str:
    """Return the file name of the seal of a segment."""
    return segment_name(segment).removesuffix(".jsonl")


def seal_path(segment: int) -> str:
    """Return the path of the seal of a segment."""
    return f"{CHECKPOINTS}/{seal_name(segment)}"


def write_seal(disk: Disk, signer: Signer, segment: int, size: int, root: bytes) -> None:
    """Keep the seal of a finished segment behind which the log has *size* events, durably."""
    keep_whole(disk, seal_path(segment), signed_checkpoint(signer, size, root).data)


def read_seal(disk: Disk, segment: int) -> bytes | None:
    """Return the note of a segment's seal, unchecked; None if there is none."""
    return read_whole(disk, seal_path(segment), _BYTES_MAX)


def sealed_segments(disk: Disk) -> list[int]:
    """Return the segments that have a seal, in log order."""
    numbers = (segment_number(f"{name}.jsonl") for name in disk.names(CHECKPOINTS))
    return sorted(number for number in numbers if number is not None)


def largest_sealed(disk: Disk) -> tuple[int, int]:
    """Return the largest size that a seal tells, and its segment; their signatures are `verify`'s matter.

    Raises:
        LogDamaged: one of them cannot be read.

    """
    largest = (0, 0)
    for segment in sealed_segments(disk):
        try:
            told = Checkpoint.parse(Note.parse(read_seal(disk, segment) or b"").text)
        except NoteRefused as error:
            raise LogDamaged(f"the seal {seal_path(segment)} counts for nothing ({error.reason})") from None
        largest = max(largest, (told.size, segment))
    return largest


def complete_seals(
    disk: Disk, signer: Signer, tree: Tree, segments: Sequence[int], place: Callable[[int], Place | None]
) -> None:
    """Write each seal that a crash left unwritten; all but the last of *segments* are finished, and all are durable."""
    disk.make_folder(CHECKPOINTS)  # the folder itself may be gone, and the next seals go there too
    sealed = {*sealed_segments(disk)}
    for segment, following in pairwise(segments):
        if segment in sealed:
            continue
        size = first_seq(disk, following)
        # What a frame says of itself is not believed: its segment could have rotted since it was indexed.
        at = place(size) if size else None
        if size and at is not None and (at.segment, at.offset) == (following, 0):
            write_seal(disk, signer, segment, size, tree.root(size))


def first_seq(disk: Disk, segment: int) -> int | None:
    """Return the seq that the first frame of a segment claims; None if it has none."""
    found = FRAME_START.match(disk.read(segment_path(segment), 0, 64))
    return int(found[1]) if found else None
