"""Nothing of a v1 record is lost: of the real ones, and of any that can be read."""

import copy
import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.migration.v1 import RecordError, read_record
from eventlog.canonical import canonical, sha256_json
from projections.run.summary import clean_summary

KEY = "run_0123456789abcdef"
SHA, OTHER = "ab" * 32, "cd" * 32
BLOBS = {SHA: 12, OTHER: 1}
DATA = Path(__file__).parent.parent / "data"
RUNS = json.loads((DATA / "v1_runs.json").read_bytes())
OUTPUTS = ("gcode_text", "opplan_json", "gcode_path", "opplan_path", "preview_svg_path")
DECISION = {"risk_level", "score", "block_reason", "warnings", "details"}


def same(a, b):
    """1, 1.0 and true all differ."""
    return canonical(a) == canonical(b)


def is_found(value, shown, kept):
    """Tell whether all of *value* but nulls stands at the same place in the run or in meta.v1."""
    if value is None or same(value, shown) or same(value, kept):
        return True
    if not isinstance(value, dict):
        return False
    shown, kept = (part if isinstance(part, dict) else {} for part in (shown, kept))
    return all(is_found(member, shown.get(name), kept.get(name)) for name, member in value.items())


def is_part(kept, record):
    """Tell whether *kept* has the shape of the record: each thing where it stood."""
    if same(kept, record):
        return True
    if isinstance(kept, dict) and isinstance(record, dict):
        return all(name in record and is_part(member, record[name]) for name, member in kept.items())
    if isinstance(kept, list) and isinstance(record, list):
        return all(any(same(item, entry) for entry in record) for item in kept)
    return False


def is_same_time(a, b):
    try:
        a, b = (datetime.fromisoformat(text.upper().replace("Z", "+00:00")) for text in (a, b))
        return a == b
    except (AttributeError, TypeError, ValueError):
        return False


def is_entry_found(entry, identity, items, kept):
    if entry is None or any(same(entry, other) for other in kept):
        return True
    given = {identity: entry} if isinstance(entry, str) else entry
    return isinstance(given, dict) and any(is_shown(given, item) for item in items)


def is_shown(given, item):
    return all(
        same(value, item.get(name)) or (name == "created_at_utc" and is_same_time(value, item[name]))
        for name, value in given.items()
        if value is not None
    )


def as_v1_had_it(run):
    """Return the run's parts under the names that v1 has for them."""
    hashes = {f"{kind}_hash": run["hashes"][f"{kind}_sha256"] for kind in ("toolpaths", "gcode", "opplan")}
    return {**run, **hashes, **run["outputs"], **run["context"]}


def lost(record, imported):
    """Return the names of the fields that cannot be found again."""
    shown, kept = as_v1_had_it(imported.run), imported.run["meta"].get("v1", {})
    explanation = imported.explanation or {"status": "NONE", "summary": None}
    shown |= {"explanation_status": explanation["status"], "explanation_summary": explanation["summary"]}
    shown["meta"] = {name: value for name, value in imported.run["meta"].items() if name not in ("v1", "stripped")}
    lists = {
        "advisory_inputs": ("advisory_id", imported.advisories),
        "attachments": ("sha256", imported.attachments),
    }
    for name, value in record.items():
        if name in lists and isinstance(value, list):
            identity, items = lists[name]
            found = all(is_entry_found(entry, identity, items, kept.get(name, [])) for entry in value)
        elif name == "request_summary" and isinstance(value, dict):
            found = same(clean_summary(value)[0], shown[name])
        elif name == "created_at_utc":
            found = is_same_time(value, shown[name]) or same(value, kept.get(name))
        else:
            found = is_found(value, shown.get(name), kept.get(name))
        if not found:
            yield name


@pytest.mark.parametrize("key", RUNS)
def test_nothing_of_a_real_record_is_lost(key):
    imported = read_record(key, RUNS[key], find_blob=BLOBS.get)
    assert list(lost(RUNS[key], imported)) == []
    assert is_part(imported.run["meta"].get("v1", {}), RUNS[key])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "feasibility", "risk_level", "score"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def maybe(*values):
    return st.sampled_from(values) | JSON


def objects(**members):
    return st.fixed_dictionaries({}, optional=members)


RISKS = maybe("GREEN", "red", "Unknown", "PURPLE", None)
JUDGEMENT = {
    "risk_level": RISKS,
    "score": maybe(0, 100, 50.5, 101, "7"),
    "block_reason": maybe("b", None),
    "warnings": maybe(["w"], [], [1]),
    "details": maybe({"d": 1}, {}),
}
TIMES = st.sampled_from(
    [
        "2026-01-05T05:07:16.690677+00:00",
        "2026-01-05T05:07:16Z",
        "2026-01-05 05:07",
        "2026-01-05T23:59:59.1234567-05:00",
    ]
)
ENTRIES = {"created_at_utc": TIMES | JSON, "kind": maybe("note", "FOO", None), "more": JSON}
ADVISORIES = objects(
    advisory_id=maybe("a", "b", "", "c\n"), engine_id=maybe("e", None), request_id=maybe("r", None), **ENTRIES
)
ATTACHMENTS = objects(
    sha256=maybe(SHA, OTHER, SHA.upper(), "0" * 64),
    mime=maybe("text/plain", "text"),
    filename=maybe("a.nc", "a/b"),
    size_bytes=maybe(12, 1, 1.0, True, None),
    **ENTRIES,
)
RECORDS = objects(
    run_id=st.sampled_from([KEY, None]),
    mode=maybe("m", "", None),
    tool_id=maybe("t", "x" * 201),
    workflow_mode=maybe("w", " "),
    decision=objects(more=JSON, **JUDGEMENT) | JSON,
    gate_decision=maybe("GO", "blocked", "MAYBE", None),
    feasibility=objects(
        mode=maybe("unknown", "f"), tool_id=JSON, safety=objects(**JUDGEMENT) | JSON, risk_bucket=RISKS, **JUDGEMENT
    )
    | JSON,
    feasibility_hash=maybe(SHA),
    request_hash=maybe(SHA),
    hashes=objects(feasibility_sha256=JSON, gcode_sha256=JSON) | JSON,
    gcode_hash=maybe(SHA, SHA.upper(), "nope"),
    opplan_hash=maybe(SHA),
    outputs=objects(more=JSON, **{name: maybe("o") for name in OUTPUTS}) | JSON,
    gcode_text=maybe("G0"),
    opplan_json=JSON,
    request_summary=maybe({"feasibility": 1, "a": [{"feasibility": None}]}, {"s": "x" * 9000}),
    event_type=maybe("e", "x" * 201),
    meta=objects(request_id=JSON, exception=JSON, stripped=JSON, feasibility_missing=JSON, v1=JSON) | JSON,
    explanation_status=maybe("NONE", "ready", "FOO", None),
    explanation_summary=maybe("s", "x" * 65_537),
    advisory_inputs=st.lists(ADVISORIES | maybe("a", "d"), max_size=3) | JSON,
    attachments=st.lists(ATTACHMENTS | maybe(SHA), max_size=3) | JSON,
    notes=JSON,
    v1=JSON,
    context=JSON,
).flatmap(
    lambda record: st.builds(
        lambda time, status: {"created_at_utc": time, "status": status, **record},
        TIMES,
        st.sampled_from(["OK", "blocked", "FAILED"]),
    )
)


@given(RECORDS)
def test_nothing_of_any_record_is_lost_and_it_is_not_touched(record):
    before = copy.deepcopy(record)
    imported = read_record(KEY, record, find_blob=BLOBS.get)
    assert same(record, before)
    assert imported.v1 is record
    assert list(lost(record, imported)) == []
    assert is_part(imported.run["meta"].get("v1", {}), record)
    assert all(note.run_id == KEY and note.field and note.note for note in imported.notes)
    assert read_record(KEY, record, find_blob=BLOBS.get) == imported


@given(RECORDS)
def test_any_record_gives_a_run_that_could_have_been_posted(record):
    run = read_record(KEY, record, find_blob=BLOBS.get).run
    judged, hashes = run["decision"], run["hashes"]
    assert (run["run_id"], run["status"] in ("OK", "BLOCKED", "ERROR")) == (KEY, True)
    assert all(run[name].strip() and len(run[name]) <= 200 for name in ("mode", "tool_id"))
    assert datetime.strptime(run["created_at_utc"], "%Y-%m-%dT%H:%M:%S.%fZ").year == 2026
    assert judged.keys() == DECISION
    assert judged["risk_level"] in ("GREEN", "YELLOW", "RED", "UNKNOWN", "ERROR")
    assert judged["score"] is None or (type(judged["score"]) in (int, float) and 0 <= judged["score"] <= 100)
    assert judged["block_reason"] is None or isinstance(judged["block_reason"], str)
    assert all(isinstance(warning, str) for warning in judged["warnings"])
    assert isinstance(judged["details"], dict)
    assert hashes["feasibility_sha256"] == sha256_json(run["feasibility"])
    assert all(value is None or (len(value) == 64 and value == value.lower()) for value in hashes.values())
    assert tuple(run["outputs"]) == OUTPUTS
    assert all(isinstance(value, str) and len(value) <= 200 for value in run["context"].values())
    assert clean_summary(run["request_summary"])[1] == []


@given(RECORDS)
def test_any_record_gives_events_that_the_log_of_a_run_can_hold(record):
    imported = read_record(KEY, record, find_blob=BLOBS.get)
    ids = [advisory["advisory_id"] for advisory in imported.advisories]
    digests = [attachment["sha256"] for attachment in imported.attachments]
    assert len(ids) == len(set(ids))
    assert len(digests) == len(set(digests))
    for advisory in imported.advisories:
        assert list(advisory) == ["advisory_id", "kind", "created_at_utc", "request_id", "engine_id", "engine_version"]
        assert advisory["kind"] in ("explanation", "advisory", "note", "unknown")
    for attachment in imported.attachments:
        assert list(attachment) == ["sha256", "kind", "mime", "filename", "size_bytes", "created_at_utc"]
        assert attachment["size_bytes"] == BLOBS[attachment["sha256"]]
    assert imported.explanation != {"status": "NONE", "summary": None}


def outcome(key, record):
    try:
        return read_record(key, record, find_blob=BLOBS.get)
    except RecordError as error:
        return error


@given(st.sampled_from([KEY, "f" * 32]) | st.text(), JSON, RECORDS, JSON, JSON)
def test_any_other_record_gives_a_run_or_an_error_that_names_it_and_its_field(key, anything, record, time, status):
    for broken in (anything, record, {**record, "created_at_utc": time}, {**record, "status": status}):
        result = outcome(key, broken)
        assert result.run_id == key
        if isinstance(result, RecordError):
            assert result.field in ("$", "run_id", "created_at_utc", "status")
            assert result.field in result.message
