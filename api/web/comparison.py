"""/rmos/runs/diff: two runs side by side, and what differs between them."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from attrs import frozen

from api.http.inputs import SERVICE, flag, params
from api.http.problems import STATUSES, told
from api.reading import View
from api.service import Service
from api.web.page import page
from eventlog.errors import RunlogError
from eventlog.strict_json import Fault
from projections.run.diff import diff
from projections.run.errors import InvalidCommand, RunNotFound, RunWithdrawn
from projections.run.fold import view_dict


@frozen
class Side:
    """One of the two: its run, or why there is none."""

    run_id: str
    view: View | None = None
    refused: RunlogError | None = None


async def show(request: web.Request) -> web.Response:
    """GET /rmos/runs/diff?a=&b=: what differs; without both the form that asks for them."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    given = params(request, "a", "b", "include_withdrawn", faults=faults)
    include_withdrawn = flag(given, "include_withdrawn", faults)
    if faults:
        raise InvalidCommand(tuple(faults))
    await service.fresh()
    a, b = (_side(service, given.get(name, "").strip(), include_withdrawn) for name in ("a", "b"))
    refused = [side.refused for side in (a, b) if side.refused is not None]
    kept = {"include_withdrawn": "true"} if include_withdrawn else {}
    return await page(
        request,
        "diff.html",
        status=STATUSES[refused[0].code] if refused else 200,
        a=a.run_id,
        b=b.run_id,
        refused=[told(error) for error in refused],
        swapped=f"/rmos/runs/diff?{urlencode({'a': b.run_id, 'b': a.run_id, **kept})}",
        anyway=f"/rmos/runs/diff?{urlencode({'a': a.run_id, 'b': b.run_id, 'include_withdrawn': 'true'})}",
        include_withdrawn=include_withdrawn,
        **await asyncio.to_thread(_compared, a.view, b.view),
    )


def _side(service: Service, run_id: str, include_withdrawn: bool) -> Side:
    if not run_id:
        return Side(run_id)
    try:
        return Side(run_id, service.view(run_id, include_withdrawn=include_withdrawn))
    except (RunNotFound, RunWithdrawn) as error:
        return Side(run_id, refused=error)


def _compared(a: View | None, b: View | None) -> dict[str, Any]:
    if a is None or b is None:
        return {"found": None, "runs": ()}
    runs = view_dict(a.json), view_dict(b.json)
    return {"found": diff(*runs), "runs": runs}
