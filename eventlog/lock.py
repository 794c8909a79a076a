"""One process at a time may write: a lock on `<data>/writer.lock` that dies with its process."""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from eventlog.errors import LogLocked


class WriterLock:
    """The right to write to one data directory."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock at once.

        Raises:
            LogLocked: another process holds it.

        """
        path = data_dir / "writer.lock"
        self._lock = FileLock(path, timeout=0, fallback_to_soft=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise LogLocked(str(data_dir), _holder(path)) from None
        path.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def _holder(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
