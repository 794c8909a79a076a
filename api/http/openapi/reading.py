"""What can be read: the runs and what lies under them, and how two of them differ."""

from typing import get_args

from api.http.listing import LIMIT_DEFAULT, LIMIT_MAX
from api.http.openapi.operations import (
    AT,
    CSV,
    DATE_FROM,
    DATE_TO,
    DIGEST,
    IF_NONE_MATCH,
    JSON,
    NDJSON,
    RUN,
    STALE,
    WITHDRAWN,
    Answer,
    Operation,
    header,
    lines,
    path,
    query,
    read,
)
from api.http.openapi.refusals import A_RUN, QUERY, READING
from api.http.openapi.shapes import BOOLEAN, RUN_ID_PATTERN, TEXT, Schema, one_of, ref
from projections.catalog import CONTEXT_FILTERS
from projections.run import model

_SHOWN = (RUN, AT, STALE, WITHDRAWN, IF_NONE_MATCH)
_NOW = (RUN, STALE, WITHDRAWN, IF_NONE_MATCH)
_ID: Schema = {"type": "string", "pattern": RUN_ID_PATTERN}

LIMIT = query(
    "limit",
    {"type": "integer", "default": LIMIT_DEFAULT},
    f"How many at most; clamped to 1 to {LIMIT_MAX}.",
    example=20,
)
CURSOR = query("cursor", TEXT, "The `next_cursor` of the page before, with the same filters.")
_FILTERS = (
    query("status", one_of(*get_args(model.Status)), "Of this status."),
    query("mode", TEXT, "Of this mode."),
    query("tool_id", TEXT, "With this tool."),
    query("risk_level", one_of(*get_args(model.RiskLevel)), "Of this risk level."),
    *(query(name, TEXT, f"With this `context.{name}`.") for name in CONTEXT_FILTERS),
    query("tool_id_prefix", TEXT, "Whose `tool_id` begins so."),
    query("advisory_id", TEXT, "That carry this advisory."),
    DATE_FROM,
    DATE_TO,
)
_PAGE = {
    JSON: ref("RunPage"),
    NDJSON: lines({"anyOf": [ref("RunItem"), ref("Run")]}, "The items, one a line."),
    CSV: {"type": "string", "description": "The items as a table; objects as JSON, null as an empty cell."},
}
_PAGE_ANSWERS = read("A page, newest first.", _PAGE, "Link", "X-Projection-Position", "X-Total-Count")

RUNS: dict[str, Operation] = {
    "GET /runs": Operation(
        "Runs",
        "listRuns",
        "List the runs that match, newest first",
        _PAGE_ANSWERS,
        (*QUERY, *READING),
        (
            *_FILTERS,
            LIMIT,
            CURSOR,
            query("view", one_of("index", "full"), "What of each run: `index` (default), or the whole."),
            query("include_total", BOOLEAN, "Add how many match; null if counting takes over 2 s."),
            WITHDRAWN,
            STALE,
            IF_NONE_MATCH,
        ),
        description="All filters must hold. The order is `created_at_utc`, then `run_id`, both descending.",
    ),
    "GET /runs/recent": Operation(
        "Old names",
        "listRecentRuns",
        "The newest page of the list of runs",
        _PAGE_ANSWERS,
        (*QUERY, *READING),
        (LIMIT, IF_NONE_MATCH),
    ),
    "GET /runs/query/recent": Operation(
        "Old names",
        "queryRecentRuns",
        "Any page of the list of runs",
        _PAGE_ANSWERS,
        (*QUERY, *READING),
        (CURSOR, LIMIT, IF_NONE_MATCH),
    ),
    "GET /runs/{run_id}": Operation(
        "Runs",
        "getRun",
        "Read a run, as it is or as it was",
        read("The run.", {JSON: ref("Run")}, "X-Projection-Position"),
        (*QUERY, *A_RUN),
        _SHOWN,
    ),
    "GET /runs/{run_id}/download": Operation(
        "Runs",
        "downloadRun",
        "Read a run as an indented file",
        read("The run.", {JSON: ref("Run")}, "Content-Disposition", "X-Projection-Position"),
        (*QUERY, *A_RUN),
        _SHOWN,
    ),
    "GET /runs/{run_id}/events": Operation(
        "Runs",
        "listRunEvents",
        "Read the events of a run, oldest first",
        read("The events, their bytes as stored; of a withdrawn run too.", {JSON: ref("RunEvents")}),
        (*QUERY, "RUN_NOT_FOUND", "LOG_CORRUPT"),
        (RUN, WITHDRAWN, IF_NONE_MATCH),
    ),
    "GET /runs/{run_id}/proof": Operation(
        "Evidence",
        "proveRun",
        "The evidence of a run: its events, each with a proof",
        read("Event bytes, proofs, checkpoint and key; of a withdrawn run too.", {JSON: ref("RunProof")}),
        (*QUERY, "RUN_NOT_FOUND", "LOG_CORRUPT", "CHECKPOINT_BEHIND", "TREE_DAMAGED"),
        (RUN, WITHDRAWN, IF_NONE_MATCH),
        description="Waits up to 2 s for a checkpoint that covers the run.",
    ),
    "GET /runs/{run_id}/advisories": Operation(
        "Runs",
        "listAdvisories",
        "What was attached to a run, and where its explanation stands",
        read("The advisories, in the order of attachment.", {JSON: ref("RunAdvisories")}, "X-Projection-Position"),
        (*QUERY, *A_RUN),
        _SHOWN,
    ),
    "GET /runs/{run_id}/attachments": Operation(
        "Attachments",
        "listAttachments",
        "List the attachments of a run",
        read("The attachments.", {JSON: ref("RunAttachments")}, "X-Projection-Position"),
        (*QUERY, *A_RUN),
        _NOW,
    ),
    "GET /runs/{run_id}/attachments/verify": Operation(
        "Attachments",
        "verifyAttachments",
        "Hash the bytes of every attachment of a run again",
        read("What was found.", {JSON: ref("AttachmentCheck")}, "X-Projection-Position"),
        (*QUERY, *A_RUN),
        _NOW,
    ),
    "GET /runs/{run_id}/attachments/{sha256}": Operation(
        "Attachments",
        "getAttachment",
        "The facts of an attachment, and whether its bytes are there",
        read("The facts.", {JSON: ref("RunAttachment")}, "X-Projection-Position"),
        (*QUERY, *A_RUN, "ATTACHMENT_NOT_FOUND"),
        (DIGEST, *_NOW),
    ),
    "GET /runs/{run_id}/attachments/{sha256}/download": Operation(
        "Attachments",
        "downloadAttachment",
        "The bytes of an attachment, or a range of them",
        (
            *read("The bytes, of the type that they were sent with.", {"*/*": {}}, "Content-Disposition"),
            Answer(206, "The range.", {"*/*": {}}, ("ETag", "Content-Disposition", "Content-Range")),
        ),
        (*QUERY, *A_RUN, "ATTACHMENT_NOT_FOUND", "RANGE_NOT_SATISFIABLE"),
        (
            DIGEST,
            *_NOW,
            header("Range", TEXT, "One range of bytes; more than one, or what cannot be read, is as if it was absent."),
            header("If-Range", TEXT, "The `ETag` that the range belongs to."),
        ),
    ),
    "GET /runs/diff": Operation(
        "Compare",
        "compareRuns",
        "What differs between two runs, and how much it matters",
        read("The differences; the same input gives the same bytes.", {JSON: ref("Diff")}, "X-Projection-Position"),
        (*QUERY, *A_RUN),
        (
            query("a", _ID, "The id of one run.", required=True, example="run_0123456789ab"),
            query("b", _ID, "The id of the other.", required=True, example="run_ba9876543210"),
            STALE,
            WITHDRAWN,
            IF_NONE_MATCH,
        ),
    ),
    "GET /runs_v2/diff/{a}/{b}": Operation(
        "Old names",
        "compareRunsOld",
        "The comparison of two runs, also in the sections of the old store",
        read("The differences.", {JSON: ref("OldDiff")}),
        (*QUERY, *A_RUN),
        (
            path("a", _ID, "The id of one run.", "run_0123456789ab"),
            path("b", _ID, "The id of the other.", "run_ba9876543210"),
            IF_NONE_MATCH,
        ),
    ),
}
