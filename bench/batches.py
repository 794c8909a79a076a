"""P4: batches of runs, one after the other over one connection, while the projections are watched."""

import socket
import threading
import time
from http.client import HTTPResponse
from urllib.parse import urlsplit

from bench.probe import begin_lag
from bench.processes import BenchError
from bench.stage import Stage
from bench.table import judged
from bench.writing import Facts, Measured

LINES = 10_000
_CREATED = b'{"status":201,'


def p4(stage: Stage, _known: Facts) -> Measured:
    """POST /runs/batch: durable runs a second, from the first byte sent to the last answer read."""
    bodies = stage.bodies.read_bytes().splitlines()
    content = b"".join(bodies[number % len(bodies)] + b"\n" for number in range(LINES))
    seconds = stage.options.seconds
    with stage.fresh_server("p4") as server:
        post_batch(server.runs_url, content[: 1 + content.index(b"\n", len(content) // 50)])
        server.wait_caught_up()
        before = server.head()
        probe = begin_lag(server.port, seconds)
        times: list[float] = []
        good = 0
        while sum(times) < seconds:
            began = time.perf_counter()
            good += post_batch(server.runs_url, content)
            times.append(time.perf_counter() - began)
        lag: Facts = probe.result(2 * seconds + 60)
        catch_up_s = server.wait_caught_up()
        in_log = server.head() - before
    if good != LINES * len(times) or in_log != good:
        stage.note_fault(f"P4: {LINES * len(times)} lines, {good} answers of 201, {in_log} events")
    rate = good / sum(times)
    first = f"first batch {LINES / times[0]:,.0f}/s; projections at most {max(lag['max_lag_s'].values(), default=0):.2f} s behind"
    row = judged(
        "P4", f"POST /runs/batch, {LINES:,} lines of 1.7 KB each, {seconds} s", f"{rate:,.0f} runs/s", rate, first
    )
    return [row], {"rate": rate, "batch_s": times, "lag": lag, "catch_up_s": catch_up_s}


def post_batch(runs_url: str, content: bytes) -> int:
    """Send *content* and read the answers at the same time; return how many runs were recorded."""
    parts = urlsplit(runs_url)
    head = (
        f"POST {parts.path}/batch HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-ndjson\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    assert parts.hostname
    assert parts.port
    with socket.create_connection((parts.hostname, parts.port), timeout=300) as connection:
        sender = threading.Thread(target=connection.sendall, args=(head.encode() + content,))
        sender.start()
        response = HTTPResponse(connection)
        try:
            response.begin()
            if response.status != 200:
                raise BenchError(f"POST /runs/batch gave {response.status}")
            return response.read().count(_CREATED)
        finally:
            sender.join()
            response.close()
