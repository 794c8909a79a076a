"""The import of a v1 file: how fast, and in how much memory, however many records there are."""

import json
import sys
import time
from pathlib import Path

from bench.processes import ROOT, BenchError, Child
from bench.stage import Stage
from bench.table import Row
from bench.writing import Facts, Measured

_LIMIT_S = 3600.0
_POLL_S = 0.1


def v1(stage: Stage, _known: Facts) -> Measured:
    """Records a second of `runlog migrate`, projections included, and the peak of its memory."""
    path = stage.work / "v1.json"
    count = _write_v1(path, stage.options.runs)
    facts = {}
    for name, options in (("rehearsal", ["--dry-run"]), ("import", ["--no-backup"])):
        facts[name] = _migrate(path, stage.work / "imported", options) | {"records": count}
    rows = [_row(name, one, path.stat().st_size) for name, one in facts.items()]
    path.unlink()
    return rows, facts


def _write_v1(path: Path, count: int) -> int:
    """Write *count* records like the real ones; the real ones in turn, each under an id of its own."""
    real = list(json.loads((ROOT / "tests" / "data" / "v1_runs.json").read_bytes()).values())
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            run_id = f"run_{number:016x}"
            text = json.dumps({**real[number % len(real)], "run_id": run_id})
            file.write(f'{"," if number else "{"}\n"{run_id}": {text}')
        file.write("}\n")
    return count


def _migrate(path: Path, data_dir: Path, options: list[str]) -> dict[str, float]:
    report = data_dir.with_suffix(".json")
    command = [sys.executable, "-m", "api.cli.__main__", "migrate", "--v1-path", str(path), "--data-dir", str(data_dir)]
    began = time.monotonic()
    child = Child("migrate", [*command, *options, "--report", str(report)], data_dir.with_suffix(".log"))
    peak_kb = 0
    try:
        while child.process.poll() is None:
            if time.monotonic() - began > _LIMIT_S:
                raise BenchError(f"migrate did not end within {_LIMIT_S:.0f} s")
            peak_kb = max(peak_kb, _peak_kb(child.pid))
            time.sleep(_POLL_S)
    finally:
        child.kill()
    if child.process.returncode != 0:
        raise BenchError(f"migrate ended with {child.process.returncode}: {child.log_tail()}")
    report.unlink()
    return {"seconds": time.monotonic() - began, "peak_mb": peak_kb / 1024}


def _peak_kb(pid: int) -> int:
    """Return the most memory that the process ever had resident."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _row(name: str, facts: dict[str, float], size: int) -> Row:
    rate = facts["records"] / facts["seconds"]
    what = f"{name} of {facts['records']:,} v1 records ({size / 1e6:,.0f} MB), to the end of the projections"
    return Row("v1", what, f"{rate:,.0f}/s, peak {facts['peak_mb']:.0f} MB")
