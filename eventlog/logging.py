"""How diagnostics are written: JSON lines on standard error, coloured text on a terminal."""

import asyncio
import logging
import sys
import time
from collections.abc import MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

from eventlog.clock import time_text

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The id of the request that is being answered; each request has a context of its own."""


def _noted(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what every line has."""
    request_id = REQUEST_ID.get(None)
    if request_id is not None:
        event["request_id"] = request_id
    event["level"] = method
    event["timestamp"] = time_text(time.time_ns() // 1000)
    return event


def _as_json(method: str, event: MutableMapping[str, Any]) -> bytes:
    event = _noted(None, method, event)
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(None, method, event)
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
            self._write(line)
            return
        if not self._lines:
            loop.call_soon(self._flush)
        self._lines.append(line)

    debug = info = warning = warn = error = critical = exception = msg

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._write(b"\n".join(lines))

    def _write(self, lines: bytes) -> None:
        # Nobody may listen any more (a terminal that is gone): whoever tells of a fault must still be able to deal with it.
        with suppress(OSError, ValueError):
            self._file.write(lines + b"\n")
            self._file.flush()


def configure(level: str) -> None:
    """Write lines of *level* and above; every line of a request carries its `request_id`."""
    wrapper = structlog.make_filtering_bound_logger(_LEVELS[level])
    if sys.stderr.isatty():
        structlog.configure(
            processors=[_noted, structlog.dev.ConsoleRenderer()],
            wrapper_class=wrapper,
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
        return
    lines = LineLogger()
    structlog.configure(
        processors=[],
        wrapper_class=_in_one_step(wrapper),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )


def _in_one_step(wrapper: type[Any]) -> type[Any]:
    """Return *wrapper* with one function in place of a chain of processors: a line is written for each run."""

    class JsonLines(wrapper):  # type: ignore[misc]
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **event_kw: Any) -> None:
            if self._context:
                event_kw = {**self._context, **event_kw}
            event_kw["event"] = event
            getattr(self._logger, method_name)(_as_json(method_name, event_kw))

    return JsonLines
