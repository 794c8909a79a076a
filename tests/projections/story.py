import hashlib

from eventlog.canonical import sha256_json
from eventlog.clock import time_text, time_us
from eventlog.event import TIME_SLOT, Origin, Place, Recorded, draft
from eventlog.recovery import End
from projections.files import Files
from projections.layout import current
from projections.projection import Saved

LOG_ID = "0" * 32
START_US = time_us("2025-12-17T23:59:00.000000Z")
RUN, OTHER = "run_abc123def456", "run_000000000001"
DAY = "2025-12-17"
CORE, EXPLANATION = f"{DAY}/{RUN}.json", f"{DAY}/{RUN}_explanation.json"


def run(run_id=RUN, created_at_utc=TIME_SLOT, **changes):
    return {
        "run_id": run_id,
        "created_at_utc": created_at_utc,
        "mode": "router",
        "tool_id": "t1",
        "status": "OK",
        "request_summary": {"b": 1, "a": "é"},
        "feasibility": {"score": 80.0},
        "decision": {"block_reason": None, "details": {}, "risk_level": "GREEN", "score": 80, "warnings": ["w"]},
        "hashes": {
            "feasibility_sha256": sha256_json({"score": 80.0}),
            "gcode_sha256": None,
            "opplan_sha256": None,
            "toolpaths_sha256": None,
        },
        "outputs": {
            "gcode_path": None,
            "gcode_text": "G0",
            "opplan_json": None,
            "opplan_path": None,
            "preview_svg_path": None,
        },
        "context": {},
        "meta": {"k": 1},
        **changes,
    }


class Story:
    """Events in the order of a log, a second apart."""

    def __init__(self, start_us=START_US):
        self.events, self.start_us = [], start_us

    def add(self, event_type, data, run_id=RUN):
        seq = len(self.events)
        d = draft(f"rmos.{event_type}.v1", run_id, data, event_id="e", source="urn:s", origin=Origin("cli"))
        text = d.stamped(time_text(self.start_us + seq * 1_000_000).encode())
        self.events.append(Recorded(seq, hashlib.sha256(text).hexdigest(), text, Place(0, seq * 10, 10)))
        return self

    def created(self, run_id=RUN, **changes):
        return self.add("run.created", {"run": run(run_id, **changes)}, run_id)

    def imported(self, run_id=RUN, **changes):
        data = {"run": run(run_id, **changes), "import_id": "i", "v1": {}, "notes": []}
        return self.add("run.imported", data, run_id)

    def advisory(self, advisory_id, run_id=RUN, kind="note"):
        advisory = {
            "advisory_id": advisory_id,
            "kind": kind,
            "created_at_utc": TIME_SLOT,
            "request_id": None,
            "engine_id": None,
            "engine_version": None,
        }
        return self.add("advisory.attached", {"advisory": advisory}, run_id)

    def explained(self, status, summary=None, run_id=RUN):
        return self.add("explanation.set", {"status": status, "summary": summary}, run_id)

    def attached(self, run_id=RUN):
        return self.add("attachment.added", {"attachment": {"sha256": "0" * 64}}, run_id)

    def withdrawn(self, run_id=RUN):
        return self.add("run.withdrawn", {"reason": "r"}, run_id)


def rich_story():
    """Every kind of change, with an id that is withdrawn and begun anew on another day."""
    story = Story().created().created(OTHER).advisory("a/b").advisory("a_b").explained("PENDING")
    story.explained("READY", "s").attached().withdrawn().imported(
        created_at_utc="2024-02-29T01:00:00.000000Z", mode="old"
    )
    return story.advisory("a/b", kind="unknown").explained("ERROR").explained("NONE", run_id=OTHER).withdrawn(OTHER)


def saved_at(next_seq):
    return Saved(LOG_ID, Files.version, End(next_seq, 0, next_seq * 10))


def feed(files, events, batch=1000):
    """What the runner does: from the saved position on, in batches."""
    saved = files.saved()
    if saved is None:
        files.reset()
    at = saved.end.next_seq if saved else 0
    while at < len(events):
        for recorded in events[at : at + batch]:
            files.apply(recorded)
        at = min(at + batch, len(events))
        files.commit(saved_at(at))


def tree_of(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if not p.is_dir()}


def streams(events):
    by_run = {}
    for recorded in events:
        by_run.setdefault(recorded.stream, []).append(recorded)
    return by_run.values()


def expected_tree(events):
    return {path: content for stream in streams(events) for path, content in current(stream).items()}


def tamper(path, content=b"tampered"):
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)


def quarantined(tmp_path):
    folder = tmp_path / "data" / "quarantine"
    return {p.name.split("Z-", 1)[1]: p.read_bytes() for p in folder.iterdir()} if folder.exists() else {}
