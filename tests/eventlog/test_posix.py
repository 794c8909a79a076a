"""The real disk: its system calls, and the files that it holds open."""

import errno
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from eventlog.posix import READ_FILES_MAX, WRITTEN_FILES_MAX, PosixDisk


def put(disk: PosixDisk, path: str, data: bytes) -> None:
    disk.create(path)
    disk.write(path, 0, data)


def content(disk: PosixDisk, path: str) -> bytes:
    return disk.read(path, 0, 100)


@pytest.fixture
def calls(monkeypatch):
    """The system calls that change a file, in order; `calls.most` is the most that one pwrite takes."""

    class Calls(list):
        most = 1 << 20

    calls = Calls()
    pwrite, fdatasync = os.pwrite, os.fdatasync
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: calls.append("pwrite") or pwrite(fd, data[: calls.most], at))
    monkeypatch.setattr(os, "fdatasync", lambda fd: calls.append("fdatasync") or fdatasync(fd))
    return calls


def test_a_write_is_one_pwrite_and_a_sync_one_fdatasync(tmp_path, calls):
    disk = PosixDisk(tmp_path)
    put(disk, "a", b"x" * 10_000)
    disk.sync("a")
    assert calls == ["pwrite", "fdatasync"]


def test_a_write_of_which_the_system_takes_only_a_part_goes_on_with_the_rest(tmp_path, calls):
    disk = PosixDisk(tmp_path)
    calls.most = 4
    put(disk, "a", b"abcdefghij")
    assert calls == ["pwrite"] * 3
    assert content(disk, "a") == b"abcdefghij"


def test_a_write_of_which_the_system_takes_nothing_is_an_error(tmp_path, calls):
    disk = PosixDisk(tmp_path)
    calls.most = 0
    with pytest.raises(OSError, match="wrote nothing") as caught:
        put(disk, "a", b"abc")
    assert caught.value.errno == errno.EIO


def test_a_read_that_the_system_cuts_short_goes_on_to_the_end(tmp_path, monkeypatch):
    disk = PosixDisk(tmp_path)
    put(disk, "a", b"abcdefghij")
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: pread(fd, min(length, 3), at))
    assert disk.read("a", 1, 100) == b"bcdefghij"


def test_a_file_with_unsynced_writes_is_synced_before_it_makes_room_for_another(tmp_path, calls):
    disk = PosixDisk(tmp_path)
    put(disk, "synced", b"x")
    disk.sync("synced")
    calls.clear()
    for number in range(WRITTEN_FILES_MAX):
        put(disk, str(number), b"x")
    assert "fdatasync" not in calls
    put(disk, "one more", b"x")
    assert calls[-2:] == ["fdatasync", "pwrite"]


def open_files_under(folder: Path) -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_only_so_many_files_are_open_at_once_and_none_after_close(tmp_path):
    disk = PosixDisk(tmp_path)
    for number in range(2 * READ_FILES_MAX):
        put(disk, str(number), b"%d" % number)
    assert [content(disk, str(number)) for number in range(2 * READ_FILES_MAX)] == [
        b"%d" % number for number in range(2 * READ_FILES_MAX)
    ]
    assert open_files_under(tmp_path) == WRITTEN_FILES_MAX + READ_FILES_MAX
    disk.close()
    assert open_files_under(tmp_path) == 0


def test_a_file_that_another_process_replaced_is_not_read_from_the_old_one(tmp_path):
    disk, other = PosixDisk(tmp_path), PosixDisk(tmp_path)
    put(disk, "a", b"old")
    assert content(disk, "a") == b"old"
    put(other, "b", b"new")
    other.replace("b", "a")
    assert disk.read("a", 0, 3) == b"new"
    other.remove("a")
    with pytest.raises(FileNotFoundError):
        disk.read("a", 0, 3)


def test_threads_read_what_they_ask_for_while_files_are_opened_closed_and_replaced(tmp_path):
    disk = PosixDisk(tmp_path)
    names = [f"{number:04}" for number in range(2 * READ_FILES_MAX)]
    for name in names:
        put(disk, name, name.encode())
    wrong: list[object] = []

    def read(start: int) -> None:
        try:
            for step in range(3_000):
                name = names[(start + 7 * step) % len(names)]
                found = disk.read(name, 0, 10)
                if found != name.encode():
                    wrong.append((name, found))
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for name in names * 3:
        put(disk, "new", name.encode())
        disk.replace("new", name)
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root is an ordinary owner in the contract's tests already")
def test_an_owner_without_the_rights_of_root_may_write_a_readonly_file():
    nobody = 65534
    root = Path(tempfile.mkdtemp())
    os.chown(root, nobody, nobody)
    os.seteuid(nobody)
    try:
        disk = PosixDisk(root)
        put(disk, "a", b"abc")
        disk.make_readonly("a")
        with pytest.raises(PermissionError):
            os.open(root / "a", os.O_WRONLY)
        disk.write("a", 0, b"X")
        disk.sync("a")
        assert content(disk, "a") == b"Xbc"
        assert stat.S_IMODE((root / "a").stat().st_mode) == 0o444
        disk.close()
    finally:
        os.seteuid(0)
        shutil.rmtree(root)
