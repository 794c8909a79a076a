"""Work that goes on beside the appends: what the machine fails is tried again, later and later, until the log closes."""

import asyncio

BACKOFF_MAX_S = 30.0


def later(pause_s: float) -> float:
    """Return how long to wait after a failure, when *pause_s* was waited before."""
    return min(max(pause_s * 2, 1.0), BACKOFF_MAX_S)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for *event*, at most so long; tell whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
