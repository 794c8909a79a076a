"""The pages' own files: style, scripts. Named with the digest of their bytes, they may be kept for ever."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from api.errors import NotFound
from api.http.answers import answer
from api.http.inputs import params

_FOLDER = Path(__file__).with_name("static")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
_FOR_EVER, _ASK_AGAIN = "public, max-age=31536000, immutable", "public, no-cache"


async def read(request: web.Request) -> web.Response:
    """GET /rmos/static/{name}: one of our own files."""
    given, held = params(request, "v"), _held().get(request.match_info["name"])
    if held is None:
        raise NotFound(request.path)
    form, body, version = held
    headers = {"Cache-Control": _FOR_EVER if given.get("v") == version else _ASK_AGAIN}
    return await answer(request, body, headers=headers, form=form)


def address(name: str) -> str:
    """Return where the file *name* is; another address once its bytes are others."""
    return f"/rmos/static/{name}?v={_held()[name][2]}"


@cache
def _held() -> dict[str, tuple[str, bytes, str]]:
    """Return type, bytes and version of every file: few and small, so no name that is asked for touches the disk."""
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    return {
        name: (f"{_TYPES[Path(name).suffix]}; charset=utf-8", body, sha256(body).hexdigest()[:12])
        for name, body in files.items()
    }
