"""The disk as a port: the few file verbs that the log's promises rest on.

`posix.py` is the real one; `memory.py` is a simulated one that can lose power.
Paths are relative to the data directory, with `/`. A verb makes nothing durable
but what its text says; each raises OSError as the operating system does.
"""

from typing import Protocol


class Disk(Protocol):
    """What the log asks of a file system."""

    def make_folder(self, folder: str, *, private: bool = False) -> None:
        """Make *folder* and its parents, *private* ones for their owner alone (0700).

        It is no error if it is there. Each new one's parent is synced.
        """

    def names(self, folder: str) -> list[str]:
        """Return the names in *folder*, sorted; none if the folder is not there."""

    def size(self, path: str) -> int | None:
        """Return the size of *path* in bytes; None if it is not there."""

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Return up to *length* bytes from *offset*; fewer only at the end of the file."""

    def create(self, path: str, *, private: bool = False) -> None:
        """Make an empty file, a *private* one for its owner alone (0600); FileExistsError if it is there.

        Its name is durable after `sync_folder`.
        """

    def write(self, path: str, offset: int, data: bytes) -> None:
        """Write all of *data* at *offset*; after an error any part of it may be there."""

    def sync(self, path: str) -> None:
        """Return only once all that was written to *path*, and its size, would survive a power loss."""

    def truncate(self, path: str, size: int) -> None:
        """Cut *path* to *size* bytes; durable after `sync`."""

    def make_readonly(self, path: str) -> None:
        """Take the write permission off *path* (0444) and let go of it; later writes by the owner of this port still work."""

    def replace(self, source: str, target: str) -> None:
        """Rename *source* over *target*, at once or not at all; durable after `sync_folder`."""

    def remove(self, path: str) -> None:
        """Remove *path*; durable after `sync_folder`."""

    def sync_folder(self, folder: str) -> None:
        """Return only once the names in *folder* would survive a power loss."""

    def free_bytes(self) -> int:
        """Return how much more may be written before the disk is full."""

    def close(self) -> None:
        """Let go of every file."""
