"""One file copied: durable under its name or not there at all, and told of by the digest of the bytes that were written."""

import os
from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from eventlog.posix import sync_folder
from eventlog.whole import DRAFT

READ_ONLY, PRIVATE = 0o444, 0o600
_CHUNK_BYTES = 1 << 20


class DigestDiffers(ValueError):
    """A file has other bytes than those that were asked for."""


def copied(source: BinaryIO, target: Path, length: int, mode: int) -> str:
    """Copy the next *length* bytes of *source* to the new file *target*, synced; return their SHA-256.

    Names of files and of new folders are durable after `sync_tree`.

    Raises:
        OSError: also if *source* is shorter; *target* then means nothing.

    """
    digest, left = sha256(), length
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE), "wb") as out:
        while left and (chunk := source.read(min(_CHUNK_BYTES, left))):
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
        out.flush()
        os.fchmod(out.fileno(), mode)
        os.fsync(out.fileno())
    if left:
        raise OSError(f"{getattr(source, 'name', target)} became shorter while it was read")
    return digest.hexdigest()


def written(data: bytes, target: Path, mode: int) -> str:
    """Write *data* to the new file *target*, synced, as `copied` does; return their SHA-256."""
    return copied(BytesIO(data), target, len(data), mode)


def placed(source: Path, target: Path, mode: int, expected_sha256: str) -> int:
    """Let *target* be a copy of the whole file *source*, at once or not at all; return its size in bytes.

    Raises:
        OSError, DigestDiffers: *target* is as it was.

    """
    draft = target.with_name(target.name + DRAFT)
    draft.unlink(missing_ok=True)
    with source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = copied(file, draft, size, mode)
    if found != expected_sha256:
        draft.unlink()
        raise DigestDiffers(str(source))
    os.replace(draft, target)
    return size


def sync_tree(root: Path, paths: Iterable[str]) -> None:
    """Return once the names of the files *paths* under *root*, and of the folders on the way, would survive a power loss."""
    folders = {root}
    for path in paths:
        folder = (root / path).parent
        while folder not in folders:
            folders.add(folder)
            folder = folder.parent
    for folder in sorted(folders, reverse=True):
        sync_folder(folder)
