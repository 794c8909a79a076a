"""Pages of a server without a run: each says what to do, and what it says works."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import record, runlog, written
from tests.server import Server
from tests.web.conftest import Reader

PAGES = ("/rmos", "/rmos/runs", "/rmos/runs/diff", "/rmos/log")


def test_each_page_says_how_to_record_the_first_run_and_it_works(
    reader: Reader, server: Server, tmp_path: Path
) -> None:
    """First a run of the old store, which is not of these days; then one with the very command that is shown."""
    for path in PAGES:
        page = reader.open(path)
        assert page.locator(".first-run pre").count() == 3
        if path == "/rmos":
            reader.look(page, "empty")
    page = reader.open("/rmos", java_script_enabled=False)
    curl, migrate, _ = page.locator(".first-run pre").all_inner_texts()
    old = record("run_0123456789abcdef", created_at_utc="2025-01-05T05:07:16.000000Z", mode="m", tool_id="t")
    command = migrate.replace("runs.json", str(written(tmp_path, old))).split()
    assert runlog(*command[1:], "--no-backup").code == 0
    page.reload()
    assert "No run in the last 30 days. The newest is of 2025-01-05" in page.locator("main").inner_text()
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    assert curl.startswith(f"curl -fsS {reader.address}/api/rmos/runs")
    ended = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, timeout=30, check=True)
    assert server.run(json.loads(ended.stdout)["run_id"])["status"] == "OK"
    page.reload()
    assert page.locator(".figures dd a").nth(0).inner_text() == "1"
