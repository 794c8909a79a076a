"""The OpenAPI document: made of the router's own table of routes, so that none is left out. Pure.

A route without an operation stops the document, and a test finds an operation without a route. Pages for
people are named, no more: their form is nobody's contract.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any

from api.access.roles import BASE
from api.http.openapi import operations as spoken
from api.http.openapi.operations import ANY, Answer, Body, Operation, Parameter
from api.http.openapi.reading import RUNS
from api.http.openapi.refusals import ALWAYS, EXAMPLES, PAGES, QUERY, WITH_A_KEY, by_status, refusal
from api.http.openapi.results import SCHEMAS
from api.http.openapi.shapes import Schema
from api.http.openapi.watching import LOG, OUTSIDE
from api.http.openapi.writing import WRITES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TAGS = {
    "Runs": "Record runs, add to them, read them.",
    "Attachments": "Bytes that belong to a run.",
    "Compare": "How two runs differ.",
    "Events": "The log itself, event by event.",
    "Evidence": "Proofs that need no trust in this service.",
    "Stats": "Counts, for charts.",
    "Operators": "What keeps the service in order.",
    "Service": "Whether it lives, how it is, and what it offers.",
    "Pages": "What people look at, in a browser.",
    "Old names": "The same answers under the names that clients of the old store use.",
}
Handler = Callable[..., Any]
Route = tuple[str, str, Handler]
"""A method, a path with its patterns, and what answers."""

_PAGES, _WAY_TO_PAGES = "/rmos", "/"
_PATTERN = re.compile(r":[^{}]+\}")

OPERATIONS: Mapping[str, Operation] = {
    **{f"{key.partition(' ')[0]} {BASE}{key.partition(' ')[2]}": one for key, one in (RUNS | WRITES | LOG).items()},
    **OUTSIDE,
}
"""What every route does, by method and path."""


def template(path: str) -> str:
    """Return the path of a route without the patterns of its parts."""
    return _PATTERN.sub("}", path)


def document_of(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of these *routes*."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, handler in routes:
        name = template(path)
        key = f"{method} {name}"
        told = _page(method, name, handler) if is_page(name) else _operation(OPERATIONS[key], is_outside=key in OUTSIDE)
        paths.setdefault(name, {})[method.lower()] = told
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "Runlog",
            "version": version("runlog"),
            "summary": "An append-only, tamper-evident audit store for manufacturing runs.",
            "description": (
                "What is recorded never changes: there is no PATCH, PUT or DELETE. `HEAD` works where `GET` does. "
                "An answer to a write means that it is on disk; a retry under its `Idempotency-Key` records nothing."
            ),
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "examples": {code: {"summary": code, "value": body} for code, body in EXAMPLES.items()},
            "headers": {
                "X-Request-Id": {"description": "Names the request, here and in the server's log.", "required": True}
                | {"schema": {"type": "string"}},
                **{name: {"description": text, "schema": shape} for name, (shape, text) in spoken.HEADERS.items()},
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "<name>.<secret>",
                    "description": "A key, `Authorization: Bearer <name>.<secret>`, where the server has keys.",
                }
            },
        },
    }


def is_page(path: str) -> bool:
    """Tell whether a page for people, the way to one, or a file of one, is there."""
    return path in (_WAY_TO_PAGES, _PAGES) or path.startswith(f"{_PAGES}/")


def _page(method: str, path: str, handler: Handler) -> dict[str, Any]:
    summary = (handler.__doc__ or "").partition("\n")[0].partition(": ")[2] or path
    if path == _WAY_TO_PAGES or method == "POST":
        answer = Answer(303, "To the page.", headers=("Location",))
    else:
        answer = Answer(200, "The page.", {ANY: {}})
    codes = (*ALWAYS, *QUERY) if path == _WAY_TO_PAGES else PAGES
    return {
        "operationId": "_".join([method.lower(), *re.findall(r"\w+", path)]),
        "tags": ["Pages"],
        "summary": summary[:1].upper() + summary[1:],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ],
        "responses": {
            str(answer.status): _answer(answer),
            "default": {
                **refusal(list(codes), is_outside=True),
                "description": "Another page to go to, or one that says what is wrong.",
            },
        },
    }


def _operation(one: Operation, *, is_outside: bool) -> dict[str, Any]:
    refusals = by_status((*ALWAYS, *(() if one.is_open else WITH_A_KEY), *one.errors))
    responses = {str(answer.status): _answer(answer) for answer in one.answers}
    for status, codes in refusals.items():
        assert str(status) not in responses, (one.name, status)
        responses[str(status)] = {**refusal(codes, is_outside=is_outside), "headers": _headers(_of_refusal(status))}
    told: dict[str, Any] = {"operationId": one.name, "tags": [one.tag], "summary": one.summary}
    if one.description:
        told["description"] = one.description
    if one.is_open:
        told["security"] = [{}]
    if one.parameters:
        told["parameters"] = [_parameter(each) for each in one.parameters]
    if one.body is not None:
        told["requestBody"] = _body(one.body)
    told["responses"] = dict(sorted(responses.items()))
    return told


def _of_refusal(status: int) -> tuple[str, ...]:
    return {
        401: ("WWW-Authenticate",),
        416: ("Content-Range",),
        429: ("Retry-After",),
        503: ("Retry-After",),
    }.get(status, ())


def _parameter(one: Parameter) -> dict[str, Any]:
    told: dict[str, Any] = {"name": one.name, "in": one.where, "description": one.description, "schema": one.schema}
    if one.required:
        told["required"] = True
    elif one.where == "query":
        told["allowEmptyValue"] = True  # as if it was not there
    if one.example is not None:
        told["example"] = one.example
    return told


def _body(body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": body.schema}
    if body.example is not None:
        content["example"] = body.example
    return {"description": body.description, "required": True, "content": {body.media_type: content}}


def _answer(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.description, "headers": _headers(answer.headers)}
    if answer.content:
        told["content"] = {form: {"schema": shape} for form, shape in answer.content.items()}
    return told


def _headers(names: Iterable[str]) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}
