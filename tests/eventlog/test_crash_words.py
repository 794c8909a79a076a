"""Every workload of up to six operations over a small alphabet; the power fails at every point of it, in every way.

A workload is a word: each letter is an operation. Nothing happens by itself: a checkpoint is written
where its letter stands, the index is saved where the log is closed, so a word always gives the same
states. States that are equal but for the text of their events are looked at once, whichever words lead
to them. `make test` takes a slice of words and of states, chosen by SEED; `make soak` takes all.
"""

import hashlib
import itertools
import json
import os
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field, frozen

from eventlog.batch import Stream
from eventlog.commit import Limits
from eventlog.event import Origin
from eventlog.log import Log
from eventlog.memory import MemoryDisk
from eventlog.verify import verify
from tests.eventlog.test_crash import Ticking, content, copy_of, events_of

ORIGIN = Origin("press")
LIMITS = Limits(segment_bytes_max=3000, checkpoint_interval_ms=0, ahead_after_batches=10**9)
EVENTS = {"a": (1, 10), "b": (3, 10), "r": (1, 2000)}
"""Letters that append: how many events of how large a text. After an `r` most begin another segment."""
CHECKPOINT, REOPEN = "c", "o"
ALPHABET = (*EVENTS, CHECKPOINT, REOPEN)
LENGTH = 6
IS_WHOLE = "SOAK" in os.environ
SEED = os.environ.get("SEED", "0")
WORDS, STATES = 10, 140
"""The size of the slice."""


class GatedDisk(MemoryDisk):
    """A disk whose checkpoints wait behind a gate, so that they are written where a word says so and not before."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def create(self, path: str, *, private: bool = False) -> None:
        is_of_new_log = self.size("log/log.json") is None
        if path.startswith("log/checkpoint") and not is_of_new_log:
            self.gate.wait()
        super().create(path, private=private)


@frozen
class Found:
    """A disk as it may be found, what had been acknowledged and what was being appended, and an index if one is left."""

    word: str
    after: str
    disk: MemoryDisk
    acknowledged: tuple[bytes, ...]
    begun: tuple[str, ...]
    """The names of the events that were being appended."""
    index: Path | None


@define
class Workload:
    """Carries out one word and notes every state in which a power loss may leave the disk."""

    word: str
    folder: Path
    seen: set[bytes]
    states_max: int | None
    disk: GatedDisk = field(factory=GatedDisk)
    clock: Ticking = field(factory=Ticking)
    done: str = ""
    acknowledged: list[bytes] = field(factory=list)
    begun: tuple[str, ...] = ()
    indexes: list[Path | None] = field(factory=lambda: [None])
    found: list[Found] = field(factory=list)

    async def run(self) -> list[Found]:
        self.disk.on_operation = self.cut
        self.disk.gate.set()  # of a new log; its checkpoint of nothing is no letter
        log = self._opened()
        for letter in self.word:
            if letter == CHECKPOINT:
                self.disk.gate.set()
                await log.notary.covering(log.head + 1, 30)
                self.disk.gate.clear()
            elif letter == REOPEN:
                self.disk.gate.set()
                await log.close()
                self._keep_index()
                log = self._opened()
            else:
                await self._append(log, letter)
            self.done += letter
        self.disk.on_operation = None
        self.disk.gate.set()
        await log.close()
        return self.found

    def _opened(self) -> Log:
        log = Log.open(self.folder, disk=self.disk, clock=self.clock, limits=LIMITS)
        self.disk.gate.clear()
        return log

    async def _append(self, log: Log, letter: str) -> None:
        count, pad = EVENTS[letter]
        self.begun = tuple(f"{len(self.done)}.{number}" for number in range(count))
        data = [{"name": name, "pad": "x" * pad} for name in self.begun]
        drafts = [log.draft("t.v1", f"run_{len(self.done)}", each, ORIGIN) for each in data]
        appended = await log.append(drafts, Stream.ABSENT, ORIGIN)
        with self.disk.lock:
            self.acknowledged += [event.bytes for event in appended.events]
            self.begun = ()
            self.cut("acknowledged")

    def _keep_index(self) -> None:
        kept = self.folder / f"index.{len(self.indexes)}"
        shutil.copyfile(self.folder / "index.sqlite", kept)
        self.indexes.append(kept)

    def cut(self, after: str) -> None:
        """Note the new states of this moment, each without an index, with the newest and with the oldest one."""
        appended = "".join(letter for letter in self.done if letter in EVENTS)
        for state in self.disk.crash_states(self.states_max):
            for number in sorted({0, min(1, len(self.indexes) - 1), len(self.indexes) - 1}):
                told = (appended, self.begun, len(self.acknowledged), self._index_size(number), shape(state))
                key = hashlib.sha256(repr(told).encode()).digest()
                if key not in self.seen:
                    self.seen.add(key)
                    acknowledged = tuple(self.acknowledged)
                    kept = self.indexes[number]
                    self.found.append(Found(self.word, after, copy_of(state), acknowledged, self.begun, kept))

    def _index_size(self, number: int) -> str:
        """What an index knows: the letters up to the reopening that saved it."""
        return REOPEN.join(self.done.split(REOPEN)[:number])


def shape(disk: MemoryDisk) -> list[object]:
    """What a disk holds but for the text: names and sizes, where NULs lie, what is signed."""
    found: list[object] = []
    for path, data in content(disk):
        if data is None:
            found.append(path)
            continue
        nuls = [(is_nul, len(list(run))) for is_nul, run in itertools.groupby(data, key=lambda byte: byte == 0)]
        signed = data.split(b"\n")[1:2] if path.startswith("log/checkpoint") else []
        found.append((path.partition("@")[0], len(data), nuls, signed))
    return found


async def check(found: Found, folder: Path, clock: Ticking) -> None:
    """It opens without help; all that was acknowledged is there and nothing that nobody sent; it goes on and verifies."""
    folder.mkdir()
    if found.index is not None:
        shutil.copyfile(found.index, folder / "index.sqlite")
    log = Log.open(folder, disk=found.disk, clock=clock, limits=LIMITS)
    events = events_of(log)
    assert len(events) == log.head + 1
    assert tuple(events[: len(found.acknowledged)]) == found.acknowledged
    beyond = tuple(json.loads(event)["data"]["name"] for event in events[len(found.acknowledged) :])
    assert beyond in ((), found.begun), "an append is there as a whole or not at all"
    for name, pad in (("new", 10), ("newer", 2500)):
        draft = log.draft("t.v1", name, {"name": name, "pad": "x" * pad}, ORIGIN)
        events.append((await log.append([draft], Stream.ABSENT, ORIGIN)).events[0].bytes)
    await log.close()
    lost = next(found.disk.crash_states())  # all that is not durable is lost: what was acknowledged since is not
    for suffix in ("", "-wal", "-shm"):
        (folder / f"index.sqlite{suffix}").unlink(missing_ok=True)
    log = Log.open(folder, disk=lost, clock=clock, limits=LIMITS)
    assert events_of(log) == events
    await log.close()
    written_out(lost, folder)
    verdict = verify(folder, None, None)
    assert verdict.faults == []
    assert (verdict.is_good, verdict.events, verdict.signed) == (True, len(events), len(events))
    shutil.rmtree(folder)


def written_out(disk: MemoryDisk, folder: Path) -> None:
    for path, data in content(disk):
        if data is None:
            (folder / path).mkdir(exist_ok=True)
        else:
            (folder / path).write_bytes(data)


def words(begin: str) -> Iterator[str]:
    """All of the greatest length that begin so, for each shorter one is the beginning of some; or a slice of all."""
    if IS_WHOLE:
        yield from (begin + "".join(rest) for rest in itertools.product(ALPHABET, repeat=LENGTH - len(begin)))
        return
    chance = random.Random(SEED)
    for _ in range(WORDS):
        yield "".join(chance.choices(ALPHABET, k=LENGTH))


@pytest.mark.parametrize("begin", ALPHABET if IS_WHOLE else [""])
async def test_after_any_six_operations_a_power_loss_at_any_point_loses_nothing_and_the_log_goes_on(tmp_path, begin):
    seen: set[bytes] = set()
    chance = random.Random(SEED)
    states = 0
    for number, word in enumerate(words(begin)):
        work = Workload(word, tmp_path / f"word{number}", seen, None if IS_WHOLE else 64)
        found = await work.run()
        states += len(found)
        if not IS_WHOLE:
            found = chance.sample(found, min(len(found), STATES // WORDS))
        for each in found:
            try:
                await check(each, tmp_path / "found", work.clock)
            except BaseException as error:
                held = [(path, data and data[:200]) for path, data in content(each.disk)]
                error.add_note(f"SEED={SEED}, in {word!r} after {each.after}, index {each.index}: {held}")
                raise
        shutil.rmtree(work.folder)
    assert states > 200
