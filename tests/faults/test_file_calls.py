"""Each kind of file call of the real process fails in turn, its files or its folder go away, its handles run out.

Whatever it is: nothing acknowledged is lost, reads go on, the operator is told, and the log verifies. `fallocate` is
never called; a `write` cannot be made to fail without the sockets, so a truly full disk (test_disk.py) stands for it.
"""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from eventlog.batch import Stream
from eventlog.errors import OutOfHandles
from eventlog.log import Log
from eventlog.memory import MemoryDisk
from tests.commands import runlog
from tests.faults.failing import failing, needs_strace, worker_of
from tests.faults.load import Sent, at_the_head, every_acknowledged_run_is_served, post, retried, try_to_post
from tests.projections.logs import ORIGIN
from tests.server import Answer, Server, free_port, refused, unique, until

LARGE = 300_000  # characters of G-code, which then become an attachment
REFUSALS = {
    "EIO": {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE},
    "EROFS": {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE},
    "ENOSPC": {HTTPStatus.INSUFFICIENT_STORAGE, HTTPStatus.SERVICE_UNAVAILABLE},
    "EDQUOT": {HTTPStatus.INSUFFICIENT_STORAGE, HTTPStatus.SERVICE_UNAVAILABLE},
    "EMFILE": {HTTPStatus.SERVICE_UNAVAILABLE},
}
"""What a write may be answered with: a 500 only where the disk is broken, and then it is logged with its traceback."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all of it; at the end its log verifies."""
    server = Server(tmp_path_factory.mktemp("calls"))
    try:
        server.start()
        at_the_head(server)
        yield server
        at_the_head(server)
    finally:
        code = server.stop()
    assert code == 0
    verified(server)


@pytest.fixture(scope="module")
def sent(server: Server) -> list[Sent]:
    """All that was sent, over all the faults: every acknowledged one is looked at after each."""
    return [post(server)]


def verified(server: Server) -> None:
    ended = runlog("log", "verify", "--json", "--data-dir", server.data_dir)
    assert ended.code == 0, ended


def writes(server: Server, sent: list[Sent]) -> list[Answer]:
    """A run, one with a large output, an attachment and an advisory; what was acknowledged is noted."""
    assert sent[0].run is not None
    run_id = sent[0].run["run_id"]
    answers = []
    for changes in ({}, {"outputs": {"gcode_text": unique() * (LARGE // 34)}}):
        answer, one = try_to_post(server, **changes)
        answers.append(answer)
        sent.append(one)
    answers.append(server.upload(run_id, unique().encode(), kind="k"))
    answers.append(server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": unique()}))
    sent[0] = Sent(sent[0].key, sent[0].content, server.run(run_id))
    return answers


def is_told(server: Server, lines: int) -> bool:
    """Tell whether a line since the first *lines* of the diagnostics warns."""
    return any(line["level"] in ("warning", "error") for line in server.log_lines()[lines:])


CALLS = [
    *[("pwrite64", error) for error in ("EIO", "ENOSPC", "EDQUOT", "EROFS")],
    *[("fdatasync", error) for error in ("EIO", "ENOSPC")],
    *[("fsync", error) for error in ("EIO", "ENOSPC")],
    *[("openat", error) for error in ("ENOSPC", "EROFS", "EMFILE")],
    *[("rename", error) for error in ("EIO", "ENOSPC")],
    *[("mkdir", error) for error in ("EIO", "ENOSPC")],
    *[("fchmod", error) for error in ("EIO", "ENOSPC")],
    *[("unlink", error) for error in ("EIO",)],
]


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize(("call", "error"), CALLS, ids=[f"{call} {error}" for call, error in CALLS])
def test_a_file_call_that_fails_loses_nothing_and_is_told(
    server: Server, sent: list[Sent], call: str, error: str
) -> None:
    """Every call of its kind, of the whole server, while it lasts."""
    lines = len(server.log_lines())
    with failing(server, f"{call}:error={error}"):
        answers = writes(server, sent)
        every_acknowledged_run_is_served(server, sent)
        assert server.request("GET", "/healthz").status == 200
        ready = server.request("GET", "/readyz")
    refusals = {answer.status for answer in answers if answer.status >= 400}
    assert refusals <= REFUSALS[error], [answer.body for answer in answers]
    assert not refusals or ready.status == 503 or is_told(server, lines)
    halted = [answer for answer in answers if answer.status >= 400 and answer.json["error"] == "LOG_HALTED"]
    if halted:
        assert ready.status == 503
        server.restart()
    assert server.request("GET", "/readyz").status == 200, "it is whole again as soon as the disk is"
    every_acknowledged_run_is_served(server, sent)
    in_doubt = [one for one in sent if one.run is None]
    assert all(answer.status < 400 for answer in writes(server, sent))
    for one in in_doubt:
        sent[sent.index(one)] = Sent(one.key, one.content, retried(server, one))


@pytest.mark.strace
@needs_strace
@pytest.mark.parametrize("injection", ["pwrite64:error=ENOSPC:when=1", "fchmod:error=EIO:when=1"])
def test_a_projection_whose_disk_fails_says_so_and_comes_to_the_head_by_itself(
    server: Server, sent: list[Sent], injection: str
) -> None:
    at_the_head(server)
    lines = len(server.log_lines())
    with failing(server, injection, pid=worker_of(server)):
        sent.append(post(server))
        until(lambda: is_told(server, lines), "it said that it tries again", 60)
    at_the_head(server)
    every_acknowledged_run_is_served(server, sent)


def test_a_server_without_a_file_handle_left_says_so_and_serves_again_when_it_has_some(
    server: Server, sent: list[Sent]
) -> None:
    """What needs a new file is refused; no event is taken for damaged because its segment could not be opened."""
    server.restart()  # no reader has opened the catalog yet
    at_the_head(server)
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        refused(server.get("/runs"), 503, "PROJECTION_BEHIND")
        answers = writes(server, sent)
        refusals = [answer for answer in answers if answer.status >= 400]
        assert refusals
        for answer in refusals:
            refused(answer, 503, "LOG_BUSY")
        ready = server.request("GET", "/readyz")
        assert any("cannot be opened" in reason for reason in ready.json["reasons"]), ready.json
        every_acknowledged_run_is_served(server, sent)
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    assert server.get("/runs").status == 200
    assert all(answer.status < 400 for answer in writes(server, sent))
    assert server.request("GET", "/readyz").status == 200
    every_acknowledged_run_is_served(server, sent)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_an_event_whose_segment_cannot_be_opened_now_is_not_taken_for_damaged(tmp_path: Path, error: int) -> None:
    """Nor is it ever after: the log would be red until its next start."""
    disk = MemoryDisk()
    log = Log.open(tmp_path, disk=disk)
    appended = await log.append([log.draft("t.v1", "run_1", {}, ORIGIN)], Stream.ABSENT, ORIGIN)
    disk.fail("read", error, under="log/segments")
    with pytest.raises(OutOfHandles):
        log.read(0)
    assert log.read(0) == appended.events[0]
    assert log.corrupt == {}
    await log.close()


def test_a_server_may_open_as_many_files_as_its_connections_need(tmp_path: Path) -> None:
    """Whatever its shell lets it: a thousand idle clients must not take the handle that the log needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = Server(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0] > min(hard, 1100) - 1
    finally:
        server.stop()


# --- the data directory


def test_a_data_directory_that_is_moved_away_is_told_and_what_was_acknowledged_goes_with_it(
    own_server: Server,
) -> None:
    sent = [post(own_server) for _ in range(3)]
    at_the_head(own_server)
    away = own_server.folder / "away"
    own_server.data_dir.rename(away)
    for _ in range(3):
        answer, one = try_to_post(own_server)
        assert answer.status in (201, 503), answer.body
        sent.append(one)
    ready = own_server.request("GET", "/readyz")
    assert (ready.status, ready.json["reasons"][0]) == (503, "the data directory is gone")
    own_server.kill()
    shutil.rmtree(own_server.data_dir, ignore_errors=True)  # what the projections began there
    away.rename(own_server.data_dir)
    own_server.start()
    every_acknowledged_run_is_served(own_server, sent)
    assert own_server.stop() == 0
    verified(own_server)


def test_a_data_directory_that_is_removed_is_told_and_nothing_more_is_acknowledged(own_server: Server) -> None:
    """There is nothing left to keep; so nobody may be told that something was kept."""
    post(own_server)
    shutil.rmtree(own_server.data_dir.rename(own_server.folder / "gone"))
    for _ in range(3):
        refused(try_to_post(own_server)[0], 503, "LOG_HALTED")
    ready = own_server.request("GET", "/readyz")
    assert (ready.status, "the data directory is gone" in ready.json["reasons"]) == (503, True)
    assert own_server.request("GET", "/healthz").status == 200
    assert [line["level"] for line in own_server.log_lines() if line["event"] == "log.halted"] == ["error"]
    own_server.kill()


# --- a disk that may only be read


@pytest.fixture
def on_own_disk(tmp_path: Path) -> Iterator[Server]:
    """A server that is not started yet, whose data lie on a file system of their own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    server = Server(tmp_path)
    server.data_dir.mkdir()
    mounted = mount(server, "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (server.data_dir / "runlog.toml").write_text("disk_free_bytes_min = 0\n")
        yield server
    finally:
        try:
            server.stop()
        finally:
            subprocess.run(["umount", "--lazy", str(server.data_dir)], check=True)


def mount(server: Server, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["mount", *options, str(server.data_dir)], capture_output=True, text=True)


def test_a_log_on_a_disk_that_may_only_be_read_verifies_and_takes_no_writer(on_own_disk: Server) -> None:
    """As a disk is remounted after an error of its own; the server says what is wrong, and changes nothing."""
    server = on_own_disk
    server.start()
    sent = [post(server) for _ in range(3)]
    at_the_head(server)
    assert server.stop() == 0
    assert mount(server, "-o", "remount,ro").returncode == 0
    ended = runlog("serve", "--data-dir", server.data_dir, "--port", free_port())
    assert ended.code == 3, ended
    assert "Read-only file system" in ended.err, ended
    verified(server)
    assert mount(server, "-o", "remount,rw").returncode == 0
    server.start()
    every_acknowledged_run_is_served(server, [*sent, post(server)])
