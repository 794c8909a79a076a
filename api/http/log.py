"""The log's evidence over HTTP: the signed checkpoint, the tree's tiles, and proofs that need no trust in this service.

Only what was published is told: proofs lead to a checkpoint that is signed and durable, and no tile goes beyond it.
"""

import asyncio
import base64
import re
from typing import Any

import orjson
from aiohttp import web

from api.errors import NotFound
from api.http.answers import answer
from api.http.inputs import SERVICE, params, refuse
from api.http.runs import refuse_other_params
from eventlog.event import Recorded
from eventlog.log import Log
from eventlog.notary import Published
from eventlog.signing import encode_base64
from eventlog.strict_json import Fault
from eventlog.tiles import TILE_WIDTH, Tile

COVERED_WAIT_MAX_S = 2.0
_PROOFS_AT_ONCE = 16
_SIZE = re.compile("0|[1-9][0-9]*", re.ASCII)
_FULL_TILE = {"Cache-Control": "public, max-age=31536000, immutable"}
_MOVING = {"Cache-Control": "no-cache"}


async def checkpoint(request: web.Request) -> web.Response:
    """GET /log/checkpoint: the newest signed checkpoint, with the witnesses' lines that came for it."""
    params(request)
    return await _text(request, request.app[SERVICE].log.notary.published.note.data)


async def key(request: web.Request) -> web.Response:
    """GET /log/key: the key that checks what the log signs."""
    params(request)
    return await _text(request, request.app[SERVICE].log.notary.vkey.encode() + b"\n")


async def tile(request: web.Request) -> web.Response:
    """GET /log/tile/<L>/<N> and /log/tile/entries/<N>, whole or `.p/<W>`: hashes of the tree (C2SP tlog-tiles)."""
    params(request)
    wanted = Tile.parse(f"tile/{request.match_info['path']}")
    data = request.app[SERVICE].log.notary.tile(wanted) if wanted is not None else None
    if wanted is None or data is None:
        raise NotFound(request.path)
    headers = _FULL_TILE if wanted.width == TILE_WIDTH else _MOVING
    return await answer(request, data, headers=headers, form="application/octet-stream")


async def consistency(request: web.Request) -> web.Response:
    """GET /log/proof/consistency?from=&to=: that the first *from* events are the beginning of the first *to*."""
    notary = request.app[SERVICE].log.notary
    faults: list[Fault] = []
    given = params(request, "from", "to", faults=faults)
    old, size = (_size(given, name, notary.published.size, faults) for name in ("from", "to"))
    if not faults and old > size:
        faults.append(Fault("?from", "must not be above `to`"))
    refuse(faults)
    hashes = [encode_base64(each) for each in notary.consistency(old, size)]
    return await answer(request, orjson.dumps({"from": old, "to": size, "hashes": hashes}))


async def run_proof(request: web.Request) -> web.Response:
    """GET /runs/{id}/proof: each event of a run with its proof, the checkpoint and the key; of a withdrawn run too."""
    service, run_id = request.app[SERVICE], request.match_info["run_id"]
    refuse_other_params(request)
    recorded = service.events_of(run_id)
    notary = service.log.notary
    published = await notary.covering(recorded[-1].seq + 1, COVERED_WAIT_MAX_S)
    body = {
        "run_id": run_id,
        "events": await _proven(service.log, recorded, published),
        "checkpoint": published.note.data.decode(),
        "key": notary.vkey,
    }
    return await answer(request, orjson.dumps(body))


async def _proven(log: Log, recorded: list[Recorded], published: Published) -> list[dict[str, Any]]:
    rows = []
    for number, one in enumerate(recorded, 1):
        proof = log.notary.proof(one, published).data.decode()
        event = base64.b64encode(one.bytes).decode()
        rows.append({"seq": one.seq, "hash": one.hash, "event_base64": event, "proof": proof})
        if number % _PROOFS_AT_ONCE == 0:
            await asyncio.sleep(0)  # a run may have thousands of events, and others wait
    return rows


def _size(given: dict[str, str], name: str, published: int, faults: list[Fault]) -> int:
    text = given.get(name)
    if text is None:
        faults.append(Fault(f"?{name}", f"is required: a size of the log, from 0 to {published}, the published one"))
    elif not _SIZE.fullmatch(text):
        faults.append(Fault(f"?{name}", "must be a whole number without a sign and without leading zeros"))
    elif len(text) > len(str(published)) or int(text) > published:
        faults.append(Fault(f"?{name}", f"must not be above {published}, the size that was published last"))
    else:
        return int(text)
    return 0


async def _text(request: web.Request, data: bytes) -> web.Response:
    return await answer(request, data, headers=_MOVING, form="text/plain; charset=utf-8")
