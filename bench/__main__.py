"""`python -m bench`: takes the measures, prints one table, writes one JSON file."""

import argparse
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from attrs import asdict

from bench import machine, table, wrk
from bench.measures import MEASURES, take
from bench.processes import kill_all
from bench.stage import Options, Stage, options, say

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Return the exit code: 0 measured, 1 something could not be (or with --strict a bar was missed), 2 usage."""
    chosen = _arguments()
    signal.signal(signal.SIGTERM, _end)
    sizes = options(quick=chosen.quick, seconds=chosen.seconds, runs=chosen.runs)
    chosen.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="bench-", dir=chosen.work))
    try:
        return _run(chosen, sizes, Stage(sizes, work))
    finally:
        kill_all()
        if chosen.keep:
            say(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


def _run(chosen: argparse.Namespace, sizes: Options, stage: Stage) -> int:
    began = datetime.now(UTC)
    known = machine.facts(stage.work)
    remarks = machine.remarks(known)
    if not wrk.installed():
        remarks.append(wrk.MISSING)
    for remark in remarks:
        say(f"note: {remark}")
    rows, facts = take(stage, chosen.names or list(MEASURES))
    path = HERE / "results" / f"{began:%Y-%m-%d}{_suffix(chosen)}.json"
    document = {
        "began": began.isoformat(timespec="seconds"),
        "machine": known,
        "client": "wrk" if wrk.installed() else "asyncio",
        "options": {**asdict(sizes), "quick": chosen.quick},
        "faults": stage.faults,
        "measures": facts,
    }
    table.save(path, rows, document)
    title = f"Runlog, {known['cores']} cores, {known['filesystem']}, {known['kernel']}, Python {known['python']}"
    notes = [*remarks, *(f"FAULT {fault}" for fault in stage.faults), f"written: bench/results/{path.name}"]
    table.show(rows, title + (" (quick: not for comparison)" if chosen.quick else ""), notes)
    missed = any(row.ok is False for row in rows)
    return 1 if stage.faults or (missed and chosen.strict) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Runlog beside its peers, in one run on one machine.",
        epilog="Example: python -m bench P1 P3 --quick",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure, default all: {' '.join(MEASURES)}")
    parser.add_argument("--seconds", type=_positive, help="length of one round (10; quick 3); P2 takes six (three)")
    parser.add_argument("--runs", type=_enough, help="size of the large data set (100,000; quick 10,000)")
    parser.add_argument("--quick", action="store_true", help="short rounds and small data: shows that all works")
    parser.add_argument("--strict", action="store_true", help="a missed bar gives exit code 1")
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="where data directories are made")
    parser.add_argument("--keep", action="store_true", help="keep the data directories and the servers' output")
    chosen = parser.parse_args()
    by_name = {name.lower(): name for name in MEASURES}
    if unknown := [name for name in chosen.names if name.lower() not in by_name]:
        parser.error(f"unknown: {' '.join(unknown)}; there are {' '.join(MEASURES)}")
    chosen.names = [by_name[name.lower()] for name in chosen.names]
    return chosen


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _enough(text: str) -> int:
    """The rarest values that P6 asks for come once in 500 runs."""
    if (number := int(text)) < 1000:
        raise argparse.ArgumentTypeError("at least 1000 runs")
    return number


def _suffix(chosen: argparse.Namespace) -> str:
    """Only a whole run of full size may stand under the bare date."""
    parts = [*chosen.names, *(["quick"] if chosen.quick else [])]
    if chosen.seconds:
        parts.append(f"{chosen.seconds}s")
    if chosen.runs:
        parts.append(f"{chosen.runs}runs")
    return "".join(f"-{part}" for part in parts)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
