"""The listings that P6 asks for: every single filter with and without dates, and twenty combinations."""

from typing import Literal

from attrs import frozen

from bench import bodies

Params = dict[str, str]
Expected = Literal["some", "none", "any"]


@frozen
class Query:
    """One listing. Page 1 is asked for with each of the *variants* in turn, deep pages with the first."""

    name: str
    variants: list[Params]
    expected: Expected


def queries(runs: int, first_day: str, last_day: str) -> list[Query]:
    """Return all listings for a data set of so many *runs* that were made between two UTC days."""
    dates = {"date_from": first_day, "date_to": last_day}
    found = [Query("no filter", [{}], "some"), Query("dates", [dates, {"date_from": first_day}], "some")]
    for name, values in _single_filters(runs).items():
        found.append(Query(name, [{name: value} for value in values], "some"))
        found.append(Query(f"{name} + dates", [{name: value, **dates} for value in values], "some"))
    return found + [Query(name, [params], expected) for name, params, expected in _combinations(runs, dates)]


def _single_filters(runs: int) -> dict[str, list[str]]:
    """Return values that are there for each filter: common, middling, rare."""
    return {
        "status": ["OK", "BLOCKED", "ERROR"],
        "mode": bodies.MODES,
        "tool_id": [bodies.TOOLS[0], bodies.TOOLS[10], bodies.TOOLS[20]],
        "tool_id_prefix": ["helical", "adaptive:p", "engrave:"],
        "risk_level": ["GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR"],
        "event_type": ["adaptive_gcode_execution", "helical_gcode_blocked", "drill_gcode_failed"],
        "session_id": [bodies.session(number) for number in (runs // 2, 0, runs - 1)],
        "batch_label": [bodies.BATCHES[0], bodies.BATCHES[20], bodies.RARE_BATCH, bodies.SINGLE_BATCH],
        "workflow_session_id": [bodies.workflow(number) for number in (runs // 2, 0, runs - 1)],
        "material_id": [bodies.MATERIALS[0], bodies.MATERIALS[20], bodies.RARE_MATERIAL],
        "machine_id": [bodies.MACHINES[0], bodies.MACHINES[11], bodies.RARE_MACHINE],
        "tool_kind": bodies.TOOL_KINDS,
        "parent_run_id": bodies.PARENTS[:3],
        "advisory_id": bodies.ADVISORIES[:3],
    }


def _combinations(runs: int, dates: Params) -> list[tuple[str, Params, Expected]]:
    """Return twenty combinations. The pairs that are never there are each of common values."""
    tool, machine, material, batch = (
        names[0] for names in (bodies.TOOLS, bodies.MACHINES, bodies.MATERIALS, bodies.BATCHES)
    )
    session, workflow = bodies.session(runs // 2), bodies.workflow(runs // 2)
    past = {"date_from": "2001-01-01", "date_to": "2001-12-31"}
    everything = {"status": "OK", "mode": "adaptive", "risk_level": "GREEN", "machine_id": machine}
    return [
        ("blocked on a machine", {"status": "BLOCKED", "machine_id": bodies.MACHINES[2]}, "some"),
        ("errors of a mode", {"status": "ERROR", "mode": "engrave"}, "some"),
        ("red for a tool", {"risk_level": "RED", "tool_id": tool}, "some"),
        ("rare tool, passed", {"tool_id": bodies.TOOLS[-1], "status": "OK"}, "some"),
        ("status, mode, risk", {"status": "BLOCKED", "mode": "helical", "risk_level": "RED"}, "some"),
        ("session, passed", {"session_id": session, "status": "OK"}, "some"),
        ("batch on a machine", {"batch_label": batch, "machine_id": machine}, "some"),
        ("three of context", {"machine_id": machine, "material_id": material, "tool_kind": "flat_end"}, "some"),
        ("prefix, blocked, dates", {"tool_id_prefix": "pocket:", "status": "BLOCKED", **dates}, "some"),
        ("workflow and mode", {"workflow_session_id": workflow, "mode": "adaptive"}, "any"),
        ("parent, passed", {"parent_run_id": bodies.PARENTS[0], "status": "OK"}, "some"),
        ("advisory, passed", {"advisory_id": bodies.ADVISORIES[0], "status": "OK"}, "any"),
        ("rare machine, blocked", {"machine_id": bodies.RARE_MACHINE, "status": "BLOCKED"}, "any"),
        ("rare batch, errors", {"batch_label": bodies.RARE_BATCH, "status": "ERROR"}, "any"),
        ("all at once", {**everything, "tool_id": tool, "tool_kind": "flat_end", **dates}, "some"),
        ("unmatched: passed and red", {"status": "OK", "risk_level": "RED"}, "none"),
        ("unmatched: tool of another mode", {"mode": "helical", "tool_id": tool}, "none"),
        ("unmatched: event of another status", {"status": "OK", "event_type": "helical_gcode_blocked"}, "none"),
        ("unmatched: rare in another rare", {"machine_id": bodies.RARE_MACHINE, "batch_label": batch}, "none"),
        ("unmatched: common in the past", {"status": "OK", "mode": "adaptive", **past}, "none"),
    ]
