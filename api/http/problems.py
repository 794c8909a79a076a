"""Errors to answers: one shape, one table of statuses. No trace and no server path ever leaves."""

from typing import Any

import attrs
import orjson
import structlog
from aiohttp import web

from api.errors import (
    BadRequest,
    BodyTooLarge,
    HeadersTooLarge,
    Internal,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    Unauthenticated,
)
from eventlog.errors import RunlogError

logger = structlog.get_logger("api.http")

STATUSES = {
    "MALFORMED_JSON": 400,
    "MALFORMED_REQUEST": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "RUN_NOT_FOUND": 404,
    "ATTACHMENT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "REQUEST_TIMEOUT": 408,
    "ARTIFACT_EXISTS": 409,
    "ADVISORY_CONFLICT": 409,
    "ATTACHMENT_CONFLICT": 409,
    "RUN_FULL": 409,
    "EVIDENCE_INCOMPLETE": 409,
    "RUN_WITHDRAWN": 410,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RANGE_NOT_SATISFIABLE": 416,
    "VALIDATION_ERROR": 422,
    "HASH_MISMATCH": 422,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "RATE_LIMITED": 429,
    "HEADERS_TOO_LARGE": 431,
    "INTERNAL": 500,
    "LOG_BUSY": 503,
    "LOG_HALTED": 503,
    "LOG_CORRUPT": 503,
    "LOG_DAMAGED": 503,
    "TREE_DAMAGED": 503,
    "UNKNOWN_EVENT": 503,
    "CHECKPOINT_BEHIND": 503,
    "PROJECTION_BEHIND": 503,
    "IMPORT_RECORD_DAMAGED": 503,
    "LOG_FULL": 507,
}
"""The status of every error code that HTTP answers with."""

_SECRET_FACTS = ("reason",)  # of a halt: the operating system's own words, which may hold a path


def problem(error: RunlogError, request_id: str) -> web.Response:
    """Return the answer for *error*: its facts at the top, and again under `detail`."""
    status = STATUSES[error.code]
    facts, body = facts_of(error), body_of(error, request_id)
    headers = {}
    if "retry_after_s" in facts:
        headers["Retry-After"] = str(facts["retry_after_s"])
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allow)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = challenge(error)
    return web.Response(
        status=status, body=orjson.dumps(body, default=str), content_type="application/json", headers=headers
    )


def challenge(error: Unauthenticated) -> str:
    """Return what `WWW-Authenticate` says (RFC 6750: no error where no key came)."""
    refused = ', error="invalid_token"' if error.reason == "unknown_key" else ""
    return f'Bearer realm="runlog"{refused}'


def body_of(error: RunlogError, request_id: str) -> dict[str, Any]:
    """Return the body of the answer for *error*."""
    return {**told(error), "request_id": request_id, "detail": {"error": error.code, **facts_of(error)}}


def told(error: RunlogError) -> dict[str, Any]:
    """Return what is said of *error* wherever it is said: its facts, its code, its message."""
    return {**facts_of(error), "error": error.code, "message": _text(error.message)}


def facts_of(error: RunlogError) -> dict[str, Any]:
    """Return the facts of *error* that may leave the process."""
    facts = _plain(error.facts)
    if error.code == "LOG_HALTED":
        return {name: fact for name, fact in facts.items() if name not in _SECRET_FACTS}
    return facts


def of_aiohttp(error: web.HTTPException, request: web.BaseRequest) -> RunlogError:
    """Return what an exception that aiohttp raised itself means here."""
    match error.status:
        case 404:
            return NotFound(request.path)
        case 405 if isinstance(error, web.HTTPMethodNotAllowed):
            return MethodNotAllowed(request.method[:40], tuple(sorted(error.allowed_methods)))
        case 413:
            return BodyTooLarge(getattr(error, "max_size", 0))
        case 431:
            return HeadersTooLarge()
        case status if status < 500:
            return BadRequest(error.reason or "not understood")
        case _:
            return Internal()


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Return *facts* as JSON has them."""
    return {name: _plain_value(fact) for name, fact in facts.items()}


def _plain_value(fact: Any) -> Any:
    if isinstance(fact, tuple):
        return [attrs.asdict(item) if attrs.has(type(item)) else item for item in fact]
    return _text(fact) if isinstance(fact, str) else fact


def _text(text: str) -> str:
    """Return *text* fit for JSON: a header may hold bytes that are no UTF-8."""
    return text.encode(errors="replace").decode()
