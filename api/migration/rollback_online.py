"""A rollback through a running server: the runs are withdrawn there, many at once, and v1 is restored here.

Interrupted anywhere, it goes on when it is run again.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from api.migration.holdings import Holdings
from api.migration.offline import Bars
from api.migration.reaching import FOR_EVER, at, caught_up, check_welcome, refuse, told
from api.migration.rollback import Plan, Rollback, finish, undo, withdraw_all
from api.remote import bearer
from api.settings import Settings
from eventlog.clock import SystemClock

_GONE = 410
_TRIES_MAX = 60


def roll_back_online(
    plan: Plan, path: Path, settings: Settings, url: str, done: Rollback, *, force: bool, bars: Bars
) -> str:
    """Undo the imports of *plan* through the server at *url*, on its machine; return what kept its projections from the head.

    Raises:
        ServerUnreachable, ServerRefused: a second run goes on from there.

    """
    asyncio.run(check_welcome(url, bearer(settings)))
    clock = SystemClock()
    with Holdings.of(settings.data_dir) as holdings:
        if not undo(plan, path, holdings, done, clock, force=force):
            return ""
        with bars("Withdrawing", holdings.count(imported=True), "runs") as on_progress:
            behind = asyncio.run(told(url, _withdrawn(plan, holdings, url, bearer(settings), done, on_progress)))
        finish(plan, settings.data_dir, clock)
        return behind


async def _withdrawn(
    plan: Plan,
    holdings: Holdings,
    url: str,
    headers: dict[str, str],
    done: Rollback,
    on_progress: Callable[[int], None],
) -> str:
    position = -1

    async def withdraw(run_id: str, data: dict[str, Any], _revision: int) -> None:
        nonlocal position
        for tries_left in reversed(range(_TRIES_MAX)):
            async with session.post(at(url, f"/admin/runs/{run_id}/withdraw"), json=data) as answer:
                if answer.status == _GONE:  # somebody was quicker: it is what was wanted
                    return
                if "Retry-After" not in answer.headers or not tries_left:
                    await refuse(url, answer)
                    position = max(position, int(answer.headers.get("X-Log-Position", -1)))
                    return
                pause_s = float(answer.headers["Retry-After"])
            await asyncio.sleep(pause_s)

    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(timeout=FOR_EVER, connector=connector, headers=headers) as session:
        await withdraw_all(plan, holdings, withdraw, done, on_progress)
        return await caught_up(session, url, position)
