"""Pages elsewhere that may read here: those of the origins that the settings name, and nobody else's.

They may only read. A POST from another origin is refused, whatever the settings say.
"""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

_READING = "GET, HEAD"
_ASKED_WITH = "Authorization, If-None-Match, Last-Event-ID, X-Request-Id"
_SHOWN = "ETag, Link, Retry-After, X-Projection-Position, X-Request-Id, X-Total-Count"
_PREFLIGHT_S = 600


def install(app: web.Application, named: Iterable[str]) -> None:
    """Let pages of the *named* origins read what *app* serves; without any, change nothing."""
    origins = frozenset(named)
    if not origins:
        return

    @web.middleware
    async def preflight(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or request.headers.get("Origin") not in origins:
            return await handler(request)
        allowed = {"Access-Control-Allow-Methods": _READING, "Access-Control-Allow-Headers": _ASKED_WITH}
        return web.Response(status=204, headers={**allowed, "Access-Control-Max-Age": str(_PREFLIGHT_S)})

    async def mark(request: web.BaseRequest, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["Vary"] = f"{headers['Vary']}, Origin" if "Vary" in headers else "Origin"
        origin = request.headers.get("Origin")
        if origin in origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _SHOWN

    app.middlewares.append(preflight)
    app.on_response_prepare.append(mark)
