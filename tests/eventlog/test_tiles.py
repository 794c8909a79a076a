"""Tiles and entry bundles: their spelling, their bytes, and which become full when."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.merkle import Frontier, leaf_hash, root_of
from eventlog.tiles import (
    ENTRIES,
    TILE_BYTES,
    Edge,
    Tile,
    bundle_bytes,
    entries_of,
    full_tiles,
    hashes_of,
    levels_in,
    nodes_in,
    pyramid,
)

COUNT = 1000
ENTRY = [sha256(b"%d" % i).digest() for i in range(COUNT)]
LEAVES = [leaf_hash(entry) for entry in ENTRY]

numbers = st.integers(0, 999) | st.integers(0, 10**18 - 1)
levels = st.integers(0, 63) | st.just(ENTRIES)


@cache
def node(level: int, index: int) -> bytes:
    return Frontier().grown(LEAVES[index << level : (index + 1) << level])[0].root


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(63, 999), "tile/63/999"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(2, 1234067), "tile/2/x001/x234/067"),
        (Tile(0, 1234067, 5), "tile/0/x001/x234/067.p/5"),
        (Tile(ENTRIES, 3, 255), "tile/entries/003.p/255"),
        (Tile(ENTRIES, 3), "tile/entries/003"),
    ],
)
def test_a_path_is_spelt_as_the_standard_says(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(levels, numbers, st.integers(1, 256))
def test_every_tile_comes_back_from_its_path(level, number, width):
    tile = Tile(level, number, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000", "tile/0/x000/001", "tile/0/001/002"),
        *("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/05", "tile/0/000.p/", "tile/0/000.p"),
        *("tile/00/000", "tile/64/000", "tile/-1/000", "tile/entry/000", "tile//000", "/tile/0/000", "tile/0/000\n"),
        *("tile/0/\u0660\u0660\u0660", "tile/0/../000", "tile/0/000.p/1/x", "tile/0/" + "x001/" * 2000 + "000"),
    ],
)
def test_no_second_spelling_of_a_tile_is_taken(path):
    assert Tile.parse(path) is None


def test_the_tiles_of_seventy_thousand_entries_are_those_that_the_standard_counts():
    assert len([*full_tiles(0, 70_000)]) == 273 + 273 + 1
    assert levels_in(70_000) == [0, 1, 2]
    assert [nodes_in(level, 70_000) % 256 for level in (ENTRIES, 0, 1, 2)] == [112, 112, 17, 1]


@pytest.mark.parametrize(("size", "levels"), [(0, []), (1, [0]), (255, [0]), (256, [0, 1]), (65535, [0, 1])])
def test_a_level_is_there_once_it_has_a_hash(size, levels):
    assert levels_in(size) == levels
    assert all(nodes_in(level, size) for level in levels)
    assert not nodes_in(len(levels), size)


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_what_becomes_full_in_two_steps_is_what_becomes_full_in_one(a, b, c):
    old, middle, size = sorted((a, b, c))
    assert {*full_tiles(old, middle), *full_tiles(middle, size)} == {*full_tiles(old, size)}
    assert not {*full_tiles(old, middle)} & {*full_tiles(middle, size)}


@given(levels, st.integers(0, 30), st.integers(1, 256), st.integers(0, 3000))
def test_a_tile_is_in_a_tree_that_has_its_last_hash(level, number, width, size):
    tile = Tile(level, number, width)
    last = number * 256 + width  # the first so many nodes of the level
    assert tile.is_in(size) == (last <= (size if level == ENTRIES else size // 256**level))


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=8))
def test_however_a_tree_grows_its_tiles_hold_the_nodes_of_their_level(steps):
    edge, full = Edge(), dict[Tile, bytes]()
    for step in steps:
        entries = ENTRY[edge.size : edge.size + step]
        old = edge.size
        edge, new = edge.grown(entries)
        assert {*new} == {*full_tiles(old, edge.size)}
        full |= new
    size = edge.size
    assert edge.frontier.root == root_of(size, node)
    assert len(edge.partial) == len(levels_in(size))
    for level, partial in enumerate(edge.partial):
        hashes = b"".join(full[Tile(level, n)] for n in range(nodes_in(level, size) // 256)) + partial
        assert hashes_of(hashes) == [node(8 * level, index) for index in range(nodes_in(level, size))]
    assert len(edge.entries) == size % 256 * 32
    bundles = b"".join(full[Tile(ENTRIES, n)] for n in range(size // 256)) + bundle_bytes(hashes_of(edge.entries))
    assert bundles == b"".join(b"\0\x20" + entry for entry in ENTRY[:size])


def test_a_full_tile_has_as_many_bytes_as_the_standard_says():
    _, full = Edge().grown(ENTRY[:256])
    assert len(full[Tile(0, 0)]) == TILE_BYTES == 8192
    assert len(full[Tile(ENTRIES, 0)]) == 256 * 34


@settings(deadline=None)
@given(st.integers(1, 256))
def test_a_pyramid_holds_every_whole_node_over_its_hashes(width):
    levels = pyramid(LEAVES[:width])
    assert levels == [[node(level, i) for i in range(width >> level)] for level in range(width.bit_length())]


@given(st.integers(1, 256), st.integers(1, 33))
def test_a_bundle_gives_back_its_entries_and_one_that_is_cut_or_of_other_lengths_gives_none(count, cut):
    bundle = bundle_bytes(ENTRY[:count])
    assert entries_of(bundle) == ENTRY[:count]
    assert entries_of(bundle[:-cut]) == []
    assert entries_of(b"\0\x21" + bundle[2:]) == []
