"""A made-up workshop, and the toolpath jobs of its days. Pure: the same seed and days give the same jobs.

A session makes one part: a plan, a second one if the policy blocks the first, then its G-code. The kinds
of jobs, their names and the form of their feasibility are those of real records.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from attrs import frozen

HARDNESS = {"spruce": 0.7, "mahogany": 0.9, "walnut": 1.0, "maple": 1.15, "rosewood": 1.25, "ebony": 1.5}
MACHINES = ("bench-router", "gantry-48")
PARTS = {
    "rosette_channel": (110.0, 2.2),
    "control_cavity": (86.0, 38.0),
    "neck_pocket": (56.0, 16.0),
    "binding_ledge": (240.0, 6.0),
    "bridge_slot": (74.0, 9.5),
}
"""Name to length and depth in mm."""
TOOLS_MM = (1.5, 3.175, 6.0, 6.35)
ENGINE_VERSIONS = ("1.3.0", "1.4.0")
GREEN_SCORE, YELLOW_SCORE = 65.0, 40.0
MISHAPS = (
    ("ToolpathError", "the smallest inside radius is below that of the tool"),
    ("PostProcessorError", "arc with a radius of 0 in block 41"),
    ("TimeoutError", "the planner took longer than 30 s"),
)


@frozen
class Job:
    """One attempt to generate a toolpath; `at` is None for one of today, whose time is the log's own."""

    run_id: str
    at: datetime | None
    event_type: str
    mode: str
    tool_id: str
    status: str
    request: dict[str, Any]
    safety: dict[str, Any]
    context: dict[str, str]
    gcode: str | None = None
    exception: tuple[str, str] | None = None
    advisory: dict[str, str] | None = None
    explanation: tuple[str, str | None] | None = None

    @property
    def feasibility(self) -> dict[str, Any]:
        """What the safety policy found, in the form of real records."""
        return {"mode": self.mode, "tool_id": self.tool_id, "safety": self.safety}


@frozen
class Workshop:
    """Makes jobs, one session after the other."""

    chance: Random

    @classmethod
    def of(cls, seed: int) -> "Workshop":
        """Return the workshop of *seed*."""
        return cls(Random(seed))  # noqa: S311 (nothing here is secret; the same seed must give the same jobs)

    def past(self, count: int, days: int, until: date) -> list[Job]:
        """Return *count* jobs of the *days* that end with *until*, oldest first."""
        jobs: list[Job] = []
        while len(jobs) < count:
            day = until - timedelta(days=self.chance.randrange(days))
            begun = datetime(day.year, day.month, day.day, 7, tzinfo=UTC)
            begun += timedelta(seconds=self.chance.randrange(10 * 3600), microseconds=self.chance.randrange(10**6))
            jobs += self.session(begun)
        return sorted(jobs[:count], key=_time_of)

    def today(self, count: int) -> list[Job]:
        """Return *count* jobs that are done now."""
        jobs: list[Job] = []
        while len(jobs) < count:
            jobs += self.session(None)
        return jobs[:count]

    def session(self, begun: datetime | None) -> Iterator[Job]:
        """Give the jobs of one part, in their order."""
        make = _Session(self, begun)
        if self.chance.random() < 0.12:
            yield make.helical()
            return
        plan = make.plan(self.chance.choice((0.3, 0.5, 0.75, 1.0, 1.4)) * make.tool_mm, None)
        yield plan
        if plan.status == "BLOCKED":
            if self.chance.random() < 0.3:
                return
            plan = make.plan(plan.request["step_mm"] / 3, plan.run_id)
            yield plan
        if plan.status == "OK":
            yield make.program(plan)


class _Session:
    """One part on one machine."""

    def __init__(self, workshop: Workshop, begun: datetime | None) -> None:
        """Choose what is made, of what, on what and with what."""
        chance = self.chance = workshop.chance
        self.at = begun
        self.material, self.machine = chance.choice([*HARDNESS]), chance.choice(MACHINES)
        self.part, self.tool_mm = chance.choice([*PARTS]), chance.choice(TOOLS_MM)
        self.context = {
            "workflow_session_id": f"ws-{chance.getrandbits(32):08x}",
            "material_id": self.material,
            "machine_id": self.machine,
            "engine_version": ENGINE_VERSIONS[chance.random() < 0.5],
        }

    def plan(self, step_mm: float, parent: str | None) -> Job:
        """Return a plan with that depth for each pass; BLOCKED if the tool does not bear it."""
        step_mm = round(step_mm, 3)
        load = step_mm / self.tool_mm * HARDNESS[self.material]
        score = round(min(99.0, max(3.0, 100 - 48 * load + self.chance.uniform(-4, 4))), 1)
        risk = "GREEN" if score >= GREEN_SCORE else "YELLOW" if score >= YELLOW_SCORE else "RED"
        what = f"{step_mm:g} mm a pass is much for a tool of {self.tool_mm:g} mm in {self.material}"
        is_blocked = risk == "RED"
        safety = {
            "risk_level": risk,
            "score": score,
            "block_reason": f"Too deep: {what}" if is_blocked else None,
            "warnings": [] if risk == "GREEN" else [what[0].upper() + what[1:]],
            "details": {"context": "adaptive_plan", "engine": "cam_rules", "load": round(load, 3)},
        }
        advisory = explanation = None
        if risk != "GREEN":
            advisory = {"advisory_id": f"rule:step-depth:{self.chance.getrandbits(32):08x}", "kind": "advisory"}
            third = f"{step_mm / 3:g}"
            said = (
                f"{what[0].upper()}{what[1:]}. A third of it, {third} mm, keeps the load of the tool within its limits."
            )
            explanation = ("READY", said) if is_blocked else ("PENDING", None)
        return Job(
            *self._id_and_time(),
            f"adaptive_plan_{'blocked' if is_blocked else 'execution'}",
            "adaptive",
            "adaptive:plan",
            "BLOCKED" if is_blocked else "OK",
            self._request(step_mm),
            safety,
            self._context(parent),
            advisory=advisory,
            explanation=explanation,
        )

    def program(self, plan: Job) -> Job:
        """Return the G-code of a plan; now and then it fails."""
        mishap = self.chance.choice(MISHAPS) if self.chance.random() < 0.1 else None
        return Job(
            *self._id_and_time(),
            "adaptive_gcode_execution",
            "adaptive",
            "adaptive_gcode",
            "ERROR" if mishap else "OK",
            plan.request,
            {**plan.safety, "warnings": [], "details": {"context": "adaptive_gcode", "engine": "cam_rules"}},
            self._context(plan.run_id),
            gcode=None if mishap else gcode(self.part, plan.request["step_mm"]),
            exception=mishap,
        )

    def helical(self) -> Job:
        """Return what the policy always blocks: a kind of job that it knows nothing of."""
        safety = {
            "risk_level": "UNKNOWN",
            "score": None,
            "block_reason": "Unsupported mode for feasibility: helical",
            "warnings": ["No feasibility engine registered for mode: helical"],
            "details": {"context": "helical_gcode"},
        }
        return Job(
            *self._id_and_time(),
            "helical_gcode_blocked",
            "helical",
            "helical_gcode",
            "BLOCKED",
            self._request(round(self.tool_mm / 2, 3)),
            safety,
            self._context(None),
        )

    def _id_and_time(self) -> tuple[str, datetime | None]:
        if self.at is not None:
            self.at += timedelta(seconds=self.chance.randrange(20, 400), microseconds=self.chance.randrange(10**6))
        return f"run_{self.chance.getrandbits(48):012x}", self.at

    def _request(self, step_mm: float) -> dict[str, Any]:
        length_mm, depth_mm = PARTS[self.part]
        size = {"length_mm": length_mm, "depth_mm": depth_mm, "tool_mm": self.tool_mm, "step_mm": step_mm}
        return {"part": self.part, "material": self.material, **size}

    def _context(self, parent: str | None) -> dict[str, str]:
        return self.context if parent is None else {**self.context, "parent_run_id": parent}


def gcode(part: str, step_mm: float) -> str:
    """Return a small program that mills *part* in passes of that depth."""
    length_mm, depth_mm = PARTS[part]
    lines = [f"({part})", "G90", "G17", "G21", "M3 S18000", "G0 Z5.0000"]
    passes = min(60, int(-(-depth_mm // step_mm)))
    for n in range(1, passes + 1):
        lines += [
            "G0 X0.0000 Y0.0000",
            f"G1 Z-{min(depth_mm, n * step_mm):.4f} F300.0",
            f"G1 X{length_mm:.4f} F900.0",
            f"G1 Y{length_mm / 4:.4f}",
            "G1 X0.0000",
            "G1 Y0.0000",
            "G0 Z5.0000",
        ]
    return "\n".join([*lines, "M5", "M30", ""])


def _time_of(job: Job) -> datetime:
    assert job.at is not None, "a job of the past has its time"
    return job.at
