"""A witness as the log's operator names it: where it is asked, and the key that its lines are checked with. Pure."""

from typing import Self
from urllib.parse import urlsplit

from attrs import frozen

from eventlog.note import Note
from eventlog.signing import COSIGNATURE, KeyRefused, Verifier

NAME_BYTES_MAX = 255
"""So that a checkpoint with all its lines stays small."""


@frozen
class Witness:
    """A witness that this log asks."""

    url: str
    verifier: Verifier

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the witness of `<URL> <VKEY>`.

        Raises:
            ValueError: it is not one; its text says why.

        """
        url, _, vkey = text.strip().partition(" ")
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if not is_whole or parts.query or parts.fragment:
            raise ValueError(f"the address must be like https://witness.example/log, not {url!r}")
        try:
            verifier = Verifier.parse(vkey.strip())
        except KeyRefused as error:
            raise ValueError(error.reason) from None
        if len(verifier.name.encode()) > NAME_BYTES_MAX:
            raise ValueError(f"its name is longer than {NAME_BYTES_MAX} bytes")
        if verifier.kind != COSIGNATURE:
            raise ValueError(f"{verifier.name} is a key that signs logs, and not a witness's")
        return cls(url.rstrip("/"), verifier)

    @property
    def name(self) -> str:
        """What the witness is called: its key's name."""
        return self.verifier.name

    def has_signed(self, note: Note) -> bool:
        """Tell whether *note* bears a line of this witness that fits."""
        return any(self.verifier.made(each) and self.verifier.fits(each, note.text) for each in note.signatures)
