"""The one table of who may do what: against the specification's words, against the routes, and as it is printed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.roles import ANYBODY, RULES, Role, roles_for
from api.http.app import ROUTES
from tests.server import BASE, FEW, ROOT

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", ""])
PATHS = st.lists(
    st.sampled_from([*"abc", "runs", "api", "rmos", "log", "key", "tile", "admin", "static", "..", ""])
).map(lambda parts: "/" + "/".join(parts))
PATTERN = re.compile(r":[^{}]+\}")
OPEN = {f"{BASE}/log/checkpoint", f"{BASE}/log/key", f"{BASE}/log/tile/{{path}}", "/healthz"}
SIGNING_IN = {"/", "/rmos/sign-in", "/rmos/sign-out", "/rmos/static/{name}"}
ALL_ROUTES = [(method, PATTERN.sub("}", path)) for method, path, _ in ROUTES]


def may(role: Role | None, method: str, path: str) -> bool:
    """What the specification says, in its own words."""
    if path in OPEN | SIGNING_IN:
        return True
    is_of_runs = re.match(rf"({BASE}/runs|{BASE}/runs_v2|/rmos/runs)(/|$)", path) is not None
    return {
        None: False,
        Role.PRODUCER: is_of_runs,
        Role.AUDITOR: method == "GET",
        Role.OPERATOR: True,
    }[role]


@pytest.mark.parametrize("role", [None, *Role], ids=str)
def test_every_route_is_open_to_whom_the_specification_opens_it_and_to_nobody_else(role):
    for method, path in ALL_ROUTES:
        allowed = roles_for(method, path)
        assert (allowed is ANYBODY or role in allowed) == may(role, method, path), (method, path)


def test_without_a_key_only_what_was_signed_and_the_sign_of_life_can_be_read():
    opened = {path for method, path in ALL_ROUTES if roles_for(method, path) is ANYBODY}
    assert opened == OPEN | SIGNING_IN


@given(method=METHODS, path=PATHS)
@FEW
def test_operators_may_do_everything_auditors_never_write_and_producers_stay_with_the_runs(method, path):
    allowed = roles_for(method, path)
    if allowed is ANYBODY:
        assert path in OPEN | SIGNING_IN or path.startswith((f"{BASE}/log/tile", "/rmos/static"))
        return
    assert Role.OPERATOR in allowed
    assert (Role.AUDITOR in allowed) == (method in ("GET", "HEAD"))
    if Role.PRODUCER in allowed:
        assert re.match(rf"({BASE}/runs|{BASE}/runs_v2|/rmos/runs)(/|$)", path)
        assert method in ("GET", "HEAD", "POST")


def test_what_begins_like_an_open_path_is_not_open():
    for path in (
        "/healthz/x",
        "/healthzz",
        f"{BASE}/log/keys",
        f"{BASE}/log/tiles/0",
        f"{BASE}/runs_v3",
        f"{BASE}/runsx",
    ):
        assert roles_for("GET", path) == (Role.AUDITOR, Role.OPERATOR)
        assert roles_for("POST", path) == (Role.OPERATOR,)


def test_the_document_prints_the_table_as_it_is():
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    printed = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| `(GET|POST|\*)` \|", line)
    ]
    everybody: tuple[Role | None, ...] = (None, *Role)
    in_code = [
        [rule.method, rule.pattern]
        + ["yes" if rule.roles is ANYBODY or role in rule.roles else "no" for role in everybody]
        for rule in RULES
    ]
    assert printed == in_code
