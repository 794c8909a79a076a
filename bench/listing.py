"""P6 from a process of its own: times `GET /runs` on one keep-alive connection.

A deep page is reached only by following `next_cursor`. What the pages hold is checked on
the way (rows that repeat, filters that find nothing or too much), for a fast wrong answer
must not count.
"""

import argparse
import http.client
import itertools
import json
import sys
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from attrs import asdict, define, frozen

from bench.processes import BenchError, python_child
from bench.queries import Params, Query, queries
from bench.statistic import summary

SECONDS_PER_SERIES = 4.0
SECONDS_PER_WALK = 60.0
FEWEST_REPEATS = 5
CHILD_LIMIT_S = 4000.0


def measure_listings(url: str, data: dict[str, Any], repeats: int, deep_page: int) -> list[dict[str, Any]]:
    """Time all listings of a data set; return what each gave (see `Found`)."""
    child = python_child(
        "the listing client", "listing", url, data["runs"], data["first_day"], data["last_day"], repeats, deep_page
    )
    found: list[dict[str, Any]] = child.result(CHILD_LIMIT_S)
    return found


@define
class Found:
    """What one listing gave; times in milliseconds."""

    name: str
    params: Params
    page_1: dict[str, float]
    deep: dict[str, float] | None = None
    deep_page: int = 1
    items: int = 0
    empty_pages: int = 0
    fault: str = ""


@frozen
class Walk:
    """Where following `next_cursor` led."""

    pages: int
    last_cursor: str | None
    items: int
    empty_pages: int
    repeated: int


class Listing:
    """One connection to one collection."""

    def __init__(self, url: str) -> None:
        """Connect when first asked."""
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)

    def page(self, params: Params, cursor: str | None) -> tuple[float, bytes]:
        """Return the milliseconds that one page took, and its bytes."""
        query = urlencode({**params, "cursor": cursor} if cursor else params)
        began = time.perf_counter()
        self._connection.request("GET", f"{self._path}?{query}" if query else self._path)
        response = self._connection.getresponse()
        answer = response.read()
        taken = (time.perf_counter() - began) * 1e3
        if response.status != 200:
            raise BenchError(f"{response.status} for {query}: {answer[:200].decode(errors='replace')}")
        return taken, answer

    def series(self, variants: list[Params], cursor: str | None, repeats: int) -> dict[str, float]:
        """Time the same page, the *variants* in turn, up to *repeats* times."""
        times: list[float] = []
        began = time.perf_counter()
        for params in itertools.islice(itertools.cycle(variants), repeats):
            times.append(self.page(params, cursor)[0])
            if len(times) >= FEWEST_REPEATS and time.perf_counter() - began > SECONDS_PER_SERIES:
                break
        return summary(times)

    def walk(self, params: Params, deep_page: int) -> Walk:
        """Follow `next_cursor` from page 1 up to *deep_page* or the end."""
        cursor, reached = None, None
        seen: set[str] = set()
        pages = items = empty = 0
        end = time.perf_counter() + SECONDS_PER_WALK
        while True:
            answer = orjson.loads(self.page(params, cursor)[1])
            reached, pages = cursor, pages + 1
            items += len(answer["items"])
            empty += not answer["items"]
            seen.update(item["run_id"] for item in answer["items"])
            cursor = answer["next_cursor"]
            if not cursor or pages == deep_page or time.perf_counter() > end:
                return Walk(pages, reached, items, empty, items - len(seen))


def measure(listing: Listing, query: Query, repeats: int, deep_page: int) -> Found:
    """Time page 1 and the deep page of one query."""
    params = query.variants[0]
    try:
        walk = listing.walk(params, deep_page)
        found = Found(query.name, params, listing.series(query.variants, None, repeats))
        if walk.last_cursor:
            found.deep = listing.series([params], walk.last_cursor, repeats)
    except (BenchError, OSError, http.client.HTTPException, KeyError, ValueError) as error:
        return Found(query.name, params, summary([]), fault=f"{type(error).__name__}: {error}")
    found.deep_page, found.items, found.empty_pages = walk.pages, walk.items, walk.empty_pages
    if walk.repeated:
        found.fault = f"{walk.repeated} runs came twice"
    elif (query.expected == "some" and not walk.items) or (query.expected == "none" and walk.items):
        found.fault = f"{walk.items} runs found, expected {query.expected}"
    return found


def main() -> None:
    """Time what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.listing")
    parser.add_argument("url")
    parser.add_argument("runs", type=int)
    parser.add_argument("first_day")
    parser.add_argument("last_day")
    parser.add_argument("repeats", type=int)
    parser.add_argument("deep_page", type=int)
    options = parser.parse_args()
    listing = Listing(options.url)
    results = []
    for query in queries(options.runs, options.first_day, options.last_day):
        results.append(asdict(measure(listing, query, options.repeats, options.deep_page)))
        print(f"  {query.name}: page 1 p50 {results[-1]['page_1']['p50']:.2f} ms", file=sys.stderr, flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
