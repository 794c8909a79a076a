"""Fills a server with runs through `POST /runs`, from a process of its own, and keeps their ids.

One run in a hundred also gets an advisory, so that the filter by advisory has something to find.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import orjson
import uvloop

from bench.bodies import ADVISORIES, bodies
from bench.processes import BenchError, python_child

RUNS_PER_ADVISORY = 100
_TRIES = 50
_SLOWEST_RATE = 100


def load_runs(url: str, count: int, ids: Path) -> dict[str, object]:
    """Load *count* runs into the collection at *url*; write their ids to *ids*; return the facts of it."""
    facts: dict[str, object] = python_child("the loader", "load", url, count, ids).result(60 + count / _SLOWEST_RATE)
    return facts


async def _post(client: aiohttp.ClientSession, url: str, body: bytes, wanted: int) -> bytes:
    """POST until the answer is *wanted*; a busy server (503) is asked again."""
    for _ in range(_TRIES):
        async with client.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            answer = await response.read()
            if response.status == wanted:
                return answer
            if response.status != 503:
                break
        await asyncio.sleep(0.1)
    raise BenchError(f"POST {url} gave {response.status}: {answer[:300].decode(errors='replace')}")


async def _post_runs(client: aiohttp.ClientSession, url: str, source: Iterator[bytes], ids: list[str]) -> None:
    for body in source:
        ids.append(orjson.loads(await _post(client, url, body, wanted=201))["run_id"])
        if len(ids) % 10_000 == 0:
            print(f"  {len(ids):,} runs loaded", file=sys.stderr, flush=True)


async def _attach_all(client: aiohttp.ClientSession, url: str, run_ids: list[str]) -> str:
    """Attach an advisory to each run; return what went wrong, which spoils no measure but P6's of that filter."""
    for run_id, advisory in zip(run_ids, itertools.cycle(ADVISORIES), strict=False):
        body = orjson.dumps({"advisory_id": advisory, "kind": "advisory", "engine_id": "bench"})
        try:
            await _post(client, f"{url}/{run_id}/attach-advisory", body, wanted=200)
        except BenchError as error:
            return str(error)
    return ""


async def _load(url: str, count: int, connections: int) -> tuple[list[str], dict[str, object]]:
    source = itertools.islice(bodies(seed=count), count)
    ids: list[str] = []
    first_day = datetime.now(UTC).date()
    limit = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=connections)
    plain = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(connector=connector, timeout=limit, headers=plain) as client:
        began = time.perf_counter()
        await asyncio.gather(*(_post_runs(client, url, source, ids) for _ in range(connections)))
        seconds = time.perf_counter() - began
        fault = await _attach_all(client, url, ids[::RUNS_PER_ADVISORY])
    last_day = datetime.now(UTC).date()
    facts = {"runs": len(ids), "seconds": seconds, "rate": len(ids) / seconds, "fault": fault}
    return ids, {**facts, "first_day": first_day.isoformat(), "last_day": last_day.isoformat()}


def main() -> None:
    """Load what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("ids", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            ids, facts = runner.run(_load(options.url, options.count, options.connections))
        except (BenchError, aiohttp.ClientError, TimeoutError) as error:
            print(f"{type(error).__name__}: {error}")
            sys.exit(1)
    options.ids.write_text("\n".join(ids))
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
