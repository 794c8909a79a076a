"""Watching the server: health, readiness, its diagnostics, and how it ends."""

import subprocess
from typing import Any

from tests.server import ROOT, Server, body, clean_environment, free_port, serve_command, until


def lines_of(server: Server, event: str, run_id: str) -> list[dict[str, Any]]:
    """Return the diagnostics of that name about that run."""
    return [line for line in server.log_lines() if line["event"] == event and line.get("run_id") == run_id]


def test_health_says_that_the_process_lives(server: Server) -> None:
    answer = server.request("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def states(server: Server) -> set[str]:
    """Return the states that the projections are in."""
    return {projection["state"] for projection in server.request("GET", "/readyz").json["projections"].values()}


def test_readiness_tells_of_every_projection(server: Server) -> None:
    server.create()
    until(lambda: states(server) == {"running"}, "every projection runs")
    answer = server.request("GET", "/readyz")
    assert (answer.status, answer.json["status"], answer.json["reasons"]) == (200, "ready", [])
    assert {"catalog", "files"} <= set(answer.json["projections"])
    for projection in answer.json["projections"].values():
        assert set(projection) >= {"position", "lag", "state"}


def test_metrics_are_in_the_form_of_prometheus(server: Server) -> None:
    answer = server.request("GET", "/metrics")
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/plain")
    assert b"# TYPE " in answer.body


def test_each_write_is_a_line_with_the_request_that_made_it(server: Server) -> None:
    """At level info, with the fields that tell what was written and where."""
    run = server.post("/runs", body(status="BLOCKED", risk_level="RED"), {"X-Request-Id": "r-create"}).json
    run_id, seq = run["run_id"], run["log"]["seq"]
    server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "ü/1"}, {"X-Request-Id": "r-advisory"})
    server.post(f"/runs/{run_id}/explanation", {"status": "READY"}, {"X-Request-Id": "r-explanation"})
    sha256 = server.upload(run_id, b"bytes", {"X-Request-Id": "r-upload"}, kind="k").json["sha256"]
    expected = {
        "run.created": {"status": "BLOCKED", "risk_level": "RED", "seq": seq, "request_id": "r-create"},
        "advisory.attached": {"advisory_id": "ü/1", "seq": seq + 1, "request_id": "r-advisory"},
        "explanation.set": {"status": "READY", "seq": seq + 2, "request_id": "r-explanation"},
        "attachment.added": {"sha256": sha256, "size_bytes": 5, "seq": seq + 3, "request_id": "r-upload"},
    }
    until(lambda: lines_of(server, "attachment.added", run_id), "the last line is written")
    for event, fields in expected.items():
        (line,) = lines_of(server, event, run_id)
        assert line["level"] == "info"
        assert fields.items() <= line.items()


def test_an_output_that_is_kept_as_an_attachment_is_a_line_of_its_own(server: Server) -> None:
    run = server.create(outputs={"gcode_text": "G" * 204_801})
    until(lambda: lines_of(server, "attachment.added", run["run_id"]), "the line is written")
    (line,) = lines_of(server, "attachment.added", run["run_id"])
    expected = {"sha256": run["hashes"]["gcode_sha256"], "size_bytes": 204_801, "seq": run["log"]["last_seq"]}
    assert expected.items() <= line.items()


def test_what_wrote_nothing_is_no_line(server: Server) -> None:
    """Neither a conflict nor a repetition."""
    run_id = server.create()["run_id"]
    server.post("/runs", body(run_id=run_id))
    server.post(f"/runs/{run_id}/explanation", {"status": "NONE"})
    for _ in range(2):
        server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"})
    last = server.create()["run_id"]
    until(lambda: lines_of(server, "run.created", last), "the last line is written")
    names = ("run.created", "explanation.set", "advisory.attached")
    assert [len(lines_of(server, name, run_id)) for name in names] == [1, 0, 1]


def test_a_second_server_on_the_same_data_is_refused_and_names_the_first(server: Server) -> None:
    """Exit code 3, at once, and the first goes on."""
    second = subprocess.run(
        serve_command(server.data_dir, free_port()),
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 3
    assert str(server.pid) in second.stdout + second.stderr
    assert "Traceback" not in second.stdout + second.stderr
    assert server.create()["run_id"]


def test_sigterm_ends_the_server_cleanly(own_server: Server) -> None:
    """Exit code 0, also with an idle connection open; and everything is there afterwards."""
    runs = [own_server.create() for _ in range(3)]
    assert own_server.stop() == 0
    own_server.start()
    assert [own_server.run(run["run_id"]) for run in runs] == runs
    listed = own_server.get("/runs").json["items"]
    assert [item["run_id"] for item in listed] == [run["run_id"] for run in runs[::-1]]
