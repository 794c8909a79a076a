"""The outcome of the last verification that was asked to be remembered: told, not proven, to who looks at the page.

It lies at `<data>/verified.json`, is replaced as a whole, and nothing depends on it: whoever doubts it verifies anew.
"""

import json
import os
from pathlib import Path
from typing import Any, Self

from attrs import asdict, frozen

FILE = "verified.json"


@frozen
class Verified:
    """A verification; times are RFC 3339, *verdict* is what `runlog log verify --json` prints."""

    began: str
    ended: str
    verdict: dict[str, Any]

    @classmethod
    def last(cls, data_dir: Path) -> Self | None:
        """Return the one that is remembered in *data_dir*; None if there is none that can be read."""
        try:
            facts = json.loads((data_dir / FILE).read_bytes())
            verdict, times = facts["verdict"], (facts["began"], facts["ended"])
            numbers = [verdict[name] for name in ("events", "signed", "blobs", "bad")]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        is_told = isinstance(verdict["ok"], bool) if "ok" in verdict else False
        is_sound = all(isinstance(text, str) for text in times) and all(isinstance(one, int) for one in numbers)
        return cls(*times, verdict) if is_told and is_sound else None

    def keep(self, data_dir: Path) -> None:
        """Remember it in *data_dir* in the place of the one before.

        Raises:
            OSError: it cannot be written there; the one before stands.

        """
        draft = data_dir / f"{FILE}.tmp"
        draft.write_text(json.dumps(asdict(self)))
        os.replace(draft, data_dir / FILE)
