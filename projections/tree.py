"""The files under the runs root: each is whole or not there.

A file's bytes are durable before its name is, and its name before `store` returns. Every file
is opened by its name in its open folder, links not followed: nothing outside the root is touched.
"""

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path

from attrs import frozen

from projections.quarantine import Quarantine, make_folder, write_all

FILE_MODE = 0o444
TMP = ".tmp"
OPEN_FOLDERS_MAX = 64

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


@frozen
class Found:
    """What stands at a path: the SHA-256 of a file's bytes; None for a link, a folder and the like."""

    sha256: bytes | None


class Tree:
    """The tree under *root*. Paths (`<date>/<name>`) are used only while it is `opened`."""

    def __init__(self, root: Path, quarantine: Quarantine, stand_aside: Callable[[], None] = lambda: None) -> None:
        self._path, self._quarantine, self._stand_aside = root, quarantine, stand_aside
        self._root = -1
        self._folders: dict[str, int] = {}
        self._touched: set[str] = set()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the root if need be, and hold folders open for one commit.

        Never longer: a folder that was moved away meanwhile would be written to unnoticed.
        """
        make_folder(self._path)
        self._root = os.open(self._path, _FOLDER)
        try:
            yield
        finally:
            for fd in (*self._folders.values(), self._root):
                os.close(fd)
            self._folders.clear()
            self._touched.clear()

    def sweep(self) -> None:
        """Remove the `.tmp` files that a crash left in the folders of dates."""
        for date in self._dates():
            with suppress(NotADirectoryError):
                folder = os.open(date, _FOLDER | os.O_NOFOLLOW, dir_fd=self._root)
                try:
                    _sweep_folder(folder)
                finally:
                    os.close(folder)

    def is_bare(self) -> bool:
        """Tell whether there is no folder of any date."""
        return not any(self._dates())

    def look(self, path: str) -> Found | None:
        """Return what stands at *path*; None for nothing."""
        self._stand_aside()
        folder, name = self._place(path)
        # Whoever renamed or removed it may have been killed before the fsync of the folder; so it counts as touched.
        self._touched.add(_date(path))
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(mode):
            return Found(None)
        with open(os.open(name, _READ, dir_fd=folder), "rb") as file:
            return Found(file_digest(file, "sha256").digest())

    def set_aside(self, path: str, expected: bytes | None) -> None:
        """Move what stands at *path* to the quarantine; *expected* is the SHA-256 of what belongs there."""
        folder, name = self._place(path)
        self._quarantine.take(folder, name, path, expected)

    def store(self, files: Mapping[str, bytes | None]) -> None:
        """Make each path hold its bytes, or nothing for None; return once all would survive a power loss."""
        tmps: list[str] = []
        try:
            for path, content in files.items():
                if content is not None:
                    self._stand_aside()
                    tmps.append(path)
                    self._write_tmp(path, content)
            self._sync()  # with nothing to write too: what was found right may have been put there a moment ago
            while tmps:
                self._stand_aside()
                folder, name = self._place(tmps[-1])
                os.replace(f"{name}{TMP}", name, src_dir_fd=folder, dst_dir_fd=folder)
                tmps.pop()
        finally:
            self._remove_tmps(tmps)
        for path in (path for path, content in files.items() if content is None):
            folder, name = self._place(path)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
        for date in sorted(self._touched):
            os.fsync(self._folder(date))

    def _dates(self) -> Iterator[str]:
        return filter(_DATE.fullmatch, os.listdir(self._root))

    def _remove_tmps(self, paths: list[str]) -> None:
        """After an error: a full disk needs the space, and a later try may not need these names."""
        for path in paths:
            with suppress(OSError):
                folder, name = self._place(path)
                os.unlink(f"{name}{TMP}", dir_fd=folder)

    def _write_tmp(self, path: str, content: bytes) -> None:
        folder, name = self._place(path)
        name += TMP
        try:
            fd = os.open(name, _CREATE, FILE_MODE, dir_fd=folder)
        except FileExistsError:
            self._clear_tmp(folder, name, f"{path}{TMP}")
            fd = os.open(name, _CREATE, FILE_MODE, dir_fd=folder)
        try:
            write_all(fd, content)
            os.fchmod(fd, FILE_MODE)  # the umask may have taken some of it
            if _syncfs is None:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _clear_tmp(self, folder: int, name: str, path: str) -> None:
        # Never written over: after a failed sync only a new file is known to be dirty, and so to be synced.
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            self._quarantine.take(folder, name, path, None)
        else:
            os.unlink(name, dir_fd=folder)

    def _sync(self) -> None:
        if _syncfs is not None and _syncfs(self._root) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self._path))

    def _place(self, path: str) -> tuple[int, str]:
        date, _, name = path.partition("/")
        return self._folder(date), name

    def _folder(self, date: str) -> int:
        fd = self._folders.get(date)
        if fd is None:
            if len(self._folders) >= OPEN_FOLDERS_MAX:
                os.close(self._folders.pop(next(iter(self._folders))))
            fd = self._folders[date] = self._open_folder(date)
        return fd

    def _open_folder(self, date: str) -> int:
        flags = _FOLDER | os.O_NOFOLLOW
        try:
            return os.open(date, flags, dir_fd=self._root)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            self._quarantine.take(self._root, date, date, None)
        os.mkdir(date, dir_fd=self._root)
        os.fsync(self._root)
        return os.open(date, flags, dir_fd=self._root)


def _date(path: str) -> str:
    return path.partition("/")[0]


def _sweep_folder(folder: int) -> None:
    for name in os.listdir(folder):
        if name.endswith(TMP):
            # A folder of that name is none of ours; it is reported by a check.
            with suppress(IsADirectoryError, FileNotFoundError):
                os.unlink(name, dir_fd=folder)
