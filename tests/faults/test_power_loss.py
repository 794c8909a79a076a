"""The power fails under a real process: its system calls are recorded, and done again on a disk that loses power.

So what the log's own simulated disk does not see is tried too: attachments, the dated files, SQLite's databases. A
slice of the moments and states, chosen by SEED; `make soak` takes some states of every moment.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from api.evidence.named import NAMING
from eventlog.blobs import Blobs
from eventlog.log import Log
from eventlog.memory import MemoryDisk
from eventlog.verify import verify
from projections.known import NAMES
from tests.eventlog.test_crash import content, copy_of
from tests.faults.failing import needs_strace
from tests.faults.recorded import LIMITS, append, bring_to_the_head
from tests.faults.replayed import OPTIONS, Replay, calls_of
from tests.projections.logs import created
from tests.projections.story import expected_tree, tree_of
from tests.projections.test_rebuild import rows
from tests.server import ROOT

SEED = os.environ.get("SEED", "0")
MOMENTS, STATES = (10**9, 24) if "SOAK" in os.environ else (40, 1)


@frozen
class Found:
    """A disk as it may be found, and the hashes of what had been acknowledged."""

    after: str
    disk: MemoryDisk
    acknowledged: list[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The root of a data directory, and the trace of its making."""
    folder = tmp_path_factory.mktemp("recorded")
    command = [sys.executable, "-m", "tests.faults.recorded", str(folder / "data")]
    strace = ["strace", *OPTIONS, "-o", str(folder / "trace"), *command]
    ended = subprocess.run(strace, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if "ptrace" in ended.stderr:
        pytest.skip(f"strace cannot run a process here: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr
    return str(folder / "data"), (folder / "trace").read_text()


def found_after_power_losses(root: str, trace: str) -> Iterator[Found]:
    """Some states of some of the moments at which the disk was changed."""
    calls = calls_of(trace)
    chance = random.Random(SEED)
    replay = Replay(root)
    moments = [number for number, call in enumerate(calls) if replay.do(call)]
    chosen = set(chance.sample(moments, min(MOMENTS, len(moments))))
    replay = Replay(root)
    for number, call in enumerate(calls):
        if replay.do(call) and number in chosen:
            acknowledged = [each for line in replay.told.splitlines() for each in json.loads(line)]
            states = list(replay.disk.crash_states(24))
            for state in chance.sample(states, min(STATES, len(states))):
                yield Found(replay.disk.operations[-1], copy_of(state), acknowledged)
    assert replay.told.count(b"\n") == 6, "all of it was replayed"


@pytest.mark.strace
@needs_strace
async def test_after_a_power_loss_under_a_real_process_events_attachments_files_and_tables_are_whole(
    recorded: tuple[str, str], tmp_path: Path
) -> None:
    looked_at = 0
    for found in found_after_power_losses(*recorded):
        folder = tmp_path / "found"
        try:
            await check(found, folder)
        except BaseException as error:
            error.add_note(f"SEED={SEED}, after {found.after}: {[path for path, _ in content(found.disk)]}")
            raise
        looked_at += 1
        shutil.rmtree(folder)
    assert looked_at >= 40


async def check(found: Found, folder: Path) -> None:
    """It opens; all that was acknowledged is there with its bytes; projections come to what a rebuild gives; it goes on."""
    written_out(found.disk, folder)
    log = Log.open(folder, limits=LIMITS)
    events = [event for seq in range(log.head + 1) if (event := log.read(seq)) is not None]
    assert [event.hash for event in events][: len(found.acknowledged)] == found.acknowledged
    blobs = Blobs(folder / "attachments")
    for event in events:
        if event.type == "rmos.attachment.added.v1":
            facts = event.data["attachment"]
            assert await blobs.verify(facts["sha256"], facts["size_bytes"])
    bring_to_the_head(log, folder)
    assert tree_of(folder / "runs") == expected_tree(events)
    assert not (folder / "quarantine").exists(), "what it wrote itself it took for another's"
    fed = {name: rows(folder / f"{name}.sqlite") for name in NAMES}
    for path in folder.glob("*.sqlite*"):
        if not path.name.startswith("index"):
            path.unlink()
    bring_to_the_head(log, folder)
    assert {name: rows(folder / f"{name}.sqlite") for name in NAMES} == fed
    await append(log, blobs, *created(99))
    await log.close()
    assert verify(folder, folder / "attachments", NAMING).faults == []


def written_out(disk: MemoryDisk, folder: Path) -> None:
    folder.mkdir()
    for path, data in content(disk):
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
