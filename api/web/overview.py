"""GET /rmos: how it goes: runs and risk over time, what is blocked most and why, the newest that were.

It costs the same however many runs there are: sums that the stats keep, and one short page of the catalog.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web
from attrs import frozen

from api.errors import ProjectionBehind
from api.http.auth import PAGES
from api.http.inputs import SERVICE, params, refuse
from api.service import Service
from api.web import chart
from api.web.page import page
from eventlog.strict_json import Fault
from projections import overview
from projections.filters import Filters
from projections.known import database_of
from projections.overview import Overview
from projections.query import index_item
from projections.stats import Stats, shortened

RANGES = {"7": "7 days", "30": "30 days", "90": "90 days", "all": "All"}
RANGE_DEFAULT = "30"
STATUSES = ("BLOCKED", "ERROR", "OK")
RISKS = ("RED", "ERROR", "YELLOW", "UNKNOWN", "GREEN")
"""As they stand on each other: what matters most lowest, where heights are easiest to compare."""

_NEWEST = 8


async def show(request: web.Request) -> web.Response:
    """GET /rmos: the overview of the last 7, 30 or 90 days, or of all."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    days = params(request, "days", faults=faults).get("days", RANGE_DEFAULT)
    if days not in RANGES:
        faults.append(Fault("?days", f"must be one of {', '.join(RANGES)}"))
    refuse(faults)
    is_fresh = await _caught_up(service)
    span = Span.of(days, datetime.now(UTC).date())
    path = database_of(service.settings.data_dir, Stats.name)
    found = await service.in_reader(lambda: overview.overview(path, span.since, span.earlier))
    if found.newest is None:
        return await page(request, "overview_empty.html", is_fresh=is_fresh)
    return await page(
        request,
        "overview.html",
        ranges=RANGES,
        chosen=days,
        found=found,
        counts=_counts(found),
        newest=await _newest_blocked(service),
        position=service.projections.position(Stats.name),
        head=service.log.head,
        is_fresh=is_fresh,
        since=span.since,
        **charts(found, span),
    )


async def _caught_up(service: Service) -> bool:
    """Wait until what is shown covers everything that is durable now; tell whether it does in the end.

    Raises:
        ProjectionBehind: there is nothing to show at all yet.

    """
    name, head = Stats.name, service.log.head
    is_fresh = await service.projections.wait(name, head, service.settings.freshness_timeout_ms / 1000)
    if not service.projections.standings[name].covers(-1):
        raise ProjectionBehind(name, service.projections.position(name), head)
    try:
        await service.fresh()
    except ProjectionBehind:
        await service.fresh(stale_ok=True)
        return False
    return is_fresh


@frozen
class Span:
    """The days that are shown, and those before that they are compared with."""

    since: date | None
    earlier: date | None
    today: date

    @classmethod
    def of(cls, days: str, today: date) -> "Span":
        """Return the last *days* days, one of `RANGES`, with as many before them."""
        if days == "all":
            return cls(None, None, today)
        count = int(days)
        return cls(today - timedelta(days=count - 1), today - timedelta(days=2 * count - 1), today)

    def of_days(self, found: Overview) -> tuple[date, date]:
        """Return the first and the last day.

        A run may be of a day to come: of the next one, for a clock may be ahead; of any, where all days are shown.
        """
        latest = max(self.today, *found.by_day)
        if self.since is None:
            return min(found.by_day), latest
        return self.since, min(latest, self.today + timedelta(days=1))


def _counts(found: Overview) -> list[dict[str, Any]]:
    """Return for each status how many runs have it, their share, and how the share has changed in points."""
    whole, before = found.total, sum(found.before.values())
    told = []
    for status in reversed(STATUSES):
        count = found.of_status(status)
        share = 100 * count / whole if whole else 0.0
        change = share - 100 * found.before.get(status, 0) / before if whole and before else None
        told.append({"status": status, "count": count, "share": share, "change": change})
    return told


def charts(found: Overview, span: Span) -> dict[str, Any]:
    """Return both charts, the numbers that they are drawn from, and how many runs are later than their last day."""
    if not found.by_day:
        return {"unit": None}
    first, last = span.of_days(found)
    unit = chart.Unit.of((last - first).days + 1)
    by_status = chart.rows(found.by_day, first, last, unit)
    by_risk = chart.rows(found.risk_by_day, first, last, unit)
    return {
        "unit": unit,
        "later": sum(sum(counts.values()) for day, counts in found.by_day.items() if day > last),
        "statuses": STATUSES,
        "risks": RISKS,
        "numbers": [*zip(reversed(by_status), reversed(by_risk), strict=True)],
        "status_chart": chart.stacked(by_status, STATUSES),
        "risk_chart": chart.stacked(by_risk, RISKS, shares=True),
    }


async def _newest_blocked(service: Service) -> list[dict[str, Any]]:
    blocked = Filters(equal={"status": "BLOCKED"})
    found = await service.query(lambda query: query.page(blocked, None, _NEWEST, full=False))
    items = [index_item(row) for row in found.rows]
    return [item | {"block_reason": shortened(item["block_reason"] or "")} for item in items]


async def to_pages(request: web.Request) -> web.Response:
    """GET /: to the overview, for who typed the server's bare address."""
    params(request)
    return web.Response(status=303, headers={"Location": PAGES})


ROUTES = (
    ("GET", "/", to_pages),
    ("GET", PAGES, show),
)
