"""Runs: create, read, add to, compare."""

import asyncio
from typing import Any, TypeVar

import orjson
from aiohttp import web

from api.access.roles import BASE
from api.http.answers import answer, outcome_answer, view_answer
from api.http.inputs import SERVICE, flag, key_of, origin_of, params, read_json, refuse, stale_ok
from api.http.protocol import refuse_begun
from api.http.wire import command_of
from api.reading import View, refuse_withdrawn
from api.service import Creation, Outcome, Service, logger
from eventlog.canonical import canonical, pretty
from eventlog.clock import time_us
from eventlog.errors import IdempotencyKeyReused
from eventlog.event import Origin
from eventlog.strict_json import Fault
from projections.run import events, model
from projections.run.decide import NewRun, decide_advisory, decide_create, decide_explanation
from projections.run.diff import diff
from projections.run.errors import InvalidCommand, RunNotFound
from projections.run.events import is_run_id
from projections.run.fold import view_dict
from projections.run.old_names import diffs

T = TypeVar("T")

VIEW_PARAMS = ("at", "stale", "include_withdrawn")


async def create(request: web.Request) -> web.Response:
    """POST /runs: record a run; 201 once it is on disk."""
    service = request.app[SERVICE]
    refuse_begun(request)
    origin, prepared = await _prepared(request, service)
    outcome = prepared if isinstance(prepared, Outcome) else await service.create(prepared, origin)
    return await outcome_answer(request, outcome, status=201, location=f"{BASE}/runs/{outcome.view.run_id}")


async def _prepared(request: web.Request, service: Service) -> tuple[Origin, Creation | Outcome]:
    """Return what is to be recorded, or the outcome of the same request before.

    What was parsed ends here: it must not be held in memory while the disk is waited for.
    """
    command, origin, is_large = await read_command(request, model.CreateRun)

    def decide(run_id: str) -> NewRun:
        return decide_create(command, run_id, origin.request_id)

    try:
        if (replay := service.replay_of(origin)) is not None:
            return origin, replay
    except IdempotencyKeyReused:
        await service.prepare(decide, command.run_id, origin, is_large=is_large)  # its own faults are told first
        raise
    return origin, await service.prepare(decide, command.run_id, origin, is_large=is_large)


async def attach_advisory(request: web.Request) -> web.Response:
    """POST /runs/{id}/attach-advisory: link an advisory; twice the same is once."""
    run_id = request.match_info["run_id"]
    command, origin, _ = await read_command(request, model.AttachAdvisory)

    def decide(state: model.RunState) -> dict[str, Any] | None:
        advisory = decide_advisory(state, run_id, command, origin.request_id)
        return None if advisory is None else {"advisory": advisory}

    outcome = await request.app[SERVICE].add(run_id, events.ADVISORY_ATTACHED, decide, origin)
    if outcome.events and not outcome.replayed:
        logger.info("advisory.attached", run_id=run_id, advisory_id=command.advisory_id, seq=outcome.position)
    return await outcome_answer(request, outcome, status=200)


async def set_explanation(request: web.Request) -> web.Response:
    """POST /runs/{id}/explanation: every change is an event; the same again is none."""
    run_id = request.match_info["run_id"]
    command, origin, _ = await read_command(request, model.SetExplanation)
    outcome = await request.app[SERVICE].add(
        run_id, events.EXPLANATION_SET, lambda state: decide_explanation(state, command), origin
    )
    if outcome.events and not outcome.replayed:
        logger.info("explanation.set", run_id=run_id, status=command.status, seq=outcome.position)
    return await outcome_answer(request, outcome, status=200)


async def read_command(request: web.Request, kind: type[T]) -> tuple[T, Origin, bool]:
    """Return what the request asks for, who asks, and whether it is large.

    Raises:
        InvalidCommand: with every fault of query, body and key.

    """
    body, is_large = await read_json(request)
    faults: list[Fault] = []
    query = params(request, faults=faults)
    key_of(request, faults)
    try:
        command = await asyncio.to_thread(command_of, body, kind) if is_large else command_of(body, kind)
    except InvalidCommand as error:
        raise InvalidCommand((*faults, *error.errors)) from None
    refuse(faults)
    return command, await origin_of(request, query, body, is_large=is_large), is_large


async def read(request: web.Request) -> web.Response:
    """GET /runs/{id}: the merged view, now or `?at=` a moment."""
    view, headers = await _view(request)
    return await view_answer(request, view, headers)


async def download(request: web.Request) -> web.Response:
    """GET /runs/{id}/download: the same, indented, as a file."""
    view, headers = await _view(request)
    headers["Content-Disposition"] = f'attachment; filename="{view.run_id}.json"'
    etag = f'{view.etag[:-1]}-download"'
    return await answer(request, pretty(view_dict(view.json)), etag=etag, headers=headers)


async def advisories(request: web.Request) -> web.Response:
    """GET /runs/{id}/advisories: what was attached, and where the explanation stands."""
    view, headers = await _view(request)
    state = view.state
    body = {
        "run_id": view.run_id,
        "advisory_inputs": state.advisory_inputs,
        "count": len(state.advisory_inputs),
        "explanation_status": state.explanation_status,
        "explanation_summary": state.explanation_summary,
    }
    return await answer(request, canonical(body), etag=f'{view.etag[:-1]}-advisories"', headers=headers)


async def run_events(request: web.Request) -> web.Response:
    """GET /runs/{id}/events: the run's events, oldest first, their bytes verbatim; of a withdrawn run too."""
    service, run_id = request.app[SERVICE], request.match_info["run_id"]
    refuse_other_params(request)
    recorded = service.events_of(run_id)
    rows = [b'{"seq":%d,"hash":"%b","event":%b}' % (one.seq, one.hash.encode(), one.bytes) for one in recorded]
    head = orjson.dumps({"run_id": run_id, "count": len(rows)})[:-1]
    body = head + b',"events":[' + b",".join(rows) + b"]}"
    return await answer(request, body, etag=f'"{recorded[-1].seq}-events"')


def refuse_other_params(request: web.Request) -> None:
    """Let `include_withdrawn` pass where a withdrawn run is shown anyway.

    Raises:
        InvalidCommand: there is another parameter.

    """
    faults: list[Fault] = []
    flag(params(request, "include_withdrawn", faults=faults), "include_withdrawn", faults)
    refuse(faults)


async def compare(request: web.Request) -> web.Response:
    """GET /runs/diff?a=&b=: what differs between two runs, and how much it matters."""
    service = request.app[SERVICE]
    faults: list[Fault] = []
    given = params(request, "a", "b", "stale", "include_withdrawn", faults=faults)
    faults += [Fault(f"?{side}", "is required: the id of a run") for side in ("a", "b") if side not in given]
    stale = stale_ok(given, faults)
    include_withdrawn = flag(given, "include_withdrawn", faults)
    refuse(faults)
    await service.fresh(stale_ok=stale)
    a, b = views_to_compare(service, given["a"], given["b"], include_withdrawn=include_withdrawn)
    body = await asyncio.to_thread(lambda: canonical(compared(view_dict(a.json), view_dict(b.json))))
    return await answer(request, body, headers=stale_headers(service, stale=stale))


def views_to_compare(service: Service, a: str, b: str, *, include_withdrawn: bool = False) -> tuple[View, View]:
    """Return runs *a* and *b* as they are now.

    Raises:
        RunNotFound: one is not there; this comes first.
        RunWithdrawn: one is no longer in force.

    """
    views = service.view(a, include_withdrawn=True), service.view(b, include_withdrawn=True)
    for view in views:
        if view.state.withdrawn is not None and not include_withdrawn:
            refuse_withdrawn(view.run_id, view.state.withdrawn)
    return views


def compared(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Return how two merged views differ, also in the form that clients of the old store read."""
    found = diff(a, b)
    return {**found, "diffs": diffs(found["differences"])}


def stale_headers(service: Service, *, stale: bool) -> dict[str, str]:
    """Return what tells how old a `?stale=ok` answer may be."""
    return {"X-Projection-Position": str(service.projections.position("catalog"))} if stale else {}


async def _view(request: web.Request) -> tuple[View, dict[str, str]]:
    """Return the run that the request asks for, as of the moment that it asks for."""
    service, run_id = request.app[SERVICE], request.match_info["run_id"]
    if not request.rel_url.raw_query_string:  # the usual case, and the one that must be quick
        await service.fresh()
        return service.view(run_id), {}
    faults: list[Fault] = []
    given = params(request, *VIEW_PARAMS, faults=faults)
    view = await view_asked(service, run_id, given, faults)
    return view, stale_headers(service, stale="stale" in given and "at" not in given)


async def view_asked(service: Service, run_id: str, given: dict[str, str], faults: list[Fault]) -> View:
    """Return run *run_id* as *given* asks for it, by VIEW_PARAMS; *faults* are those found before.

    Raises:
        InvalidCommand: with all of them.
        RunNotFound, RunWithdrawn: there is nothing (yet, any more) to show.

    """
    include_withdrawn = flag(given, "include_withdrawn", faults)
    stale = stale_ok(given, faults)
    at = _moment(given["at"], faults) if "at" in given else None
    refuse(faults)
    if not is_run_id(run_id):
        raise RunNotFound(run_id)
    if at is None:
        await service.fresh(stale_ok=stale)
        return service.view(run_id, include_withdrawn=include_withdrawn)
    seq, us = at
    view = service.view_until(
        run_id, lambda past: past.seq <= seq if seq is not None else time_us(past.time) <= (us or 0)
    )
    if view.state.withdrawn is not None and not include_withdrawn:
        refuse_withdrawn(run_id, view.state.withdrawn)
    return view


def _moment(text: str, faults: list[Fault]) -> tuple[int | None, int | None]:
    """Return the seq or the time (microseconds) that `?at=` names."""
    if text.isascii() and text.isdigit() and len(text) <= 1000:
        return int(text), None
    try:
        # A `+` of an offset reaches us as the space that it stands for in a query.
        return None, time_us(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text.upper() else text)
    except ValueError:
        faults.append(Fault("?at", "must be a seq or an RFC 3339 time with an offset, such as 2026-01-05T05:07:16Z"))
        return None, None
