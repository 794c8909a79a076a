"""A backup is whole, verified and never made worse; and a restore brings back what it has, or nothing."""

import asyncio
import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

from api.backup import placing
from api.backup.backup import back_up
from api.backup.checking import manifest_of
from api.backup.errors import (
    BackupBad,
    BackupBusy,
    BackupMissing,
    BackupRefused,
    LogForked,
    LogOlderThanKnown,
    RestoreRefused,
)
from api.backup.known import MARKER, KnownUnreadable
from api.backup.manifest import MANIFEST, Manifest
from api.backup.restore import restore
from api.cli.progress import bar
from api.evidence.named import NAMING
from api.settings import Settings
from eventlog.batch import Stream
from eventlog.blobs import Blobs
from eventlog.clock import SystemClock
from eventlog.commit import Limits
from eventlog.log import Log
from eventlog.note import NoteRefused
from eventlog.verify import verify
from projections.run import events
from tests.commands import everything_under
from tests.projections.logs import ORIGIN, created, run_id_of

Files = dict[str, bytes | None]


def grow(data_dir: Path, first: int, count: int, *, attach: bytes = b"") -> None:
    """Append runs to the log, in segments of 4 KiB, and attach some bytes to the first of them."""

    async def grown() -> None:
        log = Log.open(data_dir, limits=Limits(segment_bytes_max=4096))
        try:
            for number in range(first, first + count):
                _, run_id, data = created(number)
                await log.append([log.draft(events.CREATED, run_id, data, ORIGIN)], Stream.ABSENT, ORIGIN)
            if attach:
                blob = await Blobs(data_dir / "attachments").put_bytes(attach)
                named = {"sha256": blob.sha256, "size_bytes": blob.size_bytes, "kind": "note", "filename": "x"}
                draft = log.draft(events.ATTACHMENT_ADDED, run_id_of(first), {"attachment": named}, ORIGIN)
                await log.append([draft], Stream.PRESENT, ORIGIN)
        finally:
            await log.close()

    asyncio.run(grown())


def taken(data_dir: Path, folder: Path, *, with_secrets: bool = True) -> Manifest:
    settings = Settings(data_dir=data_dir)
    return back_up(settings, folder, with_secrets=with_secrets, clock=SystemClock(), bars=bar).manifest


def put_back(folder: Path, data_dir: Path, *known: object) -> Manifest:
    def settings() -> Settings:
        return Settings(data_dir=data_dir)

    return restore(folder, data_dir, [str(each) for each in known], settings, clock=SystemClock(), bars=bar)


def is_good(data_dir: Path) -> bool:
    return verify(data_dir, data_dir / "attachments", NAMING).is_good


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of many segments and an attachment, and its backup; for tests that take copies of it."""
    folder = tmp_path_factory.mktemp("made")
    grow(folder / "data", 0, 12, attach=b"bytes")
    (folder / "data" / "runlog.toml").write_text("segment_bytes_max = 4096\n")
    (folder / "data" / "imports").mkdir()
    (folder / "data" / "imports" / f"{'0' * 32}.json").write_text("{}")
    taken(folder / "data", folder / "backup")
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of it, with the times of its files."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "segments").iterdir())


def flip(path: Path, at: int) -> None:
    """Change one byte, and not the time of the file: as a disk does."""
    found, mode = path.stat(), path.stat().st_mode
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    path.chmod(mode)


class RefusingDisk:
    """A disk that renames *left* more files, and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left, self._replace = left, os.replace
        monkeypatch.setattr(os, "replace", self)

    def __call__(self, source: Path, target: Path) -> None:
        if self.left == 0:
            raise OSError("the disk is gone")
        self.left -= 1
        self._replace(source, target)


def test_a_backup_is_a_data_directory_that_verifies_with_all_that_is_not_derived(made: Path) -> None:
    backup, data = made / "backup", made / "data"
    assert len(segments(backup)) == len(segments(data)) > 2
    assert is_good(backup)
    same = everything_under(data)
    of_backup = everything_under(backup)
    assert of_backup.items() - {(MANIFEST, of_backup[MANIFEST])} <= same.items()
    derived = {path for path in same.keys() - of_backup.keys() if (data / path).is_file()}
    assert all(path.startswith(("index.sqlite", "writer.lock", "log/tiles/")) for path in derived)
    assert (backup / "secrets" / "signing.key").stat().st_mode & 0o777 == 0o600


def test_a_backup_ends_where_the_checkpoint_does_whatever_is_written_behind_it(copy: Path) -> None:
    """As beside a server that has not signed its newest events yet, and is writing one more."""
    signed = (copy / "data" / "log" / "checkpoint").read_bytes()
    grow(copy / "data", 12, 4)
    (copy / "data" / "log" / "checkpoint").write_bytes(signed)
    with segments(copy / "data")[-1].open("ab") as file:
        file.write(b'{"seq":17,"first":17,"la')
    assert taken(copy / "data", copy / "new").size == 13
    assert is_good(copy / "new")
    assert segments(copy / "new")[-1].read_bytes() == segments(copy / "backup")[-1].read_bytes()


def test_what_is_there_and_unchanged_is_not_copied_again(copy: Path) -> None:
    before = {path.name: path.stat().st_ino for path in segments(copy / "backup")}
    grow(copy / "data", 12, 6)
    taken(copy / "data", copy / "backup")
    after = {path.name: path.stat().st_ino for path in segments(copy / "backup")}
    newest = max(before)
    assert {name: after[name] for name in before if name != newest} == {
        name: inode for name, inode in before.items() if name != newest
    }
    assert len(after) > len(before)
    assert is_good(copy / "backup")


def test_every_file_is_counted_as_copied_and_the_next_time_as_kept(copy: Path) -> None:
    settings = Settings(data_dir=copy / "data")
    first, second = (
        back_up(settings, copy / "new", with_secrets=True, clock=SystemClock(), bars=bar) for _ in range(2)
    )
    assert (first.copied_files, first.kept_files) == (second.kept_files, second.copied_files)
    assert second.copied_files == 0
    assert first.copied_files > first.attachments > 0


def test_a_copy_that_rotted_is_copied_again(copy: Path) -> None:
    (blob,) = (path for path in (copy / "backup" / "attachments").rglob("*") if path.is_file())
    for path in (segments(copy / "backup")[0], blob):
        flip(path, 3)
    assert not is_good(copy / "backup")
    taken(copy / "data", copy / "backup")
    assert is_good(copy / "backup")


def test_a_log_that_rotted_never_takes_the_place_of_a_good_backup(copy: Path) -> None:
    before = everything_under(copy / "backup")
    for damage in (
        lambda: segments(copy / "data")[-1].write_bytes(segments(copy / "data")[-1].read_bytes()[:-2]),
        lambda: segments(copy / "data")[1].unlink(),
        lambda: (copy / "data" / "log" / "checkpoint").unlink(),
    ):
        damage()
        with pytest.raises(BackupBad):
            taken(copy / "data", copy / "backup")
        assert everything_under(copy / "backup") == before


def test_damage_on_the_logs_disk_that_its_backup_does_not_have_does_no_harm(copy: Path) -> None:
    flip(segments(copy / "data")[0], 300)
    taken(copy / "data", copy / "backup")
    assert is_good(copy / "backup")


def test_the_first_backup_of_a_damaged_log_leaves_no_backup(copy: Path) -> None:
    flip(segments(copy / "data")[0], 300)
    with pytest.raises(BackupBad):
        taken(copy / "data", copy / "new")
    with pytest.raises(BackupMissing):
        manifest_of(copy / "new")


def test_a_folder_with_anything_else_in_it_is_left_alone(copy: Path) -> None:
    (copy / "other").mkdir()
    (copy / "other" / "thesis.txt").write_text("mine")
    grow(copy / "third", 0, 1)
    before = everything_under(copy)
    for data_dir, folder in (("data", "other"), ("third", "backup"), ("data", "data/sub"), ("data", ".")):
        with pytest.raises(BackupRefused):
            taken(copy / data_dir, copy / folder)
    assert everything_under(copy) == before


def test_an_older_or_a_forked_log_is_not_backed_up_over_a_newer_one(copy: Path) -> None:
    shutil.copytree(copy / "data", copy / "older")
    grow(copy / "data", 12, 3)
    taken(copy / "data", copy / "backup")
    with pytest.raises(LogOlderThanKnown):
        taken(copy / "older", copy / "backup")
    grow(copy / "older", 20, 5)
    with pytest.raises(LogForked):
        taken(copy / "older", copy / "backup")
    assert is_good(copy / "backup")


@pytest.mark.parametrize("moves", range(11))
def test_a_change_that_is_interrupted_can_be_undone_to_the_byte(
    copy: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    """The disk refuses a rename: first while files take their places, then while they are put back."""
    folder = copy / "backup"
    before = everything_under(folder)
    grow(copy / "data", 12, 6)
    disk = RefusingDisk(monkeypatch, moves)
    with pytest.raises(OSError, match="is gone"):
        taken(copy / "data", folder)
    disk.left = moves // 2
    with contextlib.suppress(OSError):
        placing.roll_back(folder)
    monkeypatch.undo()
    placing.roll_back(folder)
    assert everything_under(folder) == before
    taken(copy / "data", folder)
    assert is_good(folder)


def test_until_it_is_committed_a_change_can_be_undone_and_then_no_more(tmp_path: Path) -> None:
    def change() -> Files:
        (tmp_path / placing.STAGE / "a").mkdir(parents=True)
        for name in ("a/old", "a/new"):
            (tmp_path / placing.STAGE / name).write_text(f"new {name}")
        placing.place(tmp_path, ["gone"])
        return {name: data for name, data in everything_under(tmp_path).items() if not name.startswith(".")}

    (tmp_path / "a").mkdir()
    for name in ("a/old", "gone", "kept"):
        (tmp_path / name).write_text(f"old {name}")
    before = everything_under(tmp_path)
    after = change()
    assert after == {"a": None, "a/old": b"new a/old", "a/new": b"new a/new", "kept": b"old kept"}
    placing.roll_back(tmp_path)
    assert everything_under(tmp_path) == before
    change()
    placing.commit(tmp_path)
    placing.roll_back(tmp_path)
    assert everything_under(tmp_path) == after


def test_only_one_process_at_a_time_works_on_a_backup(copy: Path) -> None:
    with placing.held(copy / "backup"), pytest.raises(BackupBusy):
        taken(copy / "data", copy / "backup")


# --- restore


def test_what_is_restored_opens_and_goes_on(copy: Path) -> None:
    shutil.rmtree(copy / "data")
    put_back(copy / "backup", copy / "new")
    assert is_good(copy / "new")
    assert (copy / "new" / "runlog.toml").exists()
    grow(copy / "new", 12, 3)
    assert is_good(copy / "new")


def test_a_restore_over_anything_is_refused(copy: Path) -> None:
    before = everything_under(copy)
    with pytest.raises(RestoreRefused):
        put_back(copy / "backup", copy / "data")
    with pytest.raises(BackupMissing):
        put_back(copy / "data", copy / "new")
    assert everything_under(copy) == before


@pytest.mark.parametrize(
    "damaged",
    ["log/segments/first", "log/segments/last", "log/checkpoint", "log/log.json", "attachments", "imports", MANIFEST],
)
@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "changed"])
def test_a_backup_that_is_not_whole_is_not_restored(copy: Path, damaged: str, is_gone: bool) -> None:
    folder = copy / "backup"
    path = {"log/segments/first": segments(folder)[0], "log/segments/last": segments(folder)[-1]}.get(
        damaged, folder / damaged
    )
    if path.is_dir():
        path = next(each for each in sorted(path.rglob("*")) if each.is_file())
    if is_gone:
        path.unlink()
    else:
        flip(path, 1)
    with pytest.raises((BackupBad, BackupMissing)):
        put_back(folder, copy / "new")
    assert not (copy / "new").exists()


def test_a_restore_that_is_interrupted_anywhere_is_no_log_before_all_is_there_and_goes_on(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_back(copy / "backup", copy / "whole")
    whole = {path: data for path, data in everything_under(copy / "whole").items() if path != MARKER}
    disk = RefusingDisk(monkeypatch, 0)
    for left in range(len(whole)):
        new = copy / f"new{left}"
        disk.left = left
        with contextlib.suppress(OSError):
            put_back(copy / "backup", new)
        disk.left = -1
        if not (new / "log" / "log.json").exists():
            put_back(copy / "backup", new)
        assert everything_under(new).items() >= whole.items()
        with pytest.raises(RestoreRefused):
            put_back(copy / "backup", new)


def test_a_backup_without_secrets_has_none_and_opens_once_the_key_is_there(copy: Path) -> None:
    taken(copy / "data", copy / "public", with_secrets=False)
    assert not (copy / "public" / "secrets").exists()
    put_back(copy / "public", copy / "new")
    shutil.copytree(copy / "data" / "secrets", copy / "new" / "secrets")
    grow(copy / "new", 12, 1)
    assert is_good(copy / "new")


def test_a_later_checkpoint_that_is_known_stands_against_an_older_backup(copy: Path) -> None:
    data, known = copy / "data", copy / "known"
    shutil.copy(data / "log" / "checkpoint", known)
    shutil.copytree(data, copy / "fork")
    grow(data, 12, 1)
    newer = data / "log" / "checkpoint"
    with pytest.raises(LogOlderThanKnown) as refusal:
        put_back(copy / "backup", copy / "new", known, newer)
    assert (refusal.value.known_size, refusal.value.size) == (14, 13)
    grow(copy / "fork", 20, 2)
    taken(copy / "fork", copy / "forked")
    with pytest.raises(LogForked):
        put_back(copy / "forked", copy / "new", newer)
    grow(copy / "third", 0, 1)
    with pytest.raises(NoteRefused):
        put_back(copy / "backup", copy / "new", copy / "third" / "log" / "checkpoint")
    for where in (copy / "nowhere", "ftp://log.example/checkpoint"):
        with pytest.raises(KnownUnreadable):
            put_back(copy / "backup", copy / "new", where)
    assert not (copy / "new").exists()
    put_back(copy / "backup", copy / "new", known)
    assert json.loads((copy / "new" / MARKER).read_text())["size"] == 13


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"size": "13"},
        {"files": {"../../etc/passwd": {"size": 1, "mtime_ns": 1, "sha256": "0" * 64}}},
        {"files": {"/etc/passwd": {"size": 1, "mtime_ns": 1, "sha256": "0" * 64}}},
        {"files": {"a": {"size": 1, "mtime_ns": 1, "sha256": "x"}}},
        {"files": []},
        {"more": 1},
    ],
    ids=str,
)
def test_a_manifest_that_is_not_as_it_is_written_is_not_believed(made: Path, change: dict[str, object]) -> None:
    data = (made / "backup" / MANIFEST).read_bytes()
    assert Manifest.parse(data).data == data
    with pytest.raises(ValueError):
        Manifest.parse(json.dumps(json.loads(data) | change).encode())
