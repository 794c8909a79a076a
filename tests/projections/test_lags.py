"""How far the server takes each projection to be behind, on the loop's own clock."""

import asyncio
from pathlib import Path

import pytest

from eventlog.recovery import End
from projections.supervisor import Projections


@pytest.fixture
async def projections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Projections:
    async def no_process(_self: Projections) -> None:
        """Nothing is folded here."""

    monkeypatch.setattr(Projections, "_keep_running", no_process)
    return Projections(tmp_path, tmp_path / "runs", End(), lambda _name: None)


async def test_a_burst_that_lies_within_one_sample_counts_from_when_it_came(projections: Projections) -> None:
    began = asyncio.get_running_loop().time()
    for number in range(1, 100):
        projections.advance(End(number, 20261124_0000, number * 10))
    for standing in projections.standings.values():
        standing.position = 0
    lags = projections.lags_s()
    assert set(lags) == {"catalog", "files", "stats"}
    passed = asyncio.get_running_loop().time() - began
    assert all(0 < lag <= passed for lag in lags.values())
    for standing in projections.standings.values():
        standing.position = 98
    assert set(projections.lags_s().values()) == {0.0}


async def test_one_that_covers_more_lags_less(projections: Projections, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    for second in range(5):
        now[0] = 1000.0 + second
        projections.advance(End(10 * second + 10, 20261124_0000, 10))
    for name, position in (("catalog", 49), ("files", 39), ("stats", 5)):
        projections.standings[name].position = position
    assert projections.lags_s() == {"catalog": 0.0, "files": 0.0, "stats": 4.0}
    now[0] = 1006.0
    assert projections.lags_s() == {"catalog": 0.0, "files": 2.0, "stats": 6.0}
