"""What v1 left on disk: the file of records, the attachments beside it, and the backup made of the file.

Nothing of v1 is ever changed. A blob counts as found only if its bytes have the digest asked for.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from eventlog.clock import Clock, time_text
from eventlog.errors import RunlogError
from eventlog.strict_json import InvalidJson, MalformedJson, parse

_DIGEST_CHARACTERS = 64
_FOUND_KEPT_MAX = 4096


@frozen
class V1NotAnObject(RunlogError):
    """The v1 file holds JSON, but no object of records (exit code 2)."""

    code: ClassVar[str] = "V1_NOT_AN_OBJECT"
    path: str

    @property
    def message(self) -> str:
        return f"{self.path} is not an object of run ids and records, so it is no v1 file. Name the right one."


@frozen
class V1Unreadable(RunlogError):
    """The text of the v1 file is such that its records cannot be told apart (exit code 1)."""

    code: ClassVar[str] = "V1_UNREADABLE"
    path: str
    reason: str
    offset: int

    @property
    def message(self) -> str:
        return (
            f"{self.path} cannot be read from byte {self.offset} on: {self.reason}. Correct that in a copy of the "
            "file and migrate the copy."
        )


def parse_v1(path: Path, content: bytes) -> dict[str, Any]:
    """Return the records of the v1 file at *path*, whose bytes are *content*, by key.

    Raises:
        V1NotAnObject: it is something else.
        V1Unreadable: it is not JSON of one meaning.

    """
    try:
        records = parse(content)
    except MalformedJson as error:
        raise V1Unreadable(str(path), error.reason, error.offset) from None
    except InvalidJson as error:
        raise V1Unreadable(str(path), "; ".join(fault.message for fault in error.errors), 0) from None
    if not isinstance(records, dict):
        raise V1NotAnObject(str(path))
    return records


def keep_backup(path: Path, content: bytes, clock: Clock) -> dict[str, str]:
    """Write *content*, the bytes of the v1 file at *path*, durably beside it; return `path` and `sha256`.

    Never over a file that is there already: then it waits for the next microsecond.
    """
    while True:
        copy = path.with_name(f"{path.name}.backup-{time_text(clock.now_us()).replace(':', '')}")
        try:
            file = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            break
        except FileExistsError:
            continue
    try:
        with open(file, "wb") as backup:
            backup.write(content)
            backup.flush()
            os.fsync(file)
        _sync_folder(copy.parent)
    except BaseException:
        copy.unlink()
        raise
    return {"path": str(copy), "sha256": sha256(content).hexdigest()}


class V1Attachments:
    """The blobs under a folder of v1's, at `ab/cd/<sha256>` or flat `<sha256>`, with or without an extension."""

    def __init__(self, folder: Path | None) -> None:
        """Look in *folder*; None for nowhere."""
        self._folder = folder
        self._extensions: dict[bytes, tuple[str, ...]] = {}
        if folder is not None:
            self._list(folder)
        self._found = lru_cache(_FOUND_KEPT_MAX)(self._find)

    def size(self, digest: str) -> int | None:
        """Return the size in bytes of the blob of *digest* (64 lower-case hex digits); None if its bytes are not there."""
        found = self._found(digest)
        return found[1] if found else None

    def path(self, digest: str) -> Path | None:
        """Return where the blob of *digest* lies; None if its bytes are not there."""
        found = self._found(digest)
        return found[0] if found else None

    def _list(self, folder: Path) -> None:
        """Note the flat files with an extension, once: a folder may hold very many."""
        with os.scandir(folder) as entries:
            for entry in entries:
                name, extension = entry.name[:_DIGEST_CHARACTERS], entry.name[_DIGEST_CHARACTERS:]
                if extension.startswith("."):
                    with suppress(ValueError):
                        key = bytes.fromhex(name)
                        self._extensions[key] = (*self._extensions.get(key, ()), sys.intern(extension))

    def _find(self, digest: str) -> tuple[Path, int] | None:
        for path in self._candidates(digest):
            with suppress(OSError), path.open("rb") as file:
                if file_digest(file, "sha256").hexdigest() == digest:
                    return path, os.fstat(file.fileno()).st_size
        return None

    def _candidates(self, digest: str) -> Iterator[Path]:
        if self._folder is None:
            return
        inner = self._folder / digest[:2] / digest[2:4]
        yield inner / digest
        yield self._folder / digest
        with suppress(OSError):
            yield from (inner / name for name in sorted(os.listdir(inner)) if name.startswith(f"{digest}."))
        for extension in self._extensions.get(bytes.fromhex(digest), ()):
            yield self._folder / f"{digest}{extension}"


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
