"""Evidence of a run, checked here and with a key that the caller knew before. Pure.

Nothing that the server says of itself is believed: an event counts only if its exact bytes stand in
the tree (RFC 6962) whose size and root the pinned key signed. What this cannot show: that these
are all events of the run, and that others are shown the same log; compare checkpoints for that.
Sources: c2sp.org/tlog-proof, c2sp.org/tlog-checkpoint, c2sp.org/signed-note.
"""

import base64
import binascii
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

from attrs import field, frozen

from runlog_client import ed25519
from runlog_client.errors import ProofRefused

_NUMBER = r"(0|[1-9][0-9]{0,18})"
_PROOF = re.compile(rf"c2sp\.org/tlog-proof@v1\nindex {_NUMBER}((?:\n[A-Za-z0-9+/]{{43}}=){{0,63}})", re.ASCII)
_KIND = 1
"""The byte for Ed25519 in front of a public key."""


@frozen
class ProvenEvent:
    """An event whose place in the log is proven; `data` are its exact bytes."""

    seq: int
    event: dict[str, Any]
    data: bytes = field(repr=False)


@frozen
class Evidence:
    """What a log's key has signed of a run; keep it with `document` to check it again, by any means."""

    run_id: str
    events: tuple[ProvenEvent, ...]
    size: int
    """Events in the log when the checkpoint was signed."""
    root: str
    """The root of the tree of that size, in hex: the same that everybody else must be shown for it."""
    document: dict[str, Any] = field(repr=False)


class _Wrong(Exception):
    """Why something does not hold."""


def verify_proof(document: dict[str, Any], run_id: str, vkey: str) -> Evidence:
    """Return what `GET /runs/{id}/proof` gave as a *document*, if the key *vkey* stands for all of it.

    *vkey* is the log's verifier key, `<name>+<8 hex digits>+<base64>`, which the caller must have from
    elsewhere than from the server that is checked.

    Raises:
        ProofRefused: anything of it does not hold.

    """
    try:
        name, key_id, public_key = _key(vkey)
        note = document["checkpoint"]
        size, root = _checkpoint(note, name, key_id, public_key)
        events = tuple(_proven(one, run_id, note, size, root) for one in document["events"])
        if document["run_id"] != run_id or not events:
            raise _Wrong("it is not of this run")
        if any(b.seq <= a.seq for a, b in pairwise(events)):
            raise _Wrong("its events are not in their order")
    except _Wrong as wrong:
        raise ProofRefused(run_id, str(wrong)) from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ProofRefused(run_id, f"it does not have the form of evidence ({type(error).__name__})") from error
    return Evidence(run_id, events, size, root.hex(), document)


def _proven(row: dict[str, Any], run_id: str, note: str, size: int, root: bytes) -> ProvenEvent:
    """Return the event of *row* if its bytes stand at its seq in the tree of *size* and *root*."""
    seq, data = row["seq"], _unbase64(row["event_base64"])
    head, _, its_note = row["proof"].partition("\n\n")
    found = _PROOF.fullmatch(head)
    if type(seq) is not int or found is None or int(found[1]) != seq:
        raise _Wrong(f"the proof of event {seq} is not one of that event")
    if its_note != note:
        raise _Wrong(f"the proof of event {seq} is for another checkpoint than the one beside it")
    proof = [_unbase64(line) for line in found[2].split("\n")[1:]]
    digest = sha256(data).digest()
    if digest.hex() != row["hash"] or root_of(proof, seq, size, digest) != root:
        raise _Wrong(f"event {seq} is not what was recorded, or not at this place")
    event = json.loads(data)
    if event["subject"] != run_id:
        raise _Wrong(f"event {seq} is of another run")
    return ProvenEvent(seq, event, data)


def root_of(proof: Sequence[bytes], index: int, size: int, entry: bytes) -> bytes:
    """Return the root to which *proof* leads from the *entry* at *index* (RFC 9162, 2.1.3.2)."""
    if not index < size:
        raise _Wrong(f"the checkpoint is of a time before event {index}")
    node, last, found = index, size - 1, sha256(b"\x00" + entry).digest()
    for each in proof:
        if last == 0:
            raise _Wrong("a proof is too long")
        if node & 1 or node == last:
            found = sha256(b"\x01" + each + found).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = sha256(b"\x01" + found + each).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise _Wrong("a proof is too short")
    return found


def _key(vkey: str) -> tuple[str, bytes, bytes]:
    """Return name, id and public key of a verifier key."""
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = _unbase64(encoded)
    expected = sha256(name.encode() + b"\n" + material).digest()[:4]
    is_sound = len(material) == 33 and material[0] == _KIND and key_id == expected.hex()
    if not is_sound or not name or any(c.isspace() for c in name):
        raise _Wrong("the key is not one of the form <name>+<8 hex digits>+<base64>")
    return name, expected, material[1:]


def _checkpoint(note: str, name: str, key_id: bytes, public_key: bytes) -> tuple[int, bytes]:
    """Return size and root of the tree that *note* tells, if that key signed it; other signers do not matter."""
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise _Wrong("the checkpoint is not a signed note")
    signed = False
    for line in lines.split("\n")[:-1]:
        dash, signer, encoded = line.split(" ")
        value = _unbase64(encoded)
        if dash != "\u2014":
            raise _Wrong("a signature of the checkpoint is malformed")
        if (signer, value[:4]) == (name, key_id):
            if not ed25519.fits(public_key, (text + "\n").encode(), value[4:]):
                raise _Wrong("the signature of the checkpoint does not fit it")
            signed = True
    if not signed:
        raise _Wrong("the checkpoint is not signed by the key that was given")
    origin, size, root, *_ = text.split("\n")
    if origin != name or not re.fullmatch(_NUMBER, size, re.ASCII):
        raise _Wrong("the checkpoint is not one of the log of this key")
    return int(size), _unbase64(root)


def _unbase64(text: str) -> bytes:
    """Return the bytes of base64 in its one form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong("a part of it is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise _Wrong("a part of it is base64 in another form than its one")
    return data
