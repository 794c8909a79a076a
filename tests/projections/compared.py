"""Two runs to compare: `run` and `other` agree in all that is judged, but for what a test changes."""

from typing import Any

from eventlog.canonical import sha256_json
from projections.run.diff import HASHES

STAMP = "2025-12-17T08:00:00.000000Z"
DIGEST_1, DIGEST_2 = "1" * 64, "2" * 64


def run(run_id: str = "run_aaaaaaaaaaaa") -> dict[str, Any]:
    feasibility: dict[str, Any] = {"safety": {"score": 90.0}}
    return {
        "run_id": run_id,
        "created_at_utc": STAMP,
        "mode": "router",
        "tool_id": "tool:1",
        "status": "OK",
        "request_summary": {},
        "feasibility": feasibility,
        "decision": {"risk_level": "GREEN", "score": 90.0, "block_reason": None, "warnings": [], "details": {}},
        "hashes": {"feasibility_sha256": sha256_json(feasibility), **dict.fromkeys(HASHES[1:])},
        "outputs": {
            "gcode_text": None,
            "opplan_json": None,
            "gcode_path": None,
            "opplan_path": None,
            "preview_svg_path": None,
        },
        "advisory_inputs": [],
        "explanation_status": "NONE",
        "explanation_summary": None,
        "attachments": None,
        "context": {},
        "meta": {},
        "log": {"seq": 0, "event_sha256": DIGEST_1, "revision": 0, "last_seq": 0},
    }


def other(**changes: Any) -> dict[str, Any]:
    """The same run under another id, with *changes* by path (`decision__score=1`)."""
    view = run("run_bbbbbbbbbbbb")
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = view
        for step in parents:
            place = place[step]
        place[last] = value
    return view


def advisory(advisory_id: str) -> dict[str, Any]:
    return {
        "advisory_id": advisory_id,
        "kind": "note",
        "created_at_utc": STAMP,
        "request_id": None,
        "engine_id": None,
        "engine_version": None,
    }


def attachment(sha256: str) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "kind": "gcode",
        "mime": "text/plain",
        "filename": sha256,
        "size_bytes": 1,
        "created_at_utc": STAMP,
    }
