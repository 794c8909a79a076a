"""Watchers that run beside a load, each a process of its own: projections' lag (P2), reads after writes (P13)."""

import argparse
import asyncio
import http.client
import itertools
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.processes import Child, python_child
from bench.server import head_of
from bench.statistic import summary

POLLS_PER_S = 4
FRESH_CONNECTIONS = 4


def begin_lag(port: int, seconds: float) -> Child:
    """Begin to poll /readyz; the result is `max_lag_events`, `max_lag_s` (by projection), `polls`, `failed_polls`."""
    return python_child("the lag probe", "probe", "lag", port, seconds)


def begin_fresh(url: str, bodies: Path, seconds: float) -> Child:
    """Begin to POST runs and GET each right after its 201; the result is `get_ms`, `post_ms`, `statuses`."""
    return python_child("the fresh-read probe", "probe", "fresh", url, bodies, seconds)


def watch_lag(port: int, seconds: float) -> dict[str, Any]:
    """Poll for *seconds*."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    samples: list[tuple[float, dict[str, dict[str, Any]]]] = []
    failed = 0
    began = time.perf_counter()
    for poll in range(int(seconds * POLLS_PER_S)):
        time.sleep(max(0.0, began + poll / POLLS_PER_S - time.perf_counter()))
        try:
            connection.request("GET", "/readyz")
            projections = json.loads(connection.getresponse().read())["projections"]
            samples.append((time.perf_counter() - began, projections))
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            failed += 1
            connection.close()
    names = samples[-1][1] if samples else {}
    return {
        "max_lag_events": {name: max(found[name]["lag"] for _, found in samples) for name in names},
        "max_lag_s": {name: round(max_lag_s(name, samples), 3) for name in names},
        "polls": len(samples),
        "failed_polls": failed,
    }


def max_lag_s(name: str, samples: list[tuple[float, dict[str, dict[str, Any]]]]) -> float:
    """Return how long ago, at worst, the head stood where the projection *name* stood when asked.

    Between two polls the head is taken to move evenly.
    """
    heads = [(at, head_of(found)) for at, found in samples]
    worst = 0.0
    for number, (at, found) in enumerate(samples):
        if found[name]["lag"] > 0:
            worst = max(worst, at - _when_head_was(found[name]["position"], heads[: number + 1]))
    return worst


def _when_head_was(position: int, heads: list[tuple[float, int]]) -> float:
    for (before, low), (after, high) in reversed(list(itertools.pairwise(heads))):
        if low <= position <= high:
            return after if high == low else before + (after - before) * (position - low) / (high - low)
    return heads[0][0]


async def read_fresh(url: str, bodies: list[bytes], seconds: float) -> dict[str, Any]:
    """POST and GET on a few connections for *seconds*."""
    posts: list[float] = []
    gets: list[float] = []
    statuses: dict[str, int] = {}
    end = time.perf_counter() + seconds
    source = itertools.cycle(bodies)

    async def timed(times: list[float], method: str, target: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body else {}
        began = time.perf_counter()
        async with client.request(method, target, data=body, headers=headers) as response:
            answer = await response.read()
            times.append((time.perf_counter() - began) * 1e3)
            key = f"{method} {response.status}"
            statuses[key] = statuses.get(key, 0) + 1
            return json.loads(answer)

    async def one_connection() -> None:
        while time.perf_counter() < end:
            created = await timed(posts, "POST", url, next(source))
            if "run_id" in created:
                await timed(gets, "GET", f"{url}/{created['run_id']}")

    limit = aiohttp.ClientTimeout(total=10)
    headers = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(timeout=limit, headers=headers) as client:
        await asyncio.gather(*(one_connection() for _ in range(FRESH_CONNECTIONS)))
    return {"get_ms": summary(gets), "post_ms": summary(posts), "statuses": statuses}


def main() -> None:
    """Be one of the watchers."""
    parser = argparse.ArgumentParser(prog="python -m bench.probe")
    kinds = parser.add_subparsers(dest="kind", required=True)
    lag, fresh = kinds.add_parser("lag"), kinds.add_parser("fresh")
    lag.add_argument("port", type=int)
    lag.add_argument("seconds", type=float)
    fresh.add_argument("url")
    fresh.add_argument("bodies", type=Path)
    fresh.add_argument("seconds", type=float)
    options = parser.parse_args()
    if options.kind == "lag":
        found = watch_lag(options.port, options.seconds)
    else:
        bodies = options.bodies.read_bytes().splitlines()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(read_fresh(options.url, bodies, options.seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
