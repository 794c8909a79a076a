"""One run on its page: all of it, as it was then, with a proof that the browser checks itself."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from playwright.sync_api import Page, Route, expect

from api.web.run import MOMENTS_MAX, told_moments
from eventlog.event import Place, Recorded
from projections.run.events import EXPLANATION_SET
from tests.server import BASE, FILES, Server, canonical, unique
from tests.web.conftest import LONG_S, Reader

GCODE = "G21\nG90\n" + "".join(f"G1 X{i / 10:.3f} Y{i / 5:.3f} F600\n" for i in range(200))
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100" onload="top.hacked=1"><script>top.hacked=1</script>'
    b'<rect width="200" height="100" fill="#cde"/></svg>'
)


@frozen
class Story:
    """A blocked run with all that can be added to one, and the run of its tool that went well before."""

    run_id: str
    ok_id: str
    seqs: list[int]

    @property
    def path(self) -> str:
        """Where its page is."""
        return f"/rmos/runs?run_id={self.run_id}"


@pytest.fixture(scope="module")
def story(server: Server) -> Story:
    tool = unique("tool")
    ok = server.create(tool_id=tool)
    run_id = server.create(
        tool_id=tool,
        status="BLOCKED",
        risk_level="RED",
        score=14.1,
        block_reason="4.4 mm a pass is too deep",
        warnings=["chip load near its bound"],
        details={"limit_mm": 1.2},
        outputs={"gcode_text": GCODE},
        context={"machine_id": "gantry-48", "parent_run_id": ok["run_id"]},
        request_summary={"material": "maple", "feasibility": {"score": 99}},
    )["run_id"]
    path = f"/runs/{run_id}"
    server.post(f"{path}/attach-advisory", {"advisory_id": "adv-7", "kind": "advisory", "engine_id": "advisor"})
    server.post(f"{path}/explanation", {"status": "READY", "summary": "This tool should take 1.2 mm."})
    picture = next(file for file in FILES.iterdir() if file.read_bytes().startswith(b"\x89PNG"))
    server.upload(run_id, picture.read_bytes(), {"Content-Type": "image/png"}, kind="preview", filename="view.png")
    server.upload(run_id, SVG, {"Content-Type": "image/svg+xml"}, kind="preview_svg", filename="path.svg")
    server.upload(run_id, GCODE.encode(), {"Content-Type": "text/html"}, kind="gcode", filename="job.nc")
    server.create(tool_id=tool)  # later than the blocked one: not what it is to be compared with
    events = server.get(f"{path}/events").json["events"]
    return Story(run_id, ok["run_id"], [event["seq"] for event in events])


def test_all_that_is_known_of_a_run_is_on_its_page(reader: Reader, story: Story):
    page = reader.open(story.path)
    run = reader.server.run(story.run_id)
    expect(page.get_by_role("heading", level=1)).to_have_text(story.run_id)
    expect(page.locator(".verdict")).to_contain_text("4.4 mm a pass is too deep")
    text = page.locator("main").inner_text()
    for each in (
        "chip load near its bound",
        "This tool should take 1.2 mm.",
        "adv-7",
        "advisor",
        "gantry-48",
        "job.nc",
    ):
        assert each in text, each
    for value in (*run["hashes"].values(), run["log"]["event_sha256"]):
        assert value is None or value in text
    for label, value in (("Decision", run["decision"]), ("Feasibility", run["feasibility"])):
        assert json.loads(page.locator(f"pre[aria-label='{label}']").inner_text()) == value
    assert json.loads(page.locator("pre[aria-label='Request summary']").inner_text()) == {"material": "maple"}
    assert page.locator("#timeline li").count() == len(story.seqs)
    expect(page.get_by_role("link", name=story.ok_id)).to_be_visible()


def test_the_program_is_shown_from_its_beginning_and_whole_on_demand(reader: Reader, story: Story):
    page = reader.open(story.path)
    program = page.locator("#program")
    assert program.inner_text() == GCODE[:500] + "…"
    page.get_by_role("link", name="Show the whole program").click()
    expect(program).to_have_text(GCODE, use_inner_text=True)
    expect(program).to_be_focused()
    answer = reader.server.request("GET", f"/rmos/runs/{story.run_id}/gcode")
    assert answer.body.decode() == GCODE
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_program_that_is_kept_as_an_attachment_is_shown_like_any_other(reader: Reader):
    """Above 204,800 bytes the server keeps it apart from the run."""
    large = GCODE * 60
    run = reader.server.create(outputs={"gcode_text": large})
    assert run["outputs"]["gcode_path"].startswith("attachments/")
    page = reader.open(f"/rmos/runs?run_id={run['run_id']}", java_script_enabled=False)
    assert page.locator("#program").inner_text() == large[:500] + "…"
    page.get_by_role("link", name="Show the whole program").click()
    assert page.locator("body").inner_text().startswith(GCODE[:300])


def test_pictures_are_pictures_and_whatever_a_file_claims_to_be_it_cannot_act(reader: Reader, story: Story):
    page = reader.open(story.path)
    pictures = page.locator(".attachments img")
    expect(pictures).to_have_count(2)
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    assert page.evaluate("window.hacked") is None
    for attachment in reader.server.run(story.run_id)["attachments"]:
        answer = reader.server.request("GET", f"/rmos/runs/{story.run_id}/attachments/{attachment['sha256']}")
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        wanted = attachment["mime"] if attachment["mime"].startswith("image/") else "text/plain; charset=utf-8"
        assert answer.headers["Content-Type"] == wanted
    opened = reader.open(page.locator(".attachments .picture").nth(1).get_attribute("href") or "")
    assert opened.evaluate("window.hacked") is None
    # The browser says that it did not run the script; that is as it should be.
    assert all("script" in complaint for complaint in reader.complaints)
    reader.complaints.clear()


def test_a_hash_is_copied_with_its_button(reader: Reader, story: Story):
    page = reader.open(story.path, permissions=["clipboard-read", "clipboard-write"])
    digest = reader.server.run(story.run_id)["hashes"]["feasibility_sha256"]
    page.get_by_role("button", name=f"Copy {digest[:12]}").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == digest


def test_a_moment_of_the_history_shows_the_run_as_it_was_then(reader: Reader, story: Story):
    page = reader.open(story.path)
    page.locator("#timeline a").first.click()
    page.wait_for_url(f"**at={story.seqs[0]}")
    expect(page.get_by_text("This is the run as it was at")).to_be_visible()
    assert "adv-7" not in page.locator(".main").inner_text()
    expect(page.locator("#timeline li.later")).to_have_count(len(story.seqs) - 1)
    page.get_by_role("link", name="Show it as it is now").click()
    expect(page.locator(".main").get_by_text("adv-7", exact=True)).to_be_visible()


def test_of_a_very_long_history_the_first_and_the_last_events_are_told():
    def recorded(seq: int) -> Recorded:
        event = {"actor": "a", "data": {"status": "READY", "summary": None}, "time": "t", "type": EXPLANATION_SET}
        return Recorded(seq, "", canonical(event), Place(0, 0, 0))

    def told(count: int) -> list[int]:
        return [moment.seq for moment in told_moments([recorded(seq) for seq in range(count)], 0)]

    assert told(MOMENTS_MAX) == list(range(MOMENTS_MAX))
    assert told(MOMENTS_MAX + 50) == [*range(20), *range(70, MOMENTS_MAX + 50)]


def test_a_blocked_run_is_compared_with_the_last_ok_run_of_its_tool(reader: Reader, story: Story):
    page = reader.open(story.path)
    page.get_by_role("link", name="Compare with the last OK run of this tool").click()
    expect(page.get_by_label("Run A", exact=True).first).to_have_value(story.ok_id)
    expect(page.locator("#b")).to_have_value(story.run_id)
    page.go_back()
    page.get_by_role("link", name="Compare with another run…").click()
    expect(page.locator("#a")).to_have_value(story.run_id)
    expect(page.locator("#b")).to_have_value("")


def verdict(page: Page) -> str:
    """What the browser found when it checked the proof."""
    page.get_by_role("button", name="Verify in this browser").click()
    page.locator(".steps .sum").wait_for(timeout=LONG_S * 1000)
    return page.locator(".steps").inner_text()


def test_the_browser_checks_the_proof_itself(reader: Reader, story: Story):
    found = verdict(reader.open(story.path))
    assert f"{len(story.seqs)} events hashed here" in found
    assert "The root is signed by" in found
    assert "This run is in the log as shown" in found


def tampered(proof: dict[str, Any], what: str) -> dict[str, Any]:
    """A proof in which something is not as it was."""
    event = proof["events"][0]
    if what == "event":
        event["event_base64"] = proof["events"][1]["event_base64"]
    elif what == "path":
        lines = event["proof"].split("\n")
        lines[2] = "A" * 43 + "="
        event["proof"] = "\n".join(lines)
    elif what == "root":
        size, root = proof["checkpoint"].split("\n")[1:3]
        for one in proof["events"]:
            one["proof"] = one["proof"].replace(f"\n{size}\n{root}\n", f"\n{size}\n{'B' * 43}=\n")
        proof["checkpoint"] = proof["checkpoint"].replace(root, "B" * 43 + "=")
    elif what == "signature":
        note = proof["checkpoint"]
        at = note.rindex(" ") + 20
        changed = note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]
        for one in proof["events"]:
            one["proof"] = one["proof"].replace(note, changed)
        proof["checkpoint"] = changed
    elif what == "missing":
        proof["events"].pop(0)
    return proof


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("event", "its bytes do not have the hash"),
        ("path", "does not lead to the signed root"),
        ("root", "does not lead to the signed root"),
        ("signature", "the signature of the checkpoint does not fit"),
        ("missing", "of this page is not in the proof"),
    ],
)
def test_the_browser_finds_what_was_changed_in_a_proof(reader: Reader, story: Story, what: str, why: str):
    page = reader.open(story.path)

    def changed(route: Route) -> None:
        route.fulfill(json=tampered(reader.server.get(f"/runs/{story.run_id}/proof").json, what))

    page.route("**/proof", changed)
    found = verdict(page)
    assert why in found
    assert "This run is in the log as shown" not in found


def test_the_browser_finds_a_page_that_says_something_else_than_the_log(reader: Reader, story: Story):
    page = reader.open(story.path)
    page.evaluate(
        """() => {
            const section = document.getElementById("proof-section");
            section.dataset.shown = JSON.stringify({...JSON.parse(section.dataset.shown), status: "OK"});
        }"""
    )
    assert "this page shows another status than the event has" in verdict(page)


def test_the_evidence_that_is_downloaded_holds(reader: Reader, story: Story, tmp_path: Path):
    page = reader.open(story.path)
    with page.expect_download(timeout=LONG_S * 1000) as download:
        page.get_by_role("link", name="Evidence (zip)").click()
    assert download.value.suggested_filename == f"{story.run_id}.evidence.zip"
    with zipfile.ZipFile(download.value.path()) as pack:
        pack.extractall(tmp_path)
    key = reader.server.get("/log/key").body.decode().strip()
    checked = subprocess.run(
        [sys.executable, "-I", tmp_path / "verify.py", "--key", key], capture_output=True, text=True, timeout=LONG_S
    )
    assert checked.returncode == 0, checked.stdout
    assert f"{len(story.seqs)} events, 3 attachments" in checked.stdout
    with page.expect_download(timeout=LONG_S * 1000) as download:
        page.get_by_role("link", name="Download JSON").click()
    assert json.loads(Path(download.value.path()).read_text()) == reader.server.run(story.run_id)


def test_evidence_that_would_not_be_whole_is_refused(reader: Reader):
    run_id = reader.server.create()["run_id"]
    digest = reader.server.upload(run_id, unique().encode(), kind="note").json["sha256"]
    (reader.server.data_dir / "attachments" / digest[:2] / digest[2:4] / digest).unlink()
    page = reader.open(f"/rmos/runs?run_id={run_id}")
    expect(page.get_by_text("Its bytes are missing from the store")).to_be_visible()
    reader.open(f"/rmos/runs/{run_id}/evidence.zip", status=409)


def test_a_withdrawn_run_says_so_and_can_still_be_looked_at(reader: Reader):
    run_id = reader.server.create()["run_id"]
    answer = reader.server.request(
        "POST",
        f"{BASE}/admin/runs/{run_id}/withdraw",
        b'{"reason": "recorded twice"}',
        {"Content-Type": "application/json"},
    )
    assert answer.status == 200
    page = reader.open(f"/rmos/runs?run_id={run_id}", status=410)
    expect(page.get_by_text("recorded twice")).to_be_visible()
    page.get_by_role("link", name="Show the run as it was recorded").click()
    expect(page.locator(".notice.bad")).to_contain_text("Withdrawn")
    assert "This run is in the log as shown" in verdict(page)


@pytest.mark.parametrize("run_id", ["run_", "../../etc/passwd", "run_000000000000", "<script>"])
def test_what_is_no_run_leads_to_a_page_that_helps(server: Server, run_id: str):
    for path in (f"/rmos/runs?run_id={run_id}", f"/rmos/runs/{run_id.replace('/', '%2f')}/gcode"):
        answer = server.request("GET", path.replace("<", "%3C"), headers={"Accept": "text/html"})
        assert answer.status == 404
        assert b"Not here" in answer.body
        assert b"<script>" not in answer.body


def test_the_page_of_a_run_fits_and_is_accessible_wide_and_narrow_light_and_dark(reader: Reader, story: Story):
    page = reader.open(story.path)
    verdict(page)
    reader.look(page, "run")


def test_a_printed_run_has_no_buttons_and_all_that_counts(reader: Reader, story: Story):
    page = reader.open(story.path)
    page.emulate_media(media="print")
    expect(page.locator(".bar")).to_be_hidden()
    expect(page.get_by_role("link", name="Download JSON")).to_be_hidden()
    expect(page.locator(".verdict")).to_be_visible()
    expect(page.get_by_role("heading", name="History")).to_be_visible()
