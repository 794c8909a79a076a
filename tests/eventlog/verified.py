"""Logs to verify: a small one of three segments, and what is asked of one."""

import json
from pathlib import Path

from eventlog.batch import Stream
from eventlog.commit import Limits
from eventlog.event import Origin
from eventlog.log import Log
from eventlog.stretch import Naming
from eventlog.verdict import Verdict
from eventlog.verify import verify
from tests.eventlog.logs import opened

ORIGIN = Origin("press")
SIZES = (1, 3, 1, 1, 2, 1, 2)
COUNT = sum(SIZES)


def named(event: bytes) -> tuple[str, int]:
    blob = json.loads(event)["data"]["blob"]
    return blob["sha256"], blob["size"]


NAMING = Naming(b'"type":"blob.v1"}', named)


async def add(log: Log, stream: str, count: int = 1) -> None:
    drafts = [log.draft("t.v1", stream, {"n": n, "pad": "x" * 20}, ORIGIN) for n in range(count)]
    await log.append(drafts, Stream.ABSENT, ORIGIN)


async def three_segments(folder: Path, sizes: tuple[int, ...] = SIZES, segment_bytes_max: int = 1800) -> Path:
    """Make a log in *folder* of a batch for each of *sizes*, and stop it."""
    async with opened(folder, limits=Limits(segment_bytes_max=segment_bytes_max)) as log:
        for number, count in enumerate(sizes):
            await add(log, f"run_{number}", count)
    assert len(segments(folder)) == 3
    return folder


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "segments").iterdir())


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in segments(folder) for line in path.read_bytes().splitlines(True)]


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def judged(folder: Path, **how) -> Verdict:
    return verify(folder, folder / "attachments", NAMING, **how)


def first_bad(folder: Path) -> tuple[str, int | None, int | None]:
    verdict = judged(folder)
    assert not verdict.is_good
    assert verdict.first_bad is not None
    return verdict.first_bad.path, verdict.first_bad.offset, verdict.first_bad.seq


def places(folder: Path) -> list[tuple[Path, int, int]]:
    """Segment, offset and length of every event."""
    found = []
    for path in segments(folder):
        offset = 0
        for line in path.read_bytes().splitlines(True):
            found.append((path, offset, len(line)))
            offset += len(line)
    return found
