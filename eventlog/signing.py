"""Keys that sign notes, and what they make: Ed25519 signatures and witnesses' cosignatures. Pure.

A key is trusted because it was known beforehand, never because it came with what it signed.
Sources: c2sp.org/signed-note, c2sp.org/tlog-cosignature.
"""

import base64
import binascii
from hashlib import sha256
from typing import ClassVar

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from eventlog.errors import EventLogError

ED25519 = 0x01
"""The type byte of a key that signs the note's text."""
COSIGNATURE = 0x04
"""The type byte of a witness's key, which signs the time and the checkpoint (cosignature/v1)."""

_COSIGNATURE_BYTES = 8 + 64
_SECONDS_MAX = 253_402_300_799
"""The last second of the year 9999."""

DASH = "\u2014 "
_SECRET = "PRIVATE+KEY+"  # noqa: S105 (the word that begins the text of any signing key)

# The eight points of small order and their other spellings, the sign bit apart. Under such a key one signature
# fits nearly every text, and the library takes it for a key.
_SMALL_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


@frozen
class KeyRefused(EventLogError):
    """A text is not a key that signatures may be checked with, or made with."""

    code: ClassVar[str] = "KEY_REFUSED"
    reason: str

    @property
    def message(self) -> str:
        return f"This is not a key: {self.reason}. Copy the whole line that the log's operator publishes, and nothing else."


@frozen
class Signature:
    """One signature line of a note: who signed, by which key, and the bytes behind the key's id."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line, with its newline."""
        return f"{DASH}{self.name} {encode_base64(self.key_id + self.value)}\n"


@frozen
class Verifier:
    """A public key that is known beforehand, under a name."""

    name: str
    public_key: bytes
    kind: int = ED25519

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Return the key of a text like `<name>+<8 hex digits>+<base64>`.

        Raises:
            KeyRefused: it is not one, its id is another key's, or its key is one of small order.

        """
        name, key_id, material = _key_parts(vkey)
        verifier = cls(name, material[1:], material[0])
        if key_id != verifier.key_id.hex():
            raise KeyRefused(f"its id is {key_id}, and that of this name and key is {verifier.key_id.hex()}")
        if verifier.public_key[:31] + bytes([verifier.public_key[31] & 0x7F]) in _SMALL_ORDER:
            raise KeyRefused("its point is of small order, so one signature would fit nearly every text")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The four bytes that tell which key signed."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as text."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public_key)}"

    def made(self, signature: Signature) -> bool:
        """Tell whether *signature* claims to be of this key."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def fits(self, signature: Signature, text: str) -> bool:
        """Tell whether this key made *signature* of *text*."""
        value, signed = signature.value, text
        if self.kind == COSIGNATURE:
            seconds, value = int.from_bytes(value[:8], "big"), value[8:]
            signed = _cosigned(text, seconds)
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(value, signed.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@frozen
class Signer:
    """A private key under a name. `secret` is its text; `repr` shows nothing of it."""

    name: str
    seed: bytes = field(repr=False)
    kind: int = ED25519

    @classmethod
    def parse(cls, secret: str) -> "Signer":
        """Return the key of a text like `PRIVATE+KEY+<name>+<8 hex digits>+<base64>`.

        Raises:
            KeyRefused: it is not one, or its id is another key's.

        """
        if not secret.startswith(_SECRET):
            raise KeyRefused("it is not the text of a signing key")
        name, key_id, material = _key_parts(secret.removeprefix(_SECRET))
        signer = cls(name, material[1:], material[0])
        if key_id != signer.verifier.key_id.hex():
            raise KeyRefused("its id is another key's")
        return signer

    @property
    def verifier(self) -> Verifier:
        """The public key that belongs to it."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return Verifier(self.name, public.public_bytes_raw(), self.kind)

    @property
    def secret(self) -> str:
        """The key as text, to be kept where nobody else reads it."""
        verifier = self.verifier
        return f"{_SECRET}{self.name}+{verifier.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.seed)}"

    def sign(self, text: str) -> Signature:
        """Return the signature of a note's *text*."""
        assert self.kind == ED25519, "a witness's key signs a time too"
        return Signature(self.name, self.verifier.key_id, self._signed(text))

    def cosign(self, text: str, seconds: int) -> Signature:
        """Return the cosignature/v1 of a checkpoint's *text* at *seconds* since 1970, UTC."""
        assert self.kind == COSIGNATURE, "a log's key signs no time"
        value = seconds.to_bytes(8, "big") + self._signed(_cosigned(text, seconds))
        return Signature(self.name, self.verifier.key_id, value)

    def _signed(self, text: str) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())


def cosigned_at(signature: Signature) -> int:
    """Return the seconds since 1970, UTC, that a cosignature which fits tells."""
    return int.from_bytes(signature.value[:8], "big")


def time_of(signature: Signature) -> int | None:
    """Return the seconds that a line by an unknown key would tell if it were a cosignature; None if it cannot be one."""
    seconds = cosigned_at(signature)
    return seconds if len(signature.value) == _COSIGNATURE_BYTES and seconds <= _SECONDS_MAX else None


def encode_base64(data: bytes) -> str:
    """Return *data* in base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of the one base64 form that they have; None if *text* is not such a form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encode_base64(data) == text else None


def is_key_name(name: str) -> bool:
    """Tell whether a key may be called so: not empty, no Unicode space, no plus, no control character."""
    return bool(name) and not any(c.isspace() or c == "+" or c < " " for c in name)


def _key_parts(text: str) -> tuple[str, str, bytes]:
    """Return name, id and type byte with 32 bytes of a key's text."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = decode_base64(encoded)
    if not is_key_name(name) or material is None or len(material) != 33:
        raise KeyRefused("it does not have the form <name>+<8 hex digits>+<base64>")
    if material[0] not in (ED25519, COSIGNATURE):
        raise KeyRefused(f"its type {material[0]} is not one that is known here")
    return name, key_id, material


def _cosigned(text: str, seconds: int) -> str:
    return f"cosignature/v1\ntime {seconds}\n{text}"
