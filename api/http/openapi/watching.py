"""What can be read beside the runs: the log and its evidence, counts, and how the service is."""

from api.http.events import LIMIT_DEFAULT, LIMIT_MAX
from api.http.openapi.operations import (
    BYTES,
    DATE_FROM,
    DATE_TO,
    EVENT_STREAM,
    HTML,
    IF_NONE_MATCH,
    JSON,
    NDJSON,
    PLAIN,
    PROJECTION,
    STALE,
    Answer,
    Operation,
    header,
    lines,
    path,
    query,
    read,
)
from api.http.openapi.refusals import QUERY
from api.http.openapi.shapes import COUNT, OBJECT, TEXT, Schema, const, one_of, ref
from projections.run.events import TYPES
from projections.stats import GROUPS

_AFTER: Schema = {"anyOf": [{"type": "integer", "minimum": -1}, const("latest")]}
_STREAM: Schema = {
    "type": "string",
    "description": "Messages whose `id` is the seq and whose `data` is the line of a page; comments in between; "
    "the last is `event: end` with `{reason, after}`.",
}

LOG: dict[str, Operation] = {
    "GET /events": Operation(
        "Events",
        "listEvents",
        "The log's events, as lines or as they come",
        read("A page.", {NDJSON: lines(ref("EventRow"), "Events, one a line."), EVENT_STREAM: _STREAM}, "Link"),
        (*QUERY, "LOG_CORRUPT"),
        (
            query("after", _AFTER, "What follows this seq; absent: from the start; `latest`: from now.", example=41),
            query(
                "limit",
                {"type": "integer", "default": LIMIT_DEFAULT},
                f"How many at most; clamped to 1 to {LIMIT_MAX}. A stream without it has no end.",
                example=100,
            ),
            query("type", {"type": "string", "examples": sorted(TYPES)}, "Events of this type."),
            query("run_id", {"type": "string", "examples": ["run_0123456789ab"]}, "Events of this run."),
            header("Last-Event-ID", TEXT, "For a stream: goes on after this seq, and wins over `after`."),
            IF_NONE_MATCH,
        ),
        description="Ask with `Accept: text/event-stream` for what there is and then each event as it is recorded.",
    ),
    "GET /log/checkpoint": Operation(
        "Evidence",
        "getCheckpoint",
        "The newest signed checkpoint of the log",
        read("A C2SP checkpoint, with the lines of its witnesses.", {PLAIN: TEXT}),
        QUERY,
        (IF_NONE_MATCH,),
        is_open=True,
    ),
    "GET /log/key": Operation(
        "Evidence",
        "getVerifierKey",
        "The key that checks what the log signs",
        read("The verifier key.", {PLAIN: TEXT}),
        QUERY,
        (IF_NONE_MATCH,),
        is_open=True,
    ),
    "GET /log/tile/{path}": Operation(
        "Evidence",
        "getTile",
        "Hashes of the tree (C2SP tlog-tiles)",
        read("The hashes, 32 bytes each, or the entries.", {BYTES: {}}),
        ("NOT_FOUND", *QUERY, "TREE_DAMAGED"),
        (path("path", TEXT, "`<L>/<N>` or `entries/<N>`, with `.p/<W>` the first W of them.", "0/000"), IF_NONE_MATCH),
        is_open=True,
    ),
    "GET /log/proof/consistency": Operation(
        "Evidence",
        "proveConsistency",
        "That the log only grew: its first `from` events are the beginning of its first `to`",
        read("The proof (RFC 6962).", {JSON: ref("Consistency")}),
        (*QUERY, "TREE_DAMAGED"),
        (
            query("from", COUNT, "The smaller size.", required=True, example=1),
            query("to", COUNT, "The larger size, up to the published one.", required=True, example=1),
            IF_NONE_MATCH,
        ),
    ),
    "GET /stats": Operation(
        "Stats",
        "getStats",
        "Counts of the runs in force",
        read("The counts, sorted by key.", {JSON: ref("Stats")}, "X-Projection-Position"),
        (*QUERY, "PROJECTION_BEHIND"),
        (
            query("group_by", one_of(*GROUPS), "By what; `day` by default.", example="status"),
            DATE_FROM,
            DATE_TO,
            STALE,
            IF_NONE_MATCH,
        ),
    ),
    "GET /admin/projections": Operation(
        "Operators",
        "listProjections",
        "How far each projection has come, and what stopped it",
        read("The projections.", {JSON: ref("Projections")}),
        QUERY,
        (IF_NONE_MATCH,),
    ),
    "POST /admin/projections/{name}/rebuild": Operation(
        "Operators",
        "rebuildProjection",
        "Fold a projection anew",
        (Answer(202, "It has begun; it is done when the state is no longer `rebuilding`.", {JSON: ref("Projection")}),),
        ("NOT_FOUND", *QUERY),
        (PROJECTION,),
    ),
    "POST /admin/projections/{name}/retry": Operation(
        "Operators",
        "retryProjection",
        "Let a projection that stopped go on",
        (Answer(202, "It goes on; one that has not stopped is left alone.", {JSON: ref("Projection")}),),
        ("NOT_FOUND", *QUERY),
        (PROJECTION,),
    ),
}

OUTSIDE: dict[str, Operation] = {
    "GET /healthz": Operation(
        "Service",
        "getHealth",
        "Whether the process lives",
        read("It does.", {JSON: ref("Health")}),
        QUERY,
        (IF_NONE_MATCH,),
        is_open=True,
    ),
    "GET /readyz": Operation(
        "Service",
        "getReadiness",
        "Whether the service is whole",
        (
            *read("It is, or it is degraded.", {JSON: ref("Readiness")}),
            Answer(503, "It is not; the reasons say why.", {JSON: ref("Readiness")}),
        ),
        QUERY,
        (IF_NONE_MATCH,),
    ),
    "GET /metrics": Operation(
        "Service",
        "getMetrics",
        "Counters and gauges in the form of Prometheus",
        read("The series.", {PLAIN: TEXT}),
        QUERY,
        (IF_NONE_MATCH,),
    ),
    "GET /openapi.json": Operation(
        "Service",
        "getDocument",
        "This document",
        read("OpenAPI 3.1.", {JSON: OBJECT}),
        QUERY,
        (IF_NONE_MATCH,),
    ),
    "GET /docs": Operation(
        "Service",
        "getDocumentPage",
        "This document as a page, which needs no network",
        (
            *read("The page.", {HTML: TEXT}),
            Answer(303, "To where people sign in, on a server with keys.", headers=("Location",)),
        ),
        QUERY,
        (IF_NONE_MATCH,),
    ),
}
