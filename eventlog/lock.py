"""One process at a time may write: a lock on `<data>/writer.lock` that dies with its process."""

import fcntl
import os
from pathlib import Path

from filelock import FileLock, Timeout

from eventlog.errors import LogLocked

_PROBED_S = 0.1


class WriterLock:
    """The right to write to one data directory."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock at once.

        Raises:
            LogLocked: another process holds it.

        """
        path = data_dir / "writer.lock"
        # Not at once: `is_held` may have it for an instant.
        self._lock = FileLock(path, timeout=_PROBED_S, poll_interval=_PROBED_S / 10, fallback_to_soft=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise LogLocked(str(data_dir), _holder(path)) from None
        path.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def is_held(data_dir: Path) -> bool:
    """Tell whether some process is the writer now; it is asked without standing in the way of one for long."""
    try:
        with (data_dir / "writer.lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    except OSError:
        pass
    return False


def _holder(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
