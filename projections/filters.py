"""What a listing asks for, as the conditions and the walks along indexes that SQLite is given. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import field, frozen

TOOLS_SOUGHT_MAX = 8
"""So many tools are sought in their index for each candidate; for more, the candidate's row is read."""

FOREVER = (-(1 << 62), 1 << 62)

Check = tuple[str, tuple[Any, ...]]
"""A condition in SQL on a row `candidate`, and its values."""

Key = tuple[int, str]
"""What pages are ordered by, both descending: created_us, run_id."""


@frozen
class Filters:
    """Which runs are asked for; all must hold."""

    equal: dict[str, str] = field(factory=dict)
    tool_id_prefix: str | None = None
    advisory_id: str | None = None
    created_us: tuple[int, int] = FOREVER
    """From, inclusive; to, exclusive."""
    include_withdrawn: bool = False


@frozen
class Driver:
    """An index to walk along in the order of pages: a column and the values of it that are wanted."""

    column: str | None = None
    values: tuple[str, ...] = (None,)  # type: ignore[assignment]

    def branches(self, filters: Filters, after: Key | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield statement and values of each ordered piece of the walk."""
        since, until = filters.created_us
        bounds = "created_us >= ? AND created_us < ?"
        bound_values: list[Any] = [since, until]
        if after is not None:
            bounds += " AND (created_us, run_id) < (?, ?)"
            bound_values += after
        if self.column == "advisory_id":
            yield f"FROM advisory WHERE advisory_id = ? AND {bounds}", (*self.values, *bound_values)
            return
        for withdrawn in (0, 1) if filters.include_withdrawn else (0,):
            if self.column is None:
                yield f"FROM run INDEXED BY run_by_time WHERE withdrawn = ? AND {bounds}", (withdrawn, *bound_values)
                continue
            for value in self.values:
                yield (
                    f"FROM run INDEXED BY run_by_{self.column} WHERE withdrawn = ? AND {self.column} = ? AND {bounds}",
                    (withdrawn, value, *bound_values),
                )


def check_of(driver: Driver, filters: Filters, tools: list[str]) -> Check:
    """Return what tells whether a candidate of *driver* matches all the other filters too."""
    withdrawn = "withdrawn IN (0, 1)" if filters.include_withdrawn else "withdrawn = 0"
    same = "created_us = candidate.created_us AND run_id = candidate.run_id"
    conditions: list[str] = []
    values: list[Any] = []

    def among(column: str, wanted: Sequence[str]) -> None:
        which = f"{column} = ?" if len(wanted) == 1 else f"{column} IN ({', '.join('?' * len(wanted))})"
        index = f"run INDEXED BY run_by_{column}"
        conditions.append(f"EXISTS (SELECT 1 FROM {index} WHERE {withdrawn} AND {which} AND {same})")  # noqa: S608
        values.extend(wanted)

    for name, value in filters.equal.items():
        if driver != Driver(name, (value,)):
            among(name, (value,))
    if filters.tool_id_prefix is None or driver == Driver("tool_id", tuple(tools)):
        pass
    elif len(tools) <= TOOLS_SOUGHT_MAX:
        among("tool_id", tools)
    else:
        conditions.append("EXISTS (SELECT 1 FROM run WHERE id = candidate.id AND tool_id >= ? AND tool_id < ?)")
        values += _range_of(filters.tool_id_prefix)
    if filters.advisory_id is not None and driver.column != "advisory_id":
        conditions.append(f"EXISTS (SELECT 1 FROM advisory WHERE advisory_id = ? AND {same})")  # noqa: S608
        values.append(filters.advisory_id)
    if driver.column == "advisory_id" and not filters.include_withdrawn:
        conditions.append(f"EXISTS (SELECT 1 FROM run INDEXED BY run_by_time WHERE withdrawn = 0 AND {same})")  # noqa: S608
    return " AND ".join(conditions) or "1", tuple(values)


def _range_of(prefix: str) -> tuple[str, str]:
    """Return the range of the tool ids that begin with *prefix*."""
    # Not substr(), which ends at a NUL. No tool id is longer than the run of last characters.
    return prefix, prefix + "\U0010ffff" * 201


def residual(filters: Filters) -> tuple[str, list[Any]]:
    """Return the condition of all filters but the advisory's."""
    since, until = filters.created_us
    conditions, values = [], []  # type: list[str], list[Any]
    for name, value in filters.equal.items():
        conditions.append(f"{name} = ?")
        values.append(value)
    if filters.tool_id_prefix is not None:
        conditions.append("tool_id >= ? AND tool_id < ?")
        values += _range_of(filters.tool_id_prefix)
    if not filters.include_withdrawn:
        conditions.append("withdrawn = 0")
    if filters.created_us != FOREVER:
        conditions.append("created_us >= ? AND created_us < ?")
        values += [since, until]
    return " AND ".join(conditions) or "1", values
