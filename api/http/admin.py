"""What operators ask of the projections: how far each is, folding one anew, and going on after it stopped."""

from typing import Any

import orjson
from aiohttp import web

from api.errors import NotFound
from api.http.answers import answer
from api.http.inputs import SERVICE, params
from api.service import Service
from projections.supervisor import Standing


async def projections(request: web.Request) -> web.Response:
    """GET /admin/projections: how far each has come, and what stopped it."""
    params(request)
    service = request.app[SERVICE]
    listed = [facts_of(service, one) for one in service.projections.standings.values()]
    return await answer(request, orjson.dumps({"projections": listed}))


async def rebuild(request: web.Request) -> web.Response:
    """POST /admin/projections/{name}/rebuild: 202; it is done once its state is no longer `rebuilding`."""
    name = named(request)
    service = request.app[SERVICE]
    return await answer(request, orjson.dumps(facts_of(service, service.projections.rebuild(name))), status=202)


async def retry(request: web.Request) -> web.Response:
    """POST /admin/projections/{name}/retry: 202; one that has not stopped is left alone."""
    name = named(request)
    service = request.app[SERVICE]
    return await answer(request, orjson.dumps(facts_of(service, service.projections.retry(name))), status=202)


def named(request: web.Request) -> str:
    """Return the projection that the path names.

    Raises:
        NotFound: there is none of that name.

    """
    params(request)
    name = request.match_info["name"]
    if name not in request.app[SERVICE].projections.standings:
        raise NotFound(request.path)
    return name


def facts_of(service: Service, one: Standing) -> dict[str, Any]:
    """Return what is told of a projection; while it is rebuilt, `position` is that of the new state."""
    error = one.error or one.rebuild_error
    position = one.building if one.state == "rebuilding" and one.building is not None else one.position
    return {
        "name": one.name,
        "version": one.version,
        "position": position,
        "head": service.log.head,
        "state": one.state,
        "error": error,
    }
