"""The attachments that v1 left on disk: a blob counts as found only if its bytes have the digest asked for."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path

_DIGEST_CHARACTERS = 64
_FOUND_KEPT_MAX = 4096


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
