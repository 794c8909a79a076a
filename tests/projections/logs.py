"""Logs made without a server, as large as a test needs them."""

import asyncio
from pathlib import Path
from typing import Any

from eventlog.batch import Stream
from eventlog.event import Origin
from eventlog.log import Log
from tests.projections.story import run

ORIGIN = Origin("cli")


def run_id_of(number: int) -> str:
    return f"run_{number:012x}"


def created(number: int, **changes: Any) -> tuple[str, str, dict[str, Any]]:
    return "run.created", run_id_of(number), {"run": run(run_id_of(number), **changes)}


def advised(number: int, advisory_id: str) -> tuple[str, str, dict[str, Any]]:
    advisory = dict.fromkeys(("request_id", "engine_id", "engine_version")) | {
        "advisory_id": advisory_id,
        "kind": "note",
        "created_at_utc": "2026-01-05T05:07:16.000000Z",
    }
    return "advisory.attached", run_id_of(number), {"advisory": advisory}


def withdrawn(number: int) -> tuple[str, str, dict[str, Any]]:
    return "run.withdrawn", run_id_of(number), {"reason": "r"}


def imported(number: int, **changes: Any) -> tuple[str, str, dict[str, Any]]:
    data = {"run": run(run_id_of(number), "2024-02-29T01:00:00.000000Z", **changes)}
    return "run.imported", run_id_of(number), data | {"import_id": "i", "v1": {}, "notes": []}


def many(count: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Created runs, of which some get advisories, are withdrawn, or are begun anew by an import."""
    told = []
    for number in range(count):
        told.append(created(number, tool_id=f"t{number % 7}", status=("OK", "BLOCKED", "ERROR")[number % 3]))
        if number % 5 == 0:
            told += [advised(number, "a/b"), advised(number, f"a{number}")]
        if number % 11 == 0:
            told.append(withdrawn(number))
        if number % 22 == 0:
            told += [imported(number, mode="old"), advised(number, "a/b")]
    return told


def append(data_dir: Path, told: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Append to the log of *data_dir*, which is made if it is not there."""

    async def all_of_it() -> None:
        log = Log.open(data_dir)
        seen: set[str] = set()
        try:
            for begin in range(0, len(told), 500):
                appends = []
                for event_type, run_id, data in told[begin : begin + 500]:
                    is_there = run_id in seen or log.has_stream(run_id)
                    seen.add(run_id)
                    draft = log.draft(f"rmos.{event_type}.v1", run_id, data, ORIGIN)
                    appends.append(log.append([draft], Stream.PRESENT if is_there else Stream.ABSENT, ORIGIN))
                await asyncio.gather(*appends)
        finally:
            await log.close()

    asyncio.run(all_of_it())
