"""GET /openapi.json: the document of the very routes that this server has, made once, when it is first asked for."""

import asyncio
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import orjson
from aiohttp import web

from api.http.answers import answer
from api.http.inputs import params
from api.http.openapi.document import Route, document_of


class Document:
    """The document of these routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    @cached_property
    def value(self) -> dict[str, Any]:
        """The document, as values."""
        return document_of(self._routes)

    @cached_property
    def bytes(self) -> bytes:
        """The document, as JSON."""
        return orjson.dumps(self.value)


DOCUMENT = web.AppKey("document", Document)


async def read(request: web.Request) -> web.Response:
    """GET /openapi.json: what every route takes and answers."""
    params(request)
    return await answer(request, await asyncio.to_thread(lambda: request.app[DOCUMENT].bytes))
