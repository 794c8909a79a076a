"""One way to make a page: a template, its values, and the policy that lets nothing but our own files act on it.

Templates escape all that they are given; no page holds a script or a style of its own, so nothing
that stands in a run can ever become one.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web

from api.http.answers import answer
from api.http.inputs import ACTOR, ROLE
from api.web import assets, wording
from api.web.first_run import first_run, is_log_empty

_HTML = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, a browser hides the Origin of our own forms, and they are refused
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
"""What every page is sent with, /docs too."""


def install(app: web.Application) -> None:
    """Have *app* know the templates."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= wording.FILTERS
    environment.globals |= {"asset": assets.address, "first_run": first_run, "is_log_empty": is_log_empty}


async def page(
    request: web.Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> web.Response:
    """Return *template* with *values*, rendered off the event loop: what a run holds may be large."""
    values = {"path": request.path, "request": request} | values
    values["signed_in"] = {"name": request[ACTOR], "role": request[ROLE]} if ROLE in request else None
    html = await asyncio.to_thread(aiohttp_jinja2.render_string, template, request, values)
    told = {**HEADERS, **(headers or {})}
    if status >= 400:
        return web.Response(status=status, body=html.encode(), headers={**told, "Content-Type": _HTML})
    return await answer(request, html.encode(), status=status, headers=told, form=_HTML, varies="HX-Request")


def is_fragment(request: web.Request) -> bool:
    """Tell whether a part of a page is asked for, by htmx; never where the browser shows it as a page."""
    return request.headers.get("HX-Request") == "true"
