"""A migration and the running server that it goes through: whether it is there, what it refuses, when it has caught up.

What goes wrong on the way to it is told in our words.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import aiohttp

from api.access.roles import BASE
from api.remote import ServerUnreachable, check_url, refusal

FOR_EVER = aiohttp.ClientTimeout(total=None, sock_connect=30)
"""An import may take hours; only a connection that does not open is given up."""
_POLL_S = 0.05
_BEAT_S = 1.0
BLANK_LINE = b"\n"
"""Means nothing in a body of lines, but that who sends it is there: a server waits for a byte only so long."""
_NOT_WELCOME = (401, 403)


async def check_welcome(url: str, headers: dict[str, str]) -> None:
    """Return if a Runlog server answers at *url*, and lets who shows *headers* import and withdraw.

    Raises:
        ServerUnreachable, ServerRefused: none does, or it does not.

    """
    check_url(url)

    async def ask() -> str:
        async with aiohttp.ClientSession(timeout=FOR_EVER, headers=headers) as session:
            async with session.get(f"{url.rstrip('/')}/healthz") as answer:
                await refuse(url, answer)
            # Who asks is judged before what is asked, so an import of nothing tells, and begins none.
            async with session.post(
                at(url, "/admin/import"), headers={"Content-Type": "application/x-ndjson"}
            ) as answer:
                if answer.status in _NOT_WELCOME:
                    await refuse(url, answer)
        return ""

    await told(url, ask())


async def told(url: str, work: Coroutine[Any, Any, str]) -> str:
    """Return what *work* gives; what goes wrong on the way to the server is told in our words."""
    try:
        return await work
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        raise ServerUnreachable(url, str(error) or type(error).__name__) from None


async def beats(work: asyncio.Future[Any]) -> AsyncIterator[bytes]:
    """Give blank lines, one a second, until *work* is done."""
    while not (await asyncio.wait({work}, timeout=_BEAT_S))[0]:
        yield BLANK_LINE


async def refuse(url: str, answer: aiohttp.ClientResponse) -> None:
    """Return if the server does what was asked.

    Raises:
        ServerRefused, ServerUnreachable: it does not, or is no Runlog server.

    """
    if answer.status >= 400:
        raise refusal(url, answer.status, await answer.read())


async def caught_up(session: aiohttp.ClientSession, url: str, position: int) -> str:
    """Return once all projections cover *position*; or why one will not."""
    while True:
        async with session.get(f"{url.rstrip('/')}/readyz") as answer:
            facts = await answer.json()
        standings = facts["projections"]
        if all(one["position"] >= position for one in standings.values()):
            return ""
        stopped = [name for name, one in standings.items() if one["state"] == "failed"]
        if stopped:
            return f"The projections are not at the head: {'; '.join(facts['reasons'])}"
        await asyncio.sleep(_POLL_S)


def at(url: str, path: str) -> str:
    """Return where the server at *url* has the route *path*."""
    return f"{url.rstrip('/')}{BASE}{path}"
