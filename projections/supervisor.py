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
from projections.known import NAMES, VERSIONS

logger = structlog.get_logger("projections.supervisor")

_BACKOFF_MAX_S = 30.0
_PACE_S = 0.2
"""How often the process hears of a new end while nobody waits for it: a few events cost it as much as many."""
_SAMPLE_INTERVAL_S, _SAMPLES_MAX = 0.1, 1200


@define
class Standing:
    """How far one projection has come, as last heard."""

    name: str
    version: int
    position: int = -1
    """Of the state that is served."""
    error: dict[str, Any] | None = None
    """What stopped it, or (`is_retrying`) what the machine failed it with."""
    is_retrying: bool = False
    goal: int = -1
    """The head at the start, or at a retry; from there on it runs."""
    is_rebuilding: bool = False
    """Whether somebody asked for a rebuild that is not done."""
    building: int | None = None
    """How far the state has come that is being built."""
    rebuild_error: dict[str, Any] | None = None
    """What ended the last rebuild; the state before it goes on."""
    quarantined: int = 0
    generation: int = 0
    """How often its database was put in place; 0 while there is none to read."""
    waiters: list[tuple[int, asyncio.Future[None]]] = field(factory=list)

    @property
    def state(self) -> str:
        """`rebuilding`, `failed` or `running`."""
        if self.is_rebuilding:
            return "rebuilding"
        if self.error is not None and not self.is_retrying:
            return "failed"
        return "running" if self.covers(self.goal) else "rebuilding"

    @property
    def goes_on(self) -> bool:
        """Whether it runs, and nothing fails it: only such a one is worth waiting for."""
        return self.state == "running" and self.error is None

    def covers(self, seq: int) -> bool:
        """Tell whether there is a state to read, with event *seq* in it."""
        return self.generation > 0 and self.position >= seq


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
        self._began = asyncio.get_running_loop().time()
        self._heads: deque[tuple[int, float]] = deque(maxlen=_SAMPLES_MAX)
        self.standings = {name: Standing(name, VERSIONS[name], goal=end.next_seq - 1) for name in NAMES}
        self._task = asyncio.create_task(self._keep_running(), name="projections")

    def advance(self, end: End) -> None:
        """Tell the process that the log is durable up to *end*; while it works, only the newest end counts."""
        self._end = end
        self._sample(end.next_seq - 1)
        if not self._pacing:
            self._pacing = True
            asyncio.get_running_loop().call_later(_PACE_S, self._paced)

    def _paced(self) -> None:
        self._pacing = False
        if self._end != self._told:
            self._tell()

    def position(self, name: str) -> int:
        """Return the seq up to which projection *name* has folded."""
        return self.standings[name].position

    @property
    def age_s(self) -> float:
        """How long ago the server began with them."""
        return asyncio.get_running_loop().time() - self._began

    def lags_s(self) -> dict[str, float]:
        """Return for each projection how long ago the head was beyond where it stands now (seconds)."""
        now = asyncio.get_running_loop().time()
        return {name: now - self._left_behind_at(one.position, now) for name, one in self.standings.items()}

    def _left_behind_at(self, position: int, now: float) -> float:
        """Return when the head first was beyond *position*; *now* if it never was."""
        # What came after the newest sample came within the interval of samples.
        since = self._heads[-1][1] if self._heads and self._end.next_seq - 1 > position else now
        for seq, at in reversed(self._heads):  # from the newest, for it is seldom far
            if seq <= position:
                break
            since = at
        return since

    def _sample(self, head: int) -> None:
        now = asyncio.get_running_loop().time()
        if not self._heads or now - self._heads[-1][1] > _SAMPLE_INTERVAL_S:
            self._heads.append((head, now))

    async def wait(self, name: str, seq: int, timeout_s: float) -> bool:
        """Return True once *name* covers event *seq*; False if it does not within *timeout_s*."""
        standing = self.standings[name]
        if standing.covers(seq):
            return True
        if not self._busy or name != "catalog":
            self._tell()  # somebody waits: at once, whatever the pace
        if name != "catalog" or not standing.waiters:  # the catalog never rests: it is the others that stand aside
            self._write(f"hurry {name}")
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

    def hurry(self) -> None:
        """Have all of them go on at once to where the log is durable now, whatever their pace."""
        self._tell()
        for name in self.standings:
            self._write(f"hurry {name}")

    def rebuild(self, name: str) -> Standing:
        """Have projection *name* folded anew; one that is being rebuilt goes on. A process that ends begins it again."""
        standing = self.standings[name]
        if not standing.is_rebuilding:
            standing.is_rebuilding, standing.building, standing.rebuild_error = True, -1, None
            self._tell()
            self._write(f"rebuild {name}")
        return standing

    def retry(self, name: str) -> Standing:
        """Have projection *name* go on, if it stopped at an event; also forget what ended its last rebuild."""
        standing = self.standings[name]
        standing.rebuild_error = None
        if standing.state == "failed":
            standing.error, standing.goal = None, self._end.next_seq - 1
            self._write(f"retry {name}")
        return standing

    async def close(self, timeout_s: float) -> None:
        """Let the process reach the head within *timeout_s*, then end it."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        head = self._end.next_seq - 1
        for name, standing in self.standings.items():
            if standing.error is None and standing.state != "rebuilding" and self._process is not None:
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
                fault = ""
                try:
                    await self._run_once()
                except Exception as error:  # it could not even be started; the log goes on, and this tries again
                    fault = repr(error)
                if asyncio.get_running_loop().time() - started > 60:
                    pause_s = 0.2
                if not self._stopping:
                    logger.error("projection.worker_ended", restart_in_s=pause_s, error=fault)
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
        opened: dict[str, int] = {}
        self._tell()
        for name in [one.name for one in self.standings.values() if one.is_rebuilding]:
            self._write(f"rebuild {name}")
        async for line in self._process.stdout:
            facts = json.loads(line)
            generation = facts.get("generation", 0)
            if generation and opened.get(facts["name"]) != generation:
                opened[facts["name"]] = generation
                self._on_ready(facts["name"])  # before it is said to cover anything
            self._hear(facts)
        await self._process.wait()
        self._busy = False

    def _tell(self) -> None:
        end = self._end
        segment = "-" if end.segment is None else end.segment
        if self._write(f"end {end.next_seq} {segment} {end.offset}"):
            self._told, self._busy = end, True

    def _write(self, line: str) -> bool:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return False
        process.stdin.write(f"{line}\n".encode())
        return True

    def _hear(self, facts: dict[str, Any]) -> None:
        standing = self.standings[facts["name"]]
        if "retrying" in facts:
            standing.error = {"seq": standing.position + 1, "type": "", "message": facts["retrying"]}
            standing.is_retrying = True
        elif "building" in facts:
            standing.building = facts["building"]
        elif "built" in facts:
            standing.is_rebuilding, standing.building, standing.rebuild_error = False, None, facts["built"]
        else:
            self._hear_standing(standing, facts)

    def _hear_standing(self, standing: Standing, facts: dict[str, Any]) -> None:
        standing.version, standing.position = facts["version"], facts["position"]
        standing.quarantined, standing.generation = facts["quarantined"], facts["generation"]
        standing.error, standing.is_retrying = facts["error"], False
        if not standing.is_rebuilding:
            standing.building = None
        for seq, waiter in standing.waiters:
            if standing.covers(seq) and not waiter.done():
                waiter.set_result(None)
        # The catalog alone paces the telling: reads wait for it, and it must not wait for the others.
        if standing.name == "catalog" and (standing.position >= self._told.next_seq - 1 or standing.error):
            self._busy = False
            if self._end != self._told and (not self._pacing or any(one.waiters for one in self.standings.values())):
                self._tell()
                if any(not waiter.done() for _, waiter in standing.waiters):
                    self._write(f"hurry {standing.name}")

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
