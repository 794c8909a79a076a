"""The system made to refuse calls of a process that runs, with strace; needs it installed, and the right to attach."""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server import Server, until

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (apt install strace): no call can be made to fail"
)


@contextmanager
def failing(server: Server, *injections: str, paths: Sequence[Path] = (), pid: int | None = None) -> Iterator[None]:
    """Have the system refuse these calls of the server (or of process *pid*) while this lasts; on *paths* alone, if any.

    An injection is as strace has it: `fdatasync:error=EIO:when=1`.
    """
    pid = pid or server.pid
    calls = ",".join(injection.partition(":")[0] for injection in injections)
    inject = [argument for injection in injections for argument in ("-e", f"inject={injection}")]
    where = [argument for path in paths for argument in ("-P", str(path))]
    trace, seen = server.folder / "strace", server.folder / "calls"
    command = ["strace", "-f", "-p", str(pid), *where, "-e", f"trace={calls}", *inject, "-o", str(seen)]
    with trace.open("ab") as out:
        strace = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until(lambda: strace.poll() is not None or is_traced(pid), "strace held every thread", 60)
        if strace.poll() is not None:
            pytest.skip(f"strace cannot attach to a process here: {trace.read_text().strip()}")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            strace.send_signal(signal.SIGTERM)
        strace.wait(60)
    assert "INJECTED" in seen.read_text(), "no call was made to fail"


def is_traced(pid: int) -> bool:
    """Tell whether every thread of the process has a tracer."""
    with contextlib.suppress(FileNotFoundError):  # a thread may end meanwhile
        statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
        return bool(statuses) and all("TracerPid:\t0\n" not in status for status in statuses)
    return False


def worker_of(server: Server) -> int:
    """Return the process id of the server's projections."""
    children = [path.read_text().split() for path in Path(f"/proc/{server.pid}/task").glob("*/children")]
    (worker,) = [int(pid) for of_thread in children for pid in of_thread]
    return worker
