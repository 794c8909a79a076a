"""The tree over a log: opened from its tiles or without them, proving, and never believing a wrong tile."""

import errno
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256

import pytest

from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.memory import MemoryDisk
from eventlog.merkle import EMPTY_ROOT, Frontier, leaf_hash, verify_consistency, verify_inclusion
from eventlog.posix import PosixDisk
from eventlog.tiles import ENTRIES, Tile, bundle_bytes, full_tiles, nodes_in
from eventlog.tree import FOLDER, UNSAVED_TILES_MAX, Tree, TreeDamaged

COUNT = 66_000  # a full tile of level 1, partial ones of the levels 0 to 2
EVENTS = [sha256(b"%d" % i).digest() for i in range(COUNT)]
WHOLE = Frontier().grown([leaf_hash(event) for event in EVENTS])[1]


@cache
def root(size: int) -> bytes:
    return Frontier().grown(WHOLE[0][:size])[0].root


ROOT = root(COUNT)


class Events:
    """The hashes that the log has, and how many of them were asked for."""

    def __init__(self) -> None:
        self.hashes = list(EVENTS)
        self.asked = 0

    def __call__(self, first: int, end: int) -> list[bytes]:
        self.asked += end - first
        return self.hashes[first:end]


@pytest.fixture
def events():
    return Events()


@pytest.fixture(params=["posix", "memory"])
def disk(request, tmp_path):
    disk = PosixDisk(tmp_path) if request.param == "posix" else MemoryDisk()
    yield disk
    disk.close()


@pytest.fixture
def stored(disk, events) -> Disk:
    """A disk with all the tiles of COUNT events."""
    tree = grown(disk, events)
    tree.save()
    assert tree.unsaved == 0
    assert [*tree.missing()] == []
    return disk


def grown(disk: Disk, events: Events, size: int = COUNT, step: int = 4096) -> Tree:
    tree = Tree(disk, events)
    for first in range(0, size, step):
        tree.append(EVENTS[first : min(first + step, size)])
    return tree


def reopened(disk: Disk, events: Events, size: int = COUNT) -> Tree:
    events.asked = 0
    return Tree.open(disk, size, events, size, root(size))


def path(tile: Tile) -> str:
    return f"{FOLDER}/{tile.path.removeprefix('tile/')}"


def overwrite(disk: Disk, tile: Tile, offset: int = 40) -> None:
    byte = disk.read(path(tile), offset, 1)
    disk.write(path(tile), offset, bytes([byte[0] ^ 1]))


def expected(tile: Tile) -> bytes:
    first, end = tile.number * 256, tile.number * 256 + tile.width
    return bundle_bytes(EVENTS[first:end]) if tile.level == ENTRIES else b"".join(WHOLE[8 * tile.level][first:end])


def assert_proves(tree: Tree, seq: int, size: int) -> None:
    verify_inclusion(WHOLE[0][seq], seq, size, tree.inclusion_proof(seq, size), root(size))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, COUNT])
def test_a_reopened_tree_is_the_one_that_was_saved_and_grows_on_as_if_never_closed(disk, events, size):
    grown(disk, events, size).save()
    tree = reopened(disk, events, size)
    assert events.asked == size % 256
    assert (tree.size, tree.root()) == (size, root(size))
    tree.append(EVENTS[size : size + 300])
    assert tree.root() == root(min(size + 300, COUNT))
    assert tree._edge == grown(disk, events, min(size + 300, COUNT))._edge


def test_opening_costs_the_right_edge_and_not_the_log(stored, events):
    reopened(stored, events)
    assert events.asked < 256


def test_the_tiles_on_disk_are_those_of_the_standard_and_no_others(stored, tmp_path):
    if isinstance(stored, PosixDisk):
        there = {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
        assert there == {path(tile) for tile in full_tiles(0, COUNT)}
    assert stored.names(f"{FOLDER}/1") == ["000"]
    for tile in full_tiles(0, COUNT):
        assert stored.read(path(tile), 0, 1 << 20) == expected(tile)


def test_every_tile_full_or_partial_is_served_for_every_size_that_was(stored, events):
    tree = reopened(stored, events)
    for size in (1, 70, 256, 300, 65_536, 65_700, COUNT):
        for level in (ENTRIES, 0, 1, 2):
            count = nodes_in(level, size)
            for tile in (Tile(level, count // 256, count % 256), Tile(level, count // 256 - 1)):
                if tile.width and tile.number >= 0:
                    assert tree.tile(tile) == expected(tile)


def test_a_tile_that_the_tree_does_not_have_yet_is_none(stored, events):
    tree = reopened(stored, events)
    for tile in (Tile(0, 258), Tile(ENTRIES, 257, 209), Tile(1, 1, 2), Tile(2, 0, 2), Tile(3, 0, 1), Tile(63, 0, 1)):
        assert tree.tile(tile) is None


@pytest.mark.parametrize("size", [1, 200, 256, 4097, 65_536, COUNT])
def test_proofs_of_every_size_verify(stored, events, size):
    tree = reopened(stored, events)
    assert tree.root(size) == root(size)
    for seq in {0, size // 3, size // 2, max(0, size - 257), size - 1}:
        assert_proves(tree, seq, size)
    for old in {0, 1, size // 3, size // 2, size}:
        verify_consistency(old, root(old), size, root(size), tree.consistency_proof(old, size))


def test_without_any_tile_the_tree_opens_from_the_log_and_the_tiles_come_back_the_same(disk, events):
    tree = reopened(disk, events)
    assert tree.root() == ROOT
    assert events.asked == COUNT
    assert_proves(tree, 5, COUNT)
    lost = [*tree.missing()]
    assert {*lost} | {Tile(0, 0), Tile(1, 0)} == {*full_tiles(0, COUNT)}  # those two were made for the proof
    for tile in lost:
        tree.restore(tile)
    tree.save()
    assert [*tree.missing()] == []
    for tile in full_tiles(0, COUNT):
        assert disk.read(path(tile), 0, 1 << 20) == expected(tile)


def test_a_few_deleted_tiles_are_named_and_come_back_the_same(stored, events):
    gone = [Tile(0, 7), Tile(1, 0), Tile(ENTRIES, 200)]
    for tile in gone:
        stored.remove(path(tile))
    tree = reopened(stored, events)
    assert {*tree.missing()} == {*gone}
    for tile in gone:
        assert tree.tile(tile) == expected(tile)
        tree.restore(tile)
    tree.save()
    assert all(stored.read(path(tile), 0, 1 << 20) == expected(tile) for tile in gone)


@pytest.mark.parametrize("tile", [Tile(0, 7), Tile(0, 256), Tile(1, 0), Tile(ENTRIES, 7)], ids=lambda tile: tile.path)
@pytest.mark.parametrize("damage", ["altered", "cut", "longer"])
def test_a_wrong_tile_is_never_believed_and_is_put_right(stored, events, tile, damage):
    if damage == "altered":
        overwrite(stored, tile)
    elif damage == "cut":
        stored.truncate(path(tile), 8000)
    else:
        stored.write(path(tile), stored.size(path(tile)), b"more")
    tree = reopened(stored, events)
    for seq in (7 * 256 + 1, 256 * 256, COUNT - 1):
        assert_proves(tree, seq, COUNT)
    assert tree.tile(tile) == expected(tile)
    for lost in tree.missing():
        tree.restore(lost)
    tree.save()
    assert stored.read(path(tile), 0, 1 << 20) == expected(tile)


def test_wrong_tiles_above_wrong_tiles_are_made_from_the_log(stored, events):
    for tile in (Tile(1, 0), Tile(0, 3), Tile(0, 9)):
        overwrite(stored, tile)
    tree = reopened(stored, events)
    for seq in (3 * 256, 9 * 256 + 255, 0):
        assert_proves(tree, seq, COUNT)


def test_events_that_do_not_lead_to_the_signed_root_do_not_open(stored, events):
    with pytest.raises(LogDamaged, match="root of the checkpoint of size 66000"):
        Tree.open(stored, COUNT, events, COUNT, root(COUNT - 1))
    events.hashes[-1] = bytes(32)
    with pytest.raises(LogDamaged):
        reopened(stored, events)
    if isinstance(stored, MemoryDisk):
        stored.operations.clear()
        with pytest.raises(LogDamaged):
            reopened(stored, events)
        assert stored.operations == []


def test_fewer_events_than_were_signed_do_not_open(stored, events):
    with pytest.raises(LogDamaged, match="holds 65999 events, and 66000 were signed"):
        Tree.open(stored, COUNT - 1, events, COUNT, ROOT)


def test_an_event_whose_hash_cannot_be_read_keeps_the_log_shut(stored):
    def corrupt(first: int, end: int) -> list[bytes]:
        raise LogCorrupt(first, "2026-01-05.0000.jsonl", 99)

    with pytest.raises(LogDamaged) as refused:
        Tree.open(stored, COUNT, corrupt, COUNT, ROOT)
    assert (refused.value.segment, refused.value.offset, refused.value.seq) == ("2026-01-05.0000.jsonl", 99, 65_792)


def test_events_beyond_the_checkpoint_are_taken_as_the_log_has_them(stored, events):
    tree = Tree.open(stored, COUNT, events, 60_000, root(60_000))
    assert tree.root() == ROOT
    assert Tree.open(MemoryDisk(), 0, events, 0, EMPTY_ROOT).root() == EMPTY_ROOT


def test_tiles_of_events_that_are_no_longer_in_the_log_are_not_believed(disk, events):
    former = grown(disk, events, 1000)
    former.append([sha256(b"lost %d" % i).digest() for i in range(1000)])
    former.save()
    tree = Tree.open(disk, 1100, events, 1000, root(1000))  # the log was restored from a backup of 1000, and went on
    assert tree.root() == root(1100)
    assert_proves(tree, 1001, 1100)
    for tile in tree.missing():
        tree.restore(tile)
    tree.save()
    tree.append(EVENTS[1100:2000])
    tree.save()
    assert [*tree.missing()] == []
    for tile in full_tiles(0, 2000):
        assert disk.read(path(tile), 0, 1 << 20) == expected(tile)


def test_wrong_tiles_and_tiles_of_former_events_together_are_not_believed_either(stored, events):
    overwrite(stored, Tile(0, 5))
    overwrite(stored, Tile(0, 255))
    overwrite(stored, Tile(1, 0))
    tree = Tree.open(stored, COUNT, events, 65_000, root(65_000))
    assert tree.root() == ROOT
    assert_proves(tree, 5 * 256, COUNT)


def test_where_tile_and_event_are_both_wrong_no_proof_is_given_and_others_are(stored, events):
    overwrite(stored, Tile(0, 7))
    overwrite(stored, Tile(ENTRIES, 8))
    events.hashes[7 * 256] = events.hashes[8 * 256] = bytes(32)
    tree = reopened(stored, events)
    with pytest.raises(TreeDamaged) as refused:
        tree.inclusion_proof(7 * 256 + 9, COUNT)
    assert refused.value.code == "TREE_DAMAGED"
    assert "tile/0/007" in refused.value.message
    with pytest.raises(TreeDamaged, match="tile/entries/008"):
        tree.tile(Tile(ENTRIES, 8))
    assert_proves(tree, 9 * 256, COUNT)


def test_a_tile_that_the_disk_cannot_read_is_made_from_the_log(events):
    disk = MemoryDisk()
    grown(disk, events, 600).save()
    tree = reopened(disk, events, 600)
    disk.fail("read", errno.EIO, times=None, under=path(Tile(0, 0)))
    assert_proves(tree, 5, 600)
    assert tree.unsaved == 1


def test_tiles_are_saved_by_another_thread_while_the_tree_grows_and_proves(disk, events):
    tree = Tree(disk, events)
    with ThreadPoolExecutor(1) as thread:
        for first in range(0, 30_000, 1000):
            tree.append(EVENTS[first : first + 1000])
            saved = thread.submit(tree.save)
            assert_proves(tree, first, tree.size)
            saved.result()
        assert [*thread.submit(lambda: [*tree.missing()]).result()] == []
    assert tree.unsaved == 0


def test_tiles_that_could_not_be_written_wait_and_are_written_later(events):
    disk = MemoryDisk()
    tree = grown(disk, events, 600)
    waiting = tree.unsaved
    disk.fail("write", errno.ENOSPC, times=1)
    with pytest.raises(OSError, match="No space"):
        tree.save()
    assert tree.unsaved == waiting == 4
    assert_proves(tree, 5, 600)
    tree.save()
    assert tree.unsaved == 0
    assert [*tree.missing()] == []


def test_more_tiles_than_may_wait_are_left_out_and_named_as_missing(monkeypatch, disk, events):
    monkeypatch.setattr("eventlog.tree.UNSAVED_TILES_MAX", 3)
    tree = Tree(disk, events)
    tree.incomplete = False
    tree.append(EVENTS[:1024])
    assert (tree.unsaved, tree.incomplete) == (3, True)
    assert_proves(tree, 700, 1024)
    tree.save()
    for tile in tree.missing():
        tree.restore(tile)
        tree.save()
    assert [*tree.missing()] == []
    assert UNSAVED_TILES_MAX > 3


def test_a_tile_is_on_disk_whole_or_not_at_all_whenever_the_power_fails(events):
    disk = MemoryDisk()
    wrong: list[str] = []

    def look(operation: str) -> None:
        for state in disk.crash_states():
            for tile in full_tiles(0, 600):
                size = state.size(path(tile))
                if size is not None and state.read(path(tile), 0, size) != expected(tile):
                    wrong.append(f"{tile.path} after {operation}")

    disk.on_operation = look
    tree = grown(disk, events, 600)
    tree.save()
    assert wrong == []
    disk.on_operation = None
    for state in disk.crash_states():
        assert all(state.size(path(tile)) for tile in full_tiles(0, 600))
        assert [*reopened(state, events, 600).missing()] == []


def test_a_draft_that_a_crash_left_is_no_hindrance(events):
    disk = MemoryDisk()
    disk.make_folder(f"{FOLDER}/0")
    disk.create(path(Tile(0, 0)) + ".tmp")
    disk.write(path(Tile(0, 0)) + ".tmp", 0, b"x" * 9000)
    grown(disk, events, 300).save()
    assert disk.read(path(Tile(0, 0)), 0, 9000) == expected(Tile(0, 0))


def test_many_tiles_are_read_and_few_are_kept_in_memory(stored, events):
    tree = reopened(stored, events)
    for seq in range(0, COUNT, 256):
        assert_proves(tree, seq, COUNT)
    assert len(tree._pyramids) <= 64
