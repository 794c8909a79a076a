"""Who may do what: the one table. A route that no rule names is for operators alone, so a new one opens nothing. Pure.

docs/security.md prints this table, and a test holds the two equal.
"""

from enum import StrEnum
from functools import lru_cache

from attrs import frozen

BASE = "/api/rmos"
"""Where the routes of the API begin."""
RUNS = f"{BASE}/runs"


class Role(StrEnum):
    """What a key is for."""

    PRODUCER = "producer"
    AUDITOR = "auditor"
    OPERATOR = "operator"


ANYBODY = None
"""Stands for who has no key."""

_OPERATORS = (Role.OPERATOR,)
_AUDITORS = (Role.AUDITOR, *_OPERATORS)
_PRODUCERS = (Role.PRODUCER, *_OPERATORS)
_READERS_OF_RUNS = (Role.PRODUCER, *_AUDITORS)


@frozen
class Rule:
    """Who may send *method* to the paths of *pattern*."""

    method: str
    """`GET` stands for HEAD too, `*` for every method."""
    pattern: str
    """A path; with `/*` at its end, that path and all below it."""
    roles: tuple[Role, ...] | None
    """Which keys may; `ANYBODY`: no key is needed."""

    def covers(self, method: str, path: str) -> bool:
        """Tell whether the rule speaks of *method* on *path*."""
        if self.method not in ("*", "GET" if method == "HEAD" else method):
            return False
        above = self.pattern.removesuffix("/*")
        return path == above or (above != self.pattern and path.startswith(above + "/"))


RULES = (
    Rule("GET", "/", ANYBODY),
    Rule("GET", "/healthz", ANYBODY),
    Rule("GET", f"{BASE}/log/checkpoint", ANYBODY),
    Rule("GET", f"{BASE}/log/key", ANYBODY),
    Rule("GET", f"{BASE}/log/tile/*", ANYBODY),
    Rule("GET", "/rmos/static/*", ANYBODY),
    Rule("GET", "/rmos/sign-in", ANYBODY),
    Rule("POST", "/rmos/sign-in", ANYBODY),
    Rule("POST", "/rmos/sign-out", ANYBODY),
    Rule("GET", f"{BASE}/runs/*", _READERS_OF_RUNS),
    Rule("POST", f"{BASE}/runs/*", _PRODUCERS),
    Rule("GET", f"{BASE}/runs_v2/*", _READERS_OF_RUNS),
    Rule("GET", "/rmos/runs/*", _READERS_OF_RUNS),
    Rule("GET", "/*", _AUDITORS),
    Rule("*", "/*", _OPERATORS),
)
"""The first rule that covers a request decides."""


@lru_cache(512)
def roles_for(method: str, path: str) -> tuple[Role, ...] | None:
    """Return which keys may send *method* to *path*; `ANYBODY` where none is needed.

    *path* is that of the route, with the names of its parts: what a client writes into a part never decides.
    """
    return next((rule.roles for rule in RULES if rule.covers(method, path)), _OPERATORS)
