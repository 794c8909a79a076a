"""GET /stats: how many runs there are, for charts."""

import re
from datetime import date

import orjson
from aiohttp import web

from api.errors import ProjectionBehind
from api.http.answers import answer
from api.http.inputs import SERVICE, params, refuse, stale_ok
from api.service import Service
from eventlog.strict_json import Fault
from projections import stats
from projections.known import database_of

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


async def read(request: web.Request) -> web.Response:
    """GET /stats: counts of the runs in force, grouped by one of their properties, sorted by it."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    given = params(request, "date_from", "date_to", "group_by", "stale", faults=faults)
    for name in ("date_from", "date_to"):
        if name in given and not _is_date(given[name]):
            faults.append(Fault(f"?{name}", "must be a date, YYYY-MM-DD"))
    group_by = given.get("group_by", "day")
    if group_by not in stats.GROUPS:
        faults.append(Fault("?group_by", f"must be one of {', '.join(stats.GROUPS)}"))
    stale = stale_ok(given, faults)
    refuse(faults)
    await _fresh(service, stale=stale)
    path = database_of(service.settings.data_dir, stats.Stats.name)
    position = service.projections.position(stats.Stats.name)
    items = await service.in_reader(lambda: stats.counts(path, group_by, given.get("date_from"), given.get("date_to")))
    headers = {"X-Projection-Position": str(position)} if stale else {}
    return await answer(request, orjson.dumps({"group_by": group_by, "items": items}), headers=headers)


async def _fresh(service: Service, *, stale: bool) -> None:
    """Return once the counts cover everything that is durable now; runs' own routes never wait for them.

    Raises:
        ProjectionBehind: they do not get there in time, or (*stale*) there are none yet.

    """
    name, head = stats.Stats.name, service.log.head
    wanted = -1 if stale else head
    if not await service.projections.wait(name, wanted, service.settings.freshness_timeout_ms / 1000):
        raise ProjectionBehind(name, service.projections.position(name), head)


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False
