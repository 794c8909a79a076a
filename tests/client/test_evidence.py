"""Evidence checked by the client: by the pinned key alone, and deaf to no alteration."""

import base64
import copy
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from eventlog.merkle import Frontier, inclusion_proof, leaf_hash
from eventlog.note import Note, signed_checkpoint
from eventlog.proof_text import LogProof
from eventlog.signing import COSIGNATURE, Signer, encode_base64
from runlog_client import ProofRefused, RunlogClient, ed25519, verify_proof
from runlog_client.evidence import root_of
from tests.server import FEW, Server, body, canonical

RUN_ID = "run_0123456789ab"
LOG = Signer("runlog.local/0123", b"l" * 32)
FORGER = Signer("runlog.local/0123", b"f" * 32)
WITNESS = Signer("witness.example", b"w" * 32, COSIGNATURE)
KEY = LOG.verifier.vkey


def event(seq: int, subject: str = RUN_ID) -> bytes:
    return canonical({"subject": subject, "data": {"seq": seq, "é": None}})


def evidence(size: int = 21, seqs: tuple[int, ...] = (3, 4, 20), by: Signer = LOG, subject: str = RUN_ID) -> Any:
    """What the server answers for a run whose events have *seqs*."""
    entries = [sha256(event(seq, subject)).digest() for seq in range(size)]
    tree, whole = Frontier().grown([leaf_hash(entry) for entry in entries])
    note = signed_checkpoint(by, size, tree.root)
    rows = []
    for seq in seqs:
        hashes = tuple(inclusion_proof(seq, size, lambda level, index: whole[level][index]))
        rows.append(
            {
                "seq": seq,
                "hash": entries[seq].hex(),
                "event_base64": base64.b64encode(event(seq, subject)).decode(),
                "proof": LogProof(seq, hashes, note).data.decode(),
            }
        )
    return {"run_id": RUN_ID, "events": rows, "checkpoint": note.data.decode(), "key": by.verifier.vkey}


def refuses(document: Any, because: str = "", key: str = KEY) -> bool:
    with pytest.raises(ProofRefused, match=because or None):
        verify_proof(document, RUN_ID, key)
    return True


def test_evidence_that_holds_gives_the_events_and_what_was_signed():
    document = evidence()
    held = verify_proof(document, RUN_ID, KEY)
    assert [(one.seq, one.data, one.event) for one in held.events] == [
        (seq, event(seq), json.loads(event(seq))) for seq in (3, 4, 20)
    ]
    assert held.size == 21
    assert base64.b64encode(bytes.fromhex(held.root)).decode() == document["checkpoint"].split("\n")[2]


def test_evidence_holds_at_every_place_of_trees_of_many_sizes():
    for size in (1, 2, 3, 7, 8, 9, 33):
        assert len(verify_proof(evidence(size, tuple(range(size))), RUN_ID, KEY).events) == size


def test_the_key_that_comes_with_the_evidence_counts_for_nothing():
    forged = evidence(by=FORGER)
    assert verify_proof(forged, RUN_ID, forged["key"])
    assert refuses(forged, "not signed by the key")
    forged["key"] = KEY
    assert refuses(forged, "not signed by the key")


def test_other_signers_do_not_matter():
    document = evidence()
    note = Note.parse(document["checkpoint"].encode())
    more = Note(note.text, (WITNESS.cosign(note.text, 1_767_589_636), *note.signatures)).data.decode()
    for row in document["events"]:
        row["proof"] = row["proof"].replace(document["checkpoint"], more)
    document["checkpoint"] = more
    assert verify_proof(document, RUN_ID, KEY).size == 21


def test_evidence_of_another_run_is_refused():
    assert refuses(evidence(subject="run_aaaaaaaaaaaa"), "of another run")
    assert refuses(evidence() | {"run_id": "run_aaaaaaaaaaaa"}, "not of this run")
    assert refuses(evidence(seqs=()), "not of this run")
    assert refuses(evidence(seqs=(4, 3)), "not in their order")
    assert refuses(evidence(seqs=(3, 3)), "not in their order")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every leaf of a document but the key, which is not looked at."""
    if isinstance(value, dict):
        return [found for name in value if name != "key" for found in places(value[name], (*path, name))]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in places(item, (*path, i))]
    return [path]


@FEW
@given(st.data())
def test_one_altered_character_anywhere_is_refused(data: st.DataObject):
    document = evidence(5, (1, 4))
    *above, last = data.draw(st.sampled_from(places(document)))
    parent = copy.deepcopy(document)
    node = parent
    for step in above:
        node = node[step]
    if isinstance(node[last], int):
        node[last] += data.draw(st.sampled_from([-1, 1, 1 << 40]))
    else:
        at = data.draw(st.integers(0, len(node[last]) - 1))
        other = data.draw(
            st.sampled_from([chr(ord(node[last][at]) ^ 1), "", "\n", "=="]).filter(lambda c: c != node[last][at])
        )
        node[last] = node[last][:at] + other + node[last][at + 1 :]
    assert refuses(parent)


@pytest.mark.parametrize(
    "wrong", [None, [], {}, {"run_id": RUN_ID}, evidence() | {"events": [{}]}, evidence() | {"checkpoint": 1}]
)
def test_what_is_no_evidence_at_all_is_refused(wrong: Any):
    assert refuses(wrong)


@pytest.mark.parametrize("key", ["", "x", KEY[:-1], f"other{KEY}", KEY.replace("+", " ", 1), WITNESS.verifier.vkey])
def test_what_is_no_key_is_refused(key: str):
    assert refuses(evidence(), "", key)


@pytest.mark.parametrize(
    ("wrong", "because"),
    [
        (lambda note: note.replace("\n\n", "\n"), "not a signed note"),
        (lambda note: note.removesuffix("\n"), "not a signed note"),
        (lambda note: note.replace("\u2014", "-"), "malformed"),
        (lambda note: note.replace("\n21\n", "\n22\n"), "does not fit"),
        (lambda note: note.partition("\u2014")[0] + "\u2014 other AAAA\n", "not signed by the key"),
        (lambda note: note.replace(LOG.name, FORGER.name + "x"), "not signed by the key"),
        (lambda _: signed("runlog.local/other\n21\nAAAA\n"), "not one of the log of this key"),
        (lambda _: signed(f"{LOG.name}\n021\nAAAA\n"), "not one of the log of this key"),
        (lambda _: signed(f"{LOG.name}\n21\nAAB=\n"), "another form"),
        (lambda _: signed(f"{LOG.name}\n21\nA!\n"), "not base64"),
    ],
)
def test_a_checkpoint_that_is_not_the_logs_is_refused(wrong: Any, because: str):
    document = evidence()
    assert refuses(document | {"checkpoint": wrong(document["checkpoint"])}, because)


def signed(text: str) -> str:
    return Note(text, (LOG.sign(text),)).data.decode()


def test_a_proof_that_is_too_long_or_too_short_is_refused():
    entries = [bytes([i]) * 32 for i in range(5)]
    tree, whole = Frontier().grown([leaf_hash(entry) for entry in entries])
    proof = inclusion_proof(1, 5, lambda level, index: whole[level][index])
    assert root_of(proof, 1, 5, entries[1]) == tree.root
    for wrong, size in ((proof[:-1], 5), ([*proof, proof[0]], 5), (proof, 1)):
        with pytest.raises(Exception, match=r"too long|too short|before event"):
            root_of(wrong, 1, size, entries[1])


RFC_8032 = [  # public key, message, signature: section 7.1, TEST 1 and TEST 2
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_fit_and_altered_ones_do_not(key: str, message: str, signature: str):
    public, text, signed = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert ed25519.fits(public, text, signed)
    assert not ed25519.fits(public, text + b"x", signed)
    assert not ed25519.fits(public, text, signed[:63])
    assert not ed25519.fits(public, text, bytes([signed[0] ^ 1]) + signed[1:])


@FEW
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_what_a_known_library_signs_fits_and_with_the_order_added_it_does_not(seed: bytes, message: bytes):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ed25519.fits(public, message, signature)
    larger = (int.from_bytes(signature[32:], "little") + ed25519.ORDER).to_bytes(32, "little")
    assert not ed25519.fits(public, message, signature[:32] + larger)


@pytest.mark.parametrize("small", [b"\x01" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_key_of_small_order_fits_nothing(small: bytes):
    assert not ed25519.fits(small, b"any text", b"\x01" + bytes(63))
    name = "runlog.local/0123"
    key_id = sha256(name.encode() + b"\n\x01" + small).digest()[:4].hex()
    assert refuses(evidence(), "", f"{name}+{key_id}+{encode_base64(bytes([1]) + small)}")


async def test_the_proof_of_a_run_of_the_real_server_holds(runs: RunlogClient, server: Server):
    run = await runs.create(**body())
    await runs.attach(run["run_id"], "a")
    key = server.get("/log/key").body.decode().strip()
    held = await runs.proof(run["run_id"], key)
    assert [one.event["type"] for one in held.events] == ["rmos.run.created.v1", "rmos.advisory.attached.v1"]
    assert held.events[0].event["data"]["run"]["run_id"] == run["run_id"]
    with pytest.raises(ProofRefused):
        await runs.proof(run["run_id"], FORGER.verifier.vkey)
