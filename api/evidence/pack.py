"""A zip file of any number of files in memory that does not grow, with the list of their SHA-256 at its end.

The same files give the same bytes: no entry has a time of its own.
"""

import hashlib
import pickle
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

MANIFEST = "manifest"
_SPOOLED_BYTES = 1 << 20
_OLDEST = (1980, 1, 1, 0, 0, 0)


class _Spooled:
    """What zipfile keeps of each entry for the directory at the end, on disk instead of in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._count = file, 0

    def append(self, entry: zipfile.ZipInfo) -> None:
        pickle.dump(entry, self._file)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)  # noqa: S301 (it was written above)


class Pack:
    """A zip that is being written; it is there under its name only when it is whole."""

    def __init__(self, path: Path) -> None:
        """Write to *path*, over what is there."""
        self._path, self._draft = path, path.with_name(f"{path.name}.tmp")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._zip = zipfile.ZipFile(self._draft, "w", zipfile.ZIP_DEFLATED, compresslevel=3)
        spooled: Any = _Spooled(self._stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)))
        self._zip.filelist = spooled
        # A name of "" is a temporary file, which SQLite removes.
        self._digests = sqlite3.connect("")
        self._stack.callback(self._digests.close)
        self._digests.execute("CREATE TABLE file (name TEXT PRIMARY KEY, sha256 TEXT) WITHOUT ROWID")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                lines = self._digests.execute("SELECT sha256 || '  ' || name || char(10) FROM file ORDER BY name")
                self._write(MANIFEST, (line.encode() for (line,) in lines))
            self._zip.close()
            if kind is None:
                self._draft.replace(self._path)
        finally:
            self._stack.close()
            self._draft.unlink(missing_ok=True)

    def add(self, name: str, pieces: Iterable[bytes], *, is_large: bool = False) -> str:
        """Add a file; return the SHA-256 of its bytes. *is_large*: it may be above 2 GiB."""
        digest = self._write(name, pieces, is_large=is_large)
        self._digests.execute("INSERT INTO file VALUES (?, ?)", (name, digest))
        return digest

    def has(self, name: str) -> bool:
        """Tell whether a file of that name was added."""
        return self._digests.execute("SELECT 1 FROM file WHERE name = ?", (name,)).fetchone() is not None

    def _write(self, name: str, pieces: Iterable[bytes], *, is_large: bool = False) -> str:
        entry = zipfile.ZipInfo(name, _OLDEST)
        entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        digest = hashlib.sha256()
        with self._zip.open(entry, "w", force_zip64=is_large) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        self._zip.NameToInfo.clear()
        return digest.hexdigest()
