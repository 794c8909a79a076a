"""The digest that goes out ahead of an upload, so that only what was meant is kept."""

import asyncio
import base64
import hashlib
from pathlib import Path


async def content_digest(content: bytes | Path) -> str:
    """Return the value of a Content-Digest field (RFC 9530); a file is read in pieces, off the event loop."""
    digest = await asyncio.to_thread(_sha256, content)
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


def _sha256(content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
