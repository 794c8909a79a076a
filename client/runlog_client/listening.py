"""The log's events as they come, over a connection that is made anew whenever it breaks.

Where to go on is what the stream itself said last (`id:`), so no event is left out or comes twice.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Literal

import aiohttp

from runlog_client.errors import Refused
from runlog_client.sse import Block, Reader
from runlog_client.transport import Ask, Transport, lines_of
from runlog_client.types import LogEvent

After = int | Literal["latest"] | None
END, PASSING = "end", frozenset({"shutdown", "slow", "limit"})
"""The server's last word on a stream, and the reasons for it that a new one cures."""
PAUSE_S = 1.0
"""Before a stream is opened again that ended without a word."""


async def heard(transport: Transport, after: After, query: Mapping[str, str]) -> AsyncIterator[LogEvent]:
    """Give the events *after* that place which *query* asks for, without end.

    Raises:
        Refused: the server does not give them.
        Unreachable: it could not be reached again in time.

    """
    last_id = ""
    while True:
        place = {} if after is None else {"after": str(after)}
        resume = {"Last-Event-ID": last_id} if last_id else {}
        ask = Ask("GET", "/events", {**query, **place}, {"Accept": "text/event-stream", **resume})
        response = await transport.open(ask)
        began_at = last_id
        async with aclosing(_blocks(response)) as blocks:
            async for block in blocks:
                last_id = block.last_id or last_id
                if block.kind == END:
                    last_id = _place_after(block)
                elif block.data:
                    event: LogEvent = json.loads(block.data)
                    yield event
        if last_id == began_at:
            await asyncio.sleep(PAUSE_S)


def _place_after(end: Block) -> str:
    """Return from where to go on after a stream that the server ended: it stops, or found its listener too slow.

    Raises:
        Refused: it ended where nobody can go on, such as `LOG_CORRUPT`.

    """
    told = json.loads(end.data)
    if told["reason"] not in PASSING:
        raise Refused(503, told["reason"], f"the stream ended after event {told['after']}", {"after": told["after"]})
    return str(told["after"])


async def _blocks(response: aiohttp.ClientResponse) -> AsyncGenerator[Block, None]:
    """Give the blocks of a stream until it ends, in whatever way."""
    reader = Reader()
    try:
        async for line in lines_of(response):
            if (block := reader.take(line)) is not None:
                yield block
    except (aiohttp.ClientError, TimeoutError):
        pass  # what was not given yet is asked for again
    finally:
        response.close()
