"""What of a data directory goes into a backup: all that is not derived, and of the log exactly what its checkpoint covers.

The checkpoint was read before anything here is looked at, so all that it covers is there by now and is never changed.
Seals go along for the segments before the last one alone: the last one is not finished where the backup ends.
"""

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from api.backup.copying import PRIVATE, READ_ONLY
from api.migration.import_record import IMPORTS
from eventlog.archive import Archive
from eventlog.frame import FRAME_START
from eventlog.locate import Finder
from eventlog.opening import LOG_JSON, SECRETS
from eventlog.posix import PosixDisk
from eventlog.seals import CHECKPOINT, seal_path, sealed_segments
from eventlog.segment import SEGMENTS, segment_numbers, segment_path
from eventlog.whole import DRAFT

FOLDERS = 256
TORN = "log/torn"
SETTINGS = "runlog.toml"
_TAIL_BYTES = 4 << 20
"""More than the NULs that may lie ahead of a segment's events."""
_NOT_KEPT = (DRAFT, ".lock")


@frozen
class Wanted:
    """A file for the backup: of what is at *path* in the data directory its first *length* bytes (None for all), or *data*."""

    path: str
    length: int | None = None
    mode: int = PRIVATE
    data: bytes | None = None


def wanted(data_dir: Path, disk: PosixDisk, archive: Archive, *, with_secrets: bool) -> Iterator[Wanted]:
    """Yield every file that belongs into a backup of *archive*, but the attachments.

    Raises:
        LogCorrupt: the last event that was signed is not where it should be.

    """
    yield from _segments(disk, archive.checkpoint.size)
    yield Wanted(CHECKPOINT, data=archive.note.data)
    yield Wanted(LOG_JSON, data=archive.identity.data)
    folders = [TORN, IMPORTS] + ([SECRETS] if with_secrets else [])
    for folder in folders:
        for name in disk.names(folder):
            if not name.endswith(_NOT_KEPT) and _is_file(data_dir / folder / name):
                yield Wanted(f"{folder}/{name}")
    if _is_file(data_dir / SETTINGS):
        yield Wanted(SETTINGS)


def _segments(disk: PosixDisk, size: int) -> Iterator[Wanted]:
    if not size:
        return
    end = Finder(disk).place(size - 1)
    for number in segment_numbers(disk.names(SEGMENTS)):
        if number < end.segment:
            yield Wanted(disk.stored(segment_path(number)), mode=READ_ONLY)  # what is kept packed stays so
    yield Wanted(segment_path(end.segment), end.offset + end.length)
    for number in sealed_segments(disk):
        if number < end.segment:
            yield Wanted(seal_path(number))


def end_of_frames(disk: PosixDisk) -> int:
    """Return how many events the log's whole lines end at; beside a writer the last ones may not be acknowledged yet."""
    for number in reversed(segment_numbers(disk.names(SEGMENTS))):
        size, length = disk.size(segment_path(number)) or 0, 0
        while length < size:
            length = min(size, max(_TAIL_BYTES, 2 * length))
            data = disk.read(segment_path(number), size - length, length)
            starts = deque(FRAME_START.finditer(data, 0, data.rfind(b"\n") + 1), maxlen=1)
            if starts:
                return int(starts[0][1]) + 1
    return 0


def folder_of(digest: str) -> int:
    """Return in which of the `FOLDERS` attachments lie in that one is, from 1: how far a walk over them has come."""
    return int(digest[:2], 16) + 1


def blobs_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the digest and the path of each attachment under *folder*, without those that are on their way."""
    for first in _folders(folder):
        for second in _folders(first):
            for entry in sorted(os.scandir(second), key=lambda each: each.name):
                digest = entry.name
                if (
                    len(digest) == 64
                    and digest[:4] == first.name + second.name
                    and entry.is_file(follow_symlinks=False)
                ):
                    yield digest, Path(entry.path)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if len(each.name) == 2 and each.is_dir())
    except FileNotFoundError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False
