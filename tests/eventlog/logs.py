"""A real log, open for as long as a test needs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from eventlog.log import Log


@asynccontextmanager
async def opened(folder: Path, **how: Any) -> AsyncIterator[Log]:
    log = Log.open(folder, **how)
    try:
        yield log
    finally:
        await log.close()
