"""Proofs as texts: what an auditor keeps (`.tlog-proof`), and what a witness is sent. Pure.

Both are a first line or two, one hash a line in base64, an empty line, and a checkpoint's note.
Sources: c2sp.org/tlog-proof, c2sp.org/tlog-witness (add-checkpoint).
"""

import re
from collections.abc import Sequence
from typing import Self

from attrs import frozen

from eventlog.merkle import HASH_BYTES, ProofRefused, leaf_hash, verify_inclusion
from eventlog.note import Checkpoint, Note, open_checkpoint
from eventlog.signing import Verifier, decode_base64, encode_base64

HASHES_MAX = 63
"""A proof for 2^63 entries has no more."""

_PROOF = re.compile(r"c2sp\.org/tlog-proof@v1\nindex (0|[1-9][0-9]{0,18})", re.ASCII)
_SUBMISSION = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@frozen
class LogProof:
    """That an entry stands at an index of a log, for those who have nothing but it and the log's key."""

    index: int
    hashes: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the proof of a `.tlog-proof`, unchecked.

        Raises:
            ProofRefused: it does not have that form.
            NoteRefused: what should be its checkpoint is not a note.

        """
        return cls(*_parts(data, _PROOF, "a .tlog-proof"))

    @property
    def data(self) -> bytes:
        """The bytes of its `.tlog-proof`."""
        return _written(f"c2sp.org/tlog-proof@v1\nindex {self.index}", self.hashes, self.note)

    def verify(self, entry: bytes, log: Verifier) -> Checkpoint:
        """Return the checkpoint, signed by *log*, in whose tree *entry* (an event's 32-byte hash) stands.

        Raises:
            NoteRefused: the log did not sign that checkpoint.
            ProofRefused: the entry does not stand there.

        """
        checkpoint = open_checkpoint(self.note.data, log)
        self.check(entry, checkpoint)
        return checkpoint

    def check(self, entry: bytes, checkpoint: Checkpoint) -> None:
        """Return if *entry* stands in the tree of *checkpoint*, which is that of the note: for who made or opened it himself.

        Raises:
            ProofRefused: it does not stand there.

        """
        verify_inclusion(leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root)


@frozen
class Submission:
    """A checkpoint for a witness to sign, with the proof that it continues the one of *old* entries."""

    old: int
    hashes: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the submission of a request's body, unchecked.

        Raises:
            ProofRefused: it does not have that form.
            NoteRefused: what should be its checkpoint is not a note.

        """
        return cls(*_parts(data, _SUBMISSION, "a request to a witness"))

    @property
    def data(self) -> bytes:
        """The body of the request."""
        return _written(f"old {self.old}", self.hashes, self.note)


def _written(head: str, hashes: Sequence[bytes], note: Note) -> bytes:
    return "\n".join([head, *map(encode_base64, hashes), "", ""]).encode() + note.data


def _parts(data: bytes, head: re.Pattern[str], what: str) -> tuple[int, tuple[bytes, ...], Note]:
    lines, empty, note = data.partition(b"\n\n")
    if not empty:
        raise ProofRefused(f"it is not {what}, which has an empty line before its checkpoint")
    try:
        text = lines.decode("ascii")
    except UnicodeDecodeError:
        raise ProofRefused(f"it is not {what}, whose lines are ASCII up to its checkpoint") from None
    found = head.match(text)
    rest = text[found.end() :] if found else ""
    if found is None or (rest and not rest.startswith("\n")):
        raise ProofRefused(f"it does not begin as {what} does")
    hashes = [decode_base64(line) for line in rest.split("\n")[1:]]
    whole = tuple(each for each in hashes if each is not None and len(each) == HASH_BYTES)
    if len(whole) != len(hashes):
        raise ProofRefused(f"one of its lines is not a hash of {HASH_BYTES} bytes in base64")
    if len(whole) > HASHES_MAX:
        raise ProofRefused(f"it has more than {HASHES_MAX} hashes")
    return int(found[1]), whole, Note.parse(note)
