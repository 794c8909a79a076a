"""GET /runs: a page of the runs that match, in a total order, with a cursor that never repeats or skips."""

import asyncio
import base64
import binascii
import re
from collections.abc import Collection
from datetime import date
from hashlib import sha256
from typing import Any, get_args
from urllib.parse import urlencode

import orjson
from aiohttp import web
from attrs import frozen

from api.access.roles import BASE
from api.http.accept import CSV, JSON, NDJSON, preferred
from api.http.answers import answer
from api.http.inputs import SERVICE, flag, params, refuse, stale_ok
from api.http.runs import stale_headers
from api.http.tables import FULL_COLUMNS, INDEX_COLUMNS, table
from api.service import Service
from eventlog.canonical import canonical
from eventlog.clock import DAY_US
from eventlog.strict_json import Fault
from projections.catalog import CONTEXT_FILTERS, PLAIN_FILTERS
from projections.filters import Filters, Key
from projections.query import Page, Query, found_of, index_item
from projections.run import model
from projections.run.events import is_run_id
from projections.run.fold import view_dict

LIMIT_DEFAULT, LIMIT_MAX = 50, 200
PAGE_BYTES_MAX = 8 << 20

_EQUAL = (*PLAIN_FILTERS, *CONTEXT_FILTERS)
_PARAMS = (
    *_EQUAL,
    "tool_id_prefix",
    "advisory_id",
    "date_from",
    "date_to",
    "limit",
    "cursor",
    "view",
    "include_total",
    "include_withdrawn",
    "stale",
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,1000}", re.ASCII)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@frozen
class Ask:
    """What a list request asks for, read and checked."""

    filters: Filters
    after: Key | None
    limit: int
    full: bool
    include_total: bool
    stale: bool
    fingerprint: str
    """Of the filters; a cursor belongs to one."""


async def list_runs(request: web.Request, known: Collection[str] = _PARAMS) -> web.Response:
    """GET /runs; under another name only the parameters that are *known* there."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    given = {name: value for name, value in params(request, *known, faults=faults).items() if name in known}
    ask = ask_of(given, faults)
    await service.fresh(stale_ok=ask.stale)
    page = await service.query(lambda query: query.page(ask.filters, ask.after, ask.limit, full=ask.full))
    items, next_after = await _items(service, page, full=ask.full)
    cursor = cursor_of(next_after, ask) if next_after else None
    rest: dict[str, Any] = {"count": len(items), "next_cursor": cursor, "runs_dir": "."}
    if ask.include_total:
        rest["total"] = await service.query(lambda query: _total(query, ask.filters))
    headers = stale_headers(service, stale=ask.stale)
    if cursor:
        headers["Link"] = f'<{BASE}/runs?{urlencode({**given, "cursor": cursor})}>; rel="next"'
    form = preferred(request, JSON, CSV, NDJSON)
    if form != JSON and rest.get("total") is not None:
        headers["X-Total-Count"] = str(rest["total"])
    body = await asyncio.to_thread(_body, form, items, rest, full=ask.full) if form == CSV else _body(form, items, rest)
    return await answer(request, body, headers=headers, form=form, varies="Accept")


def _body(form: str, items: list[bytes], rest: dict[str, Any], *, full: bool = False) -> bytes:
    """Return the page in the form that was asked for; as lines and as a table it is the items alone."""
    if form == NDJSON:
        return b"".join([b"%b\n" % item for item in items])
    if form == CSV:
        return table(FULL_COLUMNS if full else INDEX_COLUMNS, map(view_dict, items))
    return b'{"items":[' + b",".join(items) + b"]," + canonical(rest)[1:]


def _total(query: Query, filters: Filters) -> int | None:
    return query.total(filters)


async def _items(service: Service, page: Page, *, full: bool) -> tuple[list[bytes], Key | None]:
    """Return the items as JSON, and where the next page begins; it may begin early, at 8 MiB."""
    if not full:
        return [orjson.dumps(index_item(row)) for row in page.rows], page.next_after
    items: list[bytes] = []
    size = 0
    for i, row in enumerate(page.rows):
        item = service.found_json(found_of(row))
        size += len(item)
        if items and size > PAGE_BYTES_MAX:
            last = page.rows[i - 1]
            return items, (last[0], last[1])
        items.append(item)
    return items, page.next_after


def ask_of(given: dict[str, str], faults: list[Fault]) -> Ask:
    """Return which page *given* asks for; *faults* are those found before.

    Raises:
        InvalidCommand: with all of them.

    """
    for name, kind in (("status", model.Status), ("risk_level", model.RiskLevel)):
        if name in given and given[name] not in get_args(kind):
            faults.append(Fault(f"?{name}", f"must be one of {', '.join(get_args(kind))}"))
    view = given.get("view", "index")
    if view not in ("index", "full"):
        faults.append(Fault("?view", "must be index or full"))
    since, until = _day(given, "date_from", faults), _day(given, "date_to", faults)
    filters = Filters(
        equal={name: given[name] for name in _EQUAL if name in given},
        tool_id_prefix=given.get("tool_id_prefix"),
        advisory_id=given.get("advisory_id"),
        created_us=(
            Filters().created_us[0] if since is None else since * DAY_US,
            Filters().created_us[1] if until is None else (until + 1) * DAY_US,
        ),
        include_withdrawn=flag(given, "include_withdrawn", faults),
    )
    fingerprint = _fingerprint(filters)
    after = _after(given["cursor"], fingerprint, faults) if "cursor" in given else None
    ask = Ask(
        filters,
        after,
        _limit(given, faults),
        view == "full",
        flag(given, "include_total", faults),
        stale_ok(given, faults),
        fingerprint,
    )
    refuse(faults)
    return ask


def _limit(given: dict[str, str], faults: list[Fault]) -> int:
    text = given.get("limit", str(LIMIT_DEFAULT))
    if not _INTEGER.fullmatch(text):
        faults.append(Fault("?limit", f"must be an integer; it is clamped to 1 to {LIMIT_MAX}"))
        return LIMIT_DEFAULT
    return min(max(int(text), 1), LIMIT_MAX)


def _day(given: dict[str, str], name: str, faults: list[Fault]) -> int | None:
    """Return a day as its number since 1970."""
    if name not in given:
        return None
    try:
        if not _DATE.fullmatch(given[name]):
            raise ValueError
        return date.fromisoformat(given[name]).toordinal() - _EPOCH_DAY
    except ValueError:
        faults.append(Fault(f"?{name}", "must be a date, YYYY-MM-DD"))
        return None


def _fingerprint(filters: Filters) -> str:
    told = [
        sorted(filters.equal.items()),
        filters.tool_id_prefix,
        filters.advisory_id,
        filters.created_us,
        filters.include_withdrawn,
    ]
    return sha256(canonical(told)).hexdigest()[:16]


def cursor_of(after: Key, ask: Ask) -> str:
    """Return the cursor of the page of *ask* that begins after *after*."""
    return base64.urlsafe_b64encode(orjson.dumps([1, ask.fingerprint, *after])).decode().rstrip("=")


def _after(text: str, fingerprint: str, faults: list[Fault]) -> Key | None:
    try:
        padded = text + "=" * (-len(text) % 4)
        version, of, created_us, run_id = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if type(version) is not int or version != 1 or type(created_us) is not int or abs(created_us) >= 1 << 62:
            raise ValueError
        if not isinstance(run_id, str) or not is_run_id(run_id):
            raise ValueError
    except (ValueError, TypeError, binascii.Error):
        faults.append(Fault("?cursor", "is not a cursor of this server; begin again without it"))
        return None
    if of != fingerprint:
        faults.append(Fault("?cursor", "belongs to other filters; begin again without it"))
        return None
    return created_us, run_id
