"""What a request carries, read strictly: parameters, bodies, headers."""

import asyncio
import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from aiohttp.http import RawRequestMessage
from attrs import evolve

from api.errors import BadRequest, BodyTooLarge, RequestTimeout, UnsupportedMediaType
from api.http.accept import JSON
from api.service import Service
from eventlog.canonical import sha256_json
from eventlog.clock import random_hex
from eventlog.event import IdempotencyKey, Origin
from eventlog.strict_json import Fault, parse
from projections.run.errors import InvalidCommand

SERVICE = web.AppKey("service", Service)
REQUEST_ID = "request_id"
ACTOR, ROLE = "actor", "role"
"""Under these a request holds the name and the role of its key, once it was let in with one."""
OWN_BOUND = "own_bound"
"""Under this a request says that its handler has a bound of its own for how long its client may not read."""
LARGE_BYTES = 65_536
"""Bodies above this are parsed off the event loop."""

ANONYMOUS = "anonymous"

Headed = web.BaseRequest | RawRequestMessage
"""A request, or the head of one."""


class BrokenFraming(TimeoutError):
    """What a body is read with once its chunks cannot be told apart.

    It is a TimeoutError because aiohttp, which reads on after an answer, takes no other for an end of the body.
    """


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


def request_id_of(request: Headed) -> str:
    """Return the request's own id if it is fit to be echoed, else a new one."""
    return _carried_request_id(request) or random_hex(16)


def _carried_request_id(request: Headed) -> str | None:
    given = request.headers.get("X-Request-Id")
    return given if given and len(given) <= 128 and given.isascii() and given.isprintable() else None


def actor_of(request: web.BaseRequest) -> str:
    """Return who sent the request: the name of a key, or `anonymous`."""
    return str(request.get(ACTOR, ANONYMOUS))


def params(request: web.BaseRequest, *known: str, faults: list[Fault] | None = None) -> dict[str, str]:
    """Return the query parameters that have a value; all must be *known* and stand once.

    Given a list of *faults*, it adds to them what is wrong, for the caller to refuse with its own.

    Raises:
        InvalidCommand: an unknown, repeated or undecodable parameter.

    """
    raw = request.rel_url.raw_query_string
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise InvalidCommand((Fault("?", "the query is not UTF-8, or has more than 200 fields"),)) from None
    found = [Fault(f"?{name[:80]}", _unknown_parameter(name, known)) for name in dict(pairs) if name not in known]
    names = [name for name, _ in pairs]
    found += [Fault(f"?{name}", "must stand once") for name in known if names.count(name) > 1]
    if faults is None:
        refuse(found)
    else:
        faults += found
    return {name: value for name, value in pairs if value}


def _unknown_parameter(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name[:80], known, n=1)
    if near:
        return f"is not a parameter of this route; did you mean {near[0]}?"
    return f"is not a parameter of this route; it takes {', '.join(known) or 'none'}"


def flag(given: dict[str, str], name: str, faults: list[Fault]) -> bool:
    """Return a `true`/`false` parameter; false if absent."""
    value = given.get(name, "false")
    if value not in ("true", "false"):
        faults.append(Fault(f"?{name}", "must be true or false"))
    return value == "true"


def stale_ok(given: dict[str, str], faults: list[Fault]) -> bool:
    """Return whether `?stale=ok` stands."""
    if given.get("stale", "ok") != "ok":
        faults.append(Fault("?stale", "must be ok, or absent"))
    return "stale" in given


def refuse(faults: list[Fault]) -> None:
    """Raise if there are faults.

    Raises:
        InvalidCommand: there are.

    """
    if faults:
        raise InvalidCommand(tuple(faults))


async def read_body(request: web.BaseRequest, bytes_max: int, idle_s: float) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: it is longer than *bytes_max*.
        RequestTimeout, BadRequest: as for `next_chunk`.

    """
    if (request.content_length or 0) > bytes_max:
        raise BodyTooLarge(bytes_max)
    content = request.content
    if content.is_eof():  # all of it is here: the usual case
        body = content.read_nowait()
    else:
        parts = bytearray()
        while not content.at_eof():
            parts += await next_chunk(request, idle_s)
            if len(parts) > bytes_max:
                raise BodyTooLarge(bytes_max)
        body = bytes(parts)
    if len(body) > bytes_max:
        raise BodyTooLarge(bytes_max)
    return body


async def next_chunk(request: web.BaseRequest, idle_s: float) -> bytes:
    """Return what has come of the body, waiting for at least a byte of it; empty at the end.

    Raises:
        RequestTimeout: nothing came for *idle_s* seconds.
        BadRequest: what came is not framed as HTTP says.

    """
    try:
        async with asyncio.timeout(idle_s):
            return await request.content.readany()
    except BrokenFraming as error:
        raise BadRequest(str(error)) from None
    except TimeoutError:
        raise RequestTimeout(idle_s) from None


def listed(request: Headed, name: str) -> str | None:
    """Return a header whose value is a list: the lines that it came in are one (RFC 9110, 5.3). None if it is absent."""
    lines = request.headers.getall(name, None)
    return None if lines is None else ", ".join(lines)


def check_type(request: Headed, wanted: str) -> None:
    """Refuse a body that by its headers is not plain *wanted* in UTF-8; other parameters of a type mean nothing here.

    Raises:
        UnsupportedMediaType: another type, or any encoding but identity.

    """
    check_not_encoded(request)
    given = request.headers.get("Content-Type", "")
    if given == wanted:
        return
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    charsets = {part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")}
    if kind != wanted or charsets - {"utf-8", "utf8"}:
        raise UnsupportedMediaType("Content-Type", given, wanted)


def check_not_encoded(request: Headed) -> None:
    """Refuse a compressed body.

    Raises:
        UnsupportedMediaType: it is.

    """
    encoding = listed(request, "Content-Encoding")
    if encoding is not None and any(part.strip().lower() not in ("identity", "") for part in encoding.split(",")):
        raise UnsupportedMediaType("Content-Encoding", encoding)


async def read_json(request: web.Request) -> tuple[Any, bool]:
    """Return the body's value, and whether the body was large (so work on it belongs off the event loop)."""
    settings = request.app[SERVICE].settings
    length = request.content_length
    if length is not None and length <= settings.body_bytes_max:
        check_type(request, JSON)  # before its body is read; where the length is not known, the size comes first
    body = await read_body(request, settings.body_bytes_max, settings.idle_timeout_s)
    if length is None:
        check_type(request, JSON)
    if len(body) > LARGE_BYTES:
        return await asyncio.to_thread(parse, body), True
    return parse(body), False


def key_of(request: Headed, faults: list[Fault] | None = None) -> str | None:
    """Return the Idempotency-Key, if there is one.

    Given a list of *faults*, it adds to them what is wrong, for the caller to refuse with its own.

    Raises:
        InvalidCommand: it stands more than once (which one a retry would have is not known), or is not fit to be one.

    """
    keys = request.headers.getall("Idempotency-Key", None)
    if keys is None:
        return None
    found = [Fault("Idempotency-Key", "must stand once")] if len(keys) > 1 else key_faults(keys[0])
    if faults is None:
        refuse(found)
    else:
        faults += found
    return keys[0]


def key_faults(key: str) -> list[Fault]:
    """Return what is wrong with an Idempotency-Key."""
    if 1 <= len(key) <= 255 and key.isascii() and key.isprintable():
        return []
    return [Fault("Idempotency-Key", "must be 1 to 255 printable ASCII characters")]


def sender_of(request: web.BaseRequest) -> Origin:
    """Return who sent the request and what it carried, but for its Idempotency-Key."""
    return sent_by(actor_of(request), request)


def sent_by(actor: str, request: Headed) -> Origin:
    """Return `sender_of` for a request that *actor* sent."""
    traceparent = request.headers.get("traceparent")
    if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
        traceparent = None  # as its specification says: one that cannot be read is as if it were not there
    return Origin(actor, _carried_request_id(request), traceparent)


async def origin_of(request: web.BaseRequest, query: dict[str, str], body: Any, *, is_large: bool = False) -> Origin:
    """Return `sender_of` with the Idempotency-Key, which was checked; *body* is what stands for it in the request's hash."""
    sender, key = sender_of(request), key_of(request)
    if key is None:
        return sender
    asked = what_is_asked(request.method, unquote(request.rel_url.raw_path), query, body)
    digest = await asyncio.to_thread(sha256_json, asked) if is_large else sha256_json(asked)
    return evolve(sender, idempotency=IdempotencyKey(key, digest))


def what_is_asked(method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
    """Return what tells whether two requests with one Idempotency-Key are the same."""
    return {"method": method, "path": path, "query": query, "body": body}
