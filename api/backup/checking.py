"""Whether a folder holds a good backup: its log is what the log signed, and every other file what it was when it was copied."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from api.backup.errors import BackupBad, BackupMissing
from api.backup.manifest import MANIFEST, Manifest
from api.evidence.named import NAMING
from api.migration.v1_copies import sha256_of
from eventlog.segment import SEGMENTS
from eventlog.verdict import Verdict
from eventlog.verify import segment_bytes, verify

ATTACHMENTS = "attachments"

Bars = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""Shows progress: what is done, of how many, in which unit; gives what hears how many are done."""


def manifest_of(folder: Path) -> Manifest:
    """Return what the backup in *folder* says of itself.

    Raises:
        BackupMissing: there is none.
        BackupBad: it cannot be read.

    """
    try:
        return Manifest.parse((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BackupMissing(str(folder)) from None
    except ValueError as error:
        raise BackupBad(str(folder), f"{MANIFEST}: {error}", _OTHER) from None


def check(folder: Path, manifest: Manifest, bars: Bars, next_step: str = "") -> Verdict:
    """Return what verifying the backup in *folder* found, if it is good.

    Raises:
        BackupBad: it is not; *next_step* says what to do about it.

    """
    next_step = next_step or _OTHER
    for path, entry in manifest.files.items():
        if not path.startswith(f"{SEGMENTS}/") and not _is(folder / path, entry.sha256):
            raise BackupBad(str(folder), f"{path} is missing, or not what was copied", next_step)
    with bars("Verifying", segment_bytes(folder), "bytes") as on_progress:
        verdict = verify(folder, folder / ATTACHMENTS, NAMING, on_progress=on_progress)
    if verdict.first_bad is not None:
        raise BackupBad(str(folder), f"{verdict.bad} bad, the first at {verdict.first_bad.in_words}", next_step)
    if (verdict.signed, verdict.root, verdict.origin) != (manifest.size, manifest.root, manifest.origin):
        raise BackupBad(str(folder), f"it has another checkpoint than {MANIFEST} says", next_step)
    return verdict


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


_OTHER = "Take another one; `runlog log verify --data-dir` with this folder shows the whole extent."
