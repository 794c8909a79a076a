"""Signing in as a person does, with the keyboard alone, and out again."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from api.access.store import revoke_key
from tests.api.http.keyed import Keyed
from tests.server import body
from tests.web.conftest import Reader


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    keyed = Keyed(tmp_path_factory.mktemp("keyed"))
    try:
        keyed.start()
        assert keyed.post("/runs", body(), keyed.by("producer")).status == 201
        yield keyed
    finally:
        keyed.stop()


def test_a_person_signs_in_with_a_key_reads_and_signs_out(reader: Reader, server: Keyed):
    page = reader.open("/rmos/runs?status=OK")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    reader.look(page, "sign-in")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("prod.nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    reader.look(page, "sign-in-refused")
    page.get_by_label("API key").fill(server.keys["auditor"])
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{reader.address}/rmos/runs?status=OK")
    expect(page.get_by_role("banner")).to_contain_text("audi · auditor")
    reader.look(page, "signed-in")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{reader.address}/rmos/runs")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_person_whose_key_is_revoked_is_at_the_door_with_the_next_click(reader: Reader, server: Keyed):
    page = reader.open("/rmos/runs")
    page.get_by_label("API key").fill(server.keys["producer"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("banner")).to_contain_text("prod · producer")
    expect(page.get_by_role("link", name="Overview")).to_have_count(0)
    revoke_key(server.data_dir, "prod")
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
