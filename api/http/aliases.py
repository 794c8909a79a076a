"""Routes under the names that existing clients use: thin, and never with an answer of their own.

Each answers what its present name does; the diff adds its sections in the old form.
"""

import asyncio

from aiohttp import web

from api.http.answers import answer
from api.http.inputs import SERVICE, params
from api.http.listing import list_runs
from api.http.runs import compared, views_to_compare
from eventlog.canonical import canonical
from projections.run.fold import view_dict
from projections.run.old_names import sections


async def recent(request: web.Request) -> web.StreamResponse:
    """GET /runs/recent: the newest page of `/runs`."""
    return await list_runs(request, ("limit",))


async def query_recent(request: web.Request) -> web.StreamResponse:
    """GET /runs/query/recent: any page of `/runs`, without filters."""
    return await list_runs(request, ("cursor", "limit"))


async def compare(request: web.Request) -> web.StreamResponse:
    """GET /runs_v2/diff/{a}/{b}: `/runs/diff`, and its sections in the old form."""
    service, names = request.app[SERVICE], request.match_info
    params(request)
    await service.fresh()
    a, b = views_to_compare(service, names["a"], names["b"])

    def body() -> bytes:
        in_a, in_b = view_dict(a.json), view_dict(b.json)
        return canonical({**compared(in_a, in_b), **sections(in_a, in_b)})

    return await answer(request, await asyncio.to_thread(body))
