"""A disk that is full, truly, and one that fails a call: reads go on, and nothing acknowledged is lost."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import runlog
from tests.faults.failing import failing, needs_strace
from tests.faults.load import (
    Sent,
    a_retry_never_doubles,
    all_agrees,
    at_the_head,
    every_acknowledged_run_is_served,
    ids_listed,
    post,
    try_to_post,
)
from tests.server import Answer, Server, refused

BALLAST_BYTES = 2 << 20
GCODE = "G1 X1 Y1\n" * 2000


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Iterator[Server]:
    """A server that runs on a tmpfs of 4 MB, half of which is ballast."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    server = Server(tmp_path)
    server.data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(server.data_dir)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (server.data_dir / "runlog.toml").write_text("disk_free_bytes_min = 0\n")
        (server.data_dir / "ballast").write_bytes(b"b" * BALLAST_BYTES)
        server.start()
        yield server
    finally:
        try:
            server.stop()
        finally:
            # Lazily: the worker of a server that was killed may take a moment to go.
            subprocess.run(["umount", "--lazy", str(server.data_dir)], check=True)
    assert "Traceback" not in server.output()


def enlarge(server: Server) -> None:
    """Give the tmpfs of *server* so much that what looks at its data afterwards never wants for space."""
    subprocess.run(["mount", "-o", "remount,size=64m", str(server.data_dir)], check=True)


def fill(path: Path) -> None:
    """Write to *path* until there is no space left at all."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"f" * 4096)


def test_a_full_disk_refuses_writes_serves_reads_and_takes_writes_again_once_there_is_space(
    on_small_disk: Server,
) -> None:
    """The refused request was not recorded; sent again with its key, it is."""
    server = on_small_disk
    sent = [post(server) for _ in range(10)]
    at_the_head(server)
    fill(server.data_dir / "filler")
    refusals = [try_to_post(server, outputs={"gcode_text": GCODE}) for _ in range(3)]
    for answer, _ in refusals:
        refused(answer, 507, "LOG_FULL")
    every_acknowledged_run_is_served(server, sent)
    assert sorted(ids_listed(server)) == sorted(one.run["run_id"] for one in sent if one.run)
    assert server.request("GET", "/healthz").status == 200
    (server.data_dir / "ballast").unlink()
    for _, one in refusals:
        sent.append(accepted_now(server, one))
    server.restart()
    every_acknowledged_run_is_served(server, sent)
    enlarge(server)
    all_agrees(server, sent)


def test_a_disk_that_runs_full_under_writes_loses_nothing_that_it_acknowledged(on_small_disk: Server) -> None:
    """The projections run out of space as well; they come to the head by themselves once there is some."""
    server = on_small_disk
    first = post(server)
    at_the_head(server)
    sent = [first]
    answer, one = try_to_post(server, outputs={"gcode_text": GCODE})
    while answer.status == 201:
        sent.append(one)
        assert len(sent) < 500, "4 MB never ran full"
        answer, one = try_to_post(server, outputs={"gcode_text": GCODE})
    refused(answer, 507, "LOG_FULL")
    # The catalog may be behind, and then says so unless what there is will do.
    assert server.get("/runs", query={"stale": "ok"}).status == 200
    assert first.run is not None
    assert server.get(f"/runs/{first.run['run_id']}", query={"stale": "ok"}).json == first.run
    assert server.request("GET", "/healthz").status == 200
    (server.data_dir / "ballast").unlink()
    sent.append(post(server))  # smaller than what did not fit: nothing of that stands behind it
    (segment,) = segments(server)
    lines = segment.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(sent)))
    sent.append(accepted_now(server, one))
    at_the_head(server)
    every_acknowledged_run_is_served(server, sent)
    server.restart()
    every_acknowledged_run_is_served(server, sent)
    enlarge(server)
    all_agrees(server, sent)


def test_a_command_that_finds_no_space_says_so_in_a_sentence_and_is_refused(on_small_disk: Server) -> None:
    """It is no bug of ours, and it does not read as a check that failed; one that only looks needs no space there."""
    post(on_small_disk)
    at_the_head(on_small_disk)
    assert on_small_disk.stop() == 0
    fill(on_small_disk.data_dir / "filler")
    data = ("--data-dir", on_small_disk.data_dir)
    assert runlog("projections", "check", "files", *data).code == 0
    rebuilt = runlog("projections", "rebuild", "catalog", *data)
    assert (rebuilt.code, "Make space" in rebuilt.err) == (3, True), rebuilt
    (on_small_disk.data_dir / "ballast").unlink()
    rebuilt = runlog("projections", "rebuild", "catalog", *data)
    assert rebuilt.code == 0, rebuilt


def accepted_now(server: Server, one: Sent) -> Sent:
    """Send again what was refused: it is taken, and was not recorded before."""
    answer = server.post("/runs", one.content, {"Idempotency-Key": one.key})
    assert answer.status == 201, answer.body
    assert "Idempotency-Replayed" not in answer.headers
    return Sent(one.key, one.content, answer.json)


# --- calls that fail


def segments(server: Server) -> list[Path]:
    """The segments, on which alone calls fail."""
    return list((server.data_dir / "log" / "segments").iterdir())


def is_halted(server: Server, sent: list[Sent]) -> None:
    """Writes are refused and reads go on."""
    ready = server.request("GET", "/readyz")
    assert (ready.status, ready.json["status"]) == (503, "unready")
    assert any("halted" in reason for reason in ready.json["reasons"])
    assert server.request("GET", "/healthz").status == 200
    every_acknowledged_run_is_served(server, sent)
    assert sorted(ids_listed(server)) == sorted(one.run["run_id"] for one in sent if one.run)


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize(
    "injections",
    [
        pytest.param(["fdatasync:error=EIO:when=1"], id="an fdatasync that fails once"),
        pytest.param(["fdatasync:error=EIO"], id="every fdatasync fails"),
        pytest.param(["pwrite64:error=EIO:when=1"], id="a write that fails once"),
        pytest.param(["pwrite64:error=ENOSPC", "ftruncate:error=EIO"], id="no space, and the cut fails"),
        pytest.param(["pwrite64:error=ENOSPC", "fdatasync:error=EIO"], id="no space, and the fsync of the cut fails"),
    ],
)
def test_a_disk_that_fails_halts_the_log_until_a_restart(own_server: Server, injections: list[str]) -> None:
    """Even once the disk is well again; what was in doubt is settled by a retry with its key."""
    sent = [post(own_server) for _ in range(3)]
    in_doubt = []

    def is_refused(answer: Answer, one: Sent) -> None:
        refused(answer, 503, "LOG_HALTED")
        in_doubt.append(one)

    with failing(own_server, *injections, paths=segments(own_server)):
        for _ in range(2):
            is_refused(*try_to_post(own_server))
        is_halted(own_server, sent)
    is_refused(*try_to_post(own_server))
    is_halted(own_server, sent)
    assert [line["level"] for line in own_server.log_lines() if line["event"] == "log.halted"] == ["error"]
    own_server.restart()
    every_acknowledged_run_is_served(own_server, sent)
    all_agrees(own_server, a_retry_never_doubles(own_server, [*sent, *in_doubt, post(own_server)]))


@pytest.mark.strace
@needs_strace
def test_a_write_that_finds_no_space_once_is_refused_and_the_next_one_is_taken(own_server: Server) -> None:
    """Nothing of the refused one is left in the log."""
    sent = [post(own_server) for _ in range(3)]
    with failing(own_server, "pwrite64:error=ENOSPC:when=1", paths=segments(own_server)):
        answer, one = try_to_post(own_server)
        refused(answer, 507, "LOG_FULL")
        every_acknowledged_run_is_served(own_server, sent)
        assert own_server.request("GET", "/readyz").status == 200
        sent.append(post(own_server))
    sent.append(accepted_now(own_server, one))
    assert [done.run["log"]["seq"] for done in sent if done.run] == [0, 1, 2, 3, 4]
    own_server.restart()
    every_acknowledged_run_is_served(own_server, sent)
    all_agrees(own_server, sent)
