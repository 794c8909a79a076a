"""A backup, taken while the log is written to and without its lock: what the checkpoint covers at that moment, all of it.

It takes the place of the one before only once it was verified where it lies; until then that one can be had back, and
is. So a good backup is never replaced by a bad one, by a shorter one, or by one of another history.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from attrs import define, evolve, frozen

from api.backup.checking import ATTACHMENTS, Bars, check, manifest_of
from api.backup.copying import PRIVATE, READ_ONLY, DigestDiffers, copied, placed, sync_tree, written
from api.backup.errors import BackupBad, BackupMissing, BackupRefused
from api.backup.known import Known, check_continues
from api.backup.manifest import MANIFEST, FileEntry, Manifest
from api.backup.placing import OWN, STAGE, commit, held, place, roll_back
from api.backup.source import FOLDERS, Wanted, blobs_in, end_of_frames, folder_of, wanted
from api.migration.v1_copies import sha256_of
from api.settings import Settings
from eventlog.archive import Archive
from eventlog.blobs import blob_path, holds
from eventlog.clock import Clock, time_text
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.lock import is_held
from eventlog.note import Checkpoint
from eventlog.posix import PosixDisk
from eventlog.signing import decode_base64, encode_base64
from eventlog.tree import TreeDamaged
from projections.standing import LogMissing

SIGNED_WITHIN_S = 30.0
"""How long a running server is given to sign what it had acknowledged before the backup began."""

_POLL_S = 0.05
_HARMLESS = OWN | {ATTACHMENTS, "lost+found"}
_KEPT = "What was in that folder before is there again. Keep the data directory as it is, and run `runlog log verify` on it."


@define
class Done:
    """What a backup did."""

    manifest: Manifest
    copied_files: int = 0
    copied_bytes: int = 0
    kept_files: int = 0
    attachments: int = 0
    unsigned: int = 0
    """Events that were recorded before it began, and that nobody signed yet: they are not in it."""


def back_up(settings: Settings, folder: Path, *, with_secrets: bool, clock: Clock, bars: Bars) -> Done:
    """Bring the backup in *folder* to where the log of *settings* stands now; everything acknowledged before is in it.

    Raises:
        LogMissing: there is no log.
        BackupRefused, BackupBusy, LogOlderThanKnown, LogForked: *folder* is as it was.
        BackupBad: the log, or the copy, does not verify; *folder* is as it was.

    """
    _check_apart(settings, folder)
    if not settings.data_dir.is_dir():
        raise LogMissing(str(settings.data_dir))
    try:
        archive = Archive.open(settings.data_dir)
        if archive is None:
            raise LogMissing(str(settings.data_dir))
        with closing(archive), closing(PosixDisk(settings.data_dir)) as disk:
            unsigned = _signed(disk, archive, settings.data_dir)
            folder.mkdir(parents=True, exist_ok=True)
            with held(folder):
                roll_back(folder)
                before = _before(folder)
                if before is not None:
                    _check_continues(disk, archive, before, folder)
                return _Backup(settings, folder, archive, disk, before, bars).run(with_secrets, clock, unsigned)
    except (LogDamaged, LogCorrupt, TreeDamaged) as error:
        reason = error.what if isinstance(error, LogDamaged) else error.message
        raise BackupBad(str(settings.data_dir), f"there is damage to the log itself: {reason}", _KEPT) from None


def _check_apart(settings: Settings, folder: Path) -> None:
    here = folder.resolve()
    for one in (settings.data_dir.resolve(), settings.attachments_dir.resolve()):
        if here == one or here in one.parents or one in here.parents:
            raise BackupRefused(str(folder), f"it and {one} lie one in the other, and would be lost together")


def _signed(disk: PosixDisk, archive: Archive, data_dir: Path) -> int:
    """Wait until what was durable when the backup began is signed; return how many events are not, if nobody signs."""
    durable = end_of_frames(disk)
    deadline = time.monotonic() + SIGNED_WITHIN_S
    while archive.checkpoint.size < durable and is_held(data_dir) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        archive.refresh()
    return max(0, durable - archive.checkpoint.size)


def _before(folder: Path) -> Manifest | None:
    """Return the backup that is there; None in an empty folder."""
    try:
        return manifest_of(folder)
    except BackupMissing:
        if others := sorted({*os.listdir(folder)} - _HARMLESS):
            raise BackupRefused(str(folder), f"it holds no backup, and is not empty ({others[0]})") from None
        return None


def _check_continues(disk: PosixDisk, archive: Archive, before: Manifest, folder: Path) -> None:
    if before.log_id != archive.identity.log_id:
        raise BackupRefused(str(folder), f"it holds a backup of another log, {before.log_id}")
    root = decode_base64(before.root) or b""
    known = Known(f"the backup in {folder}", Checkpoint(before.origin, before.size, root))
    check_continues(disk, archive.checkpoint, known)


@frozen
class _Backup:
    """One backup under way."""

    _settings: Settings
    _folder: Path
    _archive: Archive
    _disk: PosixDisk
    _before: Manifest | None
    _bars: Bars

    def run(self, with_secrets: bool, clock: Clock, unsigned: int) -> Done:
        checkpoint = self._archive.checkpoint
        manifest = Manifest(
            self._archive.identity.log_id,
            checkpoint.origin,
            checkpoint.size,
            encode_base64(checkpoint.root),
            time_text(clock.now_us()),
            with_secrets,
            {},
        )
        done = Done(manifest, unsigned=unsigned)
        files = [*wanted(self._settings.data_dir, self._disk, self._archive, with_secrets=with_secrets)]
        try:
            self._add_blobs(done)
            self._stage(files, done)
            gone = self._before.files.keys() - done.manifest.files.keys() if self._before else ()
            place(self._folder, gone)
            check(self._folder, done.manifest, self._bars, _KEPT)
        except BaseException:  # whatever ends it, Ctrl-C too: the good backup that was there must stay
            with suppress(OSError):  # where the disk does not let it, the next one begins with it
                roll_back(self._folder)
            raise
        commit(self._folder)
        return done

    def _add_blobs(self, done: Done) -> None:
        """Copy attachments; their names are their digests, so one more than is needed, or one kept, is never wrong."""
        root = self._folder / ATTACHMENTS
        added: dict[str, str] = {}
        with self._bars("Attachments", FOLDERS, "folders") as on_progress:
            for digest, source in blobs_in(self._settings.attachments_dir):
                target = blob_path(root, digest)
                done.attachments += 1
                if holds(target, digest, source.stat().st_size):
                    done.kept_files += 1
                else:
                    with suppress(DigestDiffers):  # if an event names it, that is found below
                        done.copied_bytes += placed(source, target, READ_ONLY, digest)
                        done.copied_files += 1
                        added[digest[:4]] = str(target.relative_to(self._folder))
                on_progress(folder_of(digest))
        sync_tree(self._folder, added.values())

    def _stage(self, files: list[Wanted], done: Done) -> None:
        """Make beside the backup what is new or changed, and the manifest of all."""
        entries: dict[str, FileEntry] = {}
        total = sum(file.length or self._disk.size(file.path) or 0 for file in files if file.data is None)
        read = 0
        with self._bars("Copying", total, "bytes") as on_progress:
            for file in files:
                entries[file.path] = self._staged(file, done)
                read += entries[file.path].size
                on_progress(read)
        stage = self._folder / STAGE
        done.manifest = evolve(done.manifest, files=entries)
        written(done.manifest.data, stage / MANIFEST, PRIVATE)
        sync_tree(self._folder, [f"{STAGE}/{MANIFEST}", *(f"{STAGE}/{path}" for path in _under(stage))])

    def _staged(self, file: Wanted, done: Done) -> FileEntry:
        target = self._folder / STAGE / file.path
        if file.data is not None:
            return FileEntry(len(file.data), 0, written(file.data, target, file.mode))
        # Read through the disk: the last segment is plain in a backup, also where it is finished by now, and packed.
        with self._disk.open(file.path) as source:
            found = os.stat(self._settings.data_dir / self._disk.stored(file.path))
            length = (self._disk.size(file.path) or 0) if file.length is None else file.length
            kept = self._before.files.get(file.path) if self._before else None
            if kept is not None and (kept.size, kept.mtime_ns) == (length, found.st_mtime_ns) and self._has(file, kept):
                done.kept_files += 1
                return kept
            digest = copied(source, target, length, file.mode)
        done.copied_files += 1
        done.copied_bytes += length
        return FileEntry(length, found.st_mtime_ns, digest)

    def _has(self, file: Wanted, kept: FileEntry) -> bool:
        """Tell whether the copy of before is still what it was."""
        with suppress(OSError):
            return sha256_of(self._folder / file.path) == kept.sha256
        return False


def _under(stage: Path) -> Iterator[str]:
    return (str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file())
