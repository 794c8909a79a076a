"""/rmos/log: what an operator sees of the log and sets going there, and that nobody else's page can."""

import json
import re
from collections.abc import Iterator
from html import unescape

import pytest
from playwright.sync_api import expect

from api.evidence.verified import Verified
from eventlog.verdict import Fault, Verdict
from tests.commands import runlog
from tests.server import Server, refused, until
from tests.web.conftest import LONG_S, Reader

expect.set_options(timeout=LONG_S * 1000)
RUNS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a few runs in many small segments."""
    server = Server(tmp_path_factory.mktemp("log"))
    server.data_dir.mkdir()
    (server.data_dir / "runlog.toml").write_text("segment_bytes_max = 1024\n")
    server.start()
    for _ in range(RUNS):
        server.create()
    yield server
    server.stop()
    assert "Traceback" not in server.output()


def shown(server: Server, query: str = "") -> str:
    """The page as text, asked for as a browser does."""
    answer = server.request("GET", f"/rmos/log{query}", headers={"Accept": "text/html"})
    assert answer.status == 200, answer.body
    return answer.body.decode()


def test_it_tells_what_the_log_tells(reader: Reader, server: Server) -> None:
    """The checkpoint and the key are those that everybody gets, and each finished segment has its seal."""
    seals = until(lambda: sealed(server), "every finished segment is sealed", LONG_S)
    page = reader.open("/rmos/log", java_script_enabled=False)
    assert page.locator(".figures dd").nth(0).inner_text() == str(RUNS)
    note = page.locator("#checkpoint pre").inner_text()
    assert note.strip() == server.get("/log/checkpoint").body.decode().strip()
    assert f"\n{RUNS}\n" in note
    assert server.get("/log/key").body.decode().strip() in page.locator("main").inner_text()
    rows = page.locator("table.seals tbody tr")
    assert rows.locator("th").all_inner_texts() == seals[::-1]
    assert rows.nth(0).locator("td").nth(1).inner_text() == str(len(seals))
    expect(page.locator("#projections .state-running")).to_have_count(3)
    for name in ("catalog", "files", "stats"):
        assert page.get_by_role("heading", name=name).is_visible()
    assert str(server.data_dir) not in page.content()


def sealed(server: Server) -> list[str] | None:
    """The names of all seals, once each finished segment has one."""
    names = sorted(path.name for path in (server.data_dir / "log" / "checkpoints").iterdir())
    return names if len(names) == RUNS - 1 and not any(name.endswith(".tmp") for name in names) else None


def test_the_seals_come_page_by_page(server: Server) -> None:
    first = until(lambda: sealed(server), "every finished segment is sealed", LONG_S)[3]
    text = shown(server, f"?seals_before={first}")
    assert re.findall(r'class="id">([^<]+)', text) == [f"{first[:-1]}{number}" for number in (2, 1, 0)]
    answer = server.request("GET", "/rmos/log?seals_before=../x", headers={"Accept": "text/html"})
    assert (answer.status, b"seals_before" in answer.body) == (422, True)


@pytest.mark.parametrize("is_scripted", [False, True])
def test_a_projection_is_folded_anew_at_the_press_of_a_button(
    reader: Reader, server: Server, is_scripted: bool
) -> None:
    database = server.data_dir / "stats.sqlite"
    before = database.stat().st_ino
    page = reader.open("/rmos/log", java_script_enabled=is_scripted)
    page.get_by_role("button", name="Rebuild stats").click()
    until(lambda: database.stat().st_ino != before, "another database is in the place of the old one", LONG_S)
    if is_scripted:
        expect(page.get_by_role("button", name="Rebuild stats")).to_be_enabled()
    assert page.url.endswith("/rmos/log")
    assert server.get("/stats").json["items"][0]["total"] == RUNS


def test_the_log_is_verified_at_the_press_of_a_button(reader: Reader, server: Server) -> None:
    page = reader.open("/rmos/log")
    expect(page.locator("#verified")).to_contain_text("None is remembered")
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#verified .notice.good")).to_contain_text(f"{RUNS} events, {RUNS} of them signed")
    reader.look(page, "log")
    record = json.loads((server.data_dir / "verified.json").read_bytes())
    assert (record["verdict"]["ok"], record["verdict"]["events"]) == (True, RUNS)


def test_the_command_records_what_it_found_only_when_asked_to(server: Server) -> None:
    path = server.data_dir / "verified.json"
    path.unlink(missing_ok=True)
    assert runlog("log", "verify", "--data-dir", server.data_dir).code == 0
    assert not path.exists()
    assert runlog("log", "verify", "--data-dir", server.data_dir, "--record").code == 0
    assert "Good" in shown(server)
    path.write_text('{"began": 1, "verdict": {}}')
    assert "None is remembered" in shown(server)


def test_a_page_elsewhere_can_set_nothing_going(server: Server) -> None:
    for path in ("projections/stats/rebuild", "projections/stats/retry", "verify"):
        elsewhere = {"Origin": "https://elsewhere.example"}
        refused(server.request("POST", f"/rmos/log/{path}", headers=elsewhere), 403, "FORBIDDEN")
        refused(server.request("POST", f"/rmos/log/{path}", headers={"Sec-Fetch-Site": "cross-site"}), 403, "FORBIDDEN")
        assert server.request("GET", f"/rmos/log/{path}").status in (404, 405)
    refused(server.request("POST", "/rmos/log/projections/nothing/rebuild"), 404, "NOT_FOUND")


def test_damage_that_was_found_is_told_with_its_place(server: Server) -> None:
    verdict = Verdict(events=RUNS, signed=RUNS)
    verdict.add(Fault("its hash is <b>another</b>", "log/segments/2026-01-05.0000.jsonl", 512, 7))
    Verified("2026-01-05T05:07:16.000000Z", "2026-01-05T05:07:17.000000Z", verdict.as_json()).keep(server.data_dir)
    text = shown(server)
    for told in ("1 bad", "log/segments/2026-01-05.0000.jsonl", "byte 512, seq 7", "&lt;b&gt;another&lt;/b&gt;"):
        assert told in text


def test_only_operators_find_buttons_on_a_keyed_server(own_server: Server) -> None:
    """And everybody is told to show a key with the first run."""
    keys = {}
    for role in ("auditor", "operator"):
        added = runlog("keys", "add", role, "--role", role, "--data-dir", own_server.data_dir)
        (token,) = re.findall(rf"{role}\.\S+", added.out)
        keys[role] = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
    for role, count in (("auditor", 0), ("operator", 3)):
        page = own_server.request("GET", "/rmos/log", headers=keys[role]).body.decode()
        assert page.count('<button id="rebuild-') == count
        assert "Authorization: Bearer $RUNLOG_API_KEY" in unescape(page)
    path = "/rmos/log/projections/stats/rebuild"
    assert own_server.request("POST", path, headers=keys["auditor"]).status == 403
    assert own_server.request("POST", path, headers=keys["operator"]).status == 303
