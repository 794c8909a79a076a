"""Verifying the log for whoever asks for it on a page: one at a time, by the very command an operator would run.

In a process of its own and at low priority, so that neither its work nor its memory is in the way of an answer.
"""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import structlog
from aiohttp import web

from eventlog.clock import SystemClock, time_text

logger = structlog.get_logger("api.web")

_NICE = 10


class Verifying:
    """The verification of one server; what it found is remembered by the command itself."""

    def __init__(self, data_dir: Path) -> None:
        """Do nothing before `start`."""
        self._data_dir = data_dir
        self._task: asyncio.Task[None] | None = None
        self.began: str | None = None
        """Since when one runs; None while none does."""
        self.has_failed = False
        """Whether the last one came to no verdict."""

    def start(self) -> None:
        """Begin to verify; one that runs goes on."""
        if self.began is None:
            self.began, self.has_failed = time_text(SystemClock().now_us()), False
            self._task = asyncio.create_task(self._run(), name="verifying")

    async def close(self, _app: web.Application) -> None:
        """End it; what it would have found is not known."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        command = ("-m", "api.cli.__main__", "log", "verify", "--record", "--json", "--data-dir", str(self._data_dir))
        nowhere = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=nowhere,
                stdout=nowhere,
                stderr=nowhere,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
            try:
                with suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
                code = await process.wait()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)  # it writes nothing but its own record, and may have helpers
                await process.wait()
                raise
            self.has_failed = code not in (0, 1)
        except OSError:
            self.has_failed = True
        finally:
            self.began = None
        if self.has_failed:
            logger.error("verify.failed")


VERIFYING = web.AppKey("verifying", Verifying)
