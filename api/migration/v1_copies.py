"""Copies of the v1 file, kept beside it: durable, never over a file that is there, and told of with their SHA-256.

Putting one back is one rename: at every moment there is a whole v1 file.
"""

import os
import stat
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO

from eventlog.clock import Clock, time_text
from eventlog.posix import sync_folder

BACKUP = "backup"
SAFETY = "before-rollback"

_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file at *path*, 64 lower-case hex digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def kept_copy(path: Path, what: str, clock: Clock) -> dict[str, str]:
    """Copy the file at *path* durably to `<its name>.<what>-<UTC time>` beside it; return `path` and `sha256`.

    Where that name is taken, it waits for the next microsecond.
    """
    while True:
        copy = path.with_name(f"{path.name}.{what}-{time_text(clock.now_us()).replace(':', '')}")
        with suppress(FileExistsError):
            file = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            break
    try:
        with open(file, "wb") as target:
            digest = _copied(path, target)
        sync_folder(copy.parent)
    except BaseException:
        copy.unlink()
        raise
    return {"path": str(copy), "sha256": digest}


def restore(backup: Path, path: Path, expected_sha256: str) -> None:
    """Put the bytes of *backup* in the place of the file at *path*, at once or not at all.

    Raises:
        OSError: also if the bytes of *backup* are not the expected ones any more; *path* is as it was.

    """
    draft = path.with_name(f"{path.name}.restore-{os.getpid()}.tmp")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "wb") as target:
            if _copied(backup, target) != expected_sha256:
                raise OSError(f"{backup} changed while it was read")
            os.fchmod(target.fileno(), stat.S_IMODE(path.stat().st_mode))
        os.replace(draft, path)
        sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _copied(source: Path, target: BinaryIO) -> str:
    """Write the bytes of *source* to *target*, durably; return their SHA-256."""
    digest = sha256()
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()
