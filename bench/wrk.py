"""HTTP load from a process of its own: `wrk`, or where it is missing the asyncio client."""

import shutil
from pathlib import Path

from attrs import Factory, frozen

from bench.processes import BenchError, Child, python_child

HERE = Path(__file__).resolve().parent
MISSING = (
    "wrk is not installed (apt-get install wrk): an asyncio client makes the load instead; "
    "compare its figures only with each other, never with those of wrk"
)


@frozen
class Round:
    """What one stretch of load gave. Times are in microseconds, as the client saw them."""

    requests: int
    seconds: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    errors: dict[str, int] = Factory(dict)

    @property
    def good(self) -> int:
        """How many answers had a status below 400."""
        return self.requests - self.errors.get("status", 0)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds

    @property
    def faults(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        return ", ".join(f"{count} {kind} errors" for kind, count in self.errors.items() if count)


class Load:
    """Load that has begun; ask for its `result` once."""

    def __init__(self, child: Child, seconds: int) -> None:
        """Keep the process that makes the load, and how long it was told to take."""
        self.child = child
        self._limit_s = seconds + 60

    def result(self) -> Round:
        """Wait for its end."""
        found = Round(**self.child.result(self._limit_s))
        if found.requests == 0:
            raise BenchError(f"not one request was answered ({found.faults or 'no errors'})")
        return found


def installed() -> bool:
    """Tell whether wrk is there."""
    return shutil.which("wrk") is not None


def begin(kind: str, url: str, lines: Path, connections: int, seconds: int) -> Load:
    """Begin to `post` bodies or `get` ids at random, from the file *lines*, over *connections*."""
    if not installed():
        return Load(python_child("the asyncio client", "client", kind, url, lines, connections, seconds), seconds)
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--timeout", "10s", "--script", str(HERE / "request.lua"), url, "--", kind, str(lines)]
    return Load(Child("wrk", command), seconds)


def post(url: str, bodies: Path, connections: int, seconds: int) -> Round:
    """POST bodies in turn; return what it gave."""
    return begin("post", url, bodies, connections, seconds).result()


def get(url: str, ids: Path, connections: int, seconds: int) -> Round:
    """GET *url*/id for random ids; return what it gave."""
    return begin("get", url, ids, connections, seconds).result()
