"""Measures of the server as a process: memory (P10), start-up (P11), disk use (P14), recovery."""

import time
from pathlib import Path

from bench import wrk
from bench.server import Server
from bench.stage import CONNECTIONS, Stage
from bench.statistic import median
from bench.table import Row, judged
from bench.writing import Facts, Measured

_CRASH_AFTER_S = 2.0


def p10(stage: Stage, known: Facts) -> Measured:
    """Resident memory after loading, and if reads were measured, after these."""
    seen = {"after loading": stage.large.facts["memory_mb"]}
    for name in ("P5", "P6"):
        if memory := known.get(name, {}).get("memory_mb"):
            seen[f"started anew, after {name}"] = memory
    rows = []
    for when, memory in seen.items():
        text = f"server {memory['server']:.0f} MB, its {memory['processes']} process(es) {memory['sum']:.0f} MB"
        what = f"RSS at {stage.options.runs:,} runs, {when}"
        rows.append(judged("P10", what, text, memory["sum"], f"PSS {memory['sum_pss']:.0f} MB"))
    return rows, seen


def p11(stage: Stage, _known: Facts) -> Measured:
    """Seconds from exec to ready, after a clean stop; the page cache is warm."""
    sizes = {"large": stage.options.runs, "small": stage.options.few_runs}
    times = {name: _starts(stage, stage.log(runs, at_head=True)[0]) for name, runs in sizes.items()}
    large, small = median(times["large"]), median(times["small"])
    measured = f"{large:.2f} s, slowest {max(times['large']):.2f} s"
    rows = [
        judged("P11", f"start after a clean stop, {sizes['large']:,} events", measured, large),
        judged(
            "P11 growth",
            f"the same; ratio is to {sizes['small']:,} events",
            f"{large:.2f} s",
            large / small,
            f"{small:.2f} s",
            ratio=True,
        ),
    ]
    return rows, times


def p14(stage: Stage, _known: Facts) -> Measured:
    """Bytes on disk for each run, after a clean stop."""
    use = stage.large.facts["disk"]
    runs = stage.large.facts["runs"]
    kb = {name: part["allocated"] / runs / 1024 for name, part in use.items()}
    log = kb.pop("log", 0.0)
    catalog = sum(kb.pop(name) for name in list(kb) if name.startswith("catalog.sqlite"))
    rest = ", ".join(f"{name} {size:.2f}" for name, size in sorted(kb.items(), key=lambda one: -one[1])[:4])
    row = judged(
        "P14",
        f"KB on disk a run: log and catalog, {runs:,} runs of 1.7 KB",
        f"{log + catalog:.2f} KB (log {log:.2f}, catalog {catalog:.2f})",
        log + catalog,
        f"beside it: {rest}",
    )
    return [row], {"log_kb": log, "catalog_kb": catalog, "use": use}


def recovery(stage: Stage, _known: Facts) -> Measured:
    """Seconds from exec to ready after a kill -9 under load. It adds runs, so it comes last."""
    data = stage.large
    ready, caught_up = [], []
    server = Server(data.data_dir, stage.note_fault)
    server.start()
    try:
        for _ in range(min(3, stage.options.starts)):
            _crash_under_load(stage, server)
            began = time.perf_counter()
            ready.append(server.start())
            server.wait_caught_up()
            caught_up.append(time.perf_counter() - began)
    finally:
        if server.runs:
            server.stop()
    measured = f"{median(ready):.2f} s, slowest {max(ready):.2f} s"
    later = f"projections at the head {median(caught_up):.2f} s after exec"
    return [Row("recovery", "ready after kill -9 under load", measured, later)], {
        "ready_s": ready,
        "caught_up_s": caught_up,
    }


def _crash_under_load(stage: Stage, server: Server) -> None:
    load = wrk.begin("post", server.runs_url, stage.bodies, CONNECTIONS, seconds=30)
    try:
        time.sleep(_CRASH_AFTER_S)
        left = server.crash()
        time.sleep(0.1)
        if count := left.left_behind():
            stage.note_fault(f"{count} processes of the server outlived its kill -9 by 0.1 s")
    finally:
        load.child.kill()


def _starts(stage: Stage, data_dir: Path) -> list[float]:
    times = []
    for _ in range(stage.options.starts):
        server = Server(data_dir, stage.note_fault)
        times.append(server.start())
        server.stop()
    return times
