"""What a backup says of itself: which log, up to where, and every file of it but the attachments, whose names are digests.

It is believed only as far as it is checked: the log by what the log signed, every other file by its digest here. Pure.
"""

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Self

from attrs import asdict, frozen

MANIFEST = "backup.json"
FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@frozen
class FileEntry:
    """A file of a backup. `mtime_ns` is that of its source when it was read: it tells whether it changed since."""

    size: int
    mtime_ns: int
    sha256: str


@frozen
class Manifest:
    """A finished backup. `size` and `root` are what its checkpoint covers; `taken` is RFC 3339."""

    log_id: str
    origin: str
    size: int
    root: str
    taken: str
    has_secrets: bool
    files: Mapping[str, FileEntry]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the manifest of its bytes.

        Raises:
            ValueError: they are not one, or one of a newer format; the text says which.

        """
        try:
            facts: Any = json.loads(data)
            if facts.pop("format") != FORMAT:
                raise ValueError("it is of another format than this version reads")
            if not _is_sound(facts):
                raise ValueError("a value in it is of the wrong kind")
            files = {_inside(path): FileEntry(**entry) for path, entry in facts.pop("files").items()}
            return cls(**facts, files=files)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it is not a manifest ({error})") from None

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode() + b"\n"


def _inside(path: str) -> str:
    """Return *path* if it cannot lead out of the folder that it is joined to."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} is no path in a backup")
    return path


def _is_sound(facts: Any) -> bool:
    """Tell whether every field has the type that it is read with."""
    return (
        all(isinstance(facts[name], str) for name in ("log_id", "origin", "root", "taken"))
        and type(facts["size"]) is int
        and isinstance(facts["has_secrets"], bool)
        and all(
            type(one["size"]) is int and type(one["mtime_ns"]) is int and _SHA256.fullmatch(one["sha256"]) is not None
            for one in facts["files"].values()
        )
    )
