"""A run as a page: what was decided and why, by which hashes it is known, who said what about it when, and its proof."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from attrs import frozen

from api.access.roles import BASE
from api.http.inputs import SERVICE, params
from api.http.runs import VIEW_PARAMS, view_asked
from api.reading import View
from api.service import Service
from api.web import files
from api.web.looking import last_ok
from api.web.page import page
from api.web.timeline import Moment, moment
from eventlog.clock import time_us
from eventlog.event import Recorded
from eventlog.strict_json import Fault
from projections.run.fold import view_dict
from projections.run.model import HASH_NAMES

MOMENTS_MAX = 300
"""So many events of a run are told on its page; all of them stand in its evidence."""
_EARLIER_MAX = 20
"""Of these, so many are its first ones where it has more."""


@frozen
class Program:
    """The G-code of a run: its beginning, and where all of it is."""

    head: str
    is_whole: bool
    size: str
    address: str
    fits: bool
    """Whether all of it can be put into the page."""


async def show(request: web.Request) -> web.Response:
    """GET /rmos/runs?run_id=: a run, now or `at` a moment."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    given = params(request, "run_id", *VIEW_PARAMS, faults=faults)
    run_id = given.pop("run_id").strip()
    view = await view_asked(service, run_id, given, faults)
    recorded = service.log.read_stream(run_id)
    run = await asyncio.to_thread(view_dict, view.json)
    at = view.state.last_seq
    kept = {name: value for name, value in given.items() if name == "include_withdrawn"}
    reference = None
    if run["status"] != "OK":
        await service.fresh()
        reference = await last_ok(service, run["tool_id"], time_us(run["created_at_utc"]))
    return await page(
        request,
        "run.html",
        run=run,
        is_past="at" in given and at != recorded[-1].seq,
        at=at,
        moments=told_moments(recorded, at),
        event_count=len(recorded),
        hash_names=HASH_NAMES,
        program=await _program(service, view, run),
        attachments=await asyncio.to_thread(files.described, service.blobs, run_id, run["attachments"] or ()),
        last_ok=reference,
        api=f"{BASE}/runs/{run_id}",
        query=f"?{urlencode(given)}" if given else "",
        kept=f"&{urlencode(kept)}" if kept else "",
        shown=_shown(run),
    )


def told_moments(recorded: list[Recorded], at: int) -> list[Moment]:
    """Return what happened to a run, oldest first; of very much the beginning and the end."""
    if len(recorded) > MOMENTS_MAX:
        recorded = [*recorded[:_EARLIER_MAX], *recorded[_EARLIER_MAX - MOMENTS_MAX :]]
    return [moment(one, at) for one in recorded]


async def _program(service: Service, view: View, run: dict[str, Any]) -> Program | None:
    address = f"/rmos/runs/{view.run_id}/gcode"
    text, path = run["outputs"]["gcode_text"], run["outputs"]["gcode_path"]
    if text is not None:
        head = files.Head(text[: files.HEAD_CHARACTERS], len(text) <= files.HEAD_CHARACTERS)
        return Program(head.text, head.is_whole, f"{len(text):,} characters", address, fits=True)
    digest = files.stored_digest(run, path)
    facts = next((one for one in run["attachments"] or () if one["sha256"] == digest), None)
    found = None if facts is None else await asyncio.to_thread(files.head, service.blobs, facts)
    if facts is None or found is None:
        return None
    size = facts["size_bytes"]
    return Program(found.text, found.is_whole, f"{size:,} bytes", address, fits=size <= files.IN_PAGE_BYTES_MAX)


def _shown(run: dict[str, Any]) -> dict[str, Any]:
    """Return what the page says of the run that its creating event must say too; the browser compares them."""
    decision = run["decision"]
    return {
        "run_id": run["run_id"],
        "status": run["status"],
        "mode": run["mode"],
        "tool_id": run["tool_id"],
        "created_at_utc": run["created_at_utc"],
        "risk_level": decision["risk_level"],
        "score": decision["score"],
        "block_reason": decision["block_reason"],
        "hashes": run["hashes"],
    }
