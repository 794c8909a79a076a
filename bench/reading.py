"""Measures of reading: P5 (one run) and P6 (lists)."""

from typing import Any

from bench.listing import measure_listings
from bench.series import Series
from bench.stage import CONNECTIONS, DataSet, Stage
from bench.statistic import median
from bench.table import Row, judged
from bench.writing import Facts, Measured


def p5(stage: Stage, _known: Facts) -> Measured:
    """GET of random runs, out of many and out of few, against echo, alternately."""
    large, small, echo = Series(), Series(), Series()
    many, few, seconds = stage.large, stage.small, stage.options.seconds
    with stage.serving(many.data_dir) as big, stage.serving(few.data_dir) as little:
        for server, data in ((big, many), (little, few)):
            stage.get(server.runs_url, data.ids, 1)
        for _ in range(stage.options.rounds):
            large.take(big, lambda: stage.get(big.runs_url, many.ids, seconds))
            echo.take(stage.echo, lambda: stage.post(stage.echo.runs_url, seconds))
            small.take(little, lambda: stage.get(little.runs_url, few.ids, seconds))
        memory = big.memory_mb()
    what = f"GET /runs/{{id}} at {_runs(many)} runs, {CONNECTIONS} connections"
    measured = f"{large.text()}, p99 {large.p99_us / 1000:.1f} ms"
    rows = [
        judged("P5", what, measured, large.rate / echo.rate, f"echo {echo.text()}", ratio=True),
        judged(
            "P5 growth",
            f"the same; ratio is its cost to that at {_runs(few)}",
            f"{1e6 / large.rate:.0f} µs each",
            small.rate / large.rate,
            f"{1e6 / small.rate:.0f} µs each",
            ratio=True,
        ),
    ]
    return rows, {"large": large.facts(), "small": small.facts(), "echo": echo.facts(), "memory_mb": memory}


def p6(stage: Stage, _known: Facts) -> Measured:
    """GET /runs: every filter, and combinations; page 1 and a deep page."""
    data = stage.large
    with stage.serving(data.data_dir) as server:
        found = measure_listings(server.runs_url, data.facts, stage.options.listing_repeats, stage.options.deep_page)
        memory = server.memory_mb()
    for one in found:
        if one["fault"]:
            stage.note_fault(f"P6 {one['name']}: {one['fault']}")
    timed = [one for one in found if one["page_1"]["count"]]
    if not timed:
        return [Row("P6", "GET /runs", "no listing was answered", ok=False)], {"listings": found}
    deep = [one for one in timed if one["deep"]]
    rows = _page_rows(f"page 1 of {len(timed)} listings at {_runs(data)} runs", timed, "page_1")
    if deep:
        furthest = max(one["deep_page"] for one in deep)
        rows += _page_rows(f"a deep page (up to {furthest:,}) of {len(deep)} listings", deep, "deep")
    empty = max(timed, key=lambda one: int(one["empty_pages"]))
    if empty["empty_pages"] > 1:
        rows.append(Row("P6", "most empty pages on the way to the end", f"{empty['empty_pages']} ({empty['name']})"))
    return rows, {"listings": found, "memory_mb": memory}


def _page_rows(what: str, listings: list[dict[str, Any]], page: str) -> list[Row]:
    """Return a row for p50 and one for p99: the worst listing decides."""
    rows = []
    for part in ("p50", "p99"):
        worst = max(listings, key=lambda one: float(one[page][part]))
        usual = median(one[page][part] for one in listings)
        slow = worst[page][part]
        measured = f"worst {part} {slow:.2f} ms ({worst['name']})"
        rows.append(judged(f"P6 {part}", f"GET /runs, {what}", measured, slow, f"median listing {usual:.2f} ms"))
    return rows


def _runs(data: DataSet) -> str:
    return f"{data.facts['runs']:,}"
