"""A log to do things to."""

from pathlib import Path

import pytest

from tests.eventlog.logs import opened
from tests.eventlog.verified import SIZES, THREE_SEGMENTS, add, segments


@pytest.fixture
async def made(tmp_path) -> Path:
    """A small log of three segments, stopped."""
    folder = tmp_path / "data"
    async with opened(folder, limits=THREE_SEGMENTS) as log:
        for number, count in enumerate(SIZES):
            await add(log, f"run_{number}", count)
    assert len(segments(folder)) == 3
    return folder
