"""Writes a log of runs without a server, much at a time: what is measured of a log needs no requests."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.processes import BenchError, python_child

_AT_ONCE = 2048
_UNINDEXED_MAX = 100_000
_POLL_S = 0.02
_SLOWEST_RATE = 1000
_REBUILD_LIMIT_S = 3600.0


def make_log(data_dir: Path, bodies: Path, count: int) -> dict[str, Any]:
    """Make a log in *data_dir* of *count* runs with the *bodies* in turn; return the facts of it."""
    child = python_child("the maker of a log", "generated", data_dir, bodies, count)
    facts: dict[str, Any] = child.result(60 + count / _SLOWEST_RATE)
    return facts


def run_id_of(number: int) -> str:
    """Return the id of the *number*-th run of a log that was made here."""
    return f"run_{number:012x}"


def bring_to_head(data_dir: Path) -> None:
    """Bring every projection of the log in *data_dir* to its head."""
    for name in ("catalog", "files", "stats"):
        python_child(f"the rebuild of {name}", "rebuilding", data_dir, name).result(_REBUILD_LIMIT_S)


async def _make(data_dir: Path, bodies: list[bytes], count: int) -> float:
    from api.http.wire import command_of
    from eventlog.batch import Stream
    from eventlog.event import Origin
    from eventlog.log import Log
    from eventlog.strict_json import parse
    from projections.run.decide import decide_create
    from projections.run.events import CREATED
    from projections.run.model import CreateRun

    origin = Origin("cli")
    commands = [command_of(parse(body), CreateRun) for body in bodies]
    runs = [decide_create(command, "", None).run for command in commands]
    began = time.perf_counter()
    log = Log.open(data_dir)
    try:
        for start in range(0, count, _AT_ONCE):
            appended = []
            for number in range(start, min(start + _AT_ONCE, count)):
                name = run_id_of(number)
                data = {"run": {**runs[number % len(runs)], "run_id": name}}
                appended.append(log.begin([log.draft(CREATED, name, data, origin)], Stream.ABSENT, origin))
            await asyncio.gather(*appended)
            while log.unindexed_events > _UNINDEXED_MAX:  # noqa: ASYNC110 (the index tells nobody when it is saved)
                await asyncio.sleep(_POLL_S)
    finally:
        await log.close()
    return time.perf_counter() - began


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise BenchError("python -m bench.generated DATA_DIR BODIES COUNT")
    folder, count = Path(sys.argv[1]), int(sys.argv[3])
    seconds = asyncio.run(_make(folder, Path(sys.argv[2]).read_bytes().splitlines(), count))
    size = sum(path.stat().st_size for path in (folder / "log" / "segments").iterdir())
    print(json.dumps({"events": count, "seconds": seconds, "bytes": size}))
