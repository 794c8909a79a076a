"""Bodies for `POST /runs`: the shapes of the real v1 store, 1.7 KB each, with varied fields.

The same seed gives the same bodies, so two runs of the benchmark send the same bytes.
What stands in the fields is named here, for the filters of P6 to ask for.
"""

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from bench.processes import ROOT

BODY_BYTES = 1700
MODES = ["adaptive", "helical", "profile", "pocket", "drill", "engrave"]
OPERATIONS = ["plan", "gcode", "preview", "rest", "finish", "rough", "check"]
TOOLS = [f"{mode}:{operation}" for operation in OPERATIONS for mode in MODES][:40]
MACHINES = [f"mill_{number:02d}" for number in range(12)]
MATERIALS = [f"{kind}_{grade}" for kind in ("al", "steel", "brass", "pom", "maple") for grade in range(5)]
TOOL_KINDS = ["flat_end", "ball_end", "v_bit", "drill", "o_flute"]
BATCHES = [f"batch_{number:03d}" for number in range(200)]
PARENTS = [f"run_{number:012x}" for number in range(0xABC000, 0xABC000 + 100)]
ADVISORIES = [f"adv:review/{number:02d}" for number in range(20)]
RARE_MACHINE, RARE_MATERIAL, RARE_BATCH = "lathe_rare", "ti_rare", "rework_rare"
RARE_EVERY = 500
SINGLE_AT = 7
SINGLE_BATCH = "one_of_a_kind"
RUNS_PER_SESSION = 50
RUNS_PER_WORKFLOW = 20

_V1_STORE = ROOT / "tests" / "data" / "v1_runs.json"
_FALLING = [1 / (rank + 1) for rank in range(len(BATCHES))]
_RISKS = {"OK": (["GREEN", "YELLOW"], [8, 2]), "BLOCKED": (["UNKNOWN", "RED"], [6, 4]), "ERROR": (["ERROR"], [1])}


def bodies(seed: int) -> Iterator[bytes]:
    """Yield bodies without end, in JSON."""
    passed, blocked = _v1_feasibilities()
    chance = random.Random(seed)
    for number in itertools.count():
        yield orjson.dumps(_run(number, chance, passed, blocked))


def write_bodies(path: Path, count: int, seed: int) -> None:
    """Write *count* bodies to *path*, one a line."""
    path.write_bytes(b"\n".join(itertools.islice(bodies(seed), count)))


def _v1_feasibilities() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the feasibility of a v1 run that passed, and of one that was blocked."""
    runs = json.loads(_V1_STORE.read_text()).values()
    by_status = {run["status"]: run["feasibility"] for run in runs if run["feasibility"]}
    return by_status["OK"], by_status["BLOCKED"]


def _run(number: int, chance: random.Random, passed: dict[str, Any], blocked: dict[str, Any]) -> dict[str, Any]:
    status = chance.choices(["OK", "BLOCKED", "ERROR"], [70, 27, 3])[0]
    tool_id = _skewed(chance, TOOLS)
    mode = tool_id.partition(":")[0]
    risk_level = chance.choices(*_RISKS[status])[0]
    feasibility = _feasibility(passed if status == "OK" else blocked, chance, mode, tool_id, risk_level)
    safety = feasibility["safety"]
    run = {
        "mode": mode,
        "tool_id": tool_id,
        "status": status,
        "request_summary": _request_summary(chance, tool_id),
        "feasibility": feasibility,
        "risk_level": risk_level,
        "score": safety.get("score"),
        "block_reason": safety["block_reason"],
        "warnings": safety["warnings"],
        "details": safety["details"],
        "context": _context(number, chance, mode, status),
        "meta": {"request_hash": f"{chance.getrandbits(256):064x}", "source": "rmos"},
    }
    if status == "ERROR":
        run["exception"] = {"type": "ToolpathError", "message": f"no entry move for loop {chance.randrange(40)}"}
    _fill(run, status, chance)
    return run


def _feasibility(
    shape: dict[str, Any], chance: random.Random, mode: str, tool_id: str, risk_level: str
) -> dict[str, Any]:
    safety = {**shape["safety"], "risk_level": risk_level}
    if "score" in safety:
        safety["score"] = round(chance.uniform(50, 100), 1)
    return {**shape, "mode": mode, "tool_id": tool_id, "safety": safety}


def _request_summary(chance: random.Random, tool_id: str) -> dict[str, Any]:
    return {
        "design": f"part-{chance.randrange(5000):04d}",
        "units": "mm",
        "tool": {"id": tool_id, "diameter_mm": chance.choice([3.0, 3.175, 6.0, 6.35]), "flutes": chance.choice([1, 2])},
        "stepover": round(chance.uniform(0.2, 0.6), 3),
        "stepdown_mm": round(chance.uniform(0.5, 3), 2),
        "feed_xy": chance.randrange(300, 2400, 50),
        "stock_mm": [round(chance.uniform(40, 400), 1) for _ in range(3)],
    }


def _context(number: int, chance: random.Random, mode: str, status: str) -> dict[str, str]:
    rare = number % RARE_EVERY == RARE_EVERY // 2
    outcome = {"OK": "execution", "BLOCKED": "blocked", "ERROR": "failed"}[status]
    context = {
        "event_type": f"{mode}_gcode_{outcome}",
        "session_id": session(number),
        "batch_label": RARE_BATCH if rare else _skewed(chance, BATCHES),
        "workflow_session_id": workflow(number),
        "workflow_mode": mode,
        "tool_kind": _skewed(chance, TOOL_KINDS),
        "machine_id": RARE_MACHINE if rare else _skewed(chance, MACHINES),
        "engine_version": "2.4.1",
    }
    if number == SINGLE_AT:
        context["batch_label"] = SINGLE_BATCH
    if rare or chance.random() < 0.8:
        context["material_id"] = RARE_MATERIAL if rare else _skewed(chance, MATERIALS)
    if chance.random() < 0.1:
        context["parent_run_id"] = _skewed(chance, PARENTS)
    return context


def session(number: int) -> str:
    """Return the session of the run of that *number*."""
    return f"session_{number // RUNS_PER_SESSION:08x}"


def workflow(number: int) -> str:
    """Return the workflow session of the run of that *number*."""
    return f"wf_{number // RUNS_PER_WORKFLOW:08x}"


def _skewed(chance: random.Random, values: list[str]) -> str:
    """Choose one; the first is the commonest, the n-th comes 1/n times as often."""
    return chance.choices(values, _FALLING[: len(values)])[0]


def _fill(run: dict[str, Any], status: str, chance: random.Random) -> None:
    """Bring *run* to its size: with the G-code that it gave, or the loops that were asked for."""
    room = BODY_BYTES - len(orjson.dumps(run)) - 24
    if status == "OK":
        # Real programs hold `0.0000` about once in 300 lines, so one in twenty of these does.
        x = 0.0 if chance.random() < 0.05 else chance.uniform(1, 99)
        lines = ["(GRBL CNC Controller)", "G90", "G17", "G21", "M3 S18000", f"G0 X{x:.4f} Y47.5000"]
        while sum(map(len, lines)) + 2 * len(lines) < room:
            lines.append(f"G1 X{chance.uniform(1, 99):.4f} Y{chance.uniform(1, 99):.4f} F720.0")
        run["outputs"] = {"gcode_text": "\n".join(lines)}
    else:
        points = [[round(chance.uniform(1, 99), 3) for _ in range(2)] for _ in range(max(1, room // 16))]
        run["request_summary"]["loop"] = points
