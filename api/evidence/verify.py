#!/usr/bin/env python3
"""Checks the evidence in this folder with nothing but Python's own library (3.8 or later).

    python3 -I verify.py [FOLDER] [--key VKEY]

It is put into every evidence.zip as it is, and shares no code with the service that made the evidence:
whoever checks may read all of it. It ends with 0 if the evidence holds, 1 if not, 2 if called wrongly.

    events/<seq>.event.json   the exact bytes of an event; its SHA-256 is what the log's tree holds at <seq>
    events/<seq>.tlog-proof   that it is in the tree of the checkpoint (c2sp.org/tlog-proof)
    checkpoint                the size and the root of the tree, signed (c2sp.org/tlog-checkpoint)
    key                       the key that signed it (c2sp.org/signed-note)
    attachments/<sha256>      the files that the events name by their SHA-256
    manifest                  the SHA-256 of every other file, as sha256sum writes it, sorted by name
    README.txt, index.html, runs.csv, verify.py
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import sys

# Ed25519 as RFC 8032 (5.1) defines it; slow, and only for checking.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)

# What file managers leave in any folder that they show.
LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}

NOT_PROVEN = """\
Not proven by this:
  - that what an event says is true; only that exactly this was recorded
  - that these are all the events of a run: ask the log's operator, or read the log, for what is not here
  - the times: they are those of the service's own clock, and only their order is kept by the log
  - that everybody was shown the same log: compare the checkpoint with one that somebody else was given
  - what index.html, runs.csv and README.txt say: they are for reading, the files under events/ are what counts
  - that this verify.py is the true one: read it, or take it from the source of the service"""


class Wrong(Exception):
    """Why something does not hold."""


def point_add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Add two points in extended coordinates."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    return (f - e) * (h - g) % P, (h + g) * (f + e) % P, (h - g) * (h + g) % P, (f - e) * (f + e) % P


def point_times(count: int, point: tuple[int, ...]) -> tuple[int, ...]:
    """Add a point to itself *count* times."""
    total: tuple[int, ...] = (0, 1, 1, 0)
    while count:
        if count & 1:
            total = point_add(total, point)
        point, count = point_add(point, point), count >> 1
    return total


def point_equal(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Tell whether two points are the same."""
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def point_of(data: bytes) -> tuple[int, ...]:
    """Return the point that 32 bytes stand for."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_OF_MINUS_1 % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign):
        raise Wrong("32 bytes of it are no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
ZERO = (0, 1, 1, 0)


def check_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Return if the signature is that key's of that message."""
    if len(public_key) != 32 or len(signature) != 64:
        raise Wrong("a key has 32 bytes and a signature 64")
    key, r, s = point_of(public_key), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if point_equal(point_times(8, key), ZERO):
        raise Wrong("the key is one of small order, under which one signature fits nearly every text")
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    if s >= ORDER or not point_equal(point_times(s, BASE), point_add(r, point_times(challenge, key))):
        raise Wrong("the signature does not fit the text")


def unbase64(text: str) -> bytes:
    """Return the bytes of base64 in its one form."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text:
        raise Wrong("a part of it is not base64")
    return data


def key_of(vkey: str) -> tuple[str, bytes, bytes]:
    """Return name, id and public key of a verifier key."""
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = unbase64(encoded)
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if not name or re.search(r"\s", name) or len(material) != 33 or material[0] != 1 or key_id != expected.hex():
        raise Wrong("it is not a key of the form <name>+<8 hex digits>+<base64>")
    return name, expected, material[1:]


def checkpoint_of(note: bytes, vkey: str) -> tuple[int, bytes]:
    """Return size and root of the tree that a checkpoint tells, if that key signed it."""
    name, key_id, public_key = key_of(vkey)
    text, _, lines = note.decode().rpartition("\n\n")
    signed = 0
    for line in lines.split("\n")[:-1]:
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.partition(" ")
        value = unbase64(encoded)
        if dash != "\u2014" or not signer:
            raise Wrong("a line of signature is malformed")
        if (signer, value[:4]) == (name, key_id):
            check_ed25519(public_key, (text + "\n").encode(), value[4:])
            signed += 1
    parts = text.split("\n")
    if not signed or not lines.endswith("\n"):
        raise Wrong("it is not signed by the key")
    if len(parts) < 3 or parts[0] != name or not re.fullmatch("0|[1-9][0-9]{0,18}", parts[1]):
        raise Wrong("it is not the checkpoint of the key's log")
    return int(parts[1]), unbase64(parts[2])


def root_by(proof: list[bytes], index: int, size: int, entry: bytes) -> bytes:
    """Return the root to which a proof leads (RFC 9162, 2.1.3.2)."""
    if index >= size:
        raise Wrong("the checkpoint is of a time before this event")
    node, last, found = index, size - 1, hashlib.sha256(b"\x00" + entry).digest()
    for each in proof:
        if last == 0 or len(each) != 32:
            raise Wrong("the proof is too long")
        if node & 1 or node == last:
            found = hashlib.sha256(b"\x01" + each + found).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + each).digest()
        node, last = node >> 1, last >> 1
    if last:
        raise Wrong("the proof is too short")
    return found


class Evidence:
    """A folder of evidence, and what was found wrong in it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.named: set[str] = set()
        """The SHA-256 of every attachment that a proven event names."""
        self.events: list[tuple[int, str]] = []
        """Seq and description of every proven event."""
        self.files = sorted(
            os.path.relpath(os.path.join(where, name), folder).replace(os.sep, "/")
            for where, _, names in os.walk(folder)
            for name in names
            if name not in LITTER
        )

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        with open(os.path.join(self.folder, *name.split("/")), "rb") as file:
            return file.read()

    def sha256(self, name: str) -> str:
        """Return the SHA-256 of a file, in constant memory."""
        digest = hashlib.sha256()
        with open(os.path.join(self.folder, *name.split("/")), "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
        return digest.hexdigest()

    def check_manifest(self) -> None:
        """Find every file that was changed, added or lost since the evidence was packed."""
        listed = self.read("manifest").decode()
        found = {name: f"{self.sha256(name)}  {name}\n" for name in self.files if name != "manifest"}
        if listed == "".join(found[name] for name in sorted(found)):
            return
        lines = {line[66:]: line + "\n" for line in listed.split("\n")[:-1]}
        wrong = sorted(name for name in lines.keys() | found.keys() if lines.get(name) != found.get(name))
        for name in wrong:
            state = "is missing" if name not in found else "was added" if name not in lines else "was changed"
            self.faults.append(f"{name}: {state} since the evidence was packed")
        if not wrong:
            self.faults.append("manifest: it was changed since the evidence was packed")

    def check_event(self, seq: int, checkpoint: bytes, size: int, root: bytes) -> None:
        """Check that the event is what the log has at its seq."""
        event, text = self.read(f"events/{seq}.event.json"), self.read(f"events/{seq}.tlog-proof")
        head, _, note = text.partition(b"\n\n")
        header, index, *hashes = head.decode("ascii").split("\n")
        if header != "c2sp.org/tlog-proof@v1" or index != f"index {seq}":
            raise Wrong("the proof is not one of this event")
        if note != checkpoint:
            raise Wrong("the proof is for another checkpoint than the one that is here")
        if root_by([unbase64(each) for each in hashes], seq, size, hashlib.sha256(event).digest()) != root:
            raise Wrong("these are not the bytes that were recorded, or not at this place")
        told = json.loads(event)
        attachment = told["data"].get("attachment")
        if attachment:
            self.named.add(attachment["sha256"])
        self.events.append((seq, f"{told['time']}  {told['type']}  {told['subject']}"))

    def check_attachments(self) -> None:
        """Check that the attachments are those that proven events name, all of them."""
        there = {name.split("/", 1)[1] for name in self.files if name.startswith("attachments/")}
        for digest in sorted(there | self.named):
            if digest not in there:
                self.faults.append(f"attachments/{digest}: an event names it, and it is not here")
            elif digest not in self.named:
                self.faults.append(f"attachments/{digest}: no event that is proven here names it")
            elif self.sha256(f"attachments/{digest}") != digest:
                self.faults.append(f"attachments/{digest}: its bytes are not those that the event names")

    def check(self, vkey: str | None) -> str:
        """Check everything; return the key that it was checked with."""
        self.check_manifest()
        here = self.read("key").decode()
        if not here.endswith("\n") or (vkey is not None and here[:-1] != vkey):
            raise Wrong("key: it is not the key that was given")
        checkpoint = self.read("checkpoint")
        try:
            size, root = checkpoint_of(checkpoint, here[:-1])
        except (Wrong, ValueError) as error:
            raise Wrong(f"checkpoint: {error}") from error
        seqs = set()
        for name in self.files:
            found = re.fullmatch(r"events/(0|[1-9][0-9]{0,18})\.(event\.json|tlog-proof)", name)
            if found:
                seqs.add(int(found[1]))
            elif name.startswith("events/"):
                self.faults.append(f"{name}: it is neither an event nor a proof")
        for seq in sorted(seqs):
            try:
                self.check_event(seq, checkpoint, size, root)
            except (Wrong, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self.faults.append(f"events/{seq}.event.json: {error}")
        if not self.events:
            self.faults.append("events/: no event is proven here")
        self.check_attachments()
        return here[:-1]


def counted(count: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def shown(text: str) -> str:
    """Return text that does nothing to a terminal: names and texts of evidence may be anybody's."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def main() -> int:
    """Check and tell."""
    parser = argparse.ArgumentParser(description="Checks the evidence in a folder, offline.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("folder", nargs="?", default=here, help="the unzipped evidence (default: where this file is)")
    parser.add_argument("--key", help="the log's key, as its operator published it: <name>+<8 hex digits>+<base64>")
    arguments = parser.parse_args()
    if arguments.key is not None:
        try:
            key_of(arguments.key)
        except (Wrong, ValueError) as error:
            parser.error(f"--key: {error}; give the whole line that the log's operator published")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    evidence = Evidence(arguments.folder)
    try:
        vkey = evidence.check(arguments.key)
    except (Wrong, OSError, ValueError) as error:
        evidence.faults.append(str(error))
    if evidence.faults:
        print("THE EVIDENCE DOES NOT HOLD. Do not rely on it; ask for it anew.")
        for fault in evidence.faults:
            print(f"  - {shown(fault)}")
        return 1
    print(
        f"THE EVIDENCE HOLDS: {counted(len(evidence.events), 'event')}, {counted(len(evidence.named), 'attachment')}."
    )
    for seq, described in evidence.events:
        print(f"  {seq}  {shown(described)}")
    print(f"\nProven, by the signature of the key {shown(vkey)}:")
    print("  - each file under events/ has exactly the bytes that the log recorded at the place of its name")
    print("  - each file under attachments/ has exactly the bytes that an event names")
    if arguments.key is None:
        print("    This is self-consistent only: the key came with the evidence. Compare it with the one that the")
        print("    log's operator published, or call this again with --key.")
    print(NOT_PROVEN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
