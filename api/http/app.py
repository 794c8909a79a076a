"""The application: routes, and the one guard that every request passes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from api.errors import BadRequest, Forbidden, Internal, MethodNotAllowed
from api.http import admin, aliases, attachments, batch, cors, events, health, imports, listing, log, runs, stats
from api.http.answers import compress
from api.http.inputs import BASE, REQUEST_ID, SERVICE, request_id_of
from api.http.live import LIVE, Live
from api.http.problems import of_aiohttp, problem
from api.http.ready import SAFE_HEADERS, SERVER
from api.http.unread import UNREAD, UnreadOfAll
from api.service import Service
from eventlog import logging
from eventlog.errors import RunlogError

logger = structlog.get_logger("api.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Fixed routes stand before patterns: `diff` and `verify` are never read as ids.
_RUN = f"{BASE}/runs/{{run_id:[^/]+}}"
ROUTES = (
    ("GET", "/healthz", health.healthz),
    ("GET", "/readyz", health.readyz),
    ("GET", "/metrics", health.metrics),
    ("GET", f"{BASE}/admin/projections", admin.projections),
    ("POST", f"{BASE}/admin/projections/{{name:[^/]+}}/rebuild", admin.rebuild),
    ("POST", f"{BASE}/admin/projections/{{name:[^/]+}}/retry", admin.retry),
    ("POST", f"{BASE}/admin/import", imports.import_records),
    ("POST", f"{BASE}/admin/runs/{{run_id:[^/]+}}/withdraw", imports.withdraw),
    ("GET", f"{BASE}/stats", stats.read),
    ("POST", f"{BASE}/runs", runs.create),
    ("POST", f"{BASE}/runs/batch", batch.create_batch),
    ("GET", f"{BASE}/events", events.read_events),
    ("GET", f"{BASE}/log/checkpoint", log.checkpoint),
    ("GET", f"{BASE}/log/key", log.key),
    ("GET", f"{BASE}/log/tile/{{path:.+}}", log.tile),
    ("GET", f"{BASE}/log/proof/consistency", log.consistency),
    ("GET", f"{BASE}/runs", listing.list_runs),
    ("GET", f"{BASE}/runs/diff", runs.compare),
    ("GET", f"{BASE}/runs/recent", aliases.recent),
    ("GET", f"{BASE}/runs/query/recent", aliases.query_recent),
    ("GET", f"{BASE}/runs_v2/diff/{{a:[^/]+}}/{{b:[^/]+}}", aliases.compare),
    ("GET", _RUN, runs.read),
    ("GET", f"{_RUN}/download", runs.download),
    ("GET", f"{_RUN}/events", runs.run_events),
    ("GET", f"{_RUN}/proof", log.run_proof),
    ("GET", f"{_RUN}/advisories", runs.advisories),
    ("POST", f"{_RUN}/attach-advisory", runs.attach_advisory),
    ("POST", f"{_RUN}/explanation", runs.set_explanation),
    ("POST", f"{_RUN}/attachments", attachments.upload),
    ("GET", f"{_RUN}/attachments", attachments.list_attachments),
    ("GET", f"{_RUN}/attachments/verify", attachments.verify),
    ("GET", f"{_RUN}/attachments/{{sha256:[^/]+}}", attachments.read),
    ("GET", f"{_RUN}/attachments/{{sha256:[^/]+}}/download", attachments.download),
)

_CHANGING = frozenset({"PATCH", "PUT", "DELETE"})


def make_app(service: Service) -> web.Application:
    """Return the application that serves *service*."""
    hosts = frozenset(name.lower() for name in (service.settings.host, *service.settings.allowed_host))
    metrics = health.Metrics()
    metrics.watch(service)
    app = web.Application(middlewares=[_guard(hosts, metrics)])
    app[SERVICE], app[health.METRICS] = service, metrics
    app[UNREAD], app[LIVE] = UnreadOfAll(), Live()
    service.log.on_commit(app[LIVE].committed)
    app.on_shutdown.append(_end_streams)
    app[imports.STOPPING] = asyncio.Event()
    app.on_shutdown.append(imports.stop)
    app.on_response_prepare.append(_mark)
    cors.install(app, service.settings.cors_origin)
    for method, path, handler in ROUTES:
        if method == "GET":
            app.router.add_get(path, handler, expect_handler=_expect)
        else:
            app.router.add_route(method, path, handler, expect_handler=_expect)
    return app


async def _end_streams(app: web.Application) -> None:
    app[LIVE].end()


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Bid a client that asks first to send its body; refuse what else it may expect."""
    expected = request.headers.get("Expect", "")
    if expected.lower() != "100-continue":
        request[REQUEST_ID] = request_id_of(request)
        return problem(BadRequest("only `Expect: 100-continue` is understood"), request[REQUEST_ID])
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # what aiohttp's own handler does: this was not the answer yet
    return None


async def _mark(request: web.BaseRequest, response: web.StreamResponse) -> None:
    headers = response.headers
    headers["X-Request-Id"] = request.get(REQUEST_ID) or request_id_of(request)
    headers["Server"] = SERVER
    if "Content-Security-Policy" not in headers:
        headers.extend(SAFE_HEADERS)


def _guard(hosts: frozenset[str], metrics: health.Metrics) -> Middleware:
    """Return the middleware: who may ask, which id the request has, and what becomes of errors."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[REQUEST_ID] = request_id_of(request)
        logging.REQUEST_ID.set(request_id)
        response: web.StreamResponse
        try:
            _check_sender(request, hosts)
            _check_method(request)
            response = await handler(request)
        except RunlogError as error:
            response = problem(error, request_id)
        except web.HTTPException as error:
            response = problem(of_aiohttp(error, request), request_id)
        except ConnectionError:
            raise  # the client is gone: there is nobody to answer
        except Exception:
            logger.exception("http.failed", method=request.method, path=request.path)
            response = problem(Internal(), request_id)
        if isinstance(response, web.Response) and response.status >= 400:
            compress(request, response)
        route = request.match_info.route.resource
        metrics.count(request.method[:16], route.canonical if route else "unknown", response.status)
        return response

    return guard


def _check_sender(request: web.Request, hosts: frozenset[str]) -> None:
    """Refuse a request that a page elsewhere may have sent.

    Raises:
        Forbidden: `Host` is not ours, or a POST comes from another origin.

    """
    host = request.headers.get("Host", "")
    if not _is_ours(host, hosts):
        raise Forbidden("Host", host)
    if request.method == "POST":
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin)[:2] != (request.scheme, host):
            raise Forbidden("Origin", origin)
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            raise Forbidden("Sec-Fetch-Site", "cross-site")


@lru_cache(256)
def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in hosts or name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _check_method(request: web.Request) -> None:
    """Refuse to change anything under the base, whatever the path.

    Raises:
        MethodNotAllowed: PATCH, PUT or DELETE.

    """
    if request.method in _CHANGING and (request.path == BASE or request.path.startswith(BASE + "/")):
        unrouted = request.match_info.http_exception
        known = isinstance(unrouted, web.HTTPMethodNotAllowed)
        allowed = tuple(sorted(unrouted.allowed_methods)) if known else ("GET", "HEAD")  # type: ignore[union-attr]
        raise MethodNotAllowed(request.method, allowed)
