"""/rmos/runs: the runs, newest first, filtered by what stands in the address; with `run_id` in it, that run.

Each filter has the name that it has in the API. What is recorded meanwhile is announced, never
pushed under the reader's eyes.
"""

from typing import get_args
from urllib.parse import urlencode

from aiohttp import web

from api.http.inputs import SERVICE, params
from api.http.listing import ask_of, cursor_of
from api.web import run
from api.web.looking import Found, look
from api.web.page import is_fragment, page
from eventlog.strict_json import Fault
from projections.catalog import CONTEXT_FILTERS, PLAIN_FILTERS
from projections.run import model
from projections.run.errors import InvalidCommand

FIELDS = ("status", "mode", "risk_level", "tool_id_prefix", "date_from", "date_to")
"""The filters that have a field of their own; the others stand beside them while they are in the address."""
_FILTERS = (
    *PLAIN_FILTERS,
    "tool_id_prefix",
    "date_from",
    "date_to",
    *CONTEXT_FILTERS,
    "advisory_id",
    "include_withdrawn",
)


async def show(request: web.Request) -> web.Response:
    """GET /rmos/runs: the list; with `run_id` the run."""
    if request.query.get("run_id", "").strip():
        return await run.show(request)
    service = request.app[SERVICE]
    faults: list[Fault] = []
    given = params(request, *_FILTERS, "cursor", "limit", "run_id", faults=faults)
    after = service.log.head  # before the look, so that nothing recorded since is missed
    try:
        ask = ask_of(given, faults)
    except InvalidCommand as error:
        return await _page(request, given, Found([], None, []), 422, faults=error.errors)
    await service.fresh()
    found = await look(service, ask)
    cursor = None if found.next_after is None else cursor_of(found.next_after, ask)
    return await _page(request, given, found, cursor=cursor, after=after)


async def _page(
    request: web.Request,
    given: dict[str, str],
    found: Found,
    status: int = 200,
    *,
    cursor: str | None = None,
    after: int = 0,
    faults: tuple[Fault, ...] = (),
) -> web.Response:
    filters = {name: value for name, value in given.items() if name in _FILTERS}
    kept = {name: value for name, value in given.items() if name != "cursor"}
    return await page(
        request,
        "rows.html" if is_fragment(request) else "runs.html",
        status=status,
        items=found.items,
        cursor=cursor,
        kept=kept,
        filters=filters,
        fields=FIELDS,
        without={name: _address(kept, name) for name in filters},
        newest=_address(kept),
        is_later="cursor" in given,
        modes=sorted({*found.modes, *([given["mode"]] if "mode" in given else [])}),
        statuses=get_args(model.Status),
        risks=get_args(model.RiskLevel),
        after=after,
        faults=faults,
    )


def _address(kept: dict[str, str], left_out: str = "") -> str:
    rest = {name: value for name, value in kept.items() if name != left_out}
    return f"/rmos/runs?{urlencode(rest)}" if rest else "/rmos/runs"
