"""The keys as they are now: each request sees what `runlog keys` did before it came.

The file's state is looked at in every turn of the event loop that answers a request: whatever a turn answers
came before it. Once a process has seen keys it asks for one until it ends: neither revoking the last key nor
taking the file away opens anything.
"""

import asyncio
import os
import time
from pathlib import Path

import structlog

from api.access.keys import Keys, KeysDamaged
from api.access.store import KEYS, read_keys

logger = structlog.get_logger("api.access")

NO_KEYS = Keys({})
_SETTLED_NS = 100_000_000
"""A file system may give two changes within one tick of its clock the same time; what is this old has one tick to itself."""

_Stamp = tuple[int, int, int]


class CurrentKeys:
    """The keys of one data directory, read again when they change."""

    def __init__(self, data_dir: Path) -> None:
        """Read them.

        Raises:
            KeysDamaged: they cannot be understood.

        """
        self._data_dir, self._path = data_dir, os.fspath(data_dir / KEYS)
        self._stamp, self._is_settled = self._stamped()
        self._keys = read_keys(data_dir)
        self._has_looked = False

    def now(self) -> Keys | None:
        """Return the keys; None where there are none and never were, so that nobody is asked for one."""
        stamp, is_settled = self._stamped()
        if stamp != self._stamp or not self._is_settled:
            self._reload()
            # What could not be read is tried again: neither a `chown` nor a free file handle shows in a stamp.
            self._stamp, self._is_settled = stamp, is_settled and self._keys is not NO_KEYS
        return self._keys

    def of_this_turn(self) -> Keys | None:
        """Return what `now` does, having looked once in this turn of the event loop: all that it answers came before."""
        if not self._has_looked:
            self._has_looked = True
            asyncio.get_running_loop().call_soon(self._turned)  # before what the next turn reads is answered
            self.now()
        return self._keys

    def _turned(self) -> None:
        self._has_looked = False

    def _stamped(self) -> tuple[_Stamp | None, bool]:
        """Return what tells one state of the file from another, and whether a later one cannot have the same."""
        try:
            found = os.stat(self._path)
        except OSError:  # it is not there, or out of reach
            return None, True
        is_settled = abs(time.time_ns() - found.st_mtime_ns) > _SETTLED_NS
        return (found.st_ino, found.st_mtime_ns, found.st_size), is_settled

    def _reload(self) -> None:
        before = self._keys
        try:
            keys = read_keys(self._data_dir)
        except (KeysDamaged, OSError) as error:
            if before is not NO_KEYS:
                logger.error("access.keys_not_readable", error=str(error))
            self._keys = NO_KEYS
            return
        if keys is None and before is not None:
            if before is not NO_KEYS:
                logger.error("access.keys_not_readable", error="the file of keys is gone")
            keys = NO_KEYS
        self._keys = keys
