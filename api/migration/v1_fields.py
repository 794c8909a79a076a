"""The parts of a run that v1 kept elsewhere or otherwise: who, how risky, which hashes, outputs, context, meta.

The first place of a chain where something stands decides. For the decision it decides
even if it cannot be shown: a GREEN further down never stands in for an unreadable word.
"""

from hashlib import sha256
from typing import Any, get_args

import attrs

from api.migration.v1_reading import Place, Reading, dotted
from api.migration.v1_values import (
    digest,
    is_anything,
    is_name,
    is_object,
    is_score,
    is_short_text,
    is_text,
    is_texts,
    upper_word,
)
from eventlog.canonical import canonical
from projections.run.model import RESERVED_META, Context, Outputs, RiskLevel

UNKNOWN = "unknown"
NAME_PLACES: dict[str, tuple[Place, ...]] = {
    "mode": (("mode",), ("workflow_mode",), ("feasibility", "mode")),
    "tool_id": (("tool_id",), ("feasibility", "tool_id")),
}
RISK_LEVELS = {word: word for word in get_args(RiskLevel)}
GATE_LEVELS = {
    "GO": "GREEN",
    "ALLOWED": "GREEN",
    "CONDITIONAL": "YELLOW",
    "OVERRIDDEN": "YELLOW",
    "NO_GO": "RED",
    "BLOCKED": "RED",
}
RISK_PLACES: tuple[Place, ...] = (
    ("decision", "risk_level"),
    ("feasibility", "safety", "risk_level"),
    ("feasibility", "risk_level"),
    ("feasibility", "risk_bucket"),
    ("gate_decision",),
)
JUDGEMENT_PLACES: tuple[Place, ...] = (("decision",), ("feasibility", "safety"), ("feasibility",))
STORED_HASHES = {"toolpaths": "toolpaths_hash", "gcode": "gcode_hash", "opplan": "opplan_hash"}
FEASIBILITY_HASHES: tuple[Place, ...] = (
    ("feasibility_hash",),
    ("feasibility_sha256",),
    ("hashes", "feasibility_sha256"),
)
OUTPUTS = tuple(field.name for field in attrs.fields(Outputs))
CONTEXT = tuple(field.name for field in attrs.fields(Context))


def read_name(reading: Reading, field: str) -> str:
    """Return the run's mode or tool: the first that can be shown, else "unknown"."""
    for place in NAME_PLACES[field]:
        value = reading.at(*place)
        if value is None or (place[0] == "feasibility" and value == UNKNOWN):
            continue
        if not is_name(value):
            reading.set_aside(field, place, "which is no name of 1 to 200 characters")
            continue
        if place != (field,):
            reading.note(field, f"taken from {dotted(place)}")
        return str(value)
    reading.note(field, "v1 does not name it")
    return UNKNOWN


def read_decision(reading: Reading) -> dict[str, Any]:
    """Return the run's decision; every key is there."""
    decision = reading.at("decision")
    if isinstance(decision, dict):
        for name in decision.keys() - {"risk_level", "score", "block_reason", "warnings", "details"}:
            reading.keep("decision", name)
    elif decision is not None:
        reading.set_aside("decision", ("decision",), "not an object")
    return {
        "risk_level": _risk_level(reading),
        "score": _judgement(reading, "score", is_score, "not a number from 0 to 100"),
        "block_reason": _judgement(reading, "block_reason", is_text, "not a string"),
        "warnings": _judgement(reading, "warnings", is_texts, "not an array of strings", list),
        "details": _judgement(reading, "details", is_object, "not an object", dict),
    }


def _risk_level(reading: Reading) -> str:
    field = "decision.risk_level"
    for place in RISK_PLACES:
        value = reading.at(*place)
        if value is None:
            continue
        levels = GATE_LEVELS if place == ("gate_decision",) else RISK_LEVELS
        level = levels.get(upper_word(value))
        if level is None:
            reading.set_aside(field, place, "which is no risk level; taken as UNKNOWN")
            return "UNKNOWN"
        if place != ("decision", "risk_level"):
            reading.note(field, f"taken from {dotted(place)}")
        elif value != level:
            reading.set_aside(field, place, f"taken as {level}")
        return level
    reading.note(field, "v1 does not tell it")
    return "UNKNOWN"


def _judgement(reading: Reading, name: str, fits: Any, what: str, nothing: Any = lambda: None) -> Any:
    for judgement in JUDGEMENT_PLACES:
        place = (*judgement, name)
        value = reading.at(*place)
        if value is None:
            continue
        if not fits(value):
            reading.set_aside(f"decision.{name}", place, what)
            return nothing()
        if judgement != ("decision",):
            reading.note(f"decision.{name}", f"taken from {dotted(place)}")
        return value
    return nothing()


def read_hashes(reading: Reading, feasibility: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Return the run's hashes: computed where the payload is there, else those that v1 stored."""
    ours = sha256(canonical(feasibility)).hexdigest()
    for place in FEASIBILITY_HASHES:
        if reading.at(*place) is not None and digest(reading.at(*place)) != ours:
            reading.set_aside("hashes.feasibility_sha256", place, "not the hash of the feasibility, which was taken")
    text, plan = outputs["gcode_text"], outputs["opplan_json"]
    return {
        "feasibility_sha256": ours,
        "toolpaths_sha256": _hash(reading, "toolpaths", None),
        "gcode_sha256": _hash(reading, "gcode", None if text is None else text.encode()),
        "opplan_sha256": _hash(reading, "opplan", None if plan is None else canonical(plan)),
    }


def _hash(reading: Reading, kind: str, payload: bytes | None) -> str | None:
    field, name = f"hashes.{kind}_sha256", STORED_HASHES[kind]
    value = reading.at(name)
    stored = digest(value)
    chosen = stored if payload is None else sha256(payload).hexdigest()
    if value is None:
        if chosen is not None:
            reading.note(field, f"computed; v1 has no {name}")
    elif stored is None:
        reading.set_aside(field, (name,), "not 64 hex digits")
    elif stored != chosen:
        reading.set_aside(field, (name,), "not the hash of the payload, which was taken")
    elif value != chosen:
        reading.set_aside(field, (name,), "taken in lower case")
    return chosen


def read_outputs(reading: Reading) -> dict[str, Any]:
    """Return the run's outputs, from the object of that name, else from the fields beside it."""
    outputs = reading.at("outputs")
    if isinstance(outputs, dict):
        for name in outputs.keys() - set(OUTPUTS):
            reading.keep("outputs", name)
    elif outputs is not None:
        reading.set_aside("outputs", ("outputs",), "not an object")
    return {name: _output(reading, name) for name in OUTPUTS}


def _output(reading: Reading, name: str) -> Any:
    field, fits, chosen = f"outputs.{name}", is_anything if name == "opplan_json" else is_text, None
    for place in (("outputs", name), (name,)):
        value = reading.at(*place)
        if value is None:
            continue
        if not fits(value):
            reading.set_aside(field, place, "not a string")
        elif chosen is not None:
            reading.set_aside(field, place, "given twice, and that of outputs was taken")
        else:
            chosen = value
            if place == (name,):
                reading.note(field, f"taken from {name}")
    return chosen


def read_context(reading: Reading) -> dict[str, str]:
    """Return the run's context: v1's fields of those names that were given."""
    context = {}
    for name in CONTEXT:
        value = reading.at(name)
        if is_short_text(value):
            context[name] = value
        elif value is not None:
            reading.set_aside(f"context.{name}", (name,), "not a string of at most 200 characters")
    return context


def read_meta(reading: Reading) -> dict[str, Any]:
    """Return v1's own meta without the keys that have a meaning of their own here."""
    meta = reading.at("meta")
    if not isinstance(meta, dict):
        if meta is not None:
            reading.set_aside("meta", ("meta",), "not an object")
        return {}
    for name in RESERVED_META:
        if meta.get(name) is not None:
            reading.set_aside(f"meta.{name}", ("meta", name), "a key that is not v1's to set here")
    return {name: value for name, value in meta.items() if name not in RESERVED_META}
