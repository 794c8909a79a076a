"""What to do where there is no run yet: the commands that make one, ready to copy."""

import json
import re
import shlex

from aiohttp import web

from api.access.roles import BASE
from api.http.inputs import ROLE, SERVICE

BODY = {
    "mode": "adaptive",
    "tool_id": "flat_6mm",
    "status": "OK",
    "request_summary": {"material": "maple", "depth_mm": 1.5},
    "feasibility": {"score": 87.5, "risk_level": "GREEN"},
    "risk_level": "GREEN",
    "score": 87.5,
}

_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+", re.ASCII)


def first_run(request: web.Request) -> dict[str, str]:
    """Return the commands that record a first run at the server that was asked, with a key where it wants one."""
    # The host stands in a command that people paste into a shell: the guard let it through, this makes sure.
    host = request.host if _HOST.fullmatch(request.host) else "127.0.0.1:8080"
    origin = f"{request.scheme}://{host}"
    lines = [
        f"curl -fsS {origin}{BASE}/runs",
        "-H 'Content-Type: application/json'",
        *(['-H "Authorization: Bearer $RUNLOG_API_KEY"'] if ROLE in request else []),
        f"-d {shlex.quote(json.dumps(BODY))}",
    ]
    return {
        "curl": " \\\n  ".join(lines),
        "migrate": f"runlog migrate --v1-path runs.json --url {origin}",
        "demo": "runlog demo && runlog serve --data-dir demo --port 0 --open",
    }


def is_log_empty(request: web.Request) -> bool:
    """Tell whether nothing at all is recorded."""
    return request.app[SERVICE].log.head < 0
