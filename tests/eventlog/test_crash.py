"""The power fails after each operation of the disk, in every way it may: what was acknowledged is there.

The index is a file of SQLite, which does not lie on the simulated disk: each crash is opened without
one, and with each that was saved before it, for the newest may be lost as well.
"""

import asyncio
import errno
import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from attrs import define, evolve, field

from eventlog.batch import Stream
from eventlog.commit import Limits
from eventlog.errors import LogHalted
from eventlog.event import Origin
from eventlog.follow import Follower
from eventlog.log import Log
from eventlog.memory import MemoryDisk

ORIGIN = Origin("press")
LIMITS = Limits(segment_bytes_max=2000, checkpoint_interval_ms=0)
WRITTEN_AHEAD = evolve(LIMITS, ahead_bytes=1100, ahead_after_batches=1)
STATES = 32 if "SOAK" in os.environ else 12
"""How many of the states that a power loss may leave at one moment are opened."""
SIZES = (1, 3, 2, 1, 2, 1)
TOGETHER = ((0,), (1,), (2,), (3, 4), (5,))
"""Which appends are sent at once."""


class Ticking:
    """A clock that rises by a second each time it is asked, and can begin anew."""

    def __init__(self, now_us: int = 1_767_589_636_000_000) -> None:
        self.now = now_us

    def now_us(self) -> int:
        self.now += 1_000_000
        return self.now


@define
class Crash:
    """A disk as it may be found, what had been acknowledged by then, and an index of that time if one is left."""

    after: str
    disk: MemoryDisk
    acknowledged: list[bytes]
    index: Path | None


@define
class Workload:
    """Appends of a few events each, with more than one segment; every operation of the disk is a moment to crash."""

    folder: Path
    disk: MemoryDisk = field(factory=MemoryDisk)
    states_max: int = STATES
    limits: Limits = LIMITS
    clock: Ticking = field(factory=Ticking)
    sent: set[str] = field(factory=set)
    acknowledged: list[bytes] = field(factory=list)
    crashes: list[Crash] = field(factory=list)
    indexes: dict[int, Path] = field(factory=dict)
    """Each that was on disk, by how many events it knew."""
    _seen: set[bytes] = field(factory=set)

    def cut(self, after: str) -> None:
        """Note every new state that a power loss at this moment may leave, each without and with an index."""
        with self.disk.lock:  # the writer and the notary write at the same time
            self._cut(after)

    def _cut(self, after: str) -> None:
        self.keep_index()
        for state in self.disk.crash_states(self.states_max):
            key = hashlib.sha256(repr((content(state), len(self.acknowledged))).encode()).digest()
            if key not in self._seen:
                self._seen.add(key)
                for index in (None, *self.indexes.values()):
                    self.crashes.append(Crash(after, copy_of(state), list(self.acknowledged), index))

    def keep_index(self) -> None:
        path = self.folder / "index.sqlite"
        if not path.exists():
            return
        with closing(sqlite3.connect(path)) as index:
            if not index.execute("SELECT 1 FROM sqlite_master WHERE name = 'segment'").fetchone():
                return
            (events,) = index.execute("SELECT count(*) FROM event").fetchone()
            if events not in self.indexes:
                kept = self.indexes[events] = self.folder / f"index.{events}"
                with closing(sqlite3.connect(kept)) as copy:
                    index.backup(copy)

    async def run(self) -> None:
        self.disk.on_operation = self.cut
        log = Log.open(self.folder, disk=self.disk, clock=self.clock, limits=self.limits)
        for numbers in TOGETHER:
            await asyncio.gather(*(self.append(log, number) for number in numbers))
            if numbers == (2,):
                # As after a clean stop: the index knows what lies before, and nothing of what comes.
                await log.close()
                log = Log.open(self.folder, disk=self.disk, clock=self.clock, limits=self.limits)
        self.disk.on_operation = None
        await log.close()

    async def append(self, log: Log, number: int) -> None:
        names = [f"{number}.{i}" for i in range(SIZES[number])]
        self.sent.update(names)
        drafts = [log.draft("t.v1", f"run_{number}", {"name": name, "pad": "x" * 100}, ORIGIN) for name in names]
        appended = await log.append(drafts, Stream.ABSENT, ORIGIN)
        self.acknowledged += [event.bytes for event in appended.events]
        self.cut("acknowledged")


def content(disk: MemoryDisk, folder: str = "") -> list[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = []
    for name in disk.names(folder):
        path = f"{folder}/{name}".strip("/")
        try:
            found.append((path, disk.read(path, 0, disk.size(path) or 0)))
        except IsADirectoryError:
            found += [(path, None), *content(disk, path)]
    return found


def copy_of(disk: MemoryDisk) -> MemoryDisk:
    """A copy of a disk on which all is durable."""
    (copy,) = disk.crash_states()
    return copy


def events_of(log: Log) -> list[bytes]:
    return [event.bytes for seq in range(log.head + 1) if (event := log.read(seq)) is not None]


def opened(crash: Crash, folder: Path, clock: Ticking) -> Log:
    folder.mkdir(parents=True)
    if crash.index is not None:
        shutil.copyfile(crash.index, folder / "index.sqlite")
    return Log.open(folder, disk=crash.disk, clock=clock, limits=LIMITS)


async def check(crash: Crash, work: Workload, folder: Path) -> None:
    """Open without help; all that was acknowledged is there, nothing that nobody sent; go on; open once more."""
    log = opened(crash, folder, work.clock)
    found = events_of(log)
    assert len(found) == log.head + 1
    assert found[: len(crash.acknowledged)] == crash.acknowledged
    names = [json.loads(event)["data"]["name"] for event in found]
    assert len(set(names)) == len(names)
    assert set(names) <= work.sent
    for number, size in enumerate(SIZES):  # an append is there as a whole, or not at all
        assert sum(name.startswith(f"{number}.") for name in names) in (0, size)
    expected = list(found)
    for name in ("new", "new" * 600):  # the second one begins another segment: what lies behind the first stays there
        new = await log.append([log.draft("t.v1", name, {"name": name}, ORIGIN)], Stream.ABSENT, ORIGIN)
        expected.append(new.events[0].bytes)
    assert events_of(log) == expected
    await log.close()
    lost = next(crash.disk.crash_states())  # all that is not durable is lost: what was acknowledged since is not
    (folder / "index.sqlite").unlink()
    log = Log.open(folder, disk=lost, clock=work.clock, limits=LIMITS)
    assert events_of(log) == expected
    times = [json.loads(event)["time"] for event in expected]
    assert times == sorted(set(times))
    follower, followed = Follower(lost), []
    while events := follower.read(log.end):
        followed += [event.bytes for event in events]
    assert followed == expected
    await log.close()


async def check_all(work: Workload, folder: Path) -> None:
    for number, crash in enumerate(work.crashes):
        try:
            await check(crash, work, folder / f"crash{number}")
        except BaseException as error:
            error.add_note(f"after {crash.after}, with the index {crash.index}: {content(crash.disk)}")
            raise


@pytest.mark.parametrize("limits", [LIMITS, WRITTEN_AHEAD], ids=["as it comes", "into NULs written ahead"])
async def test_after_a_power_loss_at_any_moment_all_that_was_acknowledged_is_there_and_nothing_else(tmp_path, limits):
    work = Workload(tmp_path / "work", limits=limits)
    await work.run()
    assert len(work.disk.names("log/segments")) >= 3
    assert len(work.indexes) >= 2
    assert len(work.crashes) > 100  # some 200: how many depends on what the machine has time for
    padded = [path for path, found in content(work.disk) if found and found.endswith(b"\0")]
    assert not padded, "a log that was closed has no padding"
    await check_all(work, tmp_path)


async def test_a_power_loss_during_recovery_loses_nothing_either(tmp_path):
    work = Workload(tmp_path / "work")
    await work.run()
    torn = [crash for crash in work.crashes if crash.index is None and crash.after.startswith("write log/segments")]
    seen = set()
    again = Workload(tmp_path / "again", states_max=16, sent=work.sent, clock=work.clock)
    for number, crash in enumerate(torn):
        shape = [
            (path, len(found or b""), (found or b"").rstrip(b"\0") == found) for path, found in content(crash.disk)
        ]
        if repr(shape) in seen:
            continue
        seen.add(repr(shape))
        again.disk, again.acknowledged = crash.disk, crash.acknowledged
        crash.disk.on_operation = again.cut
        log = opened(crash, tmp_path / f"torn{number}", again.clock)
        crash.disk.on_operation = None
        await log.close()
    assert any("log/torn" in crash.after for crash in again.crashes)
    await check_all(again, tmp_path)


async def test_what_a_restart_after_a_failed_fsync_served_is_not_lost_by_a_later_power_loss(tmp_path):
    disk, clock = MemoryDisk(), Ticking()
    log = Log.open(tmp_path, disk=disk, clock=clock)
    await log.append([log.draft("t.v1", "run_1", {}, ORIGIN)], Stream.ABSENT, ORIGIN)
    disk.fail("sync", errno.EIO)
    with pytest.raises(LogHalted):
        await log.append([log.draft("t.v1", "run_2", {}, ORIGIN)], Stream.ABSENT, ORIGIN)
    await log.close()
    log = Log.open(tmp_path, disk=disk, clock=clock)
    served = events_of(log)
    assert len(served) == 2
    await log.close()
    for number, state in enumerate(disk.crash_states()):
        log = Log.open(tmp_path / str(number), disk=state, clock=clock)
        assert events_of(log) == served
        await log.close()
