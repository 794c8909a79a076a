"""Looking for runs in the catalog, as the pages need it: until there is something to show, or enough was looked at."""

from typing import Any

from attrs import evolve, frozen

from api.http.listing import Ask, ask_of
from api.service import Service
from projections.filters import Key
from projections.query import Query, index_item

_LOOKS_MAX = 8
"""A rare combination of filters is looked for so many times before the reader is asked to go on."""


@frozen
class Found:
    """What was found: items of the list, where to go on, and every mode that there is."""

    items: list[dict[str, Any]]
    next_after: Key | None
    modes: list[str]


async def look(service: Service, ask: Ask) -> Found:
    """Return the page that *ask* asks for; call `fresh` first."""
    return await service.query(lambda query: _found(query, ask))


def _found(query: Query, ask: Ask) -> Found:
    items: list[dict[str, Any]] = []
    for _ in range(_LOOKS_MAX):
        one = query.page(ask.filters, ask.after, ask.limit - len(items), full=False)
        items += map(index_item, one.rows)
        ask = evolve(ask, after=one.next_after)
        if one.next_after is None or len(items) >= ask.limit:
            break
    return Found(items, ask.after, query.modes())


async def last_ok(service: Service, tool_id: str, before_us: int) -> str | None:
    """Return the id of a tool's last OK run before a time (microseconds), if it is soon found; call `fresh` first."""
    ask = ask_of({"status": "OK", "tool_id": tool_id, "limit": "1"}, [])
    since, _ = ask.filters.created_us
    found = await look(service, evolve(ask, filters=evolve(ask.filters, created_us=(since, before_us))))
    return found.items[0]["run_id"] if found.items else None
