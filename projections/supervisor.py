"""The server's side of the projections' process: tells it the head, knows how far each has come.

The process is started anew, with back-off, whenever it ends; reads wait for the position
that they need, within a bound.
"""

import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from attrs import define, field

from eventlog.recovery import End

logger = structlog.get_logger("projections.supervisor")

NAMES = ("catalog", "files")
_BACKOFF_MAX_S = 30.0
_PACE_S = 0.25
"""How often the process hears of a new end while nobody waits for it: a few events cost it as much as many."""
_SAMPLE_INTERVAL_S, _SAMPLES_MAX = 0.1, 1200


@define
class Standing:
    """How far one projection has come, as last heard."""

    name: str
    version: int = 0
    position: int = -1
    state: str = "rebuilding"
    error: dict[str, Any] | None = None
    quarantined: int = 0
    waiters: list[tuple[int, asyncio.Future[None]]] = field(factory=list)


class Projections:
    """The projections as the server sees them."""

    def __init__(self, data_dir: Path, runs_dir: Path, end: End, on_ready: Callable[[str], None]) -> None:
        """*on_ready* hears a projection's name whenever its (new) state can be opened for reading."""
        self._command = (sys.executable, "-m", "projections.worker", str(data_dir), str(runs_dir))
        self._end = self._told = end
        self._on_ready = on_ready
        self._process: asyncio.subprocess.Process | None = None
        self._busy = False
        self._pacing = False
        self._stopping = False
        self._heads: deque[tuple[int, float]] = deque(maxlen=_SAMPLES_MAX)
        self.standings = {name: Standing(name) for name in NAMES}
        self._task = asyncio.create_task(self._keep_running(), name="projections")

    def advance(self, end: End) -> None:
        """Tell the process that the log is durable up to *end*; while it works, only the newest end counts."""
        self._end = end
        self._sample(end.next_seq - 1)
        if not self._pacing:
            self._pacing = True
            asyncio.get_running_loop().call_later(_PACE_S, self._paced)

    def _paced(self) -> None:
        """Tell the newest end, if the process is not at work; while it is, its answer does it."""
        self._pacing = False
        if self._end != self._told and (not self._busy or self.standings["catalog"].error is not None):
            self._tell()

    def position(self, name: str) -> int:
        """Return the seq up to which projection *name* has folded."""
        return self.standings[name].position

    def lags_s(self) -> dict[str, float]:
        """Return for each projection how long ago the head was beyond where it stands now (seconds)."""
        now = asyncio.get_running_loop().time()
        return {
            name: next((now - at for seq, at in self._heads if seq > one.position), 0.0)
            for name, one in self.standings.items()
        }

    def _sample(self, head: int) -> None:
        now = asyncio.get_running_loop().time()
        if not self._heads or now - self._heads[-1][1] > _SAMPLE_INTERVAL_S:
            self._heads.append((head, now))

    async def wait(self, name: str, seq: int, timeout_s: float) -> bool:
        """Return True once *name* covers event *seq*; False if it does not within *timeout_s*."""
        standing = self.standings[name]
        if standing.position >= seq:
            return True
        if not self._busy:
            self._tell()  # somebody waits: at once, whatever the pace
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        standing.waiters.append((seq, waiter))
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            standing.waiters = [entry for entry in standing.waiters if entry[1] is not waiter]
        return True

    async def close(self, timeout_s: float) -> None:
        """Let the process reach the head within *timeout_s*, then end it."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        head = self._end.next_seq - 1
        for name, standing in self.standings.items():
            if standing.error is None and self._process is not None:
                await self.wait(name, head, max(0.01, deadline - asyncio.get_running_loop().time()))
        self._stopping = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_running(self) -> None:
        pause_s = 0.2
        try:
            while not self._stopping:
                started = asyncio.get_running_loop().time()
                await self._run_once()
                if asyncio.get_running_loop().time() - started > 60:
                    pause_s = 0.2
                if not self._stopping:
                    logger.error("projection.worker_ended", restart_in_s=pause_s)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, _BACKOFF_MAX_S)
        finally:
            await self._end_process()

    async def _run_once(self) -> None:
        pipe = asyncio.subprocess.PIPE
        # A session of its own: Ctrl-C reaches the server alone, which then closes this in order.
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=pipe,
            stdout=pipe,
            cwd=Path(__file__).parents[1],
            start_new_session=True,
            limit=1 << 20,
        )
        assert self._process.stdout is not None
        opened: set[str] = set()
        self._tell()
        async for line in self._process.stdout:
            facts = json.loads(line)
            if "position" in facts and facts["name"] not in opened:
                opened.add(facts["name"])
                self._on_ready(facts["name"])
            self._hear(facts)
        await self._process.wait()
        self._busy = False

    def _tell(self) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        end = self._told = self._end
        segment = "-" if end.segment is None else end.segment
        process.stdin.write(f"{end.next_seq} {segment} {end.offset}\n".encode())
        self._busy = True

    def _hear(self, facts: dict[str, Any]) -> None:
        standing = self.standings[facts["name"]]
        if "retrying" in facts:
            standing.error = {"seq": standing.position + 1, "type": "", "message": facts["retrying"]}
            standing.state = "running"  # it has not failed: it tries again
            return
        standing.version, standing.position = facts["version"], facts["position"]
        standing.quarantined, standing.error = facts["quarantined"], facts["error"]
        standing.state = self._state_of(standing)
        for seq, waiter in standing.waiters:
            if seq <= standing.position and not waiter.done():
                waiter.set_result(None)
        # The catalog alone paces the telling: reads wait for it, and it must not wait for the files.
        if standing.name == "catalog" and (standing.position >= self._told.next_seq - 1 or standing.error):
            self._busy = False
            if self._end != self._told and (not self._pacing or any(one.waiters for one in self.standings.values())):
                self._tell()

    def _state_of(self, standing: Standing) -> str:
        if standing.error is not None:
            return "failed"
        reached = standing.position >= self._told.next_seq - 1
        return "running" if reached or standing.state == "running" else "rebuilding"

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
