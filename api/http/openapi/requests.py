"""What a request carries, read off the classes that a request becomes: there is no second list of fields. Pure.

Each type of a field has one rule, the one that `wire.py` checks by; a type without one stops the document.
"""

from types import NoneType
from typing import Any, Literal, get_args, get_origin

from attrs import NOTHING, Attribute, fields, has

from api.http.openapi.shapes import (
    ANY,
    NATIVE_RUN_ID_PATTERN,
    NO_CONTROLS,
    NO_CONTROLS_NOT_BLANK,
    NOT_BLANK,
    OBJECT,
    SHA256,
    TEXT,
    Schema,
    array,
    nullable,
    record,
    words,
)
from projections.run import model

_RULES: dict[Any, Schema] = {
    str: TEXT,
    dict[str, Any]: OBJECT,
    list[str]: array(TEXT),
    model.Label: {"type": "string", "minLength": 1, "maxLength": 200, "pattern": NOT_BLANK},
    model.ShortText: {"type": "string", "maxLength": 200},
    model.Reason: {
        "type": "string",
        "minLength": 6,
        "maxLength": 500,
        "pattern": NO_CONTROLS,
        "not": {"pattern": r"^\s*$"},
    },
    model.Reason: {"type": "string", "minLength": 6, "maxLength": 500, "pattern": NO_CONTROLS_NOT_BLANK},
    model.Summary: {"type": "string", "maxLength": 65_536},
    model.Score: {"type": "number", "minimum": 0, "maximum": 100},
    model.Sha256: SHA256,
    model.NativeRunId: {"type": "string", "pattern": NATIVE_RUN_ID_PATTERN},
    model.AdvisoryId: {"type": "string", "minLength": 1, "maxLength": 512, "pattern": NO_CONTROLS},
    model.OwnMeta: {"type": "object", "propertyNames": {"not": {"enum": list(model.RESERVED_META)}}},
    model.Json: ANY,
}

_MEANINGS = {
    "mode": "The mode of the toolpath job.",
    "tool_id": "The tool that the job is for.",
    "status": "How the job ended.",
    "request_summary": "What was asked for. Every key `feasibility` in it is removed, and long values are shortened.",
    "feasibility": "The judgement on which the decision rests; its hash is computed by the server.",
    "risk_level": "The risk that the decision names.",
    "score": "From 0 to 100.",
    "block_reason": "Why the job was blocked.",
    "details": "Becomes `decision.details` verbatim.",
    "outputs": "What the job produced.",
    "toolpaths": "Any JSON; only its hash is kept.",
    "hashes": "Hashes that the producer already has; they are checked against what the server can compute.",
    "exception": "The exception that ended the job; becomes `meta.exception`.",
    "context": "Where the run belongs, and the versions of what made it.",
    "meta": "Kept as sent.",
    "run_id": "The client's own id; without it one is made.",
    "advisory_id": "Kept exactly.",
    "summary": "Absent means null.",
    "reason": "Why the run goes out of force.",
}


def request_shape(command: type[Any]) -> Schema:
    """Return the shape of the body that becomes a *command*."""
    required: dict[str, Schema] = {}
    optional: dict[str, Schema] = {}
    for field in fields(command):
        (required if field.default is NOTHING else optional)[field.name] = _described(field)
    return record(required, optional, description=(command.__doc__ or "").strip())


def _described(field: "Attribute[Any]") -> Schema:
    shape = _shape(field.type)
    meaning = _MEANINGS.get(field.name)
    return {**shape, "description": meaning} if meaning else shape


def _shape(kind: Any) -> Schema:
    args = get_args(kind)
    if NoneType in args:
        (inner,) = (each for each in args if each is not NoneType)
        return _shape(inner) if inner is model.Json else nullable(_shape(inner))
    if get_origin(kind) is Literal:
        return words(kind)
    if isinstance(kind, type) and has(kind):
        return request_shape(kind)
    return dict(_RULES[kind])
