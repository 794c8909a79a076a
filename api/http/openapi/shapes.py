"""The words in which the document describes JSON (JSON Schema 2020-12). Pure.

An object that is described here has no other keys than those named: what the document says is
strict enough that an answer can be held against it.
"""

from collections.abc import Mapping
from typing import Any, get_args

from projections.run import model

Schema = dict[str, Any]

SHA256_PATTERN = "^[0-9a-f]{64}$"
RUN_ID_PATTERN = "^(run_[0-9a-f]{12,32}|[0-9a-f]{32})$"
NATIVE_RUN_ID_PATTERN = "^run_[0-9a-f]{12}$"
NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]*$"
NOT_BLANK = r"[^\s\u001c-\u001f\u0085]"  # blank to Python is more than to a pattern
NO_CONTROLS_NOT_BLANK = NO_CONTROLS[:-1] + r"[^\s\u0000-\u001f\u007f-\u009f]" + NO_CONTROLS[1:]
BASE64_PATTERN = "^[A-Za-z0-9+/]*={0,2}$"

ANY: Schema = {"description": "Any JSON value."}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
SEQ: Schema = {"type": "integer", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITION: Schema = {"type": "integer", "minimum": -1, "description": "The seq of the last event covered; -1 for none."}
SHA256: Schema = {"type": "string", "pattern": SHA256_PATTERN}
RUN_ID: Schema = {"type": "string", "pattern": RUN_ID_PATTERN}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
BASE64: Schema = {"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN}


def ref(name: str) -> Schema:
    """Return a reference to the shape of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any) -> Schema:
    """Return an object with all of *required*, some of *optional*, and nothing else."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def array(items: Schema, **more: Any) -> Schema:
    """Return an array of *items*."""
    return {"type": "array", "items": items, **more}


def table(values: Schema) -> Schema:
    """Return an object whose keys are free and whose values are all alike."""
    return {"type": "object", "additionalProperties": values}


def nullable(schema: Schema) -> Schema:
    """Return *schema*, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*values: str) -> Schema:
    """Return one of these texts."""
    return {"type": "string", "enum": list(values)}


def words(literal: Any) -> Schema:
    """Return one of the texts of a `Literal`."""
    return one_of(*get_args(literal))


def const(value: Any) -> Schema:
    """Return this value and no other."""
    return {"const": value}


STATUS, RISK_LEVEL = words(model.Status), words(model.RiskLevel)
ADVISORY_KIND, EXPLANATION_STATUS = words(model.AdvisoryKind), words(model.ExplanationStatus)
