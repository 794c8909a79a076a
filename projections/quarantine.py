"""What others put where a file of ours belongs is kept: nothing is removed before its copy is durable."""

import errno
import os
import shutil
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import structlog

from eventlog.clock import Clock, time_text
from eventlog.posix import sync_folder

logger = structlog.get_logger("projections.files")

_COPY_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Quarantine:
    """The quarantine of a data directory; `count` says how much this process put there."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self.count = 0

    def take(self, folder: int, name: str, path: str, expected: bytes | None) -> None:
        """Move what stands as *name* in the open *folder* here; *path* says where in the tree that is.

        *expected* is the SHA-256 of what belongs there; None if nothing does.
        """
        make_folder(self._folder)
        stamp = time_text(self._clock.now_us()).replace(":", "")
        copy = self._folder / f"{stamp}-{path.replace('/', '__')}"
        found = None
        if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            found = _copy_file(folder, name, copy)
            sync_folder(self._folder)
            os.unlink(name, dir_fd=folder)
        else:
            _move_other(folder, name, copy)
            sync_folder(self._folder)
        os.fsync(folder)
        self.count += 1
        logger.error(
            "file.changed_outside",
            path=path,
            expected_sha256=expected.hex() if expected else None,
            found_sha256=found,
            kept_as=copy.name,
        )


def make_folder(path: Path) -> None:
    """Make the folder *path* durably, and all above it that is missing."""
    if not path.is_dir():
        make_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir()
        sync_folder(path.parent)


def write_all(fd: int, content: bytes) -> None:
    """Write all of *content*, however little the system takes at a time."""
    written = os.write(fd, content)
    while written < len(content):
        written += os.write(fd, content[written:])


def _copy_file(folder: int, name: str, copy: Path) -> str:
    """Copy a file durably; return the SHA-256 of what was copied."""
    digest = sha256()
    source = os.open(name, _READ, dir_fd=folder)
    try:
        target = os.open(copy, _CREATE, 0o600)
        try:
            while chunk := os.read(source, _COPY_BYTES):
                digest.update(chunk)
                write_all(target, chunk)
            os.fsync(target)
        finally:
            os.close(target)
    finally:
        os.close(source)
    return digest.hexdigest()


def _move_other(folder: int, name: str, copy: Path) -> None:
    """Move a link, a folder or the like, as such: what a link points to is none of ours."""
    try:
        os.rename(name, copy, src_dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        shutil.copytree(f"/proc/self/fd/{folder}/{name}", copy, symlinks=True)
        os.sync()
        shutil.rmtree(name, dir_fd=folder)
        return
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=folder), copy)
    os.unlink(name, dir_fd=folder)  # a pipe or a socket holds nothing that could be kept
