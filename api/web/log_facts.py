"""What of the log is read from its folder for the page: how large it is, and its seals, page by page."""

from contextlib import closing
from pathlib import Path

from attrs import frozen

from eventlog.clock import time_text
from eventlog.note import Checkpoint, Note, NoteRefused
from eventlog.posix import PosixDisk
from eventlog.seals import CHECKPOINT, read_seal, seal_name, seal_path, sealed_segments
from eventlog.segment import SEGMENTS, segment_numbers, segment_path
from eventlog.signing import encode_base64

SEALS_MAX = 31


@frozen
class Seal:
    """The signed end of a finished segment; without size and root if its file cannot be read."""

    name: str
    day: str
    sealed_at: str
    size: int | None = None
    events: int | None = None
    root: str = ""


@frozen
class LogFacts:
    """A log as it lies on disk."""

    segments: int
    bytes: int
    """Of all segments, of one that is kept packed what is inside."""
    checkpoint_at: str | None
    seals: tuple[Seal, ...]
    """Newest first."""
    seals_of_all: int
    older: str | None
    """What to ask for to see the seals before these."""


def read_facts(data_dir: Path, before: str | None) -> LogFacts:
    """Return what is in *data_dir*, with the seals of names below *before*, or the newest."""
    with closing(PosixDisk(data_dir)) as disk:
        segments = segment_numbers(disk.names(SEGMENTS))
        sealed = sealed_segments(disk)
        wanted = [each for each in sealed if before is None or seal_name(each) < before]
        shown = wanted[-SEALS_MAX:]
        sizes = {each: _told(disk, each) for each in wanted[-SEALS_MAX - 1 :]}
        return LogFacts(
            segments=len(segments),
            bytes=sum(disk.size(segment_path(each)) or 0 for each in segments),
            checkpoint_at=_changed(data_dir / CHECKPOINT),
            seals=tuple(_seal(data_dir, each, sizes[each], _before(each, wanted, sizes)) for each in reversed(shown)),
            seals_of_all=len(sealed),
            older=seal_name(shown[0]) if len(wanted) > len(shown) else None,
        )


def _told(disk: PosixDisk, segment: int) -> Checkpoint | None:
    """Return what a seal says; whether it is true is `runlog log verify`'s matter."""
    try:
        return Checkpoint.parse(Note.parse(read_seal(disk, segment) or b"").text)
    except NoteRefused:
        return None


def _before(segment: int, wanted: list[int], sizes: dict[int, Checkpoint | None]) -> int | None:
    """Return how many events the log had when *segment* began, if that is known."""
    at = wanted.index(segment)
    if at == 0:
        return 0
    previous = sizes[wanted[at - 1]]
    return previous.size if previous else None


def _seal(data_dir: Path, segment: int, told: Checkpoint | None, before: int | None) -> Seal:
    name = seal_name(segment)
    sealed_at = _changed(data_dir / seal_path(segment)) or ""
    if told is None:
        return Seal(name, name[:10], sealed_at)
    events = told.size - before if before is not None else None
    return Seal(name, name[:10], sealed_at, told.size, events, encode_base64(told.root))


def _changed(path: Path) -> str | None:
    """Return when the file at *path* was written, RFC 3339."""
    try:
        return time_text(path.stat().st_mtime_ns // 1000)
    except FileNotFoundError:
        return None
