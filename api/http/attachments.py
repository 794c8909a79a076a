"""Attachments: bytes that belong to a run, streamed in constant memory, never changed."""

import base64
import binascii
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import aiofiles
from aiohttp import web

from api.access.roles import BASE
from api.errors import AttachmentNotFound, BodyTooLarge, RangeNotSatisfiable
from api.http.answers import answer, has, outcome_answer
from api.http.inputs import (
    SERVICE,
    actor_of,
    check_not_encoded,
    flag,
    key_of,
    listed,
    next_chunk,
    origin_of,
    params,
    refuse,
    stale_ok,
)
from api.http.runs import stale_headers
from api.http.wire import has_controls
from api.reading import View
from api.service import Service, logger
from eventlog.blobs import BlobMismatch
from eventlog.canonical import canonical
from eventlog.errors import RunlogError
from eventlog.event import IdempotencyKey
from eventlog.strict_json import Fault
from projections.run import events
from projections.run.decide import decide_attachment
from projections.run.errors import HashMismatch, RunNotFound, RunWithdrawn
from projections.run.events import is_run_id
from projections.run.model import AddAttachment, RunState
from projections.run.old_names import attachment_row

CHUNK_BYTES = 256 * 1024
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,1000})-(\d{0,1000})", re.ASCII | re.IGNORECASE)


async def upload(request: web.Request) -> web.Response:
    """POST /runs/{id}/attachments: the raw bytes are the body; the blob is durable before its event is."""
    service, run_id = request.app[SERVICE], request.match_info["run_id"]
    settings = service.settings
    if (request.content_length or 0) > settings.attachment_bytes_max:
        raise BodyTooLarge(settings.attachment_bytes_max)

    async def chunks() -> AsyncIterator[bytes]:
        while not request.content.at_eof():
            yield await next_chunk(request, settings.idle_timeout_s)

    try:
        query, mime, expected = _checked(request)
    except RunlogError:
        if request.content_length is None:  # its size comes first
            await _read_through(chunks(), settings.attachment_bytes_max, None)
        raise
    await service.fresh()
    if not _may_be_replay(request, service):
        try:
            service.view(run_id)  # a body for a run that is not there must not be stored first
        except (RunNotFound, RunWithdrawn):
            if expected is not None or request.content_length is None:  # what is wrong with the body is told first
                await _read_through(chunks(), settings.attachment_bytes_max, expected)
            raise
    try:
        blob = await service.blobs.put(chunks(), bytes_max=settings.attachment_bytes_max, expected_sha256=expected)
    except BlobMismatch as error:
        raise _mismatch(error) from None
    origin = await origin_of(request, query, {"sha256": blob.sha256, "mime": mime})
    command = AddAttachment(blob.sha256, query["kind"], mime, query.get("filename", blob.sha256), blob.size_bytes)

    def decide(state: RunState) -> dict[str, Any] | None:
        attachment = decide_attachment(state, run_id, command)
        return None if attachment is None else {"attachment": attachment}

    outcome = await service.add(run_id, events.ATTACHMENT_ADDED, decide, origin)
    asked = (command.kind, command.mime, command.filename)
    facts = _facts(outcome.view, blob.sha256, asked)
    if outcome.events and not outcome.replayed:
        logger.info(
            "attachment.added", run_id=run_id, sha256=blob.sha256, size_bytes=blob.size_bytes, seq=outcome.position
        )
    status = 201 if outcome.events else 200
    location = f"{BASE}/runs/{run_id}/attachments/{blob.sha256}" if outcome.events else None
    return await outcome_answer(request, outcome, status=status, body=canonical(facts), location=location)


async def _read_through(chunks: AsyncIterator[bytes], bytes_max: int, expected: str | None) -> None:
    """Read what nobody will keep.

    Raises:
        BodyTooLarge: there are more than *bytes_max*.
        HashMismatch: they do not have the digest *expected*.

    """
    digest, size = sha256(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise BodyTooLarge(bytes_max)
        digest.update(chunk)
    if expected not in (None, digest.hexdigest()):
        raise _mismatch(BlobMismatch(str(expected), digest.hexdigest()))


def _mismatch(error: BlobMismatch) -> HashMismatch:
    return HashMismatch((Fault("Content-Digest", str(error)),))


def _may_be_replay(request: web.Request, service: Service) -> bool:
    """Tell whether the request's key was used before, so that its answer may not depend on the run as it is."""
    key = key_of(request, [])  # what is wrong with it is told in its turn
    return key is not None and service.log.key_use(actor_of(request), IdempotencyKey(key, "")) is not None


def _checked(request: web.Request) -> tuple[dict[str, str], str, str | None]:
    """Return the parameters, the media type, and the digest that the client promises, in hex.

    Raises:
        UnsupportedMediaType: the body is compressed.
        InvalidCommand: with every fault of the metadata.

    """
    check_not_encoded(request)
    faults: list[Fault] = []
    query = params(request, "kind", "filename", faults=faults)
    key_of(request, faults)
    mime = request.headers.get("Content-Type", "application/octet-stream")
    if "kind" not in query:
        faults.append(Fault("?kind", "is required: what the attachment is, such as gcode or preview"))
    elif len(query["kind"]) > 64 or has_controls(query["kind"]):
        faults.append(Fault("?kind", "must have at most 64 characters, none of them a control character"))
    filename = query.get("filename", "")
    if len(filename) > 255 or has_controls(filename) or "/" in filename or "\\" in filename:
        faults.append(Fault("?filename", "must have at most 255 characters, no slashes and no control characters"))
    if len(mime) > 255 or not mime.isascii() or not mime.isprintable() or "/" not in mime:
        faults.append(Fault("Content-Type", "must be a media type, such as image/png"))
    digest = listed(request, "Content-Digest")
    expected = None
    if digest is not None:
        expected = _hex_of(digest)
        if expected is None:
            faults.append(Fault("Content-Digest", "must be sha-256=:<base64 of 32 bytes>: (RFC 9530)"))
    refuse(faults)
    return query, mime, expected


def _hex_of(digest: str) -> str | None:
    members = [member.strip() for member in digest.split(",")]
    ours = [member for member in members if member.startswith("sha-256=")]
    found = _DIGEST.fullmatch(ours[-1]) if ours else None  # of equal keys the last counts (RFC 8941, 3.2)
    if found is None:
        return None
    try:
        raw = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    return raw.hex() if len(raw) == 32 else None


async def list_attachments(request: web.Request) -> web.Response:
    """GET /runs/{id}/attachments."""
    view, headers = await _view(request)
    rows = [
        {
            **one,
            **attachment_row(one),
            "download_url": f"{BASE}/runs/{view.run_id}/attachments/{one['sha256']}/download",
        }
        for one in view.state.attachments or ()
    ]
    body = {"run_id": view.run_id, "attachments": rows, "count": len(rows)}
    return await answer(request, canonical(body), etag=f'{view.etag[:-1]}-attachments"', headers=headers)


async def read(request: web.Request) -> web.Response:
    """GET /runs/{id}/attachments/{sha256}: its facts, and whether its bytes are there."""
    view, headers = await _view(request)
    facts = _facts(view, request.match_info["sha256"])
    exists = request.app[SERVICE].blobs.size(facts["sha256"]) == facts["size_bytes"]
    body = {"run_id": view.run_id, "attachment": facts, "exists": exists}
    return await answer(request, canonical(body), headers=headers)


async def verify(request: web.Request) -> web.Response:
    """GET /runs/{id}/attachments/verify: hash every blob again."""
    view, headers = await _view(request)
    blobs = request.app[SERVICE].blobs
    results = [
        {
            "sha256": one["sha256"],
            "filename": one["filename"],
            "valid": await blobs.verify(one["sha256"], one["size_bytes"]),
        }
        for one in view.state.attachments or ()
    ]
    body = {"run_id": view.run_id, "all_valid": all(one["valid"] for one in results), "results": results}
    return await answer(request, canonical(body), headers=headers)


async def download(request: web.Request) -> web.StreamResponse:
    """GET /runs/{id}/attachments/{sha256}/download: the bytes, or a range of them."""
    view, headers = await _view(request)
    facts = _facts(view, request.match_info["sha256"])
    digest, size = facts["sha256"], facts["size_bytes"]
    blobs = request.app[SERVICE].blobs
    if blobs.size(digest) != size:
        raise AttachmentNotFound(view.run_id, digest)
    etag = f'"{digest}"'
    headers |= {
        "Content-Type": facts["mime"],
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(facts['filename'], safe='')}",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if has(request, etag):
        return web.Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    wanted = _range(request, size, etag)
    start, end = wanted or (0, size)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response = web.StreamResponse(status=206 if wanted else 200, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    if request.method != "HEAD":
        async with aiofiles.open(blobs.path(digest), "rb") as file:
            await file.seek(start)
            left = end - start
            while left and (chunk := await file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                await response.write(chunk)
    await response.write_eof()
    return response


def _range(request: web.Request, size: int, etag: str) -> tuple[int, int] | None:
    """Return the one range that is asked for; None for the whole (many ranges, or none that can be read)."""
    given = request.headers.get("Range") if request.method == "GET" else None  # it means nothing else (RFC 9110, 14.2)
    if given is None or request.headers.get("If-Range", etag) != etag:
        return None
    found = _RANGE.fullmatch(given.strip())
    if not found or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size
        start = size if int(found[2]) == 0 else start
    else:
        start, end = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(given, size)
    return start, end


async def _view(request: web.Request) -> tuple[View, dict[str, str]]:
    service, run_id = request.app[SERVICE], request.match_info["run_id"]
    faults: list[Fault] = []
    given = params(request, "stale", "include_withdrawn", faults=faults)
    stale = stale_ok(given, faults)
    include_withdrawn = flag(given, "include_withdrawn", faults)
    refuse(faults)
    if not is_run_id(run_id):
        raise RunNotFound(run_id)
    await service.fresh(stale_ok=stale)
    return service.view(run_id, include_withdrawn=include_withdrawn), stale_headers(service, stale=stale)


def _facts(view: View, digest: str, asked: tuple[str, str, str] | None = None) -> dict[str, Any]:
    """Return the attachment of that digest; of several, the one whose kind, type and name are *asked*, else the first."""
    found = [one for one in view.state.attachments or () if one["sha256"] == digest]
    if not found:
        raise AttachmentNotFound(view.run_id, digest)
    same = (one for one in found if (one["kind"], one["mime"], one["filename"]) == asked)
    return dict(next(same, found[0]))
