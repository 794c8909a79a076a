"""Measures of writing: the peers, P1, P2, P3 and P13."""

from typing import Any

from bench import wrk
from bench.bars import BARS
from bench.peers import measure_sha
from bench.probe import begin_fresh, begin_lag
from bench.series import Series
from bench.stage import CONNECTIONS, Stage
from bench.statistic import median
from bench.table import Row, judged

Facts = dict[str, Any]
Measured = tuple[list[Row], Facts]


def peers(stage: Stage, _known: Facts) -> Measured:
    """Measure echo, disk and sha, whatever else is measured."""
    echo = Series()
    echo.take(stage.echo, lambda: stage.post(stage.echo.runs_url, stage.options.seconds))
    disk, sha = stage.disk(stage.options.seconds / 2), measure_sha(stage.bodies, 1)
    rows = [
        Row("echo", f"POST of 1.7 KB, {CONNECTIONS} connections", echo.text()),
        Row("disk", "write + fdatasync of the same bytes", f"p50 {disk['p50']:.0f} µs, p99 {disk['p99']:.0f} µs"),
        Row("sha", "SHA-256 of the same bytes", f"p50 {sha['p50']:.2f} µs"),
    ]
    return rows, {"echo": echo.facts(), "disk_us": disk, "sha_us": sha}


def p1(stage: Stage, _known: Facts) -> Measured:
    """Durable POST /runs against echo, alternately."""
    ours, echo = Series(), Series()
    seconds = stage.options.seconds
    with stage.fresh_server("p1") as server:
        for url in (server.runs_url, stage.echo.runs_url):
            stage.post(url, 1)
        server.wait_caught_up()
        before = server.head()
        for _ in range(stage.options.rounds):
            ours.take(server, lambda: stage.post(server.runs_url, seconds))
            server.wait_caught_up()
            echo.take(stage.echo, lambda: stage.post(stage.echo.runs_url, seconds))
        in_log = server.head() - before
    if in_log < ours.good:
        stage.note_fault(f"P1: {ours.good} runs were acknowledged, but the log grew by {in_log} events")
    what = f"durable POST /runs, {CONNECTIONS} connections, {seconds} s"
    row = judged("P1", what, ours.text(), ours.rate / echo.rate, f"echo {echo.text()}", ratio=True)
    return [row], {"runlog": ours.facts(), "echo": echo.facts(), "log_grew_by": in_log}


def p2(stage: Stage, _known: Facts) -> Measured:
    """The same for longer, while the projections are watched."""
    ours, echo = Series(), Series()
    seconds, long_seconds = stage.options.seconds, stage.options.long_seconds
    with stage.fresh_server("p2") as server:
        echo.take(stage.echo, lambda: stage.post(stage.echo.runs_url, seconds))
        probe = begin_lag(server.port, long_seconds)
        ours.take(server, lambda: stage.post(server.runs_url, long_seconds))
        lag: Facts = probe.result(long_seconds + 60)
        lag["catch_up_s"] = server.wait_caught_up()
        echo.take(stage.echo, lambda: stage.post(stage.echo.runs_url, seconds))
    if lag["failed_polls"]:
        stage.note_fault(f"P2: {lag['failed_polls']} of {lag['polls'] + lag['failed_polls']} polls of /readyz failed")
    if not lag["max_lag_s"]:
        stage.note_fault("P2: /readyz told of no projections")
    worst = max(lag["max_lag_s"].values(), default=float("inf"))
    lags = ", ".join(f"{name} {lag['max_lag_s'][name]:.2f} s" for name in lag["max_lag_s"])
    events = ", ".join(f"{name} {count:,}" for name, count in lag["max_lag_events"].items())
    what = f"durable POST /runs, {CONNECTIONS} connections, {long_seconds} s"
    rows = [
        judged("P2", what, ours.text(), ours.rate / echo.rate, f"echo {echo.text()}", ratio=True),
        judged("P2 lag", f"longest lag meanwhile, in events: {events}", lags, worst),
    ]
    return rows, {"runlog": ours.facts(), "echo": echo.facts(), "lag": lag}


def p3(stage: Stage, _known: Facts) -> Measured:
    """One connection: what a POST costs beyond echo, in disk writes."""
    ours, echo, disks = Series(), Series(), []
    seconds = max(2, stage.options.seconds // 2)
    with stage.fresh_server("p3") as server:
        stage.post(server.runs_url, 1, connections=1)
        for _ in range(stage.options.rounds):
            disks.append(stage.disk(1))
            ours.take(server, lambda: stage.post(server.runs_url, seconds, connections=1))
            server.wait_caught_up()
            echo.take(stage.echo, lambda: stage.post(stage.echo.runs_url, seconds, connections=1))
            disks.append(stage.disk(1))
    disk_us = median(found["p50"] for found in disks)
    multiple = (ours.p50_us - echo.p50_us) / disk_us
    row = judged(
        "P3",
        "POST /runs, one connection; ratio is (p50 - echo) ÷ disk",
        f"p50 {ours.p50_us:.0f} µs",
        multiple,
        f"disk {disk_us:.0f} µs, echo {echo.p50_us:.0f} µs",
        ratio=True,
    )
    return [row], {"runlog": ours.facts(), "echo": echo.facts(), "disk_us": disks}


def p13(stage: Stage, known: Facts) -> Measured:
    """GET of a run right after its own 201, under the load of P1."""
    seconds = stage.options.seconds
    with stage.fresh_server("p13") as server:
        load = wrk.begin("post", server.runs_url, stage.bodies, CONNECTIONS, seconds + 2)
        found: Facts = begin_fresh(server.runs_url, stage.bodies, seconds).result(seconds + 60)
        found["load"] = load.result().rate
    if unexpected := {key: count for key, count in found["statuses"].items() if key not in ("POST 201", "GET 200")}:
        stage.note_fault(f"P13: {unexpected} beside {found['get_ms']['count']} good reads")
    times = found["get_ms"]
    measured = f"p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms of {times['count']:,} reads"
    what = f"GET right after its own 201, beside {found['load']:,.0f} POST/s"
    if "P5" not in known:
        bar = BARS["P13"]
        return [Row("P13", what, measured, "P5 was not measured", None, bar.text, bar.reach)], found
    quiet_ms = known["P5"]["large"]["p99_us"] / 1000
    return [judged("P13", what, measured, times["p99"] / quiet_ms, f"P5 p99 {quiet_ms:.1f} ms", ratio=True)], found
