"""How diagnostics are written: JSON lines on standard error, coloured text on a terminal."""

import asyncio
import logging
import sys
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

from eventlog.clock import time_text

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The id of the request that is being answered; each request has a context of its own."""


def _noted(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what every line has. One function: a line is written for each run, so the chain is kept short."""
    request_id = REQUEST_ID.get(None)
    if request_id is not None:
        event["request_id"] = request_id
    event["level"] = method
    event["timestamp"] = time_text(time.time_ns() // 1000)
    return event


def _as_json(logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return orjson.dumps(event, default=str)


class LineLogger:
    """Writes lines; inside an event loop all lines of one turn of it go out in one write."""

    def __init__(self) -> None:
        """Write to standard error."""
        self._lines: list[bytes] = []
        self._file = sys.stderr.buffer

    def msg(self, line: bytes) -> None:
        """Write *line*, at once or at the end of this turn of the event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._file.write(line + b"\n")
            self._file.flush()
            return
        if not self._lines:
            loop.call_soon(self._flush)
        self._lines.append(line)

    debug = info = warning = warn = error = critical = exception = msg

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._file.write(b"\n".join(lines) + b"\n")
        self._file.flush()


def configure(level: str) -> None:
    """Write lines of *level* and above; every line of a request carries its `request_id`."""
    processors: list[Any] = [_noted]
    factory: Any
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer())
        factory = structlog.PrintLoggerFactory(sys.stderr)
    else:
        processors.append(_as_json)
        lines = LineLogger()

        def factory(*_: Any) -> LineLogger:
            return lines

    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
