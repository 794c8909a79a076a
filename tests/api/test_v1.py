"""A v1 record becomes a run: the real file, then each field's rule."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.migration.v1 import RecordError, read_record
from eventlog.canonical import sha256_json
from eventlog.errors import RunlogError

KEY = "run_0123456789abcdef"
HEX = "ab" * 32
RUNS = json.loads((Path(__file__).parent.parent / "data" / "v1_runs.json").read_bytes())


def read(key=KEY, *, without=(), **fields):
    record = {"run_id": KEY, "created_at_utc": "2026-01-05T05:07:16.690677+00:00", "status": "OK", **fields}
    record = {name: value for name, value in record.items() if name not in without}
    return read_record(key, record, find_blob=lambda _: None)


def noted(imported, field):
    return [note.note for note in imported.notes if note.field == field]


@pytest.fixture(scope="module")
def real():
    return [(v1, read_record(key, v1, find_blob=lambda _: None)) for key, v1 in RUNS.items()]


def test_the_real_file_gives_39_runs_with_their_risks_reasons_and_scores(real):
    decisions = [imported.run["decision"] for _, imported in real]
    assert len(decisions) == 39
    assert Counter(d["risk_level"] for d in decisions) == {"GREEN": 19, "UNKNOWN": 20}
    assert sum(d["block_reason"] is not None for d in decisions) == 15
    assert sum(d["score"] is not None for d in decisions) == 19
    assert sum(d["warnings"] != [] and d["details"] != {} for d in decisions) == 34


def test_the_real_file_has_34_hashes_of_real_feasibility_of_which_15_equal_the_request_hash(real):
    with_one = [(v1, i.run) for v1, i in real if v1["feasibility"] is not None]
    assert len(with_one) == 34
    assert all(run["hashes"]["feasibility_sha256"] == sha256_json(v1["feasibility"]) for v1, run in with_one)
    assert sum(run["hashes"]["feasibility_sha256"] == v1["request_hash"] for v1, run in with_one) == 15
    without = [i.run for v1, i in real if v1["feasibility"] is None]
    assert [run["meta"]["feasibility_missing"] for run in without] == [True] * 5
    assert all(run["hashes"]["feasibility_sha256"] == sha256_json({}) for run in without)
    assert not any("feasibility_missing" in run["meta"] for _, run in with_one)


def test_the_real_file_gives_no_event_but_the_39_imports(real):
    assert [(i.advisories, i.explanation, i.attachments) for _, i in real] == [((), None, ())] * 39


def test_the_real_runs_keep_what_v1_knew_of_mode_context_hashes_and_notes(real):
    for v1, imported in real:
        run = imported.run
        assert imported.v1 is v1
        assert run["mode"] == run["context"]["workflow_mode"] == v1["workflow_mode"]
        assert run["context"]["event_type"] == v1["event_type"]
        assert run["hashes"]["gcode_sha256"] == v1["gcode_hash"]
        assert run["hashes"]["toolpaths_sha256"] == v1["toolpaths_hash"]
        kept = {name: v1[name] for name in ("request_hash", "notes") if v1[name] is not None}
        assert run["meta"]["v1"] == kept
        assert noted(imported, "mode") == ["taken from workflow_mode"]


def test_a_run_has_every_key_of_the_core_artifact():
    run = read().run
    nothing = {"score": None, "block_reason": None, "warnings": [], "details": {}}
    assert run == {
        "run_id": KEY,
        "created_at_utc": "2026-01-05T05:07:16.690677Z",
        "mode": "unknown",
        "tool_id": "unknown",
        "status": "OK",
        "request_summary": {},
        "feasibility": {},
        "decision": {"risk_level": "UNKNOWN", **nothing},
        "hashes": {
            "feasibility_sha256": sha256_json({}),
            **dict.fromkeys(("toolpaths_sha256", "gcode_sha256", "opplan_sha256")),
        },
        "outputs": dict.fromkeys(("gcode_text", "opplan_json", "gcode_path", "opplan_path", "preview_svg_path")),
        "context": {},
        "meta": {"feasibility_missing": True},
    }
    assert {note.field for note in read().notes} == {
        *("mode", "tool_id", "decision.risk_level", "feasibility", "request_summary"),
    }


@pytest.mark.parametrize("key", ["run_0123456789ab", KEY, "run_" + "0" * 32, "f" * 32])
def test_a_missing_id_is_the_key_of_the_record(key):
    imported = read(key, run_id=None)
    assert imported.run_id == imported.run["run_id"] == key
    assert noted(imported, "run_id") == ["taken from the record's key in the file"]


def test_an_id_that_differs_from_its_key_is_an_error():
    with pytest.raises(RecordError) as caught:
        read("run_fedcba9876543210")
    assert (caught.value.run_id, caught.value.field) == ("run_fedcba9876543210", "run_id")
    assert KEY in caught.value.message
    assert isinstance(caught.value, RunlogError)
    assert caught.value.code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "key",
    ["", "nope", "../run_0123456789ab", "run_0123456789AB", "run_0123456789a", f"{KEY}\n", "run_" + "0" * 33, "é" * 32],
)
@pytest.mark.parametrize("is_stored", [True, False])
def test_an_id_that_is_not_read_elsewhere_is_an_error(key, is_stored):
    with pytest.raises(RecordError, match="run_id"):
        read(key, run_id=key if is_stored else None)


@pytest.mark.parametrize("record", [None, [], "x", 5, True])
def test_a_record_that_is_no_object_is_an_error(record):
    with pytest.raises(RecordError) as caught:
        read_record(KEY, record, find_blob=lambda _: None)
    assert caught.value.field == "$"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-05T05:07:16.690677+00:00", "2026-01-05T05:07:16.690677Z"),
        ("2026-01-05T05:07:16Z", "2026-01-05T05:07:16.000000Z"),
        ("2026-01-05t05:07:16.5z", "2026-01-05T05:07:16.500000Z"),
        ("2026-01-05 05:07-00:00", "2026-01-05T05:07:00.000000Z"),
        ("0999-01-05T05:07:16,25+0000", "0999-01-05T05:07:16.250000Z"),
        ("2026-01-05T05:07:16.123456000Z", "2026-01-05T05:07:16.123456Z"),
    ],
)
def test_a_time_in_utc_is_shown_with_six_digits_and_needs_no_note(text, utc):
    imported = read(created_at_utc=text)
    assert imported.run["created_at_utc"] == utc
    assert noted(imported, "created_at_utc") == []
    assert "v1" not in imported.run["meta"]


@pytest.mark.parametrize(
    ("text", "utc", "remark"),
    [
        ("2026-01-05T05:07:16", "2026-01-05T05:07:16.000000Z", "taken as UTC"),
        ("2026-01-05T23:30:00-05:00", "2026-01-06T04:30:00.000000Z", "brought to UTC"),
        ("2026-03-01T00:30:00+01:00", "2026-02-28T23:30:00.000000Z", "brought to UTC"),
        ("2024-03-01T05:29:59.999999+05:30", "2024-02-29T23:59:59.999999Z", "brought to UTC"),
        ("2026-01-05T05:07:16.1234567Z", "2026-01-05T05:07:16.123456Z", "cut to microseconds"),
    ],
)
def test_a_naive_or_foreign_time_is_brought_to_utc_with_a_note_and_kept(text, utc, remark):
    imported = read(created_at_utc=text)
    assert imported.run["created_at_utc"] == utc
    assert [remark in note for note in noted(imported, "created_at_utc")] == [True]
    assert imported.run["meta"]["v1"] == {"created_at_utc": text}


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "now", "yesterday", 1767589636, 1.5, True, [], {}),
        *("2026-01-05", "2026-02-30T00:00:00Z", "2026-01-05T24:00:01Z", "2026-01-05T05:07:60Z", "2026-W01-1T00:00:00"),
        *("٢٠٢٦-01-05T05:07:16Z", " 2026-01-05T05:07:16Z", "2026-01-05T05:07:16Z\n", "2026-01-05T05:07:16+25:00"),
        *("0001-01-01T00:30:00+01:00", "9999-12-31T23:30:00-01:00", "2026-01-05T05:07:16 Europe/Berlin"),
    ],
)
def test_a_time_that_cannot_be_read_is_an_error_and_never_now(value):
    with pytest.raises(RecordError) as caught:
        read(created_at_utc=value)
    assert (caught.value.run_id, caught.value.field) == (KEY, "created_at_utc")


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.none() | OFFSETS))
def test_every_time_that_python_writes_is_read_to_the_same_instant(time):
    shown = read(created_at_utc=time.isoformat()).run["created_at_utc"]
    assert len(shown) == 27
    assert datetime.fromisoformat(shown) == (time if time.tzinfo else time.replace(tzinfo=UTC))


@pytest.mark.parametrize("word", ["OK", "BLOCKED", "ERROR"])
def test_a_known_status_stays_and_is_taken_in_any_case(word):
    assert read(status=word).run["status"] == word
    assert noted(read(status=word), "status") == []
    imported = read(status=word.lower())
    assert imported.run["status"] == word
    assert imported.run["meta"]["v1"] == {"status": word.lower()}
    assert len(noted(imported, "status")) == 1


@pytest.mark.parametrize("word", ["FAILED", "failed"])
def test_failed_becomes_error_with_a_note(word):
    imported = read(status=word)
    assert imported.run["status"] == "ERROR"
    assert len(noted(imported, "status")) == 1
    assert imported.run["meta"]["v1"]["status"] == word


@pytest.mark.parametrize("value", [None, "", "FOO", "SUCCESS", " OK", "fa\u0131led", "OK\n", 1, True, ["OK"], {}])
def test_any_other_status_is_an_error_and_never_ok(value):
    with pytest.raises(RecordError) as caught:
        read(status=value)
    assert caught.value.field == "status"


def test_a_missing_status_or_time_is_an_error():
    for name in ("status", "created_at_utc"):
        with pytest.raises(RecordError, match=name):
            read(without=[name])


@pytest.mark.parametrize("value", [None, "x", 5, [1], True])
def test_a_feasibility_that_is_no_object_becomes_an_empty_one_that_is_flagged(value):
    run = read(feasibility=value).run
    assert run["feasibility"] == {}
    assert run["meta"]["feasibility_missing"] is True
    assert run["hashes"]["feasibility_sha256"] == sha256_json({})
    assert run["meta"].get("v1", {}).get("feasibility") == value
    assert len(noted(read(feasibility=value), "feasibility")) == 1


def test_an_empty_feasibility_is_not_missing():
    imported = read(feasibility={})
    assert "feasibility_missing" not in imported.run["meta"]
    assert noted(imported, "feasibility") == []


def test_a_feasibility_keeps_unicode_large_integers_and_nulls_and_its_hash_is_taken_of_it():
    feasibility = {"ключ": "日本😀", "n": 2**80, "tiny": 1e-7, "nothing": None}
    run = read(feasibility=feasibility).run
    assert run["feasibility"] is feasibility
    assert run["hashes"]["feasibility_sha256"] == sha256_json(feasibility)


def test_the_request_summary_is_cleaned_and_what_was_stripped_is_listed():
    summary = {"feasibility": {"risk": "GREEN"}, "a": "x" * 9000}
    imported = read(request_summary=summary)
    assert imported.run["request_summary"]["a"]["size"] == 9000
    assert imported.run["request_summary"]["a"]["sha256"] == sha256(b'"' + b"x" * 9000 + b'"').hexdigest()
    stripped = [{"path": "$.request_summary.feasibility", "sha256": sha256_json({"risk": "GREEN"})}]
    assert imported.run["meta"]["stripped"] == stripped
    assert len(noted(imported, "request_summary")) == 2
    assert imported.v1["request_summary"] is summary


def test_a_request_summary_as_it_should_be_stays_and_another_becomes_an_empty_one():
    assert read(request_summary={"a": 1}).run["request_summary"] == {"a": 1}
    assert noted(read(request_summary={"a": 1}), "request_summary") == []
    imported = read(request_summary=[{"feasibility": 1}])
    assert imported.run["request_summary"] == {}
    assert imported.run["meta"]["v1"]["request_summary"] == [{"feasibility": 1}]
