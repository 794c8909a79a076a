"""Measures of the evidence: verifying a log (P9), and the size and the cost of one proof; of a log made without a server."""

import json
import random
import re
import resource
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.processes import BenchError, python_child
from bench.stage import Stage
from bench.statistic import median, summary
from bench.table import judged
from bench.writing import Facts, Measured

_LIMIT_S = 3600.0
_PROOFS = 2000
_READ_BYTES = 8 << 20
_HEAD = re.compile(rb'\{"seq":[0-9]+,"first":[0-9]+,"last":[0-9]+,"hash":"([0-9a-f]{64})","event":')


def p9(stage: Stage, _known: Facts) -> Measured:
    """Verifying a log, blobs apart, against reading, slicing, hashing and comparing in one process, alternately."""
    data_dir, made = stage.log(stage.options.runs)
    child = python_child("verifying", "evidence", "verify", data_dir, stage.options.rounds)
    facts: dict[str, Any] = child.result(_LIMIT_S)
    ours, peer = median(facts["verify_s"]), median(facts["peer_s"])
    events, size = made["events"], made["bytes"]
    row = judged(
        "P9",
        f"log verify, {events:,} events, {size / 1e6:,.0f} MB, {facts['processes']} process(es); "
        f"CPU {facts['verify_cpu_s']:.2f} s, peer's {facts['peer_cpu_s']:.2f} s",
        f"{events / ours:,.0f} events/s, {size / ours / 1e6:,.0f} MB/s",
        peer / ours,
        f"{events / peer:,.0f} events/s",
        ratio=True,
    )
    return [row], {**facts, "log": made}


def proof(stage: Stage, _known: Facts) -> Measured:
    """One inclusion proof of a random event, without a server: its size without the checkpoint's note, and its time."""
    data_dir, made = stage.log(stage.options.runs)
    facts: dict[str, Any] = python_child("proving", "evidence", "prove", data_dir).result(_LIMIT_S)
    times, events = facts["ms"], f"{made['events']:,}"
    rows = [
        judged("proof", f"inclusion proof at {events} events, without the note", f"{facts['bytes']} B", facts["bytes"]),
        judged(
            "proof time",
            f"making one; the first takes {facts['first_ms']:.1f} ms",
            f"p50 {times['p50']:.3f} ms, p99 {times['p99']:.3f} ms",
            times["p50"],
        ),
    ]
    return rows, facts


def _verify(data_dir: Path, rounds: int) -> dict[str, Any]:
    from api.evidence.named import NAMING
    from eventlog.parts import processes_for
    from eventlog.verify import segment_bytes, verify

    ours, peer = _Timed(), _Timed()
    for _ in range(rounds):
        with peer:
            count = sum(1 for _ in _compared(data_dir))
        with ours:
            verdict = verify(data_dir, None, NAMING)
        if not verdict.is_good or verdict.events != count:
            raise BenchError(f"{count} events, and verify found {verdict.events}, {verdict.bad} of them bad")
    processes = processes_for(segment_bytes(data_dir))
    return {
        "verify_s": ours.seconds,
        "peer_s": peer.seconds,
        "verify_cpu_s": median(ours.cpu_s),
        "peer_cpu_s": median(peer.cpu_s),
        "processes": processes,
    }


class _Timed:
    """How long rounds took, and the CPU time of this process and of those that it waited for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_s: list[float] = []

    def __enter__(self) -> None:
        self._cpu, self._began = _cpu_s(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        self.cpu_s.append(_cpu_s() - self._cpu)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _compared(data_dir: Path) -> Iterator[bytes]:
    """Yield the hash of every event once it is compared: the least that verifying takes."""
    for path in sorted((data_dir / "log" / "segments").iterdir()):
        with path.open("rb") as file:
            rest = b""
            while data := file.read(_READ_BYTES):
                data, start = rest + data, 0
                while (newline := data.find(b"\n", start)) >= 0:
                    head = _HEAD.match(data, start)
                    if head is None or sha256(data[head.end() : newline - 1]).hexdigest().encode() != head[1]:
                        raise BenchError(f"{path.name} holds a line that is no event")
                    yield head[1]
                    start = newline + 1
                rest = data[start:]


def _prove(data_dir: Path) -> dict[str, Any]:
    from contextlib import closing

    from eventlog.archive import Archive

    archive = Archive.open(data_dir)
    if archive is None:
        raise BenchError("there is no log")
    chance, times, size = random.Random(1), [], 0
    with closing(archive):
        note = len(archive.note.data)
        for _ in range(_PROOFS):
            recorded = next(archive.events(first=chance.randrange(archive.checkpoint.size)))
            began = time.perf_counter()
            data = archive.proof(recorded).data
            times.append((time.perf_counter() - began) * 1000)
            size = max(size, len(data) - note)
    return {"bytes": size, "first_ms": times[0], "ms": summary(times[1:])}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["verify", folder, rounds]:
            print(json.dumps(_verify(Path(folder), int(rounds))))
        case ["prove", folder]:
            print(json.dumps(_prove(Path(folder))))
        case _:
            raise BenchError("python -m bench.evidence verify DATA_DIR ROUNDS | prove DATA_DIR")
