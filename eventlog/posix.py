"""The real disk, on a POSIX file system.

A `write` is one pwrite and a `sync` one fdatasync, unless the system writes less than
it was given; nothing is buffered here. No file is closed under a call that is using it,
and none is read or written after it was removed or replaced. Every verb may be called from any thread.
A finished segment that is kept packed is read as if it lay there plain, and never written to.
"""

import errno
import io
import os
import stat
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from eventlog.disk import Disk
from eventlog.packed import PACKED, Packed, PackedFiles, shown

WRITTEN_FILES_MAX = 8
READ_FILES_MAX = 32
_OPEN_BUFFER_BYTES = 1 << 20

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class PosixDisk(Disk):
    """The files under *root*. It holds at most `WRITTEN_FILES_MAX` + `READ_FILES_MAX` of them open."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._written = _OpenFiles(WRITTEN_FILES_MAX, self._open_to_write)
        self._read = _OpenFiles(READ_FILES_MAX, lambda path: os.open(self._full(path), os.O_RDONLY))
        self._packed = PackedFiles()

    def make_folder(self, folder: str, *, private: bool = False) -> None:
        """Make *folder*, and the root and all between if need be; FileExistsError if a file is in the way."""
        missing = []
        path = Path(self._full(folder))
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for new in reversed(missing):
            new.mkdir(0o700 if private else 0o777, exist_ok=True)
            sync_folder(new.parent)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files and folders in *folder*; NotADirectoryError if it is a file."""
        try:
            return shown(sorted(os.listdir(self._full(folder))))
        except FileNotFoundError:
            return []

    def size(self, path: str) -> int | None:
        """Return the size in bytes, also of what is not yet synced; IsADirectoryError for a folder."""
        try:
            found = os.stat(self._full(path))
        except FileNotFoundError:
            packed = self._packed_of(path)
            return packed.size if packed else None
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return found.st_size

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Return up to *length* bytes from *offset*, in about 2 µs if the file was read not long ago."""
        try:
            file = self._read.get(path)
        except FileNotFoundError:
            if packed := self._packed_of(path):
                return packed.read(offset, length)
            raise
        data = os.pread(file.fd, length, offset)
        while len(data) < length:
            # A signal, or a read above 2 GiB, may cut a pread short; only an empty one means the end.
            more = os.pread(file.fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def open(self, path: str, offset: int = 0) -> BinaryIO:
        """Return a file object that reads *path* as `read` does, from *offset* on; FileNotFoundError if it is not there."""
        self.read(path, 0, 1)
        return io.BufferedReader(_Reading(self, path, offset), _OPEN_BUFFER_BYTES)

    def stored(self, path: str) -> str:
        """Return where the bytes of *path* lie: there, or in the packed file beside it."""
        full = self._full(path)
        return path + PACKED if not os.path.exists(full) and os.path.exists(full + PACKED) else path

    def fault_of_packed(self, path: str) -> tuple[str, int] | None:
        """Return why *path*, if it is kept packed, cannot be unpacked whole, and up to which byte; None if it can, or is plain."""
        if self.stored(path) == path:
            return None
        packed = self._packed_of(path)
        return packed.fault if packed else None

    def create(self, path: str, *, private: bool = False) -> None:
        """Make an empty file (0644 or 0600, less the umask); FileNotFoundError if its folder is not there."""
        os.close(os.open(self._full(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644))

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write all of *data* at *offset* (bytes); a gap before it reads as NULs."""
        file = self._written.get(path)
        file.unsynced = True
        left = memoryview(data)
        while left:
            written = os.pwrite(file.fd, left, offset)
            if written == 0:
                raise OSError(errno.EIO, "the system wrote nothing and gave no error", path)
            left = left[written:]
            offset += written

    def sync(self, path: str) -> None:
        """Call fdatasync; after an OSError no later `sync` of this file can be trusted."""
        file = self._written.unsynced(path) or self._written.get(path)
        file.unsynced = False
        os.fdatasync(file.fd)

    def truncate(self, path: str, size: int) -> None:
        """Cut the file to *size* bytes, or fill it up to there with NULs."""
        file = self._written.get(path)
        file.unsynced = True
        os.ftruncate(file.fd, size)

    def make_readonly(self, path: str) -> None:
        """Set the mode 0444 and close the file for writing; what is not synced stays so."""
        os.chmod(self._full(self.stored(path)), 0o444)
        self._written.let_go(path)

    def replace(self, source: str, target: str) -> None:
        """Rename the file *source* over *target*; FileNotFoundError if there is no *source*."""
        os.replace(self._full(source), self._full(target))
        # Only now: what is opened from here on is already the new file.
        self._written.let_go(source, target)
        self._read.let_go(source, target)

    def remove(self, path: str) -> None:
        """Remove the file; FileNotFoundError if it is not there. A read under way still ends well."""
        os.remove(self._full(path))
        self._written.let_go(path)
        self._read.let_go(path)

    def sync_folder(self, folder: str) -> None:
        """Call fsync on *folder*; it says nothing of the bytes in its files, nor of its own name."""
        sync_folder(self._full(folder))

    def free_bytes(self) -> int:
        """Return what statvfs says is free for this user."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Close every file; a verb called later opens what it needs again."""
        self._written.let_go_of_all()
        self._read.let_go_of_all()
        self._packed.let_go_of_all()

    def _packed_of(self, path: str) -> Packed | None:
        if not path.endswith(".jsonl"):
            return None  # most that is looked for and not there: no second look
        try:
            return self._packed.get(self._full(path))
        except FileNotFoundError:
            return None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _open_to_write(self, path: str) -> int:
        full = self._full(path)
        try:
            return os.open(full, os.O_WRONLY)
        except FileNotFoundError:
            if self.stored(path) == path:
                raise
            what = (
                f"it is kept packed; run `zstd -d --rm {os.path.basename(path)}{PACKED}` in its folder, then try again"
            )
            raise OSError(errno.EROFS, what, path) from None
        except PermissionError:
            mode = stat.S_IMODE(os.stat(full).st_mode)
        # The owner of a read-only file: a crash before the last line leaves it 0644, which loses nothing.
        os.chmod(full, mode | stat.S_IWUSR)
        try:
            return os.open(full, os.O_WRONLY)
        finally:
            os.chmod(full, mode)


class _Reading(io.RawIOBase):
    """A file of a disk, read from a place on to its end."""

    def __init__(self, disk: Disk, path: str, offset: int) -> None:
        self._disk, self._path, self._at = disk, path, offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        data = self._disk.read(self._path, self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


class _OpenFile:
    """An open file. It is closed when nobody refers to it any more, so never under a call that uses it."""

    __slots__ = ("fd", "unsynced", "used")

    def __init__(self, fd: int, used: int) -> None:
        self.fd = fd
        self.used = used
        self.unsynced = False

    def is_gone(self) -> bool:
        """Tell whether its name was removed or given to another file, perhaps by another process."""
        return os.fstat(self.fd).st_nlink == 0

    def __del__(self) -> None:
        os.close(self.fd)


class _OpenFiles:
    """Open files by path, at most *limit*; the one that was used longest ago makes room.

    A file that is open already is found without the lock: a dict lookup and a counter are
    each one step to other threads.
    """

    def __init__(self, limit: int, open_file: Callable[[str], int]) -> None:
        self._limit = limit
        self._open_file = open_file
        self._files: dict[str, _OpenFile] = {}
        self._lock = threading.Lock()
        self._ticks = count(1)

    def get(self, path: str) -> _OpenFile:
        """Return the open file of *path*, opened now if it must be."""
        file = self._files.get(path)
        if file is None or file.is_gone():
            file = self._open(path)
        file.used = next(self._ticks)
        return file

    def unsynced(self, path: str) -> _OpenFile | None:
        """Return the open file of *path* if it was written to since its last sync: a moment ago, so nobody need ask where it is."""
        file = self._files.get(path)
        return file if file is not None and file.unsynced else None

    def let_go(self, *paths: str) -> None:
        with self._lock:
            for path in paths:
                self._files.pop(path, None)

    def let_go_of_all(self) -> None:
        with self._lock:
            self._files.clear()

    def _open(self, path: str) -> _OpenFile:
        # Opened under the lock, or a file could be kept here after `let_go` said that its name is gone.
        with self._lock:
            file = self._files.get(path)
            if file is not None and not file.is_gone():
                return file
            self._files.pop(path, None)
            self._make_room()
            file = self._files[path] = _OpenFile(self._open_file(path), next(self._ticks))
            return file

    def _make_room(self) -> None:
        while len(self._files) >= self._limit:
            oldest = min(self._files, key=lambda path: self._files[path].used)
            file = self._files[oldest]
            if file.unsynced:
                # The system tells of a failed write-back those who have the file open; who closes it may never hear.
                os.fdatasync(file.fd)
            del self._files[oldest]


def sync_folder(folder: str | Path) -> None:
    """Return once the names in *folder* would survive a power loss."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
