"""/docs in a real browser: the whole reference, with nothing from elsewhere, with and without scripts."""

import json
import re
import shlex
import subprocess

from api.http.app import ROUTES
from api.http.openapi.document import is_page, template
from api.http.problems import STATUSES
from tests.server import Server
from tests.web.conftest import Reader


def test_every_operation_and_error_stands_on_the_page_and_it_is_good_to_read(reader: Reader) -> None:
    page = reader.open("/docs")
    told = [re.sub(r"\s+", " ", text).strip() for text in page.locator("article h3").all_inner_texts()]
    served = {f"{method} {template(path)}" for method, path, _ in ROUTES if not is_page(path)}
    assert served <= set(told)
    assert {f"{status} {code}" for code, status in STATUSES.items()} <= set(told)
    reader.look(page, "docs", schemes=("light",))
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.screenshot(path=reader.folder / "docs-1280-dark.png")


def test_it_needs_no_script_and_nothing_from_elsewhere(reader: Reader) -> None:
    page = reader.open("/docs", java_script_enabled=False)
    content = page.content()
    addresses = re.findall(r'(?:href|src)="([^"]+)"', content)
    assert [address for address in addresses if "//" in address] == []
    targets = {address[1:] for address in addresses if address.startswith("#")}
    ids = set(re.findall(r' id="([^"]+)"', content))
    assert targets <= ids
    assert page.locator("#createRun").is_visible()


def test_the_command_that_it_shows_for_a_new_run_records_one(reader: Reader, server: Server) -> None:
    page = reader.open("/docs", java_script_enabled=False)
    shown = page.locator("article[aria-labelledby=createRun] .ask code").inner_text()
    ended = subprocess.run(shlex.split(shown), capture_output=True, text=True, timeout=30)
    assert server.run(json.loads(ended.stdout)["run_id"])["mode"] == "adaptive"


def test_the_command_that_it_shows_for_an_attachment_sends_bytes_of_a_type_that_a_server_can_keep(
    reader: Reader,
) -> None:
    page = reader.open("/docs", java_script_enabled=False)
    shown = page.locator("article[aria-labelledby=addAttachment] .ask code").inner_text()
    assert "Content-Type: application/octet-stream" in shlex.split(shown)
