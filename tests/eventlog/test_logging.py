"""How lines are written where nobody reads them any more."""

import asyncio
import io
import sys
from types import SimpleNamespace

import pytest

from eventlog.logging import LineLogger


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_a_standard_error_that_is_gone_stops_nobody(monkeypatch: pytest.MonkeyPatch, in_a_loop: bool):
    """The writer tells of a full disk before it refuses what waits; were telling to fail, that would wait for ever."""
    gone = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(buffer=gone))
    lines, faults = LineLogger(), []
    gone.close()

    async def tell() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        lines.warning(b"{}")
        await asyncio.sleep(0)

    if in_a_loop:
        asyncio.run(tell())
    else:
        lines.warning(b"{}")
    assert faults == []
