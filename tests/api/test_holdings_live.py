"""Reading all runs of a log while its writer is at it: what is only half there yet is no damage."""

import asyncio
from pathlib import Path

import pytest

from api.migration import holdings
from api.migration.holdings import Holdings
from eventlog.batch import Stream
from eventlog.event import Origin
from eventlog.log import Log

ORIGIN = Origin("press")


async def append(data: Path, first: int) -> None:
    log = Log.open(data)
    for number in range(first, first + 5):
        await log.append([log.draft("t.v1", f"run_{number:012x}", {}, ORIGIN)], Stream.ABSENT, ORIGIN)
    await log.close()


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """Ten events, of which the checkpoint covers five: the writer is ahead of it, as it is beside a server."""
    asyncio.run(append(tmp_path, 0))
    checkpoint = (tmp_path / "log" / "checkpoint").read_bytes()
    asyncio.run(append(tmp_path, 5))
    (tmp_path / "log" / "checkpoint").write_bytes(checkpoint)
    (found,) = (tmp_path / "log" / "segments").iterdir()
    return found


def half_written(whole: bytes, number: int) -> bytes:
    """The bytes of a segment whose line *number* has only come in part."""
    lines = whole.splitlines(keepends=True)
    lines[number] = bytes(40) + lines[number][40:]
    return b"".join(lines)


@pytest.mark.parametrize("number", [5, 7, 9])
def test_a_line_that_is_being_written_is_looked_at_again(
    segment: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
):
    whole = segment.read_bytes()
    segment.write_bytes(half_written(whole, number))
    monkeypatch.setattr(holdings.time, "sleep", lambda _s: segment.write_bytes(whole))
    with Holdings.of(tmp_path) as found:
        assert (found.damage, found.last_seq) == ([], 9)


@pytest.mark.parametrize("number", [2, 7])
def test_a_line_that_stays_so_is_damage_and_is_waited_for_once(
    segment: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
):
    segment.write_bytes(half_written(half_written(segment.read_bytes(), number), 8))
    pauses: list[float] = []
    monkeypatch.setattr(holdings.time, "sleep", pauses.append)
    with Holdings.of(tmp_path) as found:
        assert [one.seq for one in found.damage] == [number, 8]
    assert len(pauses) == {2: 0, 7: 19}[number], "what is signed is not waited for, and after damage one look is enough"
