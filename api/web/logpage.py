"""GET /rmos/log: whether the log is whole and how far everything that is derived from it has come, for operators.

What moves is a part of its own, which the page asks for again and again; the rest is read once.
"""

import asyncio
from typing import Any

from aiohttp import web
from attrs import frozen

from api.evidence.verified import Verified
from api.http.admin import facts_of, named
from api.http.health import judged
from api.http.inputs import ROLE, SERVICE, params, refuse
from api.service import Service
from api.web.log_facts import read_facts
from api.web.page import is_fragment, page
from api.web.verifying import VERIFYING, Verifying
from eventlog.clock import time_text
from eventlog.segment import segment_number
from eventlog.signing import cosigned_at, encode_base64
from eventlog.strict_json import Fault

WHAT_FOR = {
    "catalog": "lists, filters and single runs",
    "files": "the dated tree that readers of the old store know",
    "stats": "the counts of the overview",
}


async def show(request: web.Request) -> web.Response:
    """GET /rmos/log: the page, or (for htmx) the part of it that moves."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    before = params(request, "seals_before", faults=faults).get("seals_before")
    if before is not None and segment_number(f"{before}.jsonl") is None:
        faults.append(Fault("?seals_before", "must be the name of a seal, like 2026-01-05.0000"))
    refuse(faults)
    moving = await _moving(request, service)
    if is_fragment(request):
        return await page(request, "log_moving.html", **moving)
    facts = await asyncio.to_thread(read_facts, service.settings.data_dir, before)
    return await page(request, "log.html", identity=service.log.identity, facts=facts, before=before, **moving)


async def rebuild(request: web.Request) -> web.Response:
    """POST /rmos/log/projections/{name}/rebuild: fold a projection anew, and go back to the page."""
    request.app[SERVICE].projections.rebuild(named(request))
    return _back()


async def retry(request: web.Request) -> web.Response:
    """POST /rmos/log/projections/{name}/retry: let a projection that stopped go on, and go back to the page."""
    request.app[SERVICE].projections.retry(named(request))
    return _back()


async def verify(request: web.Request) -> web.Response:
    """POST /rmos/log/verify: begin to verify the log, and go back to the page."""
    params(request)
    request.app[VERIFYING].start()
    return _back()


def _back() -> web.Response:
    return web.Response(status=303, headers={"Location": "/rmos/log"})


def install(app: web.Application) -> None:
    """Give *app* what verifies its log."""
    app[VERIFYING] = Verifying(app[SERVICE].settings.data_dir)
    app.on_cleanup.append(app[VERIFYING].close)


@frozen
class Cosigned:
    """A known witness, and whether it signed the newest checkpoint."""

    name: str
    at: str | None
    """When it did, RFC 3339; None if it has not."""
    last_size: int
    """How large the log was that it signed last, as far as is known; 0 if it is not."""
    trouble: str | None


async def _moving(request: web.Request, service: Service) -> dict[str, Any]:
    """Return what changes while one looks."""
    standing, reasons = judged(service)
    lags_s = service.projections.lags_s()
    projections = [
        facts_of(service, one) | {"what_for": WHAT_FOR[one.name], "lag_s": lags_s[one.name]}
        for one in service.projections.standings.values()
    ]
    verifying = request.app[VERIFYING]
    notary, witnesses = service.log.notary, _witnesses(service)
    return {
        "standing": standing,
        "reasons": reasons,
        "projections": projections,
        "head": service.log.head,
        "published": notary.published,
        "root": encode_base64(notary.published.checkpoint.root),
        "unsigned": notary.unsigned_events,
        "witnesses": witnesses,
        "unknown": _unknown(service, {one.name for one in witnesses}),
        "vkey": notary.vkey,
        "verifying": verifying,
        "verified": await asyncio.to_thread(Verified.last, service.settings.data_dir),
        "may_operate": request.get(ROLE, "operator") == "operator",
        "is_busy": verifying.began is not None or any(one["state"] == "rebuilding" for one in projections),
    }


def _witnesses(service: Service) -> list[Cosigned]:
    note = service.log.notary.published.note
    told = []
    for one in service.witnesses.standings:
        key = one.witness.verifier
        signed = next((each for each in note.signatures if key.made(each) and key.fits(each, note.text)), None)
        at = time_text(cosigned_at(signed) * 1_000_000) if signed else None
        told.append(Cosigned(one.witness.name, at, one.size, one.trouble.reason if one.trouble else None))
    return told


def _unknown(service: Service, known: set[str]) -> list[str]:
    """Return the names on lines of the checkpoint that nobody here can check."""
    own = service.log.identity.verifier
    return [
        each.name
        for each in service.log.notary.published.note.signatures
        if not own.made(each) and each.name not in known
    ]


ROUTES = (
    ("GET", "/rmos/log", show),
    ("POST", "/rmos/log/projections/{name:[^/]+}/rebuild", rebuild),
    ("POST", "/rmos/log/projections/{name:[^/]+}/retry", retry),
    ("POST", "/rmos/log/verify", verify),
)
