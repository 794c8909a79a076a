"""A backup put back into an empty data directory: verified first, each file durable, and last the one that makes it a log.

Interrupted anywhere, what is there does not open as a log, and the same command goes on.
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from api.backup.checking import ATTACHMENTS, Bars, check, manifest_of
from api.backup.copying import PRIVATE, READ_ONLY, DigestDiffers, placed, sync_tree
from api.backup.errors import BackupBad, RestoreRefused
from api.backup.known import MARKER, Known, Restored, check_continues, read_marker, write_marker
from api.backup.manifest import Manifest
from api.backup.placing import held, roll_back
from api.backup.source import FOLDERS, blobs_in, folder_of
from api.settings import Settings
from eventlog.archive import Archive
from eventlog.blobs import blob_path, holds
from eventlog.clock import Clock, time_text
from eventlog.lock import WriterLock
from eventlog.opening import LOG_JSON
from eventlog.posix import PosixDisk
from eventlog.segment import SEGMENTS
from eventlog.whole import DRAFT

_HARMLESS = frozenset({"writer.lock", "lost+found", MARKER + DRAFT})


def restore(
    folder: Path, data_dir: Path, known: Sequence[str], settings: Callable[[], Settings], *, clock: Clock, bars: Bars
) -> Manifest:
    """Restore the backup in *folder* into *data_dir*; *settings* reads what is in force there, once its file is there.

    Raises:
        BackupMissing, BackupBad, BackupBusy: there is no good backup in *folder*, or not now.
        KnownUnreadable, NoteRefused, LogOlderThanKnown, LogForked: one of the checkpoints *known* stands against it.
        RestoreRefused, LogLocked: *data_dir* is not empty, or in use.

    """
    _check_empty(data_dir)
    with held(folder):
        roll_back(folder)
        manifest = manifest_of(folder)
        check(folder, manifest, bars)
        _compare(folder, known)
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(data_dir)
        try:
            _check_empty(data_dir)
            _put_back(folder, data_dir, manifest, settings, clock, bars)
        finally:
            lock.release()
    return manifest


def _check_empty(data_dir: Path) -> None:
    """Return if nothing is there, or what an interrupted restore left.

    Raises:
        RestoreRefused: there is anything else.

    """
    try:
        found = sorted({*os.listdir(data_dir)} - _HARMLESS)
    except FileNotFoundError:
        return
    if MARKER in found and not (data_dir / LOG_JSON).exists():
        marker = read_marker(data_dir)
        if marker is not None and marker.at is None:
            return
    if found:
        raise RestoreRefused(str(data_dir), found[0])


def _compare(folder: Path, known: Sequence[str]) -> None:
    archive = Archive.open(folder)
    assert archive is not None, "it was verified"
    with closing(archive), closing(PosixDisk(folder)) as disk:
        for where in known:
            check_continues(disk, archive.checkpoint, Known.read(where, archive.identity.verifier))


def _put_back(
    folder: Path, data_dir: Path, manifest: Manifest, settings: Callable[[], Settings], clock: Clock, bars: Bars
) -> None:
    write_marker(data_dir, Restored(manifest.origin, manifest.size, manifest.taken))
    # The segments first: where there are any, nobody takes what is there for a place to make a new log in.
    paths = sorted(manifest.files, key=lambda path: (not path.startswith(f"{SEGMENTS}/"), path))
    total = sum(entry.size for entry in manifest.files.values())
    put: list[str] = []
    done = 0
    with bars("Restoring", total, "bytes") as on_progress:
        for path in paths:
            if path != LOG_JSON:
                _put(folder, data_dir, path, manifest)
                put.append(path)
                done += manifest.files[path].size
                on_progress(done)
    sync_tree(data_dir, put)
    _put_blobs(folder / ATTACHMENTS, settings().attachments_dir, bars)
    _put(folder, data_dir, LOG_JSON, manifest)
    sync_tree(data_dir, [LOG_JSON])
    write_marker(data_dir, Restored(manifest.origin, manifest.size, manifest.taken, time_text(clock.now_us())))


def _put(folder: Path, data_dir: Path, path: str, manifest: Manifest) -> None:
    source = folder / path
    is_finished = path.startswith(f"{SEGMENTS}/") and not source.stat().st_mode & stat.S_IWUSR
    try:
        placed(source, data_dir / path, READ_ONLY if is_finished else PRIVATE, manifest.files[path].sha256)
    except DigestDiffers:
        raise BackupBad(str(folder), f"{path} changed since it was verified", "Take another one.") from None


def _put_blobs(source_dir: Path, attachments_dir: Path, bars: Bars) -> None:
    attachments_dir.mkdir(parents=True, exist_ok=True)
    put: dict[str, str] = {}
    with bars("Attachments", FOLDERS, "folders") as on_progress:
        for digest, source in blobs_in(source_dir):
            target = blob_path(attachments_dir, digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not holds(target, digest, source.stat().st_size):
                with suppress(DigestDiffers):  # no event names it, or it had not been verified
                    placed(source, target, READ_ONLY, digest)
                    put[digest[:4]] = str(target.relative_to(attachments_dir))
            on_progress(folder_of(digest))
    sync_tree(attachments_dir, put.values())
