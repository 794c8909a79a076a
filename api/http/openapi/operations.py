"""The words in which an operation is described: parameters, bodies, answers. Pure.

An operation says all that its route takes and may answer. What every route has (the request id, the refusals of
the guard) is added by `document.py`, once for all.
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from api.http.openapi.shapes import (
    BOOLEAN,
    COUNT,
    NO_CONTROLS,
    RUN_ID_PATTERN,
    SHA256_PATTERN,
    TEXT,
    Schema,
    const,
)

JSON, NDJSON, CSV, EVENT_STREAM = "application/json", "application/x-ndjson", "text/csv", "text/event-stream"
BYTES, PLAIN, HTML, ANY = "application/octet-stream", "text/plain", "text/html", "*/*"


@frozen
class Parameter:
    """One parameter of a path, a query or the headers."""

    name: str
    where: str
    schema: Schema
    description: str
    required: bool = False
    example: Any = None


@frozen
class Answer:
    """One answer that is no refusal: its forms by media type, and the headers that it may have."""

    status: int
    description: str
    content: Mapping[str, Schema] = field(factory=dict)
    headers: tuple[str, ...] = ()


@frozen
class Body:
    """What a request carries: its form, and an example of it."""

    media_type: str
    schema: Schema
    description: str
    example: Any = None


@frozen
class Operation:
    """What one route does."""

    tag: str
    name: str
    summary: str
    answers: tuple[Answer, ...]
    errors: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    description: str = ""
    is_open: bool = False
    """Whether it may be asked without a key, where there are keys."""


def query(name: str, schema: Schema, description: str, *, required: bool = False, example: Any = None) -> Parameter:
    """Return a parameter of the query."""
    return Parameter(name, "query", schema, description, required, example)


def header(name: str, schema: Schema, description: str, example: Any = None) -> Parameter:
    """Return a header that a client may send."""
    return Parameter(name, "header", schema, description, example=example)


def path(name: str, schema: Schema, description: str, example: Any) -> Parameter:
    """Return a part of the path."""
    return Parameter(name, "path", schema, description, required=True, example=example)


def lines(line: Schema, description: str) -> Schema:
    """Return the form of a text that holds one JSON value a line."""
    return {"type": "string", "description": description, "x-line": line}


RUN = path("run_id", {"type": "string", "pattern": RUN_ID_PATTERN}, "The id of a run.", "run_0123456789ab")
DIGEST = path(
    "sha256",
    {"type": "string", "pattern": SHA256_PATTERN},
    "The SHA-256 of the attachment's bytes.",
    "c78598b363ee02d12ba92d43bbbbb81c5df8ed6766ba62bc5c8e6a45b034a96f",
)
PROJECTION = path("name", TEXT, "The name of a projection.", "catalog")

STALE = query(
    "stale", const("ok"), "Do not wait for the newest writes; `X-Projection-Position` says how far it reaches."
)
WITHDRAWN = query("include_withdrawn", BOOLEAN, "Show a withdrawn run too, instead of 410.")
AT = query(
    "at",
    {"anyOf": [COUNT, {"type": "string", "format": "date-time"}]},
    "A seq, or an RFC 3339 time with an offset: the run as it was then. Before its creation it is 404.",
)
DATE_FROM, DATE_TO = (
    query(name, {"type": "string", "format": "date"}, f"{which} day, UTC, inclusive: YYYY-MM-DD.", example="2026-01-05")
    for name, which in (("date_from", "The first"), ("date_to", "The last"))
)
IF_NONE_MATCH = header("If-None-Match", TEXT, "The `ETag` of what you have; unchanged is 304.")
IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"},
    "The same request again under the same key gets the recorded answer; another request under it is 422.",
    "job-17",
)
KIND = query(
    "kind",
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": NO_CONTROLS},
    "What the attachment is.",
    required=True,
    example="gcode",
)
FILENAME = query(
    "filename",
    {"type": "string", "maxLength": 255, "pattern": r"^[^/\\\u0000-\u001f\u007f-\u009f]*$"},
    "Its name, without slashes; the digest by default.",
    example="part.nc",
)
CONTENT_DIGEST = header(
    "Content-Digest",
    {"type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$"},
    "The SHA-256 of the body, promised (RFC 9530); other bytes are refused.",
    "sha-256=:x4WYs2PuAtErqS1Du7u4HF347WdmumK8XI5qRbA0qW8=:",
)

HEADERS: Mapping[str, tuple[Schema, str]] = {
    "Content-Disposition": (TEXT, "The name to save it under."),
    "Content-Range": (TEXT, "Which bytes of how many."),
    "ETag": (TEXT, "Names this answer; weak when it is compressed."),
    "Idempotency-Replayed": (const("true"), "This is the recorded answer to the same request before."),
    "Link": (TEXT, 'The next page, `rel="next"`.'),
    "Location": (TEXT, "Where what was made is, or the page to go to."),
    "Retry-After": (TEXT, "Seconds after which it may have passed."),
    "X-Log-Position": (TEXT, "The seq of the last event that this write recorded."),
    "X-Projection-Position": (TEXT, "How far a `stale=ok` answer reaches."),
    "X-Total-Count": (TEXT, "The `total` of a list in a form that has no place for it."),
    "WWW-Authenticate": (TEXT, "That a key is wanted."),
}
"""Headers of answers; `X-Request-Id` is on all of them."""


def read(description: str, content: Mapping[str, Schema], *headers: str) -> tuple[Answer, ...]:
    """Return the answers of a read: 200, and 304 where the client has it already."""
    return (
        Answer(200, description, content, ("ETag", *headers)),
        Answer(304, "The client has it already.", headers=("ETag",)),
    )
