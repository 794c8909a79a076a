"""Attachments on the pages: pictures as pictures, programs as text, and nothing that acts.

Only types that a browser shows without running anything are named as what they are, and each
goes out in a sandbox of its own, so that an SVG full of script is a picture and no more.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiofiles
from aiohttp import web
from attrs import frozen

from api.errors import AttachmentNotFound
from api.http.answers import has
from api.http.inputs import SERVICE, params
from api.http.runs import VIEW_PARAMS, view_asked
from api.reading import View
from api.service import Service
from eventlog.blobs import Blobs
from eventlog.strict_json import Fault
from projections.run.fold import view_dict

HEAD_CHARACTERS = 500
_HEAD_BYTES = 4 * HEAD_CHARACTERS
_HEADS_MAX = 20
"""So many files of a run are shown from inside; the others can be opened."""
IN_PAGE_BYTES_MAX = 1 << 20
"""A larger program is opened on a page of its own, not put into the run's."""
CHUNK_BYTES = 256 * 1024

_PICTURES = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/svg+xml"}
)
_STORED = re.compile(r"attachments/([0-9a-f]{64})", re.ASCII)
_TEXT_KINDS = frozenset({"gcode", "nc", "opplan"})
_TEXT_ENDS = (".nc", ".gcode", ".ngc", ".tap", ".txt", ".json", ".csv", ".log", ".md")
_TEXT_TYPES = frozenset({"application/json", "application/x-ndjson"})
_SANDBOX = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


@frozen
class Head:
    """The first characters of a file."""

    text: str
    is_whole: bool


@frozen
class Attachment:
    """An attachment as a page shows it."""

    facts: dict[str, Any]
    address: str
    is_there: bool
    is_picture: bool
    is_text: bool
    head: Head | None


def described(blobs: Blobs, run_id: str, attachments: Iterable[dict[str, Any]]) -> list[Attachment]:
    """Return how each of a run's *attachments* is shown."""
    found: list[Attachment] = []
    for facts in attachments:
        text = is_text(facts)
        heads = sum(one.head is not None for one in found)
        found.append(
            Attachment(
                facts,
                f"/rmos/runs/{run_id}/attachments/{facts['sha256']}",
                blobs.size(facts["sha256"]) == facts["size_bytes"],
                _media_type(facts) in _PICTURES,
                text,
                head(blobs, facts) if text and heads < _HEADS_MAX else None,
            )
        )
    return found


def head(blobs: Blobs, facts: dict[str, Any]) -> Head | None:
    """Return the beginning of an attachment as text; None if its bytes are not there."""
    if blobs.size(facts["sha256"]) != facts["size_bytes"]:
        return None
    with blobs.path(facts["sha256"]).open("rb") as file:
        data = file.read(_HEAD_BYTES)
    text = data.decode(errors="replace")
    return Head(text[:HEAD_CHARACTERS], len(text) <= HEAD_CHARACTERS and len(data) == facts["size_bytes"])


def is_text(facts: dict[str, Any]) -> bool:
    """Tell whether an attachment is shown as text."""
    kind = _media_type(facts)
    if kind in _PICTURES:
        return False
    named = facts["kind"].lower() in _TEXT_KINDS or facts["filename"].lower().endswith(_TEXT_ENDS)
    return named or kind.startswith("text/") or kind in _TEXT_TYPES


def stored_digest(run: dict[str, Any], path: str | None) -> str | None:
    """Return the digest of the attachment of *run* that *path* names; None if it names none."""
    found = _STORED.fullmatch(path or "")
    digests = {one["sha256"] for one in run["attachments"] or ()}
    return found[1] if found and found[1] in digests else None


def _media_type(facts: dict[str, Any]) -> str:
    return str(facts["mime"]).partition(";")[0].strip().lower()


async def show(request: web.Request) -> web.StreamResponse:
    """GET /rmos/runs/{run_id}/attachments/{sha256}: a picture, or text; nothing else is shown."""
    service, digest = request.app[SERVICE], request.match_info["sha256"]
    view = await _view(request)
    facts = next((one for one in view.state.attachments or () if one["sha256"] == digest), None)
    if facts is None:
        raise AttachmentNotFound(view.run_id, digest)
    if _media_type(facts) in _PICTURES:
        return await _send(request, service, view, facts, _media_type(facts))
    if is_text(facts):
        return await _send(request, service, view, facts, "text/plain; charset=utf-8")
    raise AttachmentNotFound(view.run_id, digest)


async def gcode(request: web.Request) -> web.StreamResponse:
    """GET /rmos/runs/{run_id}/gcode: the whole program as text, wherever it is kept."""
    service, view = request.app[SERVICE], await _view(request)
    run = await asyncio.to_thread(view_dict, view.json)
    text, path = run["outputs"]["gcode_text"], run["outputs"]["gcode_path"]
    if text is not None:
        headers = {**_SANDBOX, "Content-Type": "text/plain; charset=utf-8"}
        return web.Response(body=text.encode(), headers=headers)
    digest = stored_digest(run, path)
    facts = next((one for one in run["attachments"] or () if one["sha256"] == digest), None)
    if facts is None:
        raise AttachmentNotFound(view.run_id, str(path))
    return await _send(request, service, view, facts, "text/plain; charset=utf-8")


async def _view(request: web.Request) -> View:
    faults: list[Fault] = []
    given = params(request, *VIEW_PARAMS, faults=faults)
    return await view_asked(request.app[SERVICE], request.match_info["run_id"], given, faults)


async def _send(
    request: web.Request, service: Service, view: View, facts: dict[str, Any], form: str
) -> web.StreamResponse:
    digest, size = facts["sha256"], facts["size_bytes"]
    if service.blobs.size(digest) != size:
        raise AttachmentNotFound(view.run_id, digest)
    etag = f'"{digest}"'
    if has(request, etag):
        return web.Response(status=304, headers={**_SANDBOX, "ETag": etag})
    response = web.StreamResponse(headers={**_SANDBOX, "Content-Type": form, "ETag": etag})
    response.content_length = size
    await response.prepare(request)
    if request.method != "HEAD":
        async for chunk in _chunks(service.blobs, digest):
            await response.write(chunk)
    await response.write_eof()
    return response


async def _chunks(blobs: Blobs, digest: str) -> AsyncIterator[bytes]:
    async with aiofiles.open(blobs.path(digest), "rb") as file:
        while chunk := await file.read(CHUNK_BYTES):
            yield chunk
