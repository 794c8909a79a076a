"""The contract of the disk, held by the real one and by the simulated one alike.

What only the real one does is in `test_posix.py`, what the other one does when the power fails in `test_powerloss.py`.
"""

import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.disk import Disk
from eventlog.memory import MemoryDisk
from eventlog.posix import PosixDisk


@pytest.fixture(params=["posix", "memory"])
def disk(request, tmp_path):
    disk = PosixDisk(tmp_path) if request.param == "posix" else MemoryDisk()
    yield disk
    disk.close()


def put(disk: Disk, path: str, data: bytes) -> None:
    disk.create(path)
    disk.write(path, 0, data)


def content(disk: Disk, path: str) -> bytes | None:
    size = disk.size(path)
    return None if size is None else disk.read(path, 0, size)


def test_what_was_written_reads_back_before_and_after_a_sync(disk):
    put(disk, "a", b"hello")
    assert content(disk, "a") == b"hello"
    disk.sync("a")
    disk.sync_folder("")
    assert content(disk, "a") == b"hello"


def test_a_write_beyond_the_end_reads_back_as_nuls_before_it(disk):
    put(disk, "a", b"x")
    disk.write("a", 4, b"y")
    assert content(disk, "a") == b"x\0\0\0y"


def test_a_write_in_the_middle_leaves_what_is_around_it(disk):
    put(disk, "a", b"abcdef")
    disk.write("a", 2, b"XY")
    assert content(disk, "a") == b"abXYef"


def test_a_write_of_nothing_beyond_the_end_leaves_the_size(disk):
    put(disk, "a", b"x")
    disk.write("a", 9, b"")
    assert disk.size("a") == 1


def test_a_read_is_short_only_at_the_end_of_the_file(disk):
    put(disk, "a", b"abcdef")
    assert disk.read("a", 1, 3) == b"bcd"
    assert disk.read("a", 4, 100) == b"ef"
    assert disk.read("a", 6, 1) == b""
    assert disk.read("a", 100, 1) == b""
    assert disk.read("a", 0, 0) == b""


def test_a_truncate_cuts_or_fills_up_with_nuls(disk):
    put(disk, "a", b"abcdef")
    disk.truncate("a", 2)
    assert content(disk, "a") == b"ab"
    disk.truncate("a", 4)
    assert content(disk, "a") == b"ab\0\0"


def test_folders_are_made_with_their_parents_and_twice_is_no_error(disk):
    disk.make_folder("log/segments")
    disk.make_folder("log/segments")
    disk.make_folder("log")
    put(disk, "log/b", b"")
    put(disk, "log/B", b"")
    assert disk.names("") == ["log"]
    assert disk.names("log") == ["B", "b", "segments"]
    assert disk.names("log/segments") == []


def test_a_missing_folder_has_no_names_and_a_missing_file_no_size(disk):
    assert disk.names("nowhere/at/all") == []
    assert disk.size("nowhere/at/all") is None


@pytest.mark.parametrize(
    "verb",
    [
        lambda disk: disk.read("gone", 0, 1),
        lambda disk: disk.create("gone/a"),
        lambda disk: disk.write("gone", 0, b"x"),
        lambda disk: disk.write("gone", 0, b""),
        lambda disk: disk.sync("gone"),
        lambda disk: disk.truncate("gone", 0),
        lambda disk: disk.make_readonly("gone"),
        lambda disk: disk.replace("gone", "a"),
        lambda disk: disk.remove("gone"),
        lambda disk: disk.sync_folder("gone"),
    ],
)
def test_a_verb_on_what_is_not_there_says_so_and_makes_nothing(disk, verb):
    put(disk, "a", b"kept")
    with pytest.raises(FileNotFoundError):
        verb(disk)
    assert disk.names("") == ["a"]
    assert content(disk, "a") == b"kept"


@pytest.mark.parametrize(
    ("verb", "error"),
    [
        (lambda disk: disk.create("a"), FileExistsError),
        (lambda disk: disk.create("folder"), FileExistsError),
        (lambda disk: disk.make_folder("a"), FileExistsError),
        (lambda disk: disk.make_folder("a/b"), FileExistsError),
        (lambda disk: disk.names("a"), NotADirectoryError),
        (lambda disk: disk.size("a/b"), NotADirectoryError),
        (lambda disk: disk.sync_folder("a"), NotADirectoryError),
        (lambda disk: disk.size("folder"), IsADirectoryError),
        (lambda disk: disk.read("folder", 0, 1), IsADirectoryError),
        (lambda disk: disk.write("folder", 0, b"x"), IsADirectoryError),
        (lambda disk: disk.remove("folder"), IsADirectoryError),
        (lambda disk: disk.replace("a", "folder"), IsADirectoryError),
        (lambda disk: disk.read("a", -1, 1), OSError),
        (lambda disk: disk.write("a", -1, b"x"), OSError),
        (lambda disk: disk.truncate("a", -1), OSError),
    ],
)
def test_a_verb_refuses_what_it_is_not_for(disk, verb, error):
    put(disk, "a", b"kept")
    disk.make_folder("folder")
    with pytest.raises(error):
        verb(disk)
    assert content(disk, "a") == b"kept"


def test_a_replace_gives_the_target_the_source_even_where_both_were_read_and_written_before(disk):
    put(disk, "new", b"new")
    put(disk, "old", b"older")
    assert (content(disk, "new"), content(disk, "old")) == (b"new", b"older")
    disk.replace("new", "old")
    assert disk.names("") == ["old"]
    assert content(disk, "old") == b"new"
    with pytest.raises(FileNotFoundError):
        disk.read("new", 0, 1)
    with pytest.raises(FileNotFoundError):
        disk.write("new", 0, b"x")
    disk.write("old", 0, b"N")
    assert content(disk, "old") == b"New"


def test_a_replace_of_a_file_by_itself_leaves_it(disk):
    put(disk, "a", b"same")
    disk.replace("a", "a")
    assert content(disk, "a") == b"same"


def test_a_removed_file_is_neither_read_nor_written_and_its_name_can_be_made_anew(disk):
    put(disk, "a", b"old")
    assert content(disk, "a") == b"old"
    disk.remove("a")
    assert disk.names("") == []
    with pytest.raises(FileNotFoundError):
        disk.read("a", 0, 1)
    with pytest.raises(FileNotFoundError):
        disk.sync("a")
    put(disk, "a", b"n")
    assert content(disk, "a") == b"n"


def test_a_readonly_file_has_mode_0444_and_its_owner_may_still_change_it(disk, tmp_path):
    put(disk, "a", b"abc")
    disk.make_readonly("a")
    disk.write("a", 1, b"X")
    disk.sync("a")
    disk.truncate("a", 2)
    assert content(disk, "a") == b"aX"
    mode = disk.mode("a") if isinstance(disk, MemoryDisk) else stat.S_IMODE((tmp_path / "a").stat().st_mode)
    assert mode == 0o444
    disk.remove("a")
    assert disk.names("") == []


def test_a_closed_disk_opens_again_what_it_needs(disk):
    put(disk, "a", b"abc")
    assert content(disk, "a") == b"abc"
    disk.close()
    disk.write("a", 3, b"d")
    assert content(disk, "a") == b"abcd"


FILES = st.sampled_from(["a", "b", "folder/a", "gone/a"])
PATHS = FILES | st.just("folder")
NUMBERS = st.integers(0, 8)
STEPS = st.one_of(
    st.tuples(st.just("write"), PATHS, NUMBERS, st.binary(max_size=6)),
    st.tuples(st.just("read"), PATHS, NUMBERS, NUMBERS),
    st.tuples(st.just("truncate"), PATHS, NUMBERS),
    st.tuples(st.just("replace"), FILES, FILES),
    st.tuples(st.just("make_readonly"), FILES),
    st.tuples(st.just("make_folder"), st.sampled_from(["folder", "other/folder"])),
    st.tuples(st.sampled_from(["create", "size", "names", "sync", "remove"]), PATHS),
)


def outcome(disk: Disk, step: tuple) -> object:
    try:
        return getattr(disk, step[0])(*step[1:])
    except OSError as error:
        return type(error), error.errno


@given(st.lists(STEPS, max_size=25))
def test_both_disks_answer_any_series_of_verbs_alike(steps):
    with tempfile.TemporaryDirectory() as root:
        real, simulated = PosixDisk(Path(root)), MemoryDisk()
        for step in [("make_folder", "folder"), ("create", "a"), ("create", "folder/a"), *steps]:
            assert outcome(real, step) == outcome(simulated, step), step
        real.close()
