"""The tree of RFC 6962: against its definition in ten lines, for all sizes to 300, and against published vectors."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofRefused,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    peak_nodes,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SIZES = range(301)
PUBLISHED = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
PUBLISHED_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
ENTRIES = [sha256(b"%d" % i).digest() for i in SIZES]
LEAVES = [sha256(b"\0" + entry).digest() for entry in ENTRIES]


@cache
def mth(first: int, end: int) -> bytes:
    """MTH(D[first:end]) as RFC 6962 defines it."""
    if end == first:
        return sha256(b"").digest()
    if end - first == 1:
        return LEAVES[first]
    k = 1
    while k * 2 < end - first:
        k *= 2
    return sha256(b"\1" + mth(first, first + k) + mth(first + k, end)).digest()


def path(m: int, first: int, end: int) -> list[bytes]:
    """PATH(m, D[first:end]) as RFC 6962 defines it, m counted from first."""
    if end - first == 1:
        return []
    k = 1
    while k * 2 < end - first:
        k *= 2
    if m < k:
        return [*path(m, first, first + k), mth(first + k, end)]
    return [*path(m - k, first + k, end), mth(first, first + k)]


def subproof(m: int, first: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[first:end], whole) as RFC 6962 defines it."""
    if m == end - first:
        return [] if whole else [mth(first, end)]
    k = 1
    while k * 2 < end - first:
        k *= 2
    if m <= k:
        return [*subproof(m, first, first + k, whole), mth(first + k, end)]
    return [*subproof(m - k, first + k, end, False), mth(first, first + k)]


def node(level: int, index: int) -> bytes:
    """A whole node; one that is not whole is never asked for."""
    assert (index + 1) << level <= len(LEAVES)
    return mth(index << level, (index + 1) << level)


def frontier(size: int) -> Frontier:
    return Frontier().grown(LEAVES[:size])[0]


@pytest.mark.parametrize("size", PUBLISHED_ROOTS)
def test_the_published_roots_come_out(size):
    grown, _ = Frontier().grown([leaf_hash(entry) for entry in PUBLISHED[:size]])
    assert grown.root.hex() == PUBLISHED_ROOTS[size]


def test_a_published_inclusion_proof_comes_out():
    whole = Frontier().grown([leaf_hash(entry) for entry in PUBLISHED])[1]
    proof = inclusion_proof(5, 8, lambda level, index: whole[level][index])
    assert [each.hex() for each in proof] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_a_node_is_the_hash_of_one_and_its_children():
    assert node_hash(b"l" * 32, b"r" * 32) == sha256(b"\1" + b"l" * 32 + b"r" * 32).digest()
    assert leaf_hash(ENTRIES[7]) == LEAVES[7]


@pytest.mark.parametrize("size", SIZES)
def test_the_root_of_every_size_is_the_defined_one(size):
    assert frontier(size).root == mth(0, size)
    assert root_of(size, node) == mth(0, size)
    assert frontier(size).peaks == tuple(node(level, index) for level, index in peak_nodes(size))


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12))
def test_leaves_added_in_batches_of_any_size_give_the_same_tree_and_tell_each_whole_node_once(batches):
    tree, told = Frontier(), dict[int, list[bytes]]()
    for count in batches:
        count = min(count, len(LEAVES) - tree.size)
        tree, whole = tree.grown(LEAVES[tree.size : tree.size + count])
        for level, nodes in enumerate(whole):
            told.setdefault(level, []).extend(nodes)
    assert tree == frontier(tree.size)
    assert told == {
        level: [node(level, index) for index in range(tree.size >> level)] for level in range(tree.size.bit_length())
    }


@pytest.mark.parametrize("size", SIZES)
def test_every_inclusion_proof_is_the_defined_one_and_verifies(size):
    for index in range(size):
        proof = inclusion_proof(index, size, node)
        assert proof == path(index, 0, size)
        verify_inclusion(LEAVES[index], index, size, proof, mth(0, size))


@pytest.mark.parametrize("size", SIZES)
def test_every_consistency_proof_is_the_defined_one_and_verifies(size):
    for old in range(size + 1):
        proof = consistency_proof(old, size, node)
        assert proof == (subproof(old, 0, size, True) if old else [])
        verify_consistency(old, mth(0, old), size, mth(0, size), proof)


sizes = st.integers(1, 300)
tree_and_leaf = sizes.flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))
two_trees = sizes.flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size)))
bit = st.integers(0, 255)


def altered(value: bytes, at: int) -> bytes:
    """One bit of a hash is another one."""
    return value[: at // 8] + bytes([value[at // 8] ^ 1 << at % 8]) + value[at // 8 + 1 :]


def misshapen(proof: list[bytes], bit: int) -> list[list[bytes]]:
    """Proofs like it that prove nothing: altered, shortened, lengthened, in another order."""
    wrong = [[*proof[:i], altered(proof[i], bit), *proof[i + 1 :]] for i in range(len(proof))]
    wrong += [[*proof[:i], *proof[i + 1 :]] for i in range(len(proof))]
    wrong += [[*proof[:i], LEAVES[0], *proof[i:]] for i in range(len(proof) + 1)]
    wrong += [[*proof[:i], proof[i + 1], proof[i], *proof[i + 2 :]] for i in range(len(proof) - 1)]
    wrong += [[*proof[:i], proof[i][:-1], *proof[i + 1 :]] for i in range(len(proof))]
    wrong += [[*proof[:i], proof[i] + b"\0", *proof[i + 1 :]] for i in range(len(proof))]
    return wrong


@settings(deadline=None)
@given(tree_and_leaf, bit)
def test_an_inclusion_proof_that_is_altered_shortened_lengthened_or_reordered_is_refused(tree, bit):
    size, index = tree
    for wrong in misshapen(path(index, 0, size), bit):
        with pytest.raises(ProofRefused):
            verify_inclusion(LEAVES[index], index, size, wrong, mth(0, size))


@settings(deadline=None)
@given(tree_and_leaf, bit, st.data())
def test_an_inclusion_proof_is_refused_for_another_leaf_place_size_or_root(tree, bit, data):
    size, index = tree
    proof, root = path(index, 0, size), mth(0, size)
    other_index = data.draw(st.integers(-1, size + 1).filter(lambda other: other != index))
    wrong_claims = [
        (altered(LEAVES[index], bit), index, size, root),
        (LEAVES[index], other_index, size, root),
        (LEAVES[index], index, size, altered(root, bit)),
        (LEAVES[index], index, size, mth(0, size + 1 if size < 300 else 1)),
    ]
    for leaf, at, of, claimed in wrong_claims:
        with pytest.raises(ProofRefused):
            verify_inclusion(leaf, at, of, proof, claimed)


@settings(deadline=None)
@given(two_trees, bit)
def test_a_consistency_proof_that_is_altered_shortened_lengthened_or_reordered_is_refused(trees, bit):
    size, old = trees
    for wrong in misshapen(subproof(old, 0, size, True) if old else [], bit):
        with pytest.raises(ProofRefused):
            verify_consistency(old, mth(0, old), size, mth(0, size), wrong)


@settings(deadline=None)
@given(two_trees, bit, st.data())
def test_a_consistency_proof_is_refused_for_another_root_or_size(trees, bit, data):
    size, old = trees
    proof, old_root, root = subproof(old, 0, size, True) if old else [], mth(0, old), mth(0, size)
    other = data.draw(st.integers(-1, size + 1).filter(lambda other: other != old))
    wrong_claims = [(old, altered(old_root, bit), root), (other, old_root, root)]
    if old:  # an empty tree is the beginning of every tree
        wrong_claims.append((old, old_root, altered(root, bit)))
    for of, claimed_old, claimed in wrong_claims:
        with pytest.raises(ProofRefused):
            verify_consistency(of, claimed_old, size, claimed, proof)


def test_an_empty_tree_is_the_beginning_of_every_tree_and_has_the_root_of_nothing():
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 300, mth(0, 300), [])


def test_a_refusal_says_why_and_what_to_do():
    with pytest.raises(ProofRefused) as refused:
        verify_inclusion(LEAVES[0], 0, 2, [], mth(0, 2))
    assert "0 hashes, and 1 are needed" in refused.value.message
    assert "Fetch the proof" in refused.value.message
    assert refused.value.code == "PROOF_REFUSED"
