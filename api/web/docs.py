"""GET /docs: the API's own document as a page, made of the same values, readable without scripts and without a network."""

import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import web
from attrs import frozen

from api.http.inputs import params
from api.http.openapi.operations import ANY, BYTES
from api.http.openapi.served import DOCUMENT
from api.http.openapi.shapes import NATIVE_RUN_ID_PATTERN, RUN_ID, SHA256, TIME
from api.http.problems import STATUSES
from api.web.page import page

_REF = "#/components/schemas/"
_NAMED_PATTERNS = {
    SHA256["pattern"]: "64 lower-case hex digits",
    RUN_ID["pattern"]: "id of a run",
    NATIVE_RUN_ID_PATTERN: "`run_` and 12 lower-case hex digits",
    TIME["pattern"]: "time, RFC 3339 in UTC",
}
_PAGES = "Pages"


@frozen
class Row:
    """One field of a shape: its name below the shape, what it holds, and the shape that this refers to."""

    name: str
    kind: str
    shape: str | None
    is_required: bool
    text: str


async def show(request: web.Request) -> web.Response:
    """GET /docs: what every route takes and answers, for people."""
    params(request)
    document = request.app[DOCUMENT].value
    return await page(
        request,
        "docs.html",
        document=document,
        groups=list(_groups(document, f"{request.scheme}://{request.host}")),
        shapes=[(name, shape, list(rows(shape))) for name, shape in document["components"]["schemas"].items()],
        errors=_errors(document),
    )


def _groups(document: dict[str, Any], address: str) -> Iterator[tuple[dict[str, str], list[dict[str, Any]]]]:
    """Yield each tag with what is to be told of its operations."""
    of_tag: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            told = {"method": method.upper(), "path": path, "parameters": [], **one}
            told["curl"] = _curl(told, address)
            told["fields"] = [(each, *kind_of(each["schema"])) for each in told["parameters"]]
            of_tag.setdefault(one["tags"][0], []).append(told)
    for tag in document["tags"]:
        if tag["name"] in of_tag and tag["name"] != _PAGES:
            yield tag, of_tag[tag["name"]]


def _errors(document: dict[str, Any]) -> list[tuple[int, str, dict[str, Any]]]:
    """Return every error: its status, its code, an example."""
    examples = document["components"]["examples"]
    return sorted((status, code, examples[code]["value"]) for code, status in STATUSES.items())


def _curl(one: dict[str, Any], address: str) -> str:
    """Return the command that asks for it, with the examples that the document gives."""
    path, asked = one["path"], {}
    for each in one["parameters"]:
        if each["in"] == "path" and "example" in each:
            path = path.replace(f"{{{each['name']}}}", str(each["example"]))
        elif each["in"] == "query" and each.get("required"):
            asked[each["name"]] = each["example"]
    words = ["curl", "-s"]
    if one["method"] != "GET":
        words += ["-X", one["method"]]
    words.append(address + path + (f"?{urlencode(asked)}" if asked else ""))
    for form, content in one.get("requestBody", {}).get("content", {}).items():
        words += ["-H", f"Content-Type: {BYTES if form == ANY else form}"]
        example = content.get("example")
        words += ["-d", orjson.dumps(example).decode()] if example else ["--data-binary", "@FILE"]
    return shlex.join(words)


def rows(shape: dict[str, Any], prefix: str = "") -> Iterator[Row]:
    """Yield the fields of *shape*, and below each those of an object that has no name of its own."""
    for name, inner in shape.get("properties", {}).items():
        kind, named = kind_of(inner)
        yield Row(prefix + name, kind, named, name in shape.get("required", ()), inner.get("description", ""))
        below, path = _innermost(inner, prefix + name)
        yield from rows(below, f"{path}.")


def _innermost(shape: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the object that *shape* is or holds, and the path of its fields."""
    if "items" in shape:
        return _innermost(shape["items"], f"{path}[]")
    if isinstance(shape.get("additionalProperties"), dict):
        return _innermost(shape["additionalProperties"], f"{path}.*")
    for each in shape.get("anyOf", ()):
        if "properties" in each:
            return each, path
    return shape, path


def kind_of(shape: dict[str, Any]) -> tuple[str, str | None]:
    """Return what a value of *shape* is, in words, and the name of the shape that it refers to."""
    if "$ref" in shape:
        return "", shape["$ref"].removeprefix(_REF)
    if "anyOf" in shape:
        kinds = [kind_of(each) for each in shape["anyOf"]]
        named = next((name for _, name in kinds if name), None)
        return " or ".join(kind or str(name) for kind, name in kinds), named
    if "const" in shape:
        return f"`{shape['const']}`", None
    if "enum" in shape:
        return " | ".join(map(str, shape["enum"])), None
    kind = shape.get("type", "any JSON")
    names = [kind] if isinstance(kind, str) else list(kind)
    if names[0] == "array":
        inner, named = kind_of(shape["items"])
        names[0] = f"array of {inner or named}"
        return " or ".join(names), named
    names[0] += _bounds(shape)
    return " or ".join(names), None


def _bounds(shape: dict[str, Any]) -> str:
    told = [_NAMED_PATTERNS[shape["pattern"]]] if shape.get("pattern") in _NAMED_PATTERNS else []
    if "format" in shape:
        told.append(shape["format"])
    if "minimum" in shape:
        told.append(f"from {shape['minimum']}" + (f" to {shape['maximum']}" if "maximum" in shape else ""))
    if "maxLength" in shape:
        told.append(
            f"{shape['minLength']} to {shape['maxLength']:,} characters"
            if "minLength" in shape
            else f"up to {shape['maxLength']:,} characters"
        )
    return f" ({', '.join(told)})" if told else ""
