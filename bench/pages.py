"""The pages as a browser asks for them: how long each takes to come, over a log that was made without a server."""

import http.client
import time
from urllib.parse import urlsplit

from bench.generated import run_id_of
from bench.processes import BenchError
from bench.stage import Stage
from bench.statistic import summary
from bench.table import judged
from bench.writing import Facts, Measured

_REPEATS = 40
_HEADERS = {"Accept": "text/html", "Accept-Encoding": "gzip"}


def pages(stage: Stage, _known: Facts) -> Measured:
    """GET of every page, one after the other, each asked for again and again."""
    runs = stage.options.runs
    data_dir, _ = stage.log(runs, at_head=True)
    with stage.serving(data_dir) as server:
        server.wait_caught_up()  # the overview of a server that has just begun waits for its counts
        found = {
            name: _timed(server.runs_url, path, min(_REPEATS, stage.options.listing_repeats))
            for name, path in _paths(runs).items()
        }
    slowest = max(found, key=lambda name: found[name]["p99"])
    usual = ", ".join(f"{name} {times['p50']:.0f}" for name, times in found.items())
    what = f"each page at {runs:,} runs (p50 in ms: {usual})"
    worst = found[slowest]["p99"]
    return [judged("pages", what, f"worst p99 {worst:.0f} ms ({slowest})", worst)], found


def _paths(runs: int) -> dict[str, str]:
    a, b = run_id_of(runs // 3), run_id_of(runs - 1)
    return {
        "overview": "/rmos",
        "overview of all": "/rmos?days=all",
        "runs": "/rmos/runs",
        "runs, filtered": "/rmos/runs?status=BLOCKED&risk_level=RED&tool_id_prefix=ad",
        "run": f"/rmos/runs?run_id={a}",
        "diff": f"/rmos/runs/diff?a={a}&b={b}",
        "log": "/rmos/log",
    }


def _timed(url: str, path: str, repeats: int) -> dict[str, float]:
    """Return how long *path* takes, in milliseconds; the first time counts too."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    times = []
    try:
        for _ in range(repeats):
            began = time.perf_counter()
            connection.request("GET", path, headers=_HEADERS)
            answer = connection.getresponse()
            answer.read()
            times.append((time.perf_counter() - began) * 1e3)
            if answer.status != 200:
                raise BenchError(f"GET {path} gave {answer.status}")
    finally:
        connection.close()
    return summary(times)
