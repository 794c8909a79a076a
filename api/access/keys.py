"""API keys: a name, a role, and the SHA-256 of a secret that nobody keeps but its holder. Pure.

A name stands for one actor of the log. `<name>.<secret>` is told once, when the key is made.
"""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import ClassVar, Self

from attrs import frozen

from api.access.roles import Role
from eventlog.errors import RunlogError

FORMAT = 1
NAME_RULE = "1 to 64 letters, digits, dots, hyphens or underscores, the first a letter or a digit"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_RESERVED = frozenset({"anonymous", "cli"})  # actors that are no keys
_NOBODYS_DIGEST = sha256(b"").digest()
_TOKEN_LENGTH_MAX = 256


class KeysError(RunlogError):
    """The keys are as they were."""


@frozen
class KeyExists(KeysError):
    """The name is taken (exit code 3)."""

    code: ClassVar[str] = "KEY_EXISTS"
    name: str

    @property
    def message(self) -> str:
        return (
            f"There is a key {self.name} already, and its secret cannot be shown again. Choose another name, or run "
            f"`runlog keys revoke {self.name}` first to give it a new secret."
        )


@frozen
class KeyUnknown(KeysError):
    """No key has the name (exit code 3)."""

    code: ClassVar[str] = "KEY_UNKNOWN"
    name: str

    @property
    def message(self) -> str:
        return f"There is no key {self.name}. `runlog keys list` shows those that there are."


@frozen
class KeysDamaged(KeysError):
    """The file of keys cannot be understood; nobody is let in by it (exit code 3)."""

    code: ClassVar[str] = "KEYS_DAMAGED"
    path: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"The keys in {self.path} cannot be read ({self.reason}), so no key counts. Restore that file; or move it "
            "away, and make new keys with `runlog keys add`."
        )


@frozen
class Key:
    """One key, as it is kept."""

    name: str
    role: Role
    sha256: bytes
    """Of the secret: 256 random bits need no salt and no slow hash."""
    created_at_utc: str

    @classmethod
    def of(cls, name: str, role: Role, secret: str, created_at_utc: str) -> Self:
        """Return the key whose holder has *secret*."""
        return cls(name, role, sha256(secret.encode()).digest(), created_at_utc)


@frozen
class Keys:
    """All keys of a server."""

    by_name: Mapping[str, Key]

    @classmethod
    def parse(cls, data: bytes, path: str) -> Self:
        """Return the keys that *data*, the file at *path*, holds.

        Raises:
            KeysDamaged: they cannot be understood.

        """
        try:
            facts = json.loads(data)
            if facts["format"] != FORMAT:
                raise ValueError(f"it is of format {facts['format']!r}, and this version reads {FORMAT}")
            keys = [_key(each) for each in facts["keys"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise KeysDamaged(path, " ".join(f"{type(error).__name__}: {error}".split())[:200]) from None
        return cls({key.name: key for key in keys})

    @property
    def data(self) -> bytes:
        """The bytes of the file that holds them."""
        listed = [
            {"name": key.name, "role": key.role, "sha256": key.sha256.hex(), "created_at_utc": key.created_at_utc}
            for key in self.by_name.values()
        ]
        return json.dumps({"format": FORMAT, "keys": listed}, indent=1).encode() + b"\n"

    def with_key(self, key: Key) -> "Keys":
        """Return these and *key*.

        Raises:
            KeyExists: its name is taken.

        """
        if key.name in self.by_name:
            raise KeyExists(key.name)
        return Keys({**self.by_name, key.name: key})

    def without(self, name: str) -> "Keys":
        """Return these but the key *name*.

        Raises:
            KeyUnknown: there is none.

        """
        if name not in self.by_name:
            raise KeyUnknown(name)
        return Keys({each: key for each, key in self.by_name.items() if each != name})

    def holder(self, token: str) -> Key | None:
        """Return the key that *token* (`<name>.<secret>`) is; None if it is none.

        A name that is not there costs what a wrong secret costs: the time tells no names.
        """
        if len(token) > _TOKEN_LENGTH_MAX:
            return None
        name, _, secret = token.rpartition(".")
        key = self.by_name.get(name)
        digest = sha256(secret.encode(errors="replace")).digest()
        is_right = compare_digest(digest, _NOBODYS_DIGEST if key is None else key.sha256)
        return key if is_right and secret else None


def is_name(text: str) -> bool:
    """Tell whether a key may be called so."""
    return _NAME.fullmatch(text) is not None and text not in _RESERVED


def _key(facts: Mapping[str, str]) -> Key:
    name, digest = facts["name"], facts["sha256"]
    if not is_name(name) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"the entry of {name[:80]!r} is not that of a key")
    return Key(name, Role(facts["role"]), bytes.fromhex(digest), str(facts["created_at_utc"]))
