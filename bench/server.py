"""The server under test: started, watched, stopped or killed, as an operator would do it."""

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Child, cpu_s, memory_mb

BASE = "/api/rmos"
COMMAND = [sys.executable, "-m", "api.cli.__main__", "serve"]
READY_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
CATCH_UP_LIMIT_S = 600.0


class Server:
    """One `runlog serve` on a data directory; it can be started again after it was stopped or killed."""

    def __init__(self, data_dir: Path, report_fault: Callable[[str], None]) -> None:
        """Prepare; what the server does wrong while it runs goes to *report_fault*."""
        self.data_dir = data_dir
        self.port = free_port()
        self.report_fault = report_fault
        self._child: Child | None = None

    @property
    def runs_url(self) -> str:
        """The URL of the runs' collection."""
        return f"http://127.0.0.1:{self.port}{BASE}/runs"

    @property
    def child(self) -> Child:
        """The running process."""
        if self._child is None:
            raise BenchError("the server does not run")
        return self._child

    @property
    def runs(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._child is not None

    def start(self) -> float:
        """Start it; return the seconds from exec until /readyz says `ready`."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        log = self.data_dir.with_name(self.data_dir.name + ".server.log")
        command = [*COMMAND, "--data-dir", str(self.data_dir), "--port", str(self.port)]
        began = time.perf_counter()
        child = self._child = Child("the server", command, log)
        said: object = "nothing"
        while (taken := time.perf_counter() - began) < READY_LIMIT_S and child.process.poll() is None:
            status, answer = self._readyz(limit_s=2)
            said = answer.get("reasons", said)
            if status == 200 and answer.get("status") == "ready":
                return time.perf_counter() - began
            time.sleep(0.005)
        code = child.process.poll()
        state = f"was not ready after {taken:.0f} s, /readyz said {said}" if code is None else f"ended with {code}"
        child.kill()
        self._child = None
        raise BenchError(f"the server {state}: {child.log_tail()}")

    def stop(self) -> None:
        """Stop it cleanly; an exit code other than 0 is a fault."""
        code = self.child.terminate(STOP_LIMIT_S)
        self._child = None
        if code != 0:
            ended = "had to be killed" if code is None else f"ended with {code}"
            self.report_fault(f"the server {ended} after SIGTERM")

    def crash(self) -> Child:
        """Kill -9 the server process alone; return it, to be asked what it left behind."""
        child = self.child
        child.crash()
        self._child = None
        return child

    def projections(self) -> dict[str, dict[str, Any]]:
        """Return what /readyz says of each projection: position, lag, state."""
        if (code := self.child.process.poll()) is not None:
            raise BenchError(f"the server ended with {code}: {self.child.log_tail()}")
        _, answer = self._readyz(limit_s=10)
        found: dict[str, dict[str, Any]] = answer.get("projections") or {}
        if not all(isinstance(one.get(key), int) for one in found.values() for key in ("position", "lag")):
            raise BenchError(f"/readyz tells no position and lag: {found}")
        return found

    def head(self) -> int:
        """Return the log's end as the projections see it."""
        return head_of(self.projections())

    def wait_caught_up(self) -> float:
        """Wait until every projection has reached the head; return the seconds that this took."""
        began = time.perf_counter()
        while time.perf_counter() - began < CATCH_UP_LIMIT_S:
            found = self.projections()
            if not found:
                raise BenchError("/readyz tells of no projections: cannot know when they have caught up")
            if failed := [name for name, one in found.items() if one.get("state") == "failed"]:
                raise BenchError(f"projection failed: {', '.join(failed)}")
            if all(one["lag"] == 0 for one in found.values()):
                return time.perf_counter() - began
            time.sleep(0.02)
        raise BenchError(f"projections did not catch up within {CATCH_UP_LIMIT_S:.0f} s: {found}")

    def memory_mb(self) -> dict[str, float]:
        """Return the memory of all its processes (see `processes.memory_mb`)."""
        return memory_mb(self.child.pid)

    def cpu_s(self) -> float:
        """Return the CPU seconds that all its processes have used."""
        return cpu_s(self.child.pid)

    def _readyz(self, limit_s: float) -> tuple[int, dict[str, Any]]:
        """Return status and answer of /readyz; (0, {}) if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit_s)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()


def head_of(projections: dict[str, dict[str, Any]]) -> int:
    """Return position + lag of the projection that knows most."""
    return max((one["position"] + one["lag"] for one in projections.values()), default=0)


def free_port() -> int:
    """Return a TCP port on the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
