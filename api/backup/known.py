"""What is known of a log beside a copy of it: checkpoints that its key signed, kept elsewhere; and that it was restored.

A copy may go on only if it is not older than any of them and continues each.
"""

import json
import urllib.request
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import ClassVar

from attrs import asdict, frozen

from api.backup.errors import LogForked, LogOlderThanKnown
from eventlog.claims import claimed_hashes
from eventlog.disk import Disk
from eventlog.errors import RunlogError
from eventlog.locate import Finder
from eventlog.merkle import EMPTY_ROOT
from eventlog.note import NOTE_BYTES_MAX, Checkpoint, open_checkpoint
from eventlog.posix import PosixDisk
from eventlog.signing import Verifier
from eventlog.tree import Tree
from eventlog.whole import keep_whole, read_whole

MARKER = "restored.json"
_FETCH_TIMEOUT_S = 30.0


@frozen
class KnownUnreadable(RunlogError):
    """What should be a checkpoint to compare with cannot be read (exit code 3)."""

    code: ClassVar[str] = "KNOWN_CHECKPOINT_UNREADABLE"
    where: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"The checkpoint at {self.where} could not be read: {self.reason}. Nothing was restored. Give a file or a URL "
            "of a signed checkpoint, such as log/checkpoint or /api/rmos/log/checkpoint."
        )


@frozen
class Known:
    """A checkpoint of this log that its key signed, and who has it."""

    where: str
    checkpoint: Checkpoint

    @classmethod
    def read(cls, where: str, verifier: Verifier) -> "Known":
        """Return the checkpoint at *where*, a file or an http(s) URL.

        Raises:
            KnownUnreadable: there is none.
            NoteRefused: *verifier* did not sign it.

        """
        return cls(where, open_checkpoint(_fetched(where) if "://" in where else _read(where), verifier))


def _read(where: str) -> bytes:
    try:
        with Path(where).open("rb") as file:
            return file.read(NOTE_BYTES_MAX + 1)
    except OSError as error:
        raise KnownUnreadable(where, error.strerror or str(error)) from None


def _fetched(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise KnownUnreadable(url, "it is not an http:// or https:// URL")
    try:
        with urllib.request.urlopen(url, timeout=_FETCH_TIMEOUT_S) as response:  # noqa: S310 (see above)
            data: bytes = response.read(NOTE_BYTES_MAX + 1)
            return data
    except (OSError, ValueError) as error:
        raise KnownUnreadable(url, str(getattr(error, "reason", error))) from None


def check_continues(disk: Disk, checkpoint: Checkpoint, known: Known) -> None:
    """Return if the copy on *disk*, up to *checkpoint*, has all that *known* covers, and the same.

    Raises:
        LogOlderThanKnown, LogForked: it has not.
        LogDamaged, LogCorrupt, TreeDamaged: the copy's events do not lead to its checkpoint.

    """
    size, other = checkpoint.size, known.checkpoint
    if other.size > size:
        raise LogOlderThanKnown(checkpoint.origin, size, other.size, known.where)
    if _root_at(disk, checkpoint, other.size) != other.root:
        raise LogForked(checkpoint.origin, size, other.size, known.where)


def _root_at(disk: Disk, checkpoint: Checkpoint, size: int) -> bytes:
    if size == 0:
        return EMPTY_ROOT
    hashes = partial(claimed_hashes, disk, Finder(disk).place)
    return Tree.open(disk, checkpoint.size, hashes, checkpoint.size, checkpoint.root).root(size)


@frozen
class Restored:
    """That a data directory was restored, from a backup of *size* events *taken* then. Without `at` it is not done yet."""

    origin: str
    size: int
    taken: str
    at: str | None = None


def read_marker(data_dir: Path) -> Restored | None:
    """Return what the marker of a restore says; None if there is none, or it was compared with every witness."""
    with closing(PosixDisk(data_dir)) as disk:
        data = read_whole(disk, MARKER, NOTE_BYTES_MAX)
    return None if data is None else Restored(**json.loads(data))


def write_marker(data_dir: Path, restored: Restored) -> None:
    """Note it, durably."""
    with closing(PosixDisk(data_dir)) as disk:
        keep_whole(disk, MARKER, json.dumps(asdict(restored)).encode() + b"\n", private=True)


def forget(data_dir: Path) -> None:
    """Take the marker away: nobody who was asked knows a newer log."""
    (data_dir / MARKER).unlink(missing_ok=True)
