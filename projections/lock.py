"""One process at a time runs the projections of a data directory.

It is a lock on the directory itself, not on a file in it: it leaves nothing behind, and dies with
its process. The writer's lock does not serve, because the server holds that one and folds elsewhere.
"""

import fcntl
import os
import time
from pathlib import Path

from eventlog.errors import LogLocked

_RETRY_S = 0.05


class ProjectionsLock:
    """The right to change the projections' state."""

    def __init__(self, data_dir: Path, wait_s: float) -> None:
        """Take the lock, waiting up to *wait_s* for a worker that is about to end.

        Raises:
            LogLocked: another process still holds it.

        """
        self._fd = os.open(data_dir, os.O_RDONLY)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(self._fd)
                    raise LogLocked(str(data_dir), None) from None
                time.sleep(_RETRY_S)
            else:
                return

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._fd)
