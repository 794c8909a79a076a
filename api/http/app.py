"""The application: routes, and the one guard that every request passes."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from api.access.roles import BASE
from api.errors import Internal, MethodNotAllowed, ProjectionBehind
from api.http import admin, aliases, attachments, batch, cors, events, health, imports, listing, log, runs, stats
from api.http.answers import compress
from api.http.auth import ACCESS, Access, pattern_of
from api.http.expect import Router, bid, check_expected
from api.http.inputs import REQUEST_ID, SERVICE, request_id_of
from api.http.live import LIVE, Live
from api.http.openapi import served as openapi
from api.http.problems import of_aiohttp
from api.http.ready import SAFE_HEADERS, SERVER
from api.http.shortcut import SHORTCUT, Shortcut
from api.http.unread import UNREAD, UnreadOfAll
from api.service import Service
from api.web import docs
from api.web import routes as pages
from api.web.refusals import refusal
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
    ("GET", "/openapi.json", openapi.read),
    ("GET", "/docs", docs.show),
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
    *pages.ROUTES,
)

_CHANGING = frozenset({"PATCH", "PUT", "DELETE"})


def make_app(service: Service) -> web.Application:
    """Return the application that serves *service*."""
    metrics = health.Metrics()
    metrics.watch(service)
    access = Access(service.settings, metrics.registry)
    app = web.Application(middlewares=[_guard(access, metrics)])
    app._router = Router()  # its argument for this is deprecated, and nothing has taken its place
    app[SERVICE], app[health.METRICS], app[ACCESS] = service, metrics, access
    app[SHORTCUT] = Shortcut(service, access, metrics)
    app[UNREAD], app[LIVE] = UnreadOfAll(), Live()
    app[openapi.DOCUMENT] = openapi.Document(ROUTES)
    service.log.on_commit(app[LIVE].committed)
    app.on_shutdown.append(_end_streams)
    app[imports.STOPPING] = asyncio.Event()
    app.on_shutdown.append(imports.stop)
    app.on_response_prepare.append(_mark)
    cors.install(app, service.settings.cors_origin)
    pages.install(app)
    for method, path, handler in ROUTES:
        if method == "GET":
            app.router.add_get(path, handler, expect_handler=bid)
        else:
            app.router.add_route(method, path, handler, expect_handler=bid)
    return app


async def _end_streams(app: web.Application) -> None:
    app[LIVE].end()


async def _mark(request: web.BaseRequest, response: web.StreamResponse) -> None:
    headers = response.headers
    headers["X-Request-Id"] = request.get(REQUEST_ID) or request_id_of(request)
    headers["Server"] = SERVER
    if "Content-Security-Policy" not in headers:
        headers.extend(SAFE_HEADERS)


def _guard(access: Access, metrics: health.Metrics) -> Middleware:
    """Return the middleware: who may ask, which id the request has, and what becomes of errors."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[REQUEST_ID] = request_id_of(request)
        logging.REQUEST_ID.set(request_id)
        response: web.StreamResponse
        try:
            access.check_sender(request)
            _check_method(request)
            access.admit(request)
            check_expected(request)
            response = await handler(request)
        except RunlogError as error:
            access.refused(request, error)
            response = access.sign_in(request, error) or await refusal(request, error, request_id)
        except web.HTTPException as error:
            response = await refusal(request, of_aiohttp(error, request), request_id)
        except ConnectionError:
            raise  # the client is gone: there is nobody to answer
        except sqlite3.OperationalError as error:  # of the machine: a lock, the disk, no file handle
            response = await refusal(request, _not_readable(request, error), request_id)
        except Exception:
            logger.exception("http.failed", method=request.method, path=request.path)
            if request.writer.output_size and request.transport is not None:
                request.transport.abort()  # an answer has begun: the client would take another one for its end
                raise ConnectionResetError("the answer broke off") from None
            response = await refusal(request, Internal(), request_id)
        if isinstance(response, web.Response) and response.status >= 400:
            compress(request, response)
        metrics.count(request.method[:16], pattern_of(request) or "unknown", response.status)
        return response

    return guard


def _not_readable(request: web.Request, error: sqlite3.OperationalError) -> ProjectionBehind:
    logger.error("catalog.not_readable", path=request.path, error=str(error))
    service = request.app[SERVICE]
    return ProjectionBehind("catalog", service.projections.position("catalog"), service.log.head)


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
