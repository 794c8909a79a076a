"""Measures of folding anew without a server: the catalog (P7) and the files (P8), each in a process of its own."""

import json
import resource
import sys
import time
from pathlib import Path

from bench.processes import BenchError, python_child
from bench.stage import Stage
from bench.table import judged
from bench.writing import Facts, Measured

_LIMIT_S = 1800.0


def p7(stage: Stage, _known: Facts) -> Measured:
    """Rebuild of the catalog: events a second, and the memory that it takes."""
    return _measured(stage, "P7", "catalog", "events")


def p8(stage: Stage, _known: Facts) -> Measured:
    """Rebuild of the files into an empty folder: runs a second, and the memory that it takes."""
    # Moved, not removed: ext4 steps over each inode that was freed a moment ago before it makes a new one.
    (stage.large.data_dir / "runs").rename(stage.large.data_dir / f"runs.{time.time_ns()}")
    return _measured(stage, "P8", "files", "runs")


def _measured(stage: Stage, bar: str, name: str, unit: str) -> Measured:
    facts = python_child(f"the rebuild of {name}", "rebuilding", stage.large.data_dir, name).result(_LIMIT_S)
    done = facts["events"] if unit == "events" else stage.large.facts["runs"]
    rate = done / facts["seconds"]
    what = f"rebuild of the {name}, {done:,} {unit}"
    speed = f"{rate:,.0f} {unit}/s ({facts['cpu_s'] / done * 1e6:.0f} µs CPU each)"
    rows = [
        judged(bar, what, speed, rate),
        judged(
            f"{bar} memory", f"RSS of the rebuild of the {name}, at most", f"{facts['rss_mb']:.0f} MB", facts["rss_mb"]
        ),
    ]
    return rows, {**facts, "rate": rate}


def _rebuild(data_dir: Path, name: str) -> dict[str, float]:
    from projections.offline import locked, opened, rebuild

    with opened(data_dir) as (_, log), locked(data_dir):
        began = time.perf_counter()
        rebuild(name, log, data_dir, data_dir / "runs", lambda _done: None)
        seconds = time.perf_counter() - began
        events = log.end.next_seq
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "events": events,
        "seconds": seconds,
        "cpu_s": used.ru_utime + used.ru_stime,
        "rss_mb": used.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise BenchError("python -m bench.rebuilding DATA_DIR NAME")
    print(json.dumps(_rebuild(Path(sys.argv[1]), sys.argv[2])))
