"""A witness as the log's operator names it: where it is asked, and the key that its lines are checked with. Pure."""

from typing import Self
from urllib.parse import urlsplit

from attrs import frozen

from eventlog.note import Note
from eventlog.signing import COSIGNATURE, KeyRefused, Verifier


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
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"the address must be like https://witness.example/log, not {url!r}")
        try:
            verifier = Verifier.parse(vkey.strip())
        except KeyRefused as error:
            raise ValueError(error.reason) from None
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
