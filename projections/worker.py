"""The process that runs the projections, so that folding never takes the server's interpreter lock.

    python -m projections.worker DATA_DIR RUNS_DIR

It reads lines from standard input: `end NEXT_SEQ SEGMENT OFFSET`, how far the log is durable, and
`rebuild NAME`, `retry NAME`, `hurry NAME`. It answers with JSON lines on standard output. Standard
input closing means that the server is gone: it exits at once, at any point, which is safe because a
projection's state and position are stored together.
"""

import json
import os
import sqlite3
import sys
import threading
from contextlib import suppress
from pathlib import Path

import structlog

from eventlog.errors import EventLogError
from eventlog.opening import read_identity
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from projections.give_way import GiveWay
from projections.known import NAMES
from projections.lane import Heads, Lane
from projections.lock import ProjectionsLock
from projections.rebuild import calm_collector
from projections.recent import Recent

logger = structlog.get_logger("projections.worker")

_PREDECESSOR_MAX_S = 30.0
"""How long to wait for the worker of a server that was killed a moment ago; it exits by itself."""

_HELD: list[ProjectionsLock] = []
"""Held until the process ends."""

_NICE = 10

_OUT = threading.Lock()


def _say(**facts: object) -> None:
    with _OUT:
        try:
            sys.stdout.write(json.dumps(facts) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(0)  # the server is gone


def main(data_dir: Path, runs_dir: Path) -> None:
    """Run every projection of *data_dir* until standard input closes."""
    from eventlog.logging import configure

    configure("info")
    _stand_back()
    sys.setswitchinterval(0.0002)  # a lane that writes files must get the interpreter back soon after each call
    calm_collector()
    disk = PosixDisk(data_dir)
    identity = read_identity(disk)
    assert identity is not None, "the server makes the log before it starts this"
    heads, recent, way = Heads(), Recent(len(NAMES)), GiveWay()
    lanes = {name: Lane(name, data_dir, runs_dir, disk, identity, heads, recent, way, _say) for name in NAMES}
    threading.Thread(target=_work, args=(data_dir, list(lanes.values())), daemon=True).start()
    for line in sys.stdin:
        what, *words = line.split()
        if what == "end":
            next_seq, segment, offset = words
            heads.set(End(int(next_seq), None if segment == "-" else int(segment), int(offset)))
        else:
            lanes[words[0]].ask(what)
    os._exit(0)


def _stand_back() -> None:
    """Let the server go first where both want a core: producers wait for it, and nobody waits for all the folding."""
    os.nice(_NICE)
    with suppress(OSError):
        # Linux shares cores among sessions before it looks at niceness, and this process is a session of its own.
        Path("/proc/self/autogroup").write_text(str(_NICE))


def _work(data_dir: Path, lanes: list[Lane]) -> None:
    try:
        _HELD.append(ProjectionsLock(data_dir, _PREDECESSOR_MAX_S))
    except (OSError, EventLogError, sqlite3.Error) as error:
        logger.error("projection.worker_cannot_start", error=str(error))
        os._exit(1)
    for lane in lanes:
        threading.Thread(target=lane.run, name=lane.name, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
