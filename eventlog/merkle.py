"""The tree of RFC 6962 with SHA-256: roots, growing, inclusion and consistency proofs. Pure.

A node is named by its level (0 = leaves) and its index in that level. Only *whole* nodes, whose
2^level leaves are all there, are ever stored or asked for; they never change, whatever is added.
So every proof, for every size up to the present one, is made of whole nodes.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import ClassVar

from attrs import frozen

from eventlog.errors import EventLogError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""(level, index) -> the hash of that whole node."""


@frozen
class ProofRefused(EventLogError):
    """A proof does not show what it should."""

    code: ClassVar[str] = "PROOF_REFUSED"
    reason: str

    @property
    def message(self) -> str:
        return f"This proof proves nothing: {self.reason}. Fetch the proof and the checkpoint again, from the same log."


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of the leaf of *entry* (RFC 6962, 2.1); an entry here is an event's 32-byte hash."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def parents(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the level above *nodes*, which begin with a left one; a last one without a partner gives none."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]


@frozen
class Frontier:
    """The right edge of a tree of *size* leaves: all that is needed to add leaves and to tell the root."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()
    """The hashes of the largest whole nodes, left to right: one for each 1 bit of the size."""

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return _folded(self.peaks)

    def grown(self, leaves: Sequence[bytes]) -> tuple["Frontier", list[list[bytes]]]:
        """Return the tree with leaf hashes added, and for each level the nodes that became whole."""
        peaks = dict(zip(_levels(self.size), self.peaks, strict=True))
        whole: list[list[bytes]] = []
        start, nodes = self.size, list(leaves)
        while nodes:
            whole.append(nodes)
            level = len(whole) - 1
            paired = [peaks.pop(level), *nodes] if start & 1 else nodes
            if len(paired) & 1:
                peaks[level] = paired[-1]
            nodes = parents(paired)
            start >>= 1
        size = self.size + len(leaves)
        return Frontier(size, tuple(peaks[level] for level in _levels(size))), whole


def peak_nodes(size: int) -> list[tuple[int, int]]:
    """Return (level, index) of the largest whole nodes of a tree of *size* leaves, left to right."""
    return _whole_nodes(0, size)


def root_of(size: int, node: Node) -> bytes:
    """Return the root of the first *size* leaves."""
    return _range_root(0, size, node)


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the proof that leaf *index* is in the tree of *size* leaves (RFC 6962, 2.1.1), from the leaf up."""
    assert 0 <= index < size, "the leaf is in the tree"
    return [_range_root(first, end, node) for _, first, end in _siblings(index, size)][::-1]


def consistency_proof(old: int, size: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of *old* leaves is the beginning of that of *size* (RFC 6962, 2.1.2).

    It is empty from 0 and between equal sizes.
    """
    assert 0 <= old <= size, "the old tree is not the larger one"
    if old in (0, size):
        return []
    steps, start = _consistency(old, size)
    proof = [_range_root(first, end, node) for _, first, end in reversed(steps)]
    return proof if start is None else [_range_root(*start, node), *proof]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if *proof* shows that the leaf hash *leaf* stands at *index* in the tree of *size* leaves and *root*.

    Raises:
        ProofRefused: it does not.

    """
    if not 0 <= index < size:
        raise ProofRefused(f"index {index} lies outside of a tree of {size} leaves")
    steps = [*_siblings(index, size)]
    _check_shape(proof, len(steps))
    found = leaf
    for (is_right, _, _), sibling in zip(reversed(steps), proof, strict=True):
        found = node_hash(found, sibling) if is_right else node_hash(sibling, found)
    if found != root:
        raise ProofRefused(f"with it, leaf {index} leads to another root than that of size {size}")


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Return if *proof* shows that the tree of *old* leaves is the beginning of that of *size*.

    Raises:
        ProofRefused: it does not.

    """
    if not 0 <= old <= size:
        raise ProofRefused(f"a tree of {size} leaves cannot begin with one of {old}")
    if old in (0, size):
        _check_shape(proof, 0)
        if old_root != (root if old == size else EMPTY_ROOT):
            raise ProofRefused(f"the root of size {old} is another one")
        return
    steps, start = _consistency(old, size)
    _check_shape(proof, len(steps) + (start is not None))
    hashes = iter(proof)
    old_found = found = old_root if start is None else next(hashes)
    for (is_right, _, _), sibling in zip(reversed(steps), hashes, strict=True):
        if is_right:
            found = node_hash(found, sibling)
        else:
            old_found, found = node_hash(sibling, old_found), node_hash(sibling, found)
    if old_found != old_root:
        raise ProofRefused(f"it leads to another root of size {old}")
    if found != root:
        raise ProofRefused(f"it leads to another root of size {size}")


_Step = tuple[bool, int, int]
"""A sibling on the way down: whether it stands on the right, and its range of leaves."""


def _siblings(index: int, size: int) -> Iterator[_Step]:
    """Go down from the root to leaf *index*."""
    first, end = 0, size
    while end - first > 1:
        split = _split(first, end)
        if index < split:
            yield True, split, end
            end = split
        else:
            yield False, first, split
            first = split


def _consistency(old: int, size: int) -> tuple[list[_Step], tuple[int, int] | None]:
    """Go down to where the old tree ends; also the range where that is, or None if it is the old tree itself."""
    first, end, steps = 0, size, list[_Step]()
    while end != old:
        split = _split(first, end)
        if old <= split:
            steps.append((True, split, end))
            end = split
        else:
            steps.append((False, first, split))
            first = split
    return steps, (first, end) if first else None


def _split(first: int, end: int) -> int:
    """Return where a range is parted: behind the largest power of two leaves below its width."""
    return first + (1 << (end - first - 1).bit_length() - 1)


def _levels(size: int) -> list[int]:
    """Return the levels of the whole nodes that make up *size* leaves, largest first: its 1 bits."""
    return [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]


def _whole_nodes(first: int, end: int) -> list[tuple[int, int]]:
    nodes = []
    for level in _levels(end - first):
        nodes.append((level, first >> level))
        first += 1 << level
    return nodes


def _range_root(first: int, end: int, node: Node) -> bytes:
    """Return the root of the leaves from *first*, where a whole node as wide as the range may begin, to *end*."""
    return _folded([node(level, index) for level, index in _whole_nodes(first, end)])


def _folded(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def _check_shape(proof: Sequence[bytes], length: int) -> None:
    if len(proof) != length:
        raise ProofRefused(f"it has {len(proof)} hashes, and {length} are needed")
    # A hash of another length could shift bytes between what is left and what is right.
    if any(len(each) != HASH_BYTES for each in proof):
        raise ProofRefused(f"a hash of it is not {HASH_BYTES} bytes long")
