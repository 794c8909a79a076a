"""Proofs as texts: byte for byte, every altered byte found, and a witness's request."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.errors import RunlogError
from eventlog.merkle import EMPTY_ROOT, Frontier, ProofRefused, inclusion_proof, leaf_hash
from eventlog.note import Checkpoint, NoteRefused, signed_checkpoint
from eventlog.proof_text import HASHES_MAX, LogProof, Submission
from eventlog.signing import Signer

LOG = Signer("example.com/log", b"l" * 32)
OTHER = Signer("example.com/log", b"o" * 32)
EMPTY = signed_checkpoint(LOG, 0, EMPTY_ROOT)
ENTRIES = [sha256(b"%d" % i).digest() for i in range(40)]

hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=HASHES_MAX).map(tuple)
indexes = st.integers(0, (1 << 63) - 1)


def proof_of(index: int, size: int, signer: Signer = LOG) -> LogProof:
    tree, whole = Frontier().grown([leaf_hash(entry) for entry in ENTRIES[:size]])
    path = inclusion_proof(index, size, lambda level, i: whole[level][i])
    return LogProof(index, tuple(path), signed_checkpoint(signer, size, tree.root))


def test_a_proof_is_spelt_as_the_standard_says():
    proof = proof_of(2, 3)
    lines = proof.data.decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 2"]
    assert lines[3] == ""
    assert lines[4:6] == ["example.com/log", "3"]
    assert len(lines[2]) == 44
    assert proof.data.endswith(proof.note.data)


def test_the_proof_of_a_single_entry_has_no_hash_lines():
    proof = proof_of(0, 1)
    assert proof.data == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + proof.note.data
    assert LogProof.parse(proof.data) == proof


@given(indexes, hashes)
def test_a_proof_reads_back_as_it_was_written(index, hashes):
    proof = LogProof(index, hashes, EMPTY)
    assert LogProof.parse(proof.data) == proof


@given(indexes, hashes)
def test_a_request_to_a_witness_reads_back_as_it_was_written(old, hashes):
    submission = Submission(old, hashes, EMPTY)
    assert Submission.parse(submission.data) == submission
    assert submission.data.startswith(b"old %d\n" % old)
    assert submission.data.endswith(b"\n\n" + EMPTY.data)


@settings(deadline=None)
@given(st.integers(1, 40).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_a_proof_that_was_read_verifies_its_entry_and_no_other(place):
    index, size = place
    proof = LogProof.parse(proof_of(index, size).data)
    assert proof.verify(ENTRIES[index], LOG.verifier) == Checkpoint.parse(proof.note.text)
    with pytest.raises(ProofRefused):
        proof.verify(sha256(b"another").digest(), LOG.verifier)
    with pytest.raises(NoteRefused):
        proof.verify(ENTRIES[index], OTHER.verifier)


def test_every_altered_byte_of_a_proof_is_found():
    data = proof_of(4, 11).data
    for at in range(len(data)):
        for bit in range(8):
            altered = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises(RunlogError):
                LogProof.parse(altered).verify(ENTRIES[4], LOG.verifier)


def test_every_lost_and_every_added_byte_of_a_proof_is_found():
    data = proof_of(4, 11).data
    for at in range(len(data)):
        for changed in (data[:at] + data[at + 1 :], data[:at] + b"\n" + data[at:], data[:at] + b"A" + data[at:]):
            with pytest.raises(RunlogError):
                LogProof.parse(changed).verify(ENTRIES[4], LOG.verifier)


HASH = "A" * 43 + "="
NOTE = EMPTY.data.decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\nindex 0\n",
        f"c2sp.org/tlog-proof@v2\nindex 0\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 00\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex -1\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0 \n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0{HASH}\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex \u0660\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-4]}\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-2]}B=\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\r\n\n{NOTE}",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + f"{HASH}\n" * (HASHES_MAX + 1) + f"\n{NOTE}",
        f" c2sp.org/tlog-proof@v1\nindex 0\n\n{NOTE}",
        f"old 0\n\n{NOTE}",
    ],
)
def test_what_is_not_exactly_a_proof_is_refused(text):
    with pytest.raises(ProofRefused):
        LogProof.parse(text.encode())


def test_a_proof_whose_checkpoint_is_no_note_is_refused():
    with pytest.raises(NoteRefused):
        LogProof.parse(b"c2sp.org/tlog-proof@v1\nindex 0\n\nrubbish")
