"""Small files that are replaced as a whole: a crash leaves the old one or the new one, never a part of either."""

from eventlog.disk import Disk

DRAFT = ".tmp"
"""How the name of a file ends while it is written; one that a crash left means nothing."""


def replace_whole(disk: Disk, path: str, data: bytes, *, private: bool = False) -> None:
    """Let *path* be *data*; its name is durable once its folder is synced.

    Raises:
        OSError: *path* is as it was.

    """
    draft = path + DRAFT
    if disk.size(draft) is not None:
        disk.remove(draft)
    disk.create(draft, private=private)
    disk.write(draft, 0, data)
    disk.sync(draft)
    disk.replace(draft, path)


def keep_whole(disk: Disk, path: str, data: bytes, *, private: bool = False) -> None:
    """Let *path* be *data*, durably; its folder is there.

    Raises:
        OSError: *path* is as it was, or its new name may not outlive a power loss.

    """
    replace_whole(disk, path, data, private=private)
    disk.sync_folder(path.rpartition("/")[0])


def read_whole(disk: Disk, path: str, bytes_max: int) -> bytes | None:
    """Return the bytes of *path*, cut behind *bytes_max*; None if it is not there."""
    try:
        return disk.read(path, 0, bytes_max)
    except FileNotFoundError:
        return None
