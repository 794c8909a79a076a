"""What comes with a v1 run: advisories, the explanation and attachments."""

from hashlib import sha256
from pathlib import Path

import pytest

from api.migration.v1 import read_record

KEY = "run_0123456789abcdef"
CREATED = "2026-01-05T05:07:16.000000Z"
BLOBS = {
    sha256(path.read_bytes()).hexdigest(): path.stat().st_size
    for path in (Path(__file__).parent.parent / "data" / "attachments").iterdir()
}
SHA, OTHER = sorted(BLOBS)[:2]
ABSENT = "0" * 64
ADVISORY = {
    "advisory_id": "adv/1",
    "kind": "note",
    "created_at_utc": "2026-01-06T00:00:00.000000Z",
    "request_id": "r",
    "engine_id": "e",
    "engine_version": "1",
}
ATTACHMENT = {
    "sha256": SHA,
    "kind": "gcode",
    "mime": "text/plain; charset=utf-8",
    "filename": "Schäft 1.nc",
    "size_bytes": BLOBS[SHA],
    "created_at_utc": "2026-01-06T00:00:00.000000Z",
}


def read(**fields):
    record = {"run_id": KEY, "created_at_utc": "2026-01-05T05:07:16Z", "status": "OK", "feasibility": {}, **fields}
    return read_record(KEY, record, find_blob=BLOBS.get)


def noted(imported, field):
    return [note.note for note in imported.notes if note.field == field]


def kept(imported):
    return imported.run["meta"].get("v1", {})


def test_an_advisory_as_it_should_be_is_taken_verbatim():
    imported = read(advisory_inputs=[ADVISORY, None])
    assert imported.advisories == (ADVISORY,)
    assert kept(imported) == {}
    assert noted(imported, "advisory_inputs[0]") == []


def test_a_string_is_an_advisory_id_and_the_rest_is_derived_with_notes():
    imported = read(advisory_inputs=["adv_1", {"advisory_id": " é\u2028"}])
    nothing = {"request_id": None, "engine_id": None, "engine_version": None}
    assert imported.advisories == (
        {"advisory_id": "adv_1", "kind": "unknown", "created_at_utc": CREATED, **nothing},
        {"advisory_id": " é\u2028", "kind": "unknown", "created_at_utc": CREATED, **nothing},
    )
    assert kept(imported) == {}
    assert len(noted(imported, "advisory_inputs[0]")) == 2


@pytest.mark.parametrize(
    "entry",
    [
        *("", "x" * 513, "a\nb", "a\x00", "a\x7f", "a\x85", 5, True, [], {}, {"advisory_id": None}),
        *({"advisory_id": 5}, {"advisory_id": "a\tb", "kind": "note"}, {"id": "x"}, ["adv_1"]),
    ],
)
def test_an_entry_without_a_sound_id_makes_no_event_and_is_kept_with_a_note(entry):
    imported = read(advisory_inputs=["first", entry, "last"])
    assert [a["advisory_id"] for a in imported.advisories] == ["first", "last"]
    assert kept(imported) == {"advisory_inputs": [entry]}
    assert len(noted(imported, "advisory_inputs[1]")) == 1


def test_an_id_of_512_characters_of_any_script_is_taken():
    assert read(advisory_inputs=["日" * 512]).advisories[0]["advisory_id"] == "日" * 512


def test_what_an_advisory_cannot_show_gets_its_default_and_the_entry_is_kept():
    entry = {**ADVISORY, "kind": "FOO", "engine_id": 5, "created_at_utc": "yesterday", "rating": 3, "by": None}
    imported = read(advisory_inputs=[entry])
    assert imported.advisories == ({**ADVISORY, "kind": "unknown", "engine_id": None, "created_at_utc": CREATED},)
    assert kept(imported) == {"advisory_inputs": [entry]}
    assert len(noted(imported, "advisory_inputs[0]")) == 4


def test_a_naive_time_of_an_advisory_is_taken_as_utc_with_a_note():
    entry = {**ADVISORY, "created_at_utc": "2026-01-06T01:02:03"}
    imported = read(advisory_inputs=[entry])
    assert imported.advisories[0]["created_at_utc"] == "2026-01-06T01:02:03.000000Z"
    assert kept(imported) == {"advisory_inputs": [entry]}
    assert len(noted(imported, "advisory_inputs[0]")) == 1


def test_the_same_advisory_twice_collapses_with_a_note():
    imported = read(advisory_inputs=[ADVISORY, dict(ADVISORY)])
    assert imported.advisories == (ADVISORY,)
    assert kept(imported) == {}
    assert len(noted(imported, "advisory_inputs[1]")) == 1


def test_the_same_advisory_of_another_time_collapses_but_is_kept():
    again = {**ADVISORY, "created_at_utc": "2026-01-07T00:00:00.000000Z"}
    imported = read(advisory_inputs=[ADVISORY, again])
    assert imported.advisories == (ADVISORY,)
    assert kept(imported) == {"advisory_inputs": [again]}


def test_the_same_id_with_other_content_is_kept_and_the_first_stands():
    other = {**ADVISORY, "engine_version": "2"}
    imported = read(advisory_inputs=[ADVISORY, other])
    assert imported.advisories == (ADVISORY,)
    assert kept(imported) == {"advisory_inputs": [other]}
    assert len(noted(imported, "advisory_inputs[1]")) == 1


def test_two_advisories_whose_ids_look_alike_are_both_taken():
    imported = read(advisory_inputs=["a/b", "a_b", "a b", "A_b"])
    assert [a["advisory_id"] for a in imported.advisories] == ["a/b", "a_b", "a b", "A_b"]


def test_what_is_beyond_the_thousand_entries_of_a_run_is_kept():
    imported = read(advisory_inputs=[f"adv_{i}" for i in range(1002)])
    assert len(imported.advisories) == 1000
    assert kept(imported) == {"advisory_inputs": ["adv_1000", "adv_1001"]}


@pytest.mark.parametrize("name", ["advisory_inputs", "attachments"])
@pytest.mark.parametrize("value", [{"a": 1}, "x", 5, False])
def test_a_list_that_is_none_is_kept_whole(name, value):
    imported = read(**{name: value})
    assert (imported.advisories, imported.attachments) == ((), ())
    assert kept(imported) == {name: value}
    assert len(noted(imported, name)) == 1


@pytest.mark.parametrize("value", [None, [], [None]])
def test_null_and_empty_lists_make_no_event(value):
    imported = read(advisory_inputs=value, attachments=value)
    assert (imported.advisories, imported.attachments, kept(imported)) == ((), (), {})


@pytest.mark.parametrize(
    ("fields", "explanation"),
    [
        ({}, None),
        ({"explanation_status": None, "explanation_summary": None}, None),
        ({"explanation_status": "NONE"}, None),
        ({"explanation_status": "NONE", "explanation_summary": "s"}, {"status": "NONE", "summary": "s"}),
        ({"explanation_status": "PENDING"}, {"status": "PENDING", "summary": None}),
        ({"explanation_status": "READY", "explanation_summary": "日"}, {"status": "READY", "summary": "日"}),
        ({"explanation_status": "ERROR", "explanation_summary": ""}, {"status": "ERROR", "summary": ""}),
        (
            {"explanation_status": "READY", "explanation_summary": "x" * 65_536},
            {"status": "READY", "summary": "x" * 65_536},
        ),
    ],
)
def test_an_explanation_is_taken_unless_it_says_nothing(fields, explanation):
    imported = read(**fields)
    assert imported.explanation == explanation
    assert kept(imported) == {}
    assert not [note for note in imported.notes if note.field.startswith("explanation")]


def test_a_summary_without_a_status_has_none_with_a_note():
    imported = read(explanation_summary="s")
    assert imported.explanation == {"status": "NONE", "summary": "s"}
    assert len(noted(imported, "explanation_status")) == 1


def test_an_explanation_status_is_taken_in_any_case_with_a_note():
    imported = read(explanation_status="ready", explanation_summary="s")
    assert imported.explanation == {"status": "READY", "summary": "s"}
    assert kept(imported) == {"explanation_status": "ready"}
    assert len(noted(imported, "explanation_status")) == 1
    assert kept(read(explanation_status="none")) == {"explanation_status": "none"}


@pytest.mark.parametrize("status", ["FOO", "", 5, True, ["READY"]])
def test_an_unknown_explanation_status_makes_no_event_and_both_are_kept(status):
    imported = read(explanation_status=status, explanation_summary="s")
    assert imported.explanation is None
    assert kept(imported) == {"explanation_status": status, "explanation_summary": "s"}
    assert len(noted(imported, "explanation_status")) == len(noted(imported, "explanation_summary")) == 1
    assert kept(read(explanation_status=status)) == {"explanation_status": status}


@pytest.mark.parametrize("summary", [5, False, ["s"], {"s": 1}, "x" * 65_537])
def test_a_summary_that_cannot_be_shown_is_kept(summary):
    imported = read(explanation_status="READY", explanation_summary=summary)
    assert imported.explanation == {"status": "READY", "summary": None}
    assert kept(imported) == {"explanation_summary": summary}
    assert read(explanation_status="NONE", explanation_summary=summary).explanation is None


def test_an_attachment_whose_bytes_are_there_is_taken_verbatim():
    imported = read(attachments=[ATTACHMENT, {**ATTACHMENT, "sha256": OTHER, "size_bytes": BLOBS[OTHER]}])
    assert [a["sha256"] for a in imported.attachments] == [SHA, OTHER]
    assert imported.attachments[0] == ATTACHMENT
    assert kept(imported) == {}
    assert noted(imported, "attachments[0]") == []


@pytest.mark.parametrize(
    "entry",
    [
        {**ATTACHMENT, "sha256": ABSENT},
        {**ATTACHMENT, "size_bytes": BLOBS[SHA] + 1},
        {**ATTACHMENT, "size_bytes": 0},
        {**ATTACHMENT, "sha256": None},
        {**ATTACHMENT, "sha256": "../../etc/passwd"},
        *(5, True, [], "nope", ABSENT),
    ],
)
def test_an_attachment_whose_bytes_are_not_found_or_do_not_match_is_kept_and_makes_no_event(entry):
    imported = read(attachments=[entry, ATTACHMENT])
    assert imported.attachments == (ATTACHMENT,)
    assert kept(imported) == {"attachments": [entry]}
    assert len(noted(imported, "attachments[0]")) == 1


def test_what_an_attachment_does_not_say_is_derived_with_notes():
    imported = read(attachments=[{"sha256": SHA}])
    assert imported.attachments == (
        {
            "sha256": SHA,
            "kind": "unknown",
            "mime": "application/octet-stream",
            "filename": SHA,
            "size_bytes": BLOBS[SHA],
            "created_at_utc": CREATED,
        },
    )
    assert kept(imported) == {}
    assert len(noted(imported, "attachments[0]")) == 5


@pytest.mark.parametrize(
    ("name", "values", "default"),
    [
        ("kind", ["", "x" * 65, "a\n", 5], "unknown"),
        ("mime", ["", "text", "text/plain\r\nX: 1", "tëxt/plain", "a/" + "b" * 255, 5], "application/octet-stream"),
        ("filename", ["", "a/b.nc", "..\\b.nc", "a\x00", "x" * 256, ["a"]], SHA),
        ("size_bytes", [-1, "5", True, float(BLOBS[SHA])], BLOBS[SHA]),
        ("created_at_utc", ["", "never", 5], CREATED),
        ("sha256", [SHA.upper()], SHA),
    ],
)
def test_what_an_attachment_cannot_show_gets_its_default_and_the_entry_is_kept(name, values, default):
    for value in values:
        entry = {**ATTACHMENT, name: value}
        imported = read(attachments=[entry])
        assert imported.attachments == ({**ATTACHMENT, name: default},)
        assert kept(imported) == {"attachments": [entry]}
        assert len(noted(imported, "attachments[0]")) == 1


def test_the_same_attachment_twice_collapses_and_one_of_other_metadata_is_kept():
    other = {**ATTACHMENT, "filename": "other.nc"}
    imported = read(attachments=[ATTACHMENT, dict(ATTACHMENT), other])
    assert imported.attachments == (ATTACHMENT,)
    assert kept(imported) == {"attachments": [other]}
    assert len(noted(imported, "attachments[1]")) == len(noted(imported, "attachments[2]")) == 1
