"""The stats: after any history of a log the counts are those of the runs in force, however the events came in batches."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventlog.recovery import End
from projections.overview import Reason, Tool, overview
from projections.projection import Saved
from projections.run.events import UnknownEvent
from projections.stats import GROUPS, Stats, counts
from tests.projections.story import LOG_ID, Story, run

DAYS = ("2024-02-29T23:59:59.999999Z", "2024-03-01T00:00:00.000000Z", "2025-12-17T12:00:00.000000Z")
KINDS = st.fixed_dictionaries(
    {
        "created_at_utc": st.sampled_from(DAYS),
        "status": st.sampled_from(("OK", "BLOCKED")),
        "mode": st.sampled_from(("m1", "ü")),
        "tool_id": st.sampled_from(("t1", "t2")),
        "decision": st.tuples(st.sampled_from(("GREEN", "RED")), st.sampled_from((None, "too deep", "x" * 300))).map(
            lambda told: {**run()["decision"], "risk_level": told[0], "block_reason": told[1]}
        ),
    }
)
CHANGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), KINDS), max_size=30)
TABLES = ("cell", "run", "daily", "tool", "reason", "sqlite_master")
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def told(changes):
    """A story of these changes, and what is in force at its end."""
    story, in_force, known = Story(), {}, set()
    for number, what, kind in changes:
        run_id = f"run_{number:012x}"
        if run_id in in_force:
            if what:
                story.advisory(f"a{len(story.events)}", run_id)
            else:
                story.withdrawn(run_id)
                del in_force[run_id]
        else:
            (story.imported if run_id in known else story.created)(run_id, **kind)
            in_force[run_id] = kind
            known.add(run_id)
    return story.events, in_force.values()


def fed(path, events, batch, *, bulk=False):
    """A database that was fed in batches of this many events."""
    with closing(Stats(path, bulk=bulk)) as stats:
        for begin in range(0, len(events), batch):
            for recorded in events[begin : begin + batch]:
                stats.apply(recorded)
            stats.commit(Saved(LOG_ID, Stats.version, End(min(begin + batch, len(events)), 0, 0)))
        if bulk:
            stats.make_whole()
    return path


def rows(path):
    with closing(sqlite3.connect(path)) as db:
        return [db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in TABLES]


def key_of(kind, group):
    return kind["created_at_utc"][:10] if group == "day" else value_of(kind, group)


def value_of(kind, name):
    return kind["decision"]["risk_level"] if name == "risk_level" else kind[name]


def reason_of(kind):
    reason = kind["decision"]["block_reason"] or ""
    return reason if len(reason) <= 200 else reason[:200] + "…"


def ranked(counter):
    return sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))


def expected(kinds, group):
    items = []
    for key in sorted({key_of(kind, group) for kind in kinds}):
        mine = [kind for kind in kinds if key_of(kind, group) == key]
        by = {f"by_{name}": dict(Counter(value_of(kind, name) for kind in mine)) for name in ("status", "risk_level")}
        items.append({"key": key, "total": len(mine), **by})
    return items


@given(CHANGES, st.integers(1, 7))
@FEW
def test_the_counts_are_those_of_the_runs_in_force_in_every_group(tmp_path_factory, changes, batch):
    events, in_force = told(changes)
    path = fed(tmp_path_factory.mktemp("stats") / "stats.sqlite", events, batch)
    for group in GROUPS:
        assert counts(path, group, None, None) == expected(in_force, group)
    since = [kind for kind in in_force if kind["created_at_utc"] >= "2024-03-01"]
    assert counts(path, "day", "2024-03-01", None) == expected(since, "day")
    until = [kind for kind in since if kind["created_at_utc"] < "2024-03-02"]
    assert counts(path, "mode", "2024-03-01", "2024-03-01") == expected(until, "mode")


@given(CHANGES, st.integers(1, 7))
@FEW
def test_the_sums_of_the_overview_are_those_of_the_runs_in_force(tmp_path_factory, changes, batch):
    events, in_force = told(changes)
    path = fed(tmp_path_factory.mktemp("stats") / "stats.sqlite", events, batch)
    for since in (None, date(2024, 3, 1)):
        kinds = [kind for kind in in_force if since is None or kind["created_at_utc"] >= since.isoformat()]
        found = overview(path, since)
        days = {date.fromisoformat(item["key"]): item for item in expected(kinds, "day")}
        assert found.by_day == {day: item["by_status"] for day, item in days.items()}
        assert found.risk_by_day == {day: item["by_risk_level"] for day, item in days.items()}
        blocked = [kind for kind in kinds if kind["status"] == "BLOCKED"]
        totals = Counter(kind["tool_id"] for kind in kinds)
        by_tool = ranked(Counter(kind["tool_id"] for kind in blocked))
        assert found.tools == tuple(Tool(name, totals[name], count) for name, count in by_tool)
        why = Counter(reason_of(kind) for kind in blocked)
        assert found.reasons == tuple(Reason(*pair) for pair in ranked(why))
    newest = max((kind["created_at_utc"][:10] for kind in in_force), default=None)
    assert found.newest == (date.fromisoformat(newest) if newest else None)


@given(CHANGES, st.integers(1, 7))
@FEW
def test_a_database_filled_in_bulk_equals_the_incremental_one_row_for_row(tmp_path_factory, changes, batch):
    events, _ = told(changes)
    folder = tmp_path_factory.mktemp("stats")
    incremental = fed(folder / "stats.sqlite", events, batch)
    assert rows(fed(folder / "new.sqlite", events, 1000, bulk=True)) == rows(incremental)


def test_an_event_that_cannot_be_counted_changes_nothing(tmp_path):
    """What was applied before it is stored; of itself nothing is."""
    events = Story().created().withdrawn().imported().events
    broken = Story()
    broken.events = events[:2]
    broken.add("run.imported", {"run": {"created_at_utc": DAYS[0]}})
    with closing(Stats(tmp_path / "stats.sqlite")) as stats:
        stats.apply(events[0])
        stats.commit(Saved(LOG_ID, Stats.version, End(1, 0, 10)))
        with pytest.raises(KeyError):
            stats.apply(broken.events[2])
        with pytest.raises(UnknownEvent):
            stats.apply(Story().add("run.renamed", {}).events[0])
        stats.commit(Saved(LOG_ID, Stats.version, End(1, 0, 10)))
    assert [item["total"] for item in counts(tmp_path / "stats.sqlite", "day", None, None)] == [1]
