"""Errors as pages: what happened and what to do, in words, with a way on."""

from aiohttp import web

from api.access.roles import BASE
from api.http.accept import JSON, preferred
from api.http.problems import STATUSES, problem, told
from api.web.page import page
from eventlog.errors import RunlogError

_HTML = "text/html"
_HEADINGS = {
    404: "Not here",
    405: "Not in this way",
    403: "Not permitted",
    410: "Withdrawn",
    422: "Not understood",
    429: "Too many requests",
    503: "Not now",
    507: "The disk is full",
}


def is_for_people(request: web.BaseRequest) -> bool:
    """Tell whether an error is to be told as a page: to a browser that asks for one, outside the API."""
    if request.path.startswith(f"{BASE}/"):
        return False
    return preferred(request, JSON, _HTML) == _HTML


async def refusal(request: web.Request, error: RunlogError, request_id: str) -> web.Response:
    """Return *error* as a page where people ask, as JSON for everybody else."""
    if not is_for_people(request):
        return problem(error, request_id)
    facts, status = told(error), STATUSES[error.code]
    headers = {
        name: value
        for name, value in problem(error, request_id).headers.items()
        if name in ("Allow", "Retry-After", "WWW-Authenticate")
    }
    return await page(
        request,
        "refusal.html",
        status=status,
        headers=headers,
        code=status,
        heading=_HEADINGS.get(status, "Something went wrong"),
        error=facts,
        request_id=request_id,
    )
