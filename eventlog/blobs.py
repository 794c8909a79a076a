"""Attachments, each a file named by the SHA-256 of its bytes. What `put` returned is durable.

A blob is written whole and synced under `tmp/` before it gets its name, so a name never leads
to half a blob; and a name that leads to other bytes (damage) is put right by the next `put`
of the right ones.
"""

import asyncio
import errno
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import aiofiles
import structlog
from attrs import frozen

from eventlog.errors import PASSING, EventLogError, LogFull, OutOfHandles
from eventlog.posix import sync_folder

logger = structlog.get_logger("eventlog.blobs")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


@frozen
class StoredBlob:
    """What identifies a blob: the digest of its bytes, 64 lower-case hex digits, and their number."""

    sha256: str
    size_bytes: int


@frozen
class BlobTooLarge(EventLogError):
    """More bytes came than a blob may have."""

    code: ClassVar[str] = "BODY_TOO_LARGE"
    bytes_max: int

    @property
    def message(self) -> str:
        return f"An attachment holds at most {self.bytes_max} bytes; nothing was kept. Send a smaller one."


@frozen
class BlobMismatch(EventLogError):
    """The bytes that came do not have the digest that was announced."""

    code: ClassVar[str] = "HASH_MISMATCH"
    expected: str
    actual: str

    @property
    def message(self) -> str:
        return (
            f"The bytes have the SHA-256 {self.actual}, not {self.expected}; nothing was kept. "
            "Send them again, or correct the digest."
        )


class Blobs:
    """The blobs under one folder, at `ab/cd/<sha256>`, each read-only (0444). Only one process at a time may add any."""

    def __init__(self, root: Path) -> None:
        """Use the folder *root*, made if need be; what an interrupted `put` left under `tmp/` is removed.

        For the holder of the writer's lock: another process's upload would lose its file.
        """
        self._root = root
        self._tmp = root / "tmp"
        self._synced: set[Path] = set()
        root.parent.mkdir(parents=True, exist_ok=True)
        self._make_root()
        for stray in self._tmp.glob("*.tmp"):
            stray.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the blob of that digest lies, or would lie.

        Raises:
            ValueError: *sha256* is not 64 lower-case hex digits, so it could lead anywhere.

        """
        return blob_path(self._root, sha256)

    def size(self, sha256: str) -> int | None:
        """Return the size in bytes of the blob of that digest; None if there is none. Its bytes are not looked at."""
        path = self.path(sha256)
        return path.stat().st_size if path.is_file() else None

    async def verify(self, sha256: str, size_bytes: int) -> bool:
        """Tell whether the blob is there with exactly the bytes of its digest; every one of them is read."""
        return await asyncio.to_thread(holds, self.path(sha256), sha256, size_bytes)

    async def put(
        self, chunks: AsyncIterator[bytes], *, bytes_max: int, expected_sha256: str | None = None
    ) -> StoredBlob:
        """Return once the bytes of *chunks*, joined, are durable under their digest; in constant memory.

        Raises:
            BlobTooLarge: there are more than *bytes_max*.
            BlobMismatch: they do not have the digest *expected_sha256*.
            LogFull, OutOfHandles: there is no space for them, or no file can be opened now.

        """
        tmp = self._new_tmp()
        try:
            with _told_as_ours():
                await asyncio.to_thread(self._remake_root)
                blob = await _received(tmp, chunks, bytes_max)
                if expected_sha256 not in (None, blob.sha256):
                    raise BlobMismatch(str(expected_sha256), blob.sha256)
                await asyncio.to_thread(self._keep, tmp, blob)
        finally:
            # Shielded: a second cancellation must not leave the file behind.
            await asyncio.shield(asyncio.to_thread(tmp.unlink, missing_ok=True))
        return blob

    async def put_bytes(self, content: bytes) -> StoredBlob:
        """Return once *content* is durable under its digest.

        Raises:
            LogFull, OutOfHandles: there is no space for it, or no file can be opened now.

        """
        return await asyncio.to_thread(self._put_bytes, content)

    def _put_bytes(self, content: bytes) -> StoredBlob:
        blob = StoredBlob(sha256(content).hexdigest(), len(content))
        tmp = self._new_tmp()
        try:
            with _told_as_ours():
                self._remake_root()
                tmp.write_bytes(content)
                self._keep(tmp, blob)
        finally:
            tmp.unlink(missing_ok=True)
        return blob

    def _new_tmp(self) -> Path:
        return self._tmp / f"{secrets.token_hex(16)}.tmp"

    def _make_root(self) -> None:
        self._root.mkdir(exist_ok=True)
        sync_folder(self._root.parent)
        self._tmp.mkdir(exist_ok=True)  # last: where it stands, the root's own name is durable

    def _remake_root(self) -> None:
        """Make the root and `tmp/` again if somebody removed them, but nothing above them: a data directory stays gone."""
        if not self._tmp.is_dir():
            self._make_root()
            logger.warning("attachment.folder_remade", folder=str(self._tmp))

    def _keep(self, tmp: Path, blob: StoredBlob) -> None:
        """Give *tmp* its name, unless the right bytes have it already; either way it is durable then."""
        target = self.path(blob.sha256)
        if holds(target, blob.sha256, blob.size_bytes):
            tmp = target
        self._make_folders(target.parent)
        fd = os.open(tmp, os.O_RDONLY)
        try:
            os.fchmod(fd, 0o444)
            os.fsync(fd)
        finally:
            os.close(fd)
        if tmp != target:
            self._move_folder_aside(target)
            os.replace(tmp, target)
        # Also for a blob that was there: a crash may have come between its rename and this.
        sync_folder(target.parent)

    def _move_folder_aside(self, target: Path) -> None:
        """Move a folder that has the blob's name under `tmp/`, with all that is in it."""
        if target.is_dir() and not target.is_symlink():
            aside = self._tmp / f"{target.name}.{secrets.token_hex(4)}"
            os.rename(target, aside)
            logger.warning("attachment.moved_aside", found=str(target), moved_to=str(aside))

    def _make_folders(self, folder: Path) -> None:
        """Make *folder* (`ab/cd`); its own name and its parent's are synced once for each time that it is made, or found at first."""
        # Looked for first: who finds it while another thread makes it anew no longer finds it among the synced ones.
        if folder.is_dir() and folder in self._synced:
            return
        self._synced.discard(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        sync_folder(self._root)
        self._synced.add(folder)


async def _received(tmp: Path, chunks: AsyncIterator[bytes], bytes_max: int) -> StoredBlob:
    """Write *chunks* to the new file *tmp*, hashing on the way; not yet synced."""
    digest = sha256()
    size = 0
    async with aiofiles.open(tmp, "xb", buffering=0) as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > bytes_max:
                raise BlobTooLarge(bytes_max)
            await asyncio.to_thread(digest.update, chunk)
            left = memoryview(chunk)
            while left:
                left = left[await file.write(left) :]
    return StoredBlob(digest.hexdigest(), size)


def blob_path(root: Path, sha256: str) -> Path:
    """Return where under *root* the blob of that digest lies, or would lie; ValueError if it is not a digest."""
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is not a SHA-256 in lower-case hex")
    return root / sha256[:2] / sha256[2:4] / sha256


def holds(path: Path, digest: str, size: int) -> bool:
    """Tell whether the file has those bytes; one that cannot be read has not."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                return False
            found = sha256()
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
    except OSError:
        return False
    return found.hexdigest() == digest


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        logger.error("attachment.not_kept", error=str(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LogFull() from error
        if error.errno in PASSING:
            raise OutOfHandles() from error
        raise
