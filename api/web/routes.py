"""Which page is where."""

import asyncio

from aiohttp import web

from api.web import assets, comparison, evidence_zip, files, logpage, overview, page, runs, signin

_RUN = "/rmos/runs/{run_id:[^/]+}"
ROUTES = (
    *overview.ROUTES,
    *logpage.ROUTES,
    ("GET", "/rmos/runs", runs.show),
    ("GET", "/rmos/runs/diff", comparison.show),
    ("GET", f"{_RUN}/evidence.zip", evidence_zip.read),
    ("GET", f"{_RUN}/gcode", files.gcode),
    ("GET", f"{_RUN}/attachments/{{sha256:[^/]+}}", files.show),
    *signin.ROUTES,
    ("GET", "/rmos/static/{name:[^/]+}", assets.read),
)


def install(app: web.Application) -> None:
    """Give *app* what the pages need beside their routes."""
    page.install(app)
    logpage.install(app)
    app[evidence_zip.PACKING] = asyncio.Semaphore(evidence_zip.AT_ONCE_MAX)
