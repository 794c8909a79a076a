"""Whole answers: compressed where asked, and every read conditional: unchanged is 304."""

import asyncio
import zlib
from collections.abc import Mapping
from hashlib import sha256

from aiohttp import web

from api.http.accept import CSV, JSON
from api.http.inputs import LARGE_BYTES, Headed, listed
from api.http.ready import ReadyAnswer, fits, ready_bytes
from api.reading import View
from api.service import Outcome

COMPRESS_BYTES_MIN = 1024


async def answer(
    request: web.Request,
    body: bytes,
    *,
    status: int = 200,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
    form: str = JSON,
    varies: str | None = None,
) -> web.Response:
    """Return *body*, of media type *form*; 304 where the client has it already.

    A read that has no *etag* of its own gets the digest of its body. *varies* is the header that chose the form.
    """
    told = dict(headers or {})
    if etag is None and request.method in ("GET", "HEAD"):
        etag = f'"{sha256(body).hexdigest()[:32]}"'
    vary = "Accept-Encoding" if varies is None else f"Accept-Encoding, {varies}"
    compress = len(body) > COMPRESS_BYTES_MIN and _takes_gzip(request)
    if etag is not None:
        told["ETag"] = f"W/{etag}" if compress else etag
        if request.method in ("GET", "HEAD") and has(request, etag):
            return web.Response(status=304, headers={"Vary": vary, **told})
    if not compress and form == JSON and varies is None and fits(request, body):
        return ReadyAnswer(request, body, status, told)
    told |= {"Content-Type": f"{form}; charset=utf-8" if form == CSV else form, "Vary": vary}
    if compress:
        body = await asyncio.to_thread(_gzip, body) if len(body) > LARGE_BYTES else _gzip(body)
        told["Content-Encoding"] = "gzip"
    return web.Response(status=status, body=body, headers=told)


async def view_answer(request: web.Request, view: View, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a run."""
    return await answer(request, view.json, etag=view.etag, headers=headers)


async def outcome_answer(
    request: web.Request, outcome: Outcome, *, status: int, body: bytes | None = None, location: str | None = None
) -> web.Response:
    """Return what a command led to: the run, or *body*."""
    body = outcome.view.json if body is None else body
    return await answer(
        request, body, status=status, etag=outcome.view.etag, headers=_outcome_headers(outcome, location)
    )


def created_bytes(request: Headed, outcome: Outcome, location: str, request_id: str) -> bytes:
    """Return the whole 201 of a new run, as `outcome_answer` gives it; for one whose view is small."""
    body, etag = outcome.view.json, outcome.view.etag
    told = _outcome_headers(outcome, location)
    if len(body) > COMPRESS_BYTES_MIN and _takes_gzip(request):
        body, etag = _gzip(body), f"W/{etag}"
        told["Content-Encoding"] = "gzip"
    told["ETag"] = etag
    return ready_bytes(201, request_id, body, told)


def _outcome_headers(outcome: Outcome, location: str | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if location is not None:
        headers["Location"] = location
    if outcome.position is not None:
        headers["X-Log-Position"] = str(outcome.position)
    if outcome.replayed:
        headers["Idempotency-Replayed"] = "true"
    return headers


def compress(request: web.BaseRequest, response: web.Response) -> None:
    """Compress an answer that is not compressed yet, where asked and worth it."""
    response.headers["Vary"] = "Accept-Encoding"
    body = response.body
    if isinstance(body, bytes) and len(body) > COMPRESS_BYTES_MIN and _takes_gzip(request):
        response.body = _gzip(body)
        response.headers["Content-Encoding"] = "gzip"


def _takes_gzip(request: Headed) -> bool:
    accepted = listed(request, "Accept-Encoding")
    if not accepted:
        return False
    wanted: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        name, _, quality = part.partition(";")
        wanted[name.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return wanted.get("gzip", wanted.get("*", False))


def has(request: web.BaseRequest, etag: str) -> bool:
    """Tell whether If-None-Match names *etag*; by RFC 9110 weakly, so a compressed one counts too."""
    given = listed(request, "If-None-Match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
