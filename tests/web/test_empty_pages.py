"""Pages of a server without a run: each says what to do, and what it says works."""

import json
import shutil
import subprocess
from html import unescape

import pytest

from tests.server import Server
from tests.web.conftest import Reader

PAGES = ("/rmos", "/rmos/runs", "/rmos/runs/diff", "/rmos/log")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_says_how_to_record_the_first_run(reader: Reader, path: str) -> None:
    page = reader.open(path)
    assert page.locator(".first-run pre").count() == 3
    if path == "/rmos":
        reader.look(page, "empty")


def test_the_command_that_it_shows_records_a_run(own_server: Server) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shown = own_server.request("GET", "/rmos", headers={"Accept": "text/html"}).body.decode()
    command = unescape(shown.partition('class="first-run')[2] or shown.partition("<pre")[2]).partition(">")[2]
    command = command.partition("</pre>")[0]
    assert command.startswith(f"curl -fsS http://127.0.0.1:{own_server.port}/api/rmos/runs")
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    assert own_server.run(json.loads(ended.stdout)["run_id"])["status"] == "OK"
    after = own_server.request("GET", "/rmos", headers={"Accept": "text/html"}).body.decode()
    assert "first-run" not in after
