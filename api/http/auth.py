"""Who asks, and whether they may: one check that every request passes before its route does anything.

Nobody is asked for a key until there is one; from then on what no rule opens needs a key, or a session that was opened
with one. What is refused is counted, and logged if it was to write.
"""

import re
import time
from functools import lru_cache
from ipaddress import ip_address
from math import ceil
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import web
from aiohttp.http import RawRequestMessage
from prometheus_client import CollectorRegistry, Counter

from api.access.current import NO_KEYS, CurrentKeys
from api.access.keys import Key, Keys
from api.access.rate import Buckets
from api.access.roles import ANYBODY, RUNS, roles_for
from api.access.sessions import Sessions
from api.errors import Forbidden, RateLimited, RoleMissing, Unauthenticated
from api.http.inputs import ACTOR, ANONYMOUS, ROLE, actor_of
from api.http.problems import challenge
from api.settings import Settings
from eventlog.errors import RunlogError

logger = structlog.get_logger("api.http")

PAGES = "/rmos"
DOCS = "/docs"
SIGN_IN, SIGN_OUT = f"{PAGES}/sign-in", f"{PAGES}/sign-out"
COOKIE = "runlog_session"
_NOWHERE: frozenset[str] = frozenset()
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:/?#@\[\]\\]+))(?::[0-9]{0,5})?", re.ASCII)
"""A name or an address, and a port: what else a URL may hold is no part of it, and would be read in two ways."""
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """The door of one server."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Let in whom the keys in the data directory let in.

        Raises:
            KeysDamaged: they cannot be understood.

        """
        self.keys = CurrentKeys(settings.data_dir)
        self.sessions = Sessions()
        self._buckets = Buckets(settings.rate_limit_per_second, settings.rate_burst)
        self._hosts = frozenset(name.lower() for name in (settings.host, *settings.allowed_host))
        self._origins = frozenset(settings.cors_origin)
        self._refused = Counter("runlog_http_refused", "Requests refused", ("reason",), registry=registry)

    def check_sender(self, request: web.Request) -> None:
        """Refuse a request that a page elsewhere may have sent.

        Raises:
            Forbidden: `Host` is not ours, or a POST comes from another origin.

        """
        host = request.headers.get("Host", "")
        if not _is_ours(host, self._hosts):
            raise Forbidden("Host", host)
        if request.method == "POST":
            origin = request.headers.get("Origin")
            if origin is not None and not self._is_same(origin, request.scheme, host):
                raise Forbidden("Origin", origin)
            if request.headers.get("Sec-Fetch-Site") == "cross-site":
                raise Forbidden("Sec-Fetch-Site", "cross-site")

    def _is_same(self, origin: str, scheme: str, host: str) -> bool:
        """Tell whether *origin* is where *scheme* and *host* are; before a host that is allowed by name, TLS may end."""
        try:
            sent = urlsplit(origin)[:2]
        except ValueError:
            return False
        return sent == (scheme, host) or (sent == ("https", host) and not _is_ours(host, _NOWHERE))

    def admit(self, request: web.Request) -> None:
        """Return if the request may go on; it then knows whose it is.

        Raises:
            Unauthenticated: a key is needed, and no good one came.
            RoleMissing: the key is for other things.
            RateLimited: it came too often.

        """
        keys = self.keys.of_this_turn()
        if keys is None and not self._buckets.per_second:
            return
        roles = roles_for(request.method, where(request))
        if roles is ANYBODY or self._is_preflight(request):
            return
        if keys is not None:
            key = self._holder(request, keys)
            request[ACTOR], request[ROLE] = key.name, key.role.value
            if key.role not in roles:
                raise RoleMissing(key.role.value, tuple(role.value for role in roles))
        wait_s = self._buckets.take(actor_of(request), time.monotonic())
        if wait_s:
            raise RateLimited(ceil(wait_s))

    def producer(self, head: RawRequestMessage) -> str | None:
        """Return under which name a create may go on by its head alone, as `check_sender` and `admit` say.

        None if it may not, or if telling takes more than a look: those two have the last word then.
        """
        headers = head.headers
        if self._buckets.per_second or not _is_ours(headers.get("Host", ""), self._hosts):
            return None
        keys = self.keys.now()  # not of this turn: uvloop reads a request in the turn that has answered an earlier one
        if keys is None:
            return ANONYMOUS
        key = _bearer(headers.get("Authorization", ""), keys)
        return key.name if key is not None and key.role in (roles_for("POST", RUNS) or ()) else None

    def may_go_on(self, request: web.Request) -> bool:
        """Tell whether a request that was let in still would be: an answer may last longer than its key."""
        keys = self.keys.of_this_turn()
        if keys is None:
            return True
        roles = roles_for(request.method, where(request))
        key = self.signed_in(request)
        return roles is ANYBODY or (key is not None and key.role in roles)

    def signed_in(self, request: web.Request) -> Key | None:
        """Return the key that the request comes with, by itself or by its session, if it is good."""
        try:
            return self._holder(request, self.keys.of_this_turn() or NO_KEYS)
        except Unauthenticated:
            return None

    def refused(self, request: web.Request, error: RunlogError) -> None:
        """Note it if *error* is that the sender may not do this."""
        reason = _reason(error)
        if reason is not None:
            self.keep_out(request, reason)

    def keep_out(self, request: web.Request, reason: str) -> None:
        """Count a request that is refused for *reason*, and log it if it was to write."""
        self._refused.labels(reason).inc()
        if request.method not in _READING:
            # The route's pattern, never the path: a client may have written its secret there.
            route = pattern_of(request) or "unknown"
            logger.warning(
                "access.refused", actor=actor_of(request), method=request.method[:16], route=route, reason=reason
            )

    def sign_in(self, request: web.Request, error: RunlogError) -> web.Response | None:
        """Return the way to the sign-in page, if *error* is that somebody who wants to see a page has not signed in."""
        if not isinstance(error, Unauthenticated) or request.method not in ("GET", "HEAD"):
            return None
        if request.path not in (PAGES, DOCS) and not request.path.startswith(PAGES + "/"):
            return None
        if "HX-Request" in request.headers:  # a part of a page: it is the whole that has to go there
            return web.Response(status=401, headers={"HX-Refresh": "true", "WWW-Authenticate": challenge(error)})
        return web.Response(status=303, headers={"Location": f"{SIGN_IN}?next={quote(request.path_qs, safe='/')}"})

    def _holder(self, request: web.Request, keys: Keys) -> Key:
        given = request.headers.get("Authorization")
        if given is not None:
            key = _bearer(given, keys)
            if key is None:
                raise Unauthenticated("unknown_key")
            return key
        session_id = request.cookies.get(COOKIE)
        if session_id is None:
            raise Unauthenticated("no_key")
        key = self.sessions.holder(session_id, keys, time.monotonic())
        if key is None:
            raise Unauthenticated("session_over")
        return key

    def _is_preflight(self, request: web.Request) -> bool:
        """Tell whether a browser asks if a page of a named origin may read: it never sends a key with that."""
        return (
            request.method == "OPTIONS"
            and "Access-Control-Request-Method" in request.headers
            and request.headers.get("Origin") in self._origins
        )


ACCESS = web.AppKey("access", Access)


def _bearer(authorization: str, keys: Keys) -> Key | None:
    scheme, _, token = authorization.partition(" ")
    return keys.holder(token.strip()) if scheme.lower() == "bearer" else None


def where(request: web.Request) -> str:
    """Return the route's pattern, by which the rules go; the path where there is no route, and so nothing to reach."""
    return pattern_of(request) or request.path


def pattern_of(request: web.Request) -> str | None:
    """Return the pattern of the route that the request goes to, if there is one."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def _reason(error: RunlogError) -> str | None:
    if isinstance(error, Unauthenticated):
        return error.reason
    if isinstance(error, RoleMissing):
        return "role"
    if isinstance(error, RateLimited):
        return "rate"
    return error.header.lower().replace("-", "_") if isinstance(error, Forbidden) else None


@lru_cache(256)
def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found[1] or found[2]).lower()
    if name in hosts or name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
