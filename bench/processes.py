"""Child processes: none outlives the benchmark, every wait for one is bounded."""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIRST_LINE_LIMIT_S = 30.0
KILL_LIMIT_S = 30.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_living: list["Child"] = []


class BenchError(Exception):
    """A measure could not be taken; the text says what happened."""


class Child:
    """A process with a process group of its own, so that what it starts ends with it."""

    def __init__(self, name: str, command: list[str], log: Path | None = None) -> None:
        """Start *command* at the project's root; with *log*, its output goes there, else stdout is kept."""
        self.name = name
        self.log = log
        target = log.open("ab") if log else None
        try:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=_clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=target or subprocess.PIPE,
                stderr=target,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise BenchError(f"{name} does not start: {error}") from error
        finally:
            if target:
                target.close()
        self.pid = self.process.pid
        _living.append(self)

    def result(self, limit_s: float) -> Any:
        """Wait for the end; return what its last line of output says in JSON."""
        try:
            output, _ = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} did not end within {limit_s:.0f} s") from None
        finally:
            self.kill()
        if self.process.returncode != 0:
            raise BenchError(f"{self.name} ended with {self.process.returncode}: {(output or '').strip()[-400:]}")
        try:
            return json.loads(output.strip().splitlines()[-1])
        except (IndexError, ValueError):
            raise BenchError(f"{self.name} gave no result: {output.strip()[-400:]}") from None

    def first_line(self) -> str:
        """Return its first line of output, which it writes when it is ready (empty if none came)."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], FIRST_LINE_LIMIT_S)
        return str(self.process.stdout.readline()).strip() if readable else ""

    def terminate(self, limit_s: float) -> int | None:
        """Send SIGTERM; return the exit code, or None if it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self) -> None:
        """End the whole group at once, and wait for the process itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(KILL_LIMIT_S)
        if self.process.stdout:
            self.process.stdout.close()
        if self in _living:
            _living.remove(self)

    def crash(self) -> None:
        """Kill -9 the process alone; what it had started is left to itself."""
        self.process.kill()
        self.process.wait(KILL_LIMIT_S)

    def left_behind(self) -> int:
        """Return how many processes of its group still live after a crash; they are ended now."""
        stats = [stat for pid in _all_pids() if (stat := _stat(pid))]
        alive = sum(1 for state, _, group, *_ in stats if int(group) == self.pid and state != "Z")
        self.kill()
        return alive

    def log_tail(self) -> str:
        """Return the end of its log, for an error message."""
        if self.log is None or not self.log.exists():
            return ""
        return self.log.read_bytes()[-800:].decode(errors="replace").strip()


def without_paths(text: str) -> str:
    """Return *text* without the places of this machine, for it may end up in a result that is kept."""
    for place, name in ((ROOT, "."), (sys.prefix, "<venv>"), (sys.base_prefix, "<python>"), (Path.home(), "~")):
        if len(str(place)) > 1:
            text = text.replace(str(place), name)
    return text


def python_child(name: str, module: str, *arguments: object) -> Child:
    """Start `python -m bench.<module>` with *arguments*."""
    return Child(name, [sys.executable, "-m", f"bench.{module}", *map(str, arguments)])


@atexit.register
def kill_all() -> None:
    """End every child that still lives."""
    for child in list(_living):
        child.kill()


def family(pid: int) -> list[int]:
    """Return *pid* and all its descendants."""
    parents = {}
    for each in _all_pids():
        if stat := _stat(each):
            parents[each] = int(stat[1])
    found = [pid]
    for member in found:
        found.extend(child for child, parent in parents.items() if parent == member)
    return found


def memory_mb(pid: int) -> dict[str, float]:
    """Return the resident memory of the process, of its whole family, and the family's proportional share, in MB."""
    members = family(pid)
    resident = [_field_kb(member, "status", "VmRSS:") for member in members]
    shares = [_field_kb(member, "smaps_rollup", "Pss:") for member in members]
    return {
        "server": resident[0] / 1024,
        "sum": sum(resident) / 1024,
        "sum_pss": sum(shares) / 1024,
        "processes": len(members),
    }


def cpu_s(pid: int) -> float:
    """Return the CPU time that the family of *pid* has used so far, in seconds."""
    stats = [stat for member in family(pid) if (stat := _stat(member))]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / _TICKS_PER_S


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the state on; the name before may hold spaces."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _field_kb(pid: int, file: str, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), 0)


def _clean_environment() -> dict[str, str]:
    """The settings of whoever runs the benchmark must not reach the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RUNLOG_", "RMOS_"))}
