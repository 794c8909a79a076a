"""A log to do things to."""

from pathlib import Path

import pytest

from tests.eventlog.verified import three_segments


@pytest.fixture
async def made(tmp_path) -> Path:
    """A small log of three segments, stopped."""
    return await three_segments(tmp_path / "data")
