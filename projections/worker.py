"""The process that runs the projections, so that folding never takes the server's interpreter lock.

    python -m projections.worker DATA_DIR RUNS_DIR

It reads ends of the log from standard input (`next_seq segment offset` a line) and answers with
JSON lines on standard output. Standard input closing means that the server is gone: it exits at
once, at any point, which is safe because a projection's state and position are stored together.
"""

import json
import os
import sqlite3
import sys
import threading
import time
from functools import partial
from pathlib import Path

import structlog

from eventlog.errors import EventLogError
from eventlog.opening import Identity, read_identity
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from projections.lock import ProjectionsLock
from projections.projection import Projection, under
from projections.runner import Runner

logger = structlog.get_logger("projections.worker")

_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_PACES_S = {"files": 1.0}
_PREDECESSOR_MAX_S = 30.0
"""How long to wait for the worker of a server that was killed a moment ago; it exits by itself."""


class _Heads:
    """The newest end of the log that was heard of; threads wait for it to move."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._end: End | None = None

    def set(self, end: End) -> None:
        with self._moved:
            self._end = end
            self._moved.notify_all()

    def beyond(self, position: int) -> End:
        """Return the newest end, once it lies beyond *position*; waits without bound, the process ends with its input."""
        with self._moved:
            self._moved.wait_for(lambda: self._end is not None and self._end.next_seq - 1 > position)
            assert self._end is not None
            return self._end

    def moved_within(self, seconds: float) -> None:
        """Wait at least a second, then until the end moves (a write found space again) or *seconds* are over."""
        before = self._end
        time.sleep(_BACKOFF_S[0])
        with self._moved:
            self._moved.wait_for(lambda: self._end != before, max(0.0, seconds - _BACKOFF_S[0]))

    def first(self) -> End:
        """Return the first end that is heard of."""
        return self.beyond(-2)


_HELD: list[ProjectionsLock] = []
"""Held until the process ends."""

_OUT = threading.Lock()


def _say(**facts: object) -> None:
    with _OUT:
        try:
            sys.stdout.write(json.dumps(facts) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(0)  # the server is gone


def _run(projection: Projection, disk: PosixDisk, identity: Identity, heads: _Heads) -> None:
    """Keep one projection at the head, for ever."""
    attempts = 0
    runner: Runner | None = None
    while True:
        try:
            if runner is None:
                runner = Runner(projection, disk, identity, heads.first())
                _tell(projection, runner)
            end = heads.beyond(runner.position)
            started = time.monotonic()
            runner.run_to(end, partial(_tell_progress, projection, runner))
            attempts = 0
            _rest(projection, started)
            if runner.failed is not None:
                return
        except (OSError, sqlite3.Error) as error:
            pause = _BACKOFF_S[min(attempts, len(_BACKOFF_S) - 1)]
            attempts += 1
            logger.warning("projection.retries", name=projection.name, error=str(error), retry_in_s=pause)
            _say(name=projection.name, retrying=str(error))
            heads.moved_within(pause)


def _rest(projection: Projection, started: float) -> None:
    """Let events gather where a commit costs more than what it holds."""
    pause = started + _PACES_S.get(projection.name, 0.0) - time.monotonic()
    if pause > 0:
        threading.Event().wait(pause)


def _tell_progress(projection: Projection, runner: Runner, _position: int) -> None:
    _tell(projection, runner)


def _tell(projection: Projection, runner: Runner) -> None:
    failed = runner.failed
    error = None if failed is None else {"seq": failed.seq, "type": failed.type, "message": failed.reason}
    _say(
        name=projection.name,
        version=projection.version,
        position=runner.position,
        error=error,
        quarantined=getattr(projection, "quarantined", 0),
    )


def main(data_dir: Path, runs_dir: Path) -> None:
    """Run every projection of *data_dir* until standard input closes."""
    from eventlog.logging import configure

    configure("info")
    sys.setswitchinterval(0.001)
    disk = PosixDisk(data_dir)
    identity = read_identity(disk)
    assert identity is not None, "the server makes the log before it starts this"
    heads = _Heads()
    threading.Thread(target=_work, args=(data_dir, runs_dir, disk, identity, heads), daemon=True).start()
    for line in sys.stdin:
        next_seq, segment, offset = line.split()
        heads.set(End(int(next_seq), None if segment == "-" else int(segment), int(offset)))
    os._exit(0)


def _work(data_dir: Path, runs_dir: Path, disk: PosixDisk, identity: Identity, heads: _Heads) -> None:
    try:
        lock = ProjectionsLock(data_dir, _PREDECESSOR_MAX_S)
        _HELD.append(lock)
        for projection in under(data_dir, runs_dir=runs_dir):
            threading.Thread(target=_run, args=(projection, disk, identity, heads), daemon=True).start()
    except (OSError, EventLogError, sqlite3.Error) as error:
        logger.error("projection.worker_cannot_start", error=str(error))
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
