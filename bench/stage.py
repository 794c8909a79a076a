"""What the measures share: options, the echo peer, the data sets, and servers that are always stopped.

A data set is loaded once a run and only when a measure asks for it. A fault that does
not spoil a figure (a bad exit code, failed requests) is noted and shown, never swallowed.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import define, frozen

from bench import wrk
from bench.bodies import write_bodies
from bench.generated import bring_to_head, make_log
from bench.load import load_runs
from bench.peers import Echo, measure_disk
from bench.processes import BenchError, without_paths
from bench.server import Server

CONNECTIONS = 64
BODIES_IN_TURN = 512


@frozen
class Options:
    """How long and how large. The defaults are those of the bars; `quick` ones only show that all works."""

    seconds: int
    long_seconds: int
    rounds: int
    runs: int
    starts: int
    listing_repeats: int
    deep_page: int

    @property
    def few_runs(self) -> int:
        """The size of the small data set."""
        return self.runs // 10


def options(*, quick: bool, seconds: int | None, runs: int | None) -> Options:
    """Return the options for a run of the benchmark."""
    if quick:
        short = seconds or 3
        return Options(short, 3 * short, 2, runs or 10_000, 3, 40, 100)
    usual = seconds or 10
    return Options(usual, 6 * usual, 3, runs or 100_000, 5, 300, 1000)


@define
class DataSet:
    """A data directory full of runs; the server that filled it was stopped cleanly."""

    data_dir: Path
    ids: Path
    facts: dict[str, Any]


class Stage:
    """One run of the benchmark."""

    def __init__(self, chosen: Options, work: Path) -> None:
        """Make the bodies; everything else comes when it is asked for."""
        self.options = chosen
        self.work = work
        self.bodies = work / "bodies.jsonl"
        self.faults: list[str] = []
        self._data_sets: dict[int, DataSet | BenchError] = {}
        self._logs: dict[int, tuple[Path, dict[str, Any]]] = {}
        self._at_head: set[int] = set()
        write_bodies(self.bodies, BODIES_IN_TURN, seed=1)

    @cached_property
    def echo(self) -> Echo:
        """The echo peer; it idles while others are measured."""
        return Echo()

    def note_fault(self, text: str) -> None:
        """Keep what went wrong, for the end."""
        text = without_paths(text.replace(str(self.work), "<work>"))
        say(f"  fault: {text}")
        self.faults.append(text)

    @contextmanager
    def serving(self, data_dir: Path) -> Iterator[Server]:
        """Run a server on *data_dir*; it is stopped cleanly at the end."""
        server = Server(data_dir, self.note_fault)
        server.start()
        try:
            yield server
        finally:
            if server.runs:
                server.stop()

    @contextmanager
    def fresh_server(self, name: str) -> Iterator[Server]:
        """Run a server on an empty data directory, which is removed at the end."""
        data_dir = self.work / name
        try:
            with self.serving(data_dir) as server:
                yield server
        finally:
            shutil.rmtree(data_dir, ignore_errors=True)

    @property
    def large(self) -> DataSet:
        """The data set that the bars speak of."""
        return self._data_set(self.options.runs)

    @property
    def small(self) -> DataSet:
        """The data set a tenth as large, to see what grows."""
        return self._data_set(self.options.few_runs)

    def log(self, runs: int, *, at_head: bool = False) -> tuple[Path, dict[str, Any]]:
        """Return a data directory with a log of *runs* events, made without a server, and the facts of it.

        With *at_head* its projections are at its head.
        """
        if runs not in self._logs:
            say(f"making a log of {runs:,} events")
            data_dir = self.work / f"log-{runs}"
            self._logs[runs] = (data_dir, make_log(data_dir, self.bodies, runs))
        if at_head and runs not in self._at_head:
            say(f"bringing the projections to the head of {runs:,} events")
            bring_to_head(self._logs[runs][0])
            self._at_head.add(runs)
        return self._logs[runs]

    @property
    def loaded(self) -> list[dict[str, Any]]:
        """The facts of every data set that was loaded."""
        return [data.facts for data in self._data_sets.values() if isinstance(data, DataSet)]

    def post(self, url: str, seconds: int, connections: int = CONNECTIONS) -> wrk.Round:
        """POST bodies for *seconds*; failed requests are a fault."""
        return self._checked(wrk.post(url, self.bodies, connections, seconds), f"POST, {connections} connections")

    def get(self, url: str, ids: Path, seconds: int) -> wrk.Round:
        """GET random runs for *seconds*; failed requests are a fault."""
        return self._checked(wrk.get(url, ids, CONNECTIONS, seconds), f"GET, {CONNECTIONS} connections")

    def disk(self, seconds: float) -> dict[str, float]:
        """Measure the disk peer where the data directories lie."""
        return measure_disk(self.work, self.bodies, seconds)

    def _checked(self, found: wrk.Round, what: str) -> wrk.Round:
        if found.faults:
            self.note_fault(f"{what}: {found.faults} among {found.requests} answers")
        return found

    def _data_set(self, runs: int) -> DataSet:
        if runs not in self._data_sets:
            try:
                self._data_sets[runs] = self._load(runs)
            except BenchError as error:
                self._data_sets[runs] = error
        found = self._data_sets[runs]
        if isinstance(found, BenchError):
            raise found
        return found

    def _load(self, runs: int) -> DataSet:
        say(f"loading {runs:,} runs")
        data = DataSet(self.work / f"runs-{runs}", self.work / f"runs-{runs}.ids", {})
        with self.serving(data.data_dir) as server:
            data.facts = load_runs(server.runs_url, runs, data.ids)
            data.facts["catch_up_s"] = server.wait_caught_up()
            data.facts["memory_mb"] = server.memory_mb()
            data.facts["events"] = server.head()
        data.facts["disk"] = disk_use(data.data_dir)
        if data.facts["fault"]:
            self.note_fault(f"no advisories: {data.facts['fault']}")
        return data


def disk_use(data_dir: Path) -> dict[str, dict[str, int]]:
    """Return, for each name at the top of *data_dir*, the bytes allocated on disk and the bytes of the files."""
    found: dict[str, dict[str, int]] = {}
    for path in data_dir.rglob("*"):
        if path.is_file():
            stat = path.stat()
            part = found.setdefault(path.relative_to(data_dir).parts[0], {"allocated": 0, "size": 0, "files": 0})
            part["allocated"] += stat.st_blocks * 512
            part["size"] += stat.st_size
            part["files"] += 1
    return found


def say(text: str) -> None:
    """Tell whoever waits what goes on."""
    print(text, file=sys.stderr, flush=True)
