"""Signing in at the pages of a server with keys: the way there, the session, and its end."""

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from api.access.roles import Role
from api.access.store import add_key, revoke_key
from api.web.signin import way_on
from tests.api.http.keyed import Keyed
from tests.server import BASE, FEW, body, refused, running

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with running(Keyed(tmp_path_factory.mktemp("keyed"))) as keyed:
        yield keyed


@given(wanted=st.text(max_size=30) | st.text("/\\.rmos?#:@ \t\r\n", max_size=15).map(lambda text: f"/rmos{text}"))
@example("//evil.example")
@example("/rmos@evil.example")
@example("/\\evil.example")
@example("https://evil.example/rmos")
@example("/rmos\r\nSet-Cookie: a=b")
@FEW
def test_the_way_on_never_leads_to_another_place_than_the_pages(wanted):
    here = "http://127.0.0.1:8080/rmos/sign-in"
    for role in (None, *Role):
        way = way_on(wanted, role)
        there = urlsplit(urljoin(here, way))
        assert (there.scheme, there.netloc) == ("http", "127.0.0.1:8080")
        assert way == "/docs" or way.startswith(("/docs?", "/rmos"))
        assert way.isprintable()


@pytest.mark.parametrize(
    "wanted",
    ["/rmos/../api", "/rmos/%2e%2E/api", "/rmos/runs/.%2e/../api?a=b", "/rmos/..#?", "/rmos/..", "/rmos/./sign-in"],
)
def test_the_way_on_never_climbs_out_of_the_pages(wanted):
    assert way_on(wanted, None) == "/rmos"


def test_who_is_not_signed_in_is_shown_the_way_and_comes_back_to_the_page_that_was_wanted(server: Keyed):
    answer = server.request("GET", "/rmos/runs?status=OK&limit=3", headers=HTML)
    assert answer.status == 303
    form = server.request("GET", answer.headers["Location"], headers=HTML)
    assert form.status == 200
    assert b'name="next" value="/rmos/runs?status=OK&amp;limit=3"' in form.body
    assert form.headers["Cache-Control"] == "no-store"
    signed_in = server.form(
        "/rmos/sign-in", f"next=%2Frmos%2Fruns%3Fstatus%3DOK%26limit%3D3&key={server.keys['auditor']}".encode(), HTML
    )
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/rmos/runs?status=OK&limit=3")
    assert signed_in.body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_bare_address_leads_anybody_to_the_pages(server: Keyed, method: str):
    for headers in (HTML, {}, server.by("producer"), server.by("nobody.x")):
        answer = server.request(method, "/", headers=headers)
        assert (answer.status, answer.headers["Location"], answer.body) == (303, "/rmos", b"")
    assert server.request(method, "/?x=1", headers=HTML).status == 422


def test_nothing_but_the_bare_address_itself_is_open_without_a_key(server: Keyed):
    for method, path in (("POST", "/"), ("OPTIONS", "/"), ("GET", "//"), ("GET", "/x"), ("GET", "/."), ("GET", "/%2f")):
        assert server.request(method, path).status == 401, (method, path)


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites_and_holds_no_key(server: Keyed):
    answer = server.form("/rmos/sign-in", f"key={server.keys['auditor']}".encode())
    cookie = answer.headers["Set-Cookie"]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    session_id = cookie.partition(";")[0].partition("=")[2]
    assert len(session_id) == 43
    assert server.keys["auditor"].rpartition(".")[2] not in cookie
    again = server.form("/rmos/sign-in", f"key={server.keys['auditor']}".encode())
    assert session_id not in again.headers["Set-Cookie"]


def test_a_session_may_do_what_its_key_may_and_posts_from_its_own_origin_only(server: Keyed):
    session = server.signed_in("operator")
    assert server.get("/runs", session).status == 200
    own = f"http://127.0.0.1:{server.port}"
    created = server.post("/runs", body(), {**session, "Origin": own})
    assert created.status == 201
    for alien in ({"Origin": "http://alien.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        refused(server.post("/runs", body(), {**session, **alien}), 403, "FORBIDDEN")
    (event,) = server.get(f"/runs/{created.json['run_id']}/events", session).json["events"]
    assert event["event"]["actor"] == "oper"
    refused(server.post("/runs", body(), server.signed_in("auditor")), 403, "FORBIDDEN")


def test_the_page_of_the_api_is_one_of_the_pages(server: Keyed):
    answer = server.request("GET", "/docs", headers=HTML)
    assert (answer.status, answer.headers["Location"]) == (303, "/rmos/sign-in?next=/docs")
    document = server.request("GET", "/openapi.json", headers=server.by("auditor")).json
    assert "Location" in document["paths"]["/docs"]["get"]["responses"]["303"]["headers"]
    signed_in = server.form("/rmos/sign-in", f"next=%2Fdocs&key={server.keys['auditor']}".encode(), HTML)
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/docs")


def test_a_bad_key_beside_a_good_session_is_a_bad_key(server: Keyed):
    both = {**server.signed_in("auditor"), "Authorization": "Bearer a.b"}
    refused(server.get("/runs", both), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("cookie", ["runlog_session=", "runlog_session=x", "runlog_session=\xff", "=;;=", "a=b"])
def test_what_is_no_session_is_none(server: Keyed, cookie: str):
    problem = refused(server.get("/runs", {"Cookie": cookie}), 401, "UNAUTHENTICATED")
    assert problem["reason"] == ("session_over" if cookie.startswith("runlog_session=") else "no_key")


def test_signing_out_ends_the_session_here_and_in_the_browser(server: Keyed):
    session = server.signed_in("auditor")
    answer = server.form("/rmos/sign-out", b"", session)
    assert (answer.status, answer.headers["Location"]) == (303, "/rmos/sign-in")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    refused(server.get("/runs", session), 401, "UNAUTHENTICATED")


def test_signing_in_anew_ends_the_session_before(server: Keyed):
    first = server.signed_in("auditor")
    answer = server.form("/rmos/sign-in", f"key={server.keys['operator']}".encode(), first)
    assert answer.status == 303
    assert answer.headers["Set-Cookie"].partition(";")[0] != first["Cookie"]
    refused(server.get("/runs", first), 401, "UNAUTHENTICATED")


def test_a_session_ends_with_its_key_and_does_not_come_back_with_a_new_one_of_that_name(server: Keyed):
    server.keys["guest"] = add_key(server.data_dir, "guest", Role.AUDITOR)
    session = server.signed_in("guest")
    assert server.get("/runs", session).status == 200
    revoke_key(server.data_dir, "guest")
    add_key(server.data_dir, "guest", Role.AUDITOR)
    refused(server.get("/runs", session), 401, "UNAUTHENTICATED")
    assert server.request("GET", "/rmos/runs", headers={**session, **HTML}).status == 303


def test_a_wrong_key_is_told_on_the_form_and_comes_back_nowhere(server: Keyed):
    for wrong in (b"key=audi.nonsense&next=%22%3E%3Cscript%3E", b"key=", b"", b"key=%ff", b"other=1"):
        answer = server.form("/rmos/sign-in", wrong, HTML)
        assert answer.status == 401
        assert b'role="alert"' in answer.body
        assert b"nonsense" not in answer.body
        assert b"<script>" not in answer.body
        assert answer.headers["Set-Cookie"] is None
    assert server.form("/rmos/sign-in", b"key=" + b"x" * 10_000, HTML).status == 413
    assert server.request("POST", "/rmos/sign-in", b"{}", {"Content-Type": "application/json"}).status == 415
    refused(server.form("/rmos/sign-in", b"key=a", {"Origin": "http://alien.example"}), 403, "FORBIDDEN")


def test_a_form_of_many_fields_is_refused_in_words_to_people_and_to_programs(server: Keyed):
    many = b"a=1&" * 30
    problem = refused(server.form("/rmos/sign-in", many), 422, "VALIDATION_ERROR")
    assert "more than 20 fields" in problem["message"]
    page = server.form("/rmos/sign-in", many, HTML)
    assert (page.status, b"more than 20 fields" in page.body) == (422, True)
    assert "Traceback" not in server.output()


def test_signing_in_and_out_take_no_parameter_that_they_do_not_know(server: Keyed):
    session = server.signed_in("auditor")
    refused(server.form("/rmos/sign-out?zz=1", b"", session), 422, "VALIDATION_ERROR")
    assert server.get("/runs", session).status == 200
    refused(server.form("/rmos/sign-in?zz=1", f"key={server.keys['auditor']}".encode()), 422, "VALIDATION_ERROR")
    refused(server.request("GET", "/rmos/sign-in?zz=1"), 422, "VALIDATION_ERROR")


def test_each_role_sees_its_pages_and_is_told_what_it_lacks(server: Keyed):
    producer = {**server.signed_in("producer"), **HTML}
    assert server.request("GET", "/rmos/runs", headers=producer).status == 200
    overview = server.request("GET", "/rmos", headers=producer)
    assert (overview.status, b"auditor or operator" in overview.body) == (403, True)
    assert b'href="/rmos/log"' not in overview.body
    auditor = {**server.signed_in("auditor"), **HTML}
    page = server.request("GET", "/rmos", headers=auditor)
    assert page.status == 200
    assert b"<bdi>audi</bdi>" in page.body
    assert server.form("/rmos/sign-in", f"key={server.keys['producer']}".encode()).headers["Location"] == "/rmos/runs"


def test_who_is_signed_in_goes_on_from_the_form(server: Keyed):
    answer = server.request("GET", "/rmos/sign-in?next=/rmos/runs/diff", headers=server.signed_in("auditor"))
    assert (answer.status, answer.headers["Location"]) == (303, "/rmos/runs/diff")


def test_a_part_of_a_page_that_is_asked_for_too_late_makes_the_browser_load_the_whole(server: Keyed):
    answer = server.request("GET", "/rmos/runs", headers={"HX-Request": "true"})
    assert (answer.status, answer.headers["HX-Refresh"]) == (401, "true")


def test_files_of_the_pages_need_no_session(server: Keyed):
    assert server.request("GET", "/rmos/static/style.css").status == 200
    assert server.request("GET", f"{BASE}/runs", headers=HTML).status == 401  # the API sends nobody to a form
