"""Signing in at the pages: a key is shown once, and a random session id stands for it from then on.

The key is in the body of one POST and nowhere else: not in an address, not in the cookie, not in the page that comes back.
"""

import time
from urllib.parse import parse_qs, unquote

from aiohttp import web

from api.access.roles import Role, roles_for
from api.access.sessions import LIFETIME_S
from api.errors import Unauthenticated, UnsupportedMediaType
from api.http.auth import ACCESS, COOKIE, DOCS, PAGES, SIGN_IN, SIGN_OUT
from api.http.inputs import SERVICE, check_not_encoded, params, read_body
from api.http.problems import challenge
from api.web.page import page
from eventlog.strict_json import Fault
from projections.run.errors import InvalidCommand

_FORM = "application/x-www-form-urlencoded"
_BYTES_MAX = 8192
_FIELDS_MAX = 20
_NEXT_LENGTH_MAX = 2000


async def show(request: web.Request) -> web.Response:
    """GET /rmos/sign-in: the form; whoever is signed in already goes on."""
    access, wanted = request.app[ACCESS], params(request, "next").get("next", "")
    if access.keys.now() is None:
        return _to(way_on(wanted, None))
    key = access.signed_in(request)
    return _to(way_on(wanted, key.role)) if key else await _form(request, wanted)


async def sign_in(request: web.Request) -> web.Response:
    """POST /rmos/sign-in: `key` and `next`, as a form sends them; 303 with the cookie, or the form again."""
    access, given = request.app[ACCESS], await _given(request)
    keys, wanted = access.keys.now(), given.get("next", "")
    if keys is None:
        return _to(way_on(wanted, None))
    key = keys.holder(given.get("key", "").strip())
    if key is None:
        access.keep_out(request, "unknown_key")
        return await _form(request, wanted, is_refused=True)
    answer = _to(way_on(wanted, key.role))
    access.sessions.end(request.cookies.get(COOKIE, ""))  # its cookie is going to be forgotten
    session_id = access.sessions.begin(key, time.monotonic())
    is_secure = request.secure or request.headers.get("Origin", "").startswith("https:")
    answer.set_cookie(
        COOKIE, session_id, max_age=LIFETIME_S, path="/", httponly=True, samesite="Strict", secure=is_secure
    )
    return answer


async def sign_out(request: web.Request) -> web.Response:
    """POST /rmos/sign-out: the session ends, here and in the browser."""
    params(request)
    session_id = request.cookies.get(COOKIE)
    if session_id is not None:
        request.app[ACCESS].sessions.end(session_id)
    answer = _to(SIGN_IN)
    answer.del_cookie(COOKIE, path="/")
    return answer


def way_on(wanted: str, role: Role | None) -> str:
    """Return where to go after signing in: *wanted* if it is one of the pages, which never leads elsewhere."""
    path = wanted.partition("?")[0].partition("#")[0]
    is_page = path in (PAGES, DOCS) or path.startswith(PAGES + "/")
    is_straight = {".", ".."}.isdisjoint(unquote(path).split("/"))  # a browser takes %2e for a dot, too
    is_plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted and len(wanted) <= _NEXT_LENGTH_MAX
    if is_page and is_straight and is_plain and path not in (SIGN_IN, SIGN_OUT):
        return wanted
    return PAGES if role is None or role in (roles_for("GET", PAGES) or Role) else f"{PAGES}/runs"


async def _form(request: web.Request, wanted: str, *, is_refused: bool = False) -> web.Response:
    headers, status = {"Cache-Control": "no-store"}, 200
    if is_refused:
        headers["WWW-Authenticate"], status = challenge(Unauthenticated("unknown_key")), 401
    return await page(request, "sign_in.html", status=status, headers=headers, next=wanted, is_refused=is_refused)


async def _given(request: web.Request) -> dict[str, str]:
    """Return the form's fields.

    Raises:
        UnsupportedMediaType, BodyTooLarge, RequestTimeout, InvalidCommand: it is no form, or none of ours.

    """
    check_not_encoded(request)
    kind = request.headers.get("Content-Type", "")
    if kind.partition(";")[0].strip().lower() != _FORM:
        raise UnsupportedMediaType("Content-Type", kind, _FORM)
    params(request)
    body = await read_body(request, _BYTES_MAX, request.app[SERVICE].settings.idle_timeout_s)
    try:
        fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise InvalidCommand(
            (Fault("$", f"the form has more than {_FIELDS_MAX} fields; it takes key and next"),)
        ) from None
    return {name: values[0] for name, values in fields.items()}


def _to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})


ROUTES = (("GET", SIGN_IN, show), ("POST", SIGN_IN, sign_in), ("POST", SIGN_OUT, sign_out))
