"""Signed notes and checkpoints, byte for byte as C2SP defines them. Pure.

What a note says counts only if a key that was known beforehand signed it. A note has exactly one
spelling: base64 with stray bits, a number with leading zeros, a byte more or less are all refused.
Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

import re
from collections.abc import Iterable
from typing import ClassVar

from attrs import frozen

from eventlog.errors import EventLogError
from eventlog.signing import DASH, Signature, Signer, Verifier, decode_base64, encode_base64, is_key_name

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


@frozen
class NoteRefused(EventLogError):
    """A note is not well formed, or is not signed by a key that is known."""

    code: ClassVar[str] = "NOTE_REFUSED"
    reason: str

    @property
    def message(self) -> str:
        return f"This note counts for nothing: {self.reason}. Fetch it again, and make sure that the key is its log's."


@frozen
class Note:
    """A text, which ends in a newline, and who signed it. Nothing of it is checked by being here."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Return the note of its bytes, its signatures unchecked.

        Raises:
            NoteRefused: they are not the bytes of a note.

        """
        if len(data) > NOTE_BYTES_MAX:
            raise NoteRefused(f"it is longer than {NOTE_BYTES_MAX} bytes")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise NoteRefused("it is not UTF-8") from None
        if _CONTROL.search(whole):
            raise NoteRefused("it holds a control character")
        text, separator, lines = whole.rpartition("\n\n")
        if not separator:
            raise NoteRefused("no empty line parts its text from its signatures")
        return cls(text + "\n", parse_signatures(lines))

    @property
    def data(self) -> bytes:
        """The bytes of the note."""
        return (self.text + "\n" + "".join(signature.line for signature in self.signatures)).encode()

    def signed_by(self, verifiers: Iterable[Verifier]) -> dict[Verifier, Signature]:
        """Return which of the keys signed it, each with its signature; those of other keys are ignored.

        Raises:
            NoteRefused: none of the keys signed it, or a signature of one does not fit.

        """
        keys = [*verifiers]
        found = [(key, signature) for signature in self.signatures for key in keys if key.made(signature)]
        for key, signature in found:
            if not key.fits(signature, self.text):
                raise NoteRefused(f"the signature of {key.name} does not fit its text")
        if not found:
            raise NoteRefused(f"it is not signed by {' or '.join(key.vkey for key in keys)}")
        return dict(found)


@frozen
class Checkpoint:
    """How large a log was, and the root of its tree then."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Lines of other logs that mean nothing here; they are signed with the rest."""

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Return the checkpoint of a note's text.

        Raises:
            NoteRefused: it is not one.

        """
        *lines, end = text.split("\n")
        if end or len(lines) < 3 or not all(lines):
            raise NoteRefused("a checkpoint is a line each for origin, size and root")
        origin, size, root, *extensions = lines
        if not _NUMBER.fullmatch(size):
            raise NoteRefused("the second line of a checkpoint is its size")
        decoded = decode_base64(root)
        if decoded is None or len(decoded) != 32:
            raise NoteRefused("the third line of a checkpoint is the root, 32 bytes in base64")
        return cls(origin, int(size), decoded, tuple(extensions))

    @property
    def text(self) -> str:
        """The text of its note."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)


def signed_checkpoint(signer: Signer, size: int, root: bytes) -> Note:
    """Return the note of a checkpoint whose origin is the signing key's name."""
    text = Checkpoint(signer.name, size, root).text
    return Note(text, (signer.sign(text),))


def open_checkpoint(data: bytes, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint that *verifier*, the key of its log, signed.

    Raises:
        NoteRefused: it is not well formed, that key did not sign it, or it is of another log.

    """
    note = Note.parse(data)
    note.signed_by((verifier,))
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != verifier.name:
        raise NoteRefused(f"it is of the log {checkpoint.origin}, not of {verifier.name}")
    return checkpoint


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Return the signatures of *lines*, each with its newline: of a note, or of a witness's answer.

    Raises:
        NoteRefused: one of them is not a signature line, there is none, or there are too many.

    """
    *each, end = lines.split("\n")
    if end or not 1 <= len(each) <= SIGNATURES_MAX:
        raise NoteRefused(f"it has not between 1 and {SIGNATURES_MAX} whole signature lines")
    return tuple(map(_parse_signature, each))


def _parse_signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(DASH).partition(" ")
    value = decode_base64(encoded)
    if not (line.startswith(DASH) and space and is_key_name(name) and value is not None and len(value) > 4):
        raise NoteRefused("one of its signature lines is malformed")
    return Signature(name, value[:4], value[4:])
