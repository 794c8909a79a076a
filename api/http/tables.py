"""A page of a list as a table (RFC 4180), safe to open in a spreadsheet. Pure."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from eventlog.canonical import canonical

INDEX_COLUMNS = (
    "run_id",
    "created_at_utc",
    "status",
    "mode",
    "tool_id",
    "risk_level",
    "score",
    "feasibility_sha256",
    "toolpaths_sha256",
    "artifact_path",
    "context",
    "explanation_status",
    "advisory_count",
    "block_reason",
)
FULL_COLUMNS = (
    "run_id",
    "created_at_utc",
    "mode",
    "tool_id",
    "status",
    "request_summary",
    "feasibility",
    "decision",
    "hashes",
    "outputs",
    "advisory_inputs",
    "explanation_status",
    "explanation_summary",
    "attachments",
    "context",
    "meta",
    "log",
    "withdrawn",
)
_FORMULA = ("=", "+", "-", "@")


def table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Return *rows* under a line of column names; null is an empty cell, an object or array is its JSON."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else canonical(value).decode()
    # A spreadsheet would take it for a formula, and do what whoever sent the run wrote there.
    return f"'{text}" if text.startswith(_FORMULA) else text
