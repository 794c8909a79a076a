"""The simulated disk: what a power loss may leave of it, and how it is made to fail."""

import errno

import pytest

from eventlog.memory import MemoryDisk


@pytest.fixture
def disk():
    return MemoryDisk()


def put(disk: MemoryDisk, path: str, data: bytes) -> None:
    """Make a file that is durable, and its name."""
    disk.create(path)
    disk.write(path, 0, data)
    disk.sync(path)
    disk.sync_folder(path.rpartition("/")[0])


def content(disk: MemoryDisk, path: str) -> bytes | None:
    size = disk.size(path)
    return None if size is None else disk.read(path, 0, size)


def left_of(disk: MemoryDisk, *paths: str, limit: int | None = None) -> set:
    """What *paths* may hold after a power loss; None for a file that is not there."""
    found = {tuple(content(state, path) for path in paths) for state in disk.crash_states(limit)}
    return {contents[0] for contents in found} if len(paths) == 1 else found


# Bytes


def test_a_synced_write_is_never_lost(disk):
    put(disk, "a", b"kept")
    disk.close()
    assert left_of(disk, "a") == {b"kept"}


def test_an_unsynced_write_may_be_lost_kept_or_torn_or_read_as_nuls(disk):
    put(disk, "a", b"")
    disk.write("a", 0, b"abcd")
    assert left_of(disk, "a") == {
        *(b"", b"a", b"ab", b"abc", b"abcd"),
        *(b"\0\0\0\0", b"a\0\0\0", b"ab\0\0", b"abc\0"),
        *(b"\0bcd", b"\0\0cd", b"\0\0\0d"),
    }


def test_a_write_in_place_may_be_torn_between_old_and_new_but_never_leaves_nuls(disk):
    put(disk, "a", b"abcd")
    disk.write("a", 0, b"ABCD")
    assert left_of(disk, "a") == {b"abcd", b"Abcd", b"ABcd", b"ABCd", b"ABCD", b"aBCD", b"abCD", b"abcD"}


def test_a_write_may_be_torn_at_every_sector_of_the_file(disk):
    put(disk, "a", b"")
    disk.write("a", 500, b"x" * 1600)
    assert {0, 501, 512, 1024, 1300, 1536, 2048, 2099, 2100} <= {len(found) for found in left_of(disk, "a")}


def test_of_two_unsynced_writes_the_later_may_survive_alone_behind_nuls(disk):
    put(disk, "a", b"")
    disk.write("a", 0, b"1")
    disk.write("a", 1, b"2")
    assert left_of(disk, "a") == {b"", b"1", b"12", b"\0", b"\0\0", b"\x002", b"1\0"}


def test_an_unsynced_truncate_may_or_may_not_have_happened(disk):
    put(disk, "a", b"abcd")
    disk.truncate("a", 1)
    assert left_of(disk, "a") == {b"a", b"abcd"}
    disk.sync("a")
    assert left_of(disk, "a") == {b"a"}


def test_a_sync_of_one_file_says_nothing_of_another(disk):
    put(disk, "a", b"")
    put(disk, "b", b"")
    disk.write("a", 0, b"1")
    disk.write("b", 0, b"2")
    disk.sync("a")
    assert left_of(disk, "a", "b") == {(b"1", b""), (b"1", b"2"), (b"1", b"\0")}


# Names


def test_a_created_file_whose_folder_was_not_synced_may_be_gone_though_its_bytes_were(disk):
    disk.create("a")
    disk.write("a", 0, b"x")
    disk.sync("a")
    assert left_of(disk, "a") == {None, b"x"}
    disk.sync_folder("")
    assert left_of(disk, "a") == {b"x"}


def test_a_made_folder_is_there_but_may_be_gone_until_its_parent_is_synced(disk):
    seen = []
    disk.on_operation = lambda what: seen.append((what, {tuple(state.names("")) for state in disk.crash_states()}))
    disk.make_folder("log")
    assert seen == [("make_folder log", {(), ("log",)}), ("make_folder log", {("log",)})]


def test_a_replace_is_old_or_new_never_a_mix(disk):
    put(disk, "a", b"old")
    put(disk, "a.tmp", b"new")
    disk.replace("a.tmp", "a")
    assert left_of(disk, "a", "a.tmp") == {(b"old", b"new"), (b"new", None)}
    disk.sync_folder("")
    assert left_of(disk, "a", "a.tmp") == {(b"new", None)}


def test_a_replace_by_a_file_that_was_not_synced_may_leave_an_empty_target(disk):
    put(disk, "a", b"old")
    disk.create("a.tmp")
    disk.write("a.tmp", 0, b"new")
    disk.replace("a.tmp", "a")
    assert {b"old", b"new", b"", b"ne"} <= left_of(disk, "a")


def test_a_replace_between_folders_is_one_change_until_one_of_them_is_synced(disk):
    disk.make_folder("x")
    disk.make_folder("y")
    put(disk, "x/a", b"1")
    disk.replace("x/a", "y/a")
    assert left_of(disk, "x/a", "y/a") == {(b"1", None), (None, b"1")}
    disk.sync_folder("y")
    assert left_of(disk, "x/a", "y/a") == {(b"1", b"1"), (None, b"1")}


def test_a_removed_file_may_come_back_until_its_folder_is_synced(disk):
    put(disk, "a", b"x")
    disk.remove("a")
    assert left_of(disk, "a") == {None, b"x"}
    disk.sync_folder("")
    assert left_of(disk, "a") == {None}


# The states themselves


def test_a_state_is_a_disk_of_its_own_all_durable_and_can_lose_power_again(disk):
    put(disk, "a", b"abc")
    disk.make_readonly("a")
    (state,) = disk.crash_states()
    assert state.mode("a") == 0o444
    state.write("a", 0, b"X")
    assert content(disk, "a") == b"abc"
    assert left_of(state, "a") == {b"abc", b"Xbc"}


def test_too_many_states_are_sampled_the_same_in_every_run_with_both_extremes(disk):
    put(disk, "a", b"")
    for number in range(20):
        disk.write("a", 1000 * number, b"x" * 1000)
    states = [content(state, "a") for state in disk.crash_states(100)]
    assert len(states) == 100
    assert states[:2] == [b"", b"x" * 20_000]
    assert states == [content(state, "a") for state in disk.crash_states(100)]
    assert b"\0" * 1000 + b"x" * 19_000 in states
    assert b"x" * 1000 in states


def test_only_as_many_states_are_left_out_as_the_limit_asks(disk):
    put(disk, "a", b"")
    disk.write("a", 0, b"x" * 60_000)
    every = len(list(disk.crash_states(None)))
    assert len({content(state, "a") for state in disk.crash_states(every - 1)}) == every - 1


def test_a_workload_can_be_cut_after_each_of_its_operations(disk):
    lost = []
    disk.on_operation = lambda what: lost.append((what, None in left_of(disk, "a")))
    put(disk, "a", b"1")
    assert lost == [("create a", True), ("write a", True), ("sync a", True), ("sync_folder ", False)]
    assert disk.operations == [what for what, _ in lost]


# Faults


def test_a_verb_fails_after_so_many_calls_and_so_many_times(disk):
    put(disk, "a", b"")
    disk.fail("write", errno.ENOSPC, after=1, times=2)
    disk.write("a", 0, b"1")
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            disk.write("a", 1, b"2")
        assert caught.value.errno == errno.ENOSPC
    disk.write("a", 1, b"3")
    assert content(disk, "a") == b"13"


def test_a_failed_write_has_written_its_first_bytes(disk):
    put(disk, "a", b"")
    disk.fail("write", errno.EIO, partial=2)
    with pytest.raises(OSError):
        disk.write("a", 0, b"abcd")
    assert content(disk, "a") == b"ab"
    assert {b"", b"ab"} <= left_of(disk, "a")


def test_a_fault_without_end_lasts_until_the_disk_is_healed_and_spares_other_paths(disk):
    disk.make_folder("log")
    disk.fail("create", errno.EACCES, times=None, under="log/")
    disk.create("b")
    for _ in range(3):
        with pytest.raises(PermissionError):
            disk.create("log/a")
    disk.heal()
    disk.create("log/a")


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("make_folder", ["b"]),
        ("names", [""]),
        ("size", ["a"]),
        ("read", ["a", 0, 1]),
        ("create", ["b"]),
        ("truncate", ["a", 0]),
        ("make_readonly", ["a"]),
        ("replace", ["a", "b"]),
        ("remove", ["a"]),
        ("sync_folder", [""]),
    ],
)
def test_a_verb_that_fails_changes_nothing(disk, verb, arguments):
    put(disk, "a", b"abcd")
    before = list(disk.operations)
    disk.fail(verb, errno.EIO)
    with pytest.raises(OSError):
        getattr(disk, verb)(*arguments)
    assert disk.operations == before
    assert (disk.names(""), content(disk, "a"), disk.mode("a")) == (["a"], b"abcd", 0o644)


def test_after_a_failed_sync_a_later_one_succeeds_and_yet_the_bytes_may_be_lost(disk):
    put(disk, "a", b"")
    disk.write("a", 0, b"1")
    disk.fail("sync", errno.EIO)
    with pytest.raises(OSError):
        disk.sync("a")
    disk.write("a", 1, b"2")
    disk.sync("a")
    assert content(disk, "a") == b"12"
    assert left_of(disk, "a") == {b"\x002", b"12"}


def test_what_a_failed_sync_left_in_doubt_is_durable_once_it_is_written_and_synced_again(disk):
    put(disk, "a", b"")
    disk.write("a", 0, b"1")
    disk.fail("sync", errno.EIO)
    with pytest.raises(OSError):
        disk.sync("a")
    disk.write("a", 0, b"1")
    disk.sync("a")
    assert left_of(disk, "a") == {b"1"}


def test_a_verb_that_the_disk_does_not_have_cannot_be_made_to_fail(disk):
    with pytest.raises(AssertionError, match="no verb 'wirte'"):
        disk.fail("wirte", errno.EIO)
