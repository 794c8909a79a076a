import contextlib
import hashlib
import os
import shutil
import sqlite3

import pytest
from structlog.testing import capture_logs

from eventlog.canonical import sha256_json
from projections import tree
from projections.layout import current, safe_id
from projections.run.events import UnknownEvent
from tests.projections.story import (
    CORE,
    DAY,
    EXPLANATION,
    OTHER,
    RUN,
    Story,
    expected_tree,
    feed,
    quarantined,
    rich_story,
    saved_at,
    tamper,
    tree_of,
)


def test_the_files_have_exactly_the_bytes_of_the_contract(open_files, root):
    story = Story().created(context={"batch_label": "B"}).advisory("adv-1").explained("READY", "Because.")
    feed(open_files(), story.events)
    digest = sha256_json({"score": 80.0})
    core = f"""{{
  "run_id": "run_abc123def456",
  "created_at_utc": "2025-12-17T23:59:00.000000Z",
  "mode": "router",
  "tool_id": "t1",
  "status": "OK",
  "request_summary": {{
    "a": "é",
    "b": 1
  }},
  "feasibility": {{
    "score": 80.0
  }},
  "decision": {{
    "risk_level": "GREEN",
    "score": 80,
    "block_reason": null,
    "warnings": [
      "w"
    ],
    "details": {{}}
  }},
  "hashes": {{
    "feasibility_sha256": "{digest}",
    "toolpaths_sha256": null,
    "gcode_sha256": null,
    "opplan_sha256": null
  }},
  "outputs": {{
    "gcode_text": "G0",
    "opplan_json": null,
    "gcode_path": null,
    "opplan_path": null,
    "preview_svg_path": null
  }},
  "advisory_inputs": [],
  "explanation_status": "NONE",
  "explanation_summary": null,
  "attachments": null,
  "context": {{
    "batch_label": "B"
  }},
  "meta": {{
    "k": 1
  }}
}}"""
    explanation = """{
  "status": "READY",
  "summary": "Because.",
  "updated_at_utc": "2025-12-17T23:59:02.000000Z"
}"""
    advisory = """{
  "advisory_id": "adv-1",
  "kind": "note",
  "created_at_utc": "2025-12-17T23:59:01.000000Z",
  "request_id": null,
  "engine_id": null,
  "engine_version": null
}"""
    assert tree_of(root) == {
        CORE: core.encode(),
        f"{DAY}/{RUN}_advisory_adv-1.json": advisory.encode(),
        EXPLANATION: explanation.encode(),
    }
    assert {os.stat(root / path).st_mode & 0o777 for path in tree_of(root)} == {0o444}


def test_an_empty_context_is_left_out(open_files, root):
    feed(open_files(), Story().created().events)
    assert b'"context"' not in (root / CORE).read_bytes()


def test_files_are_0444_whatever_the_umask(open_files, root):
    before = os.umask(0o077)
    try:
        feed(open_files(), Story().created().events)
    finally:
        os.umask(before)
    assert os.stat(root / CORE).st_mode & 0o777 == 0o444


def test_two_advisories_whose_ids_clean_to_the_same_name_are_both_kept(open_files, root):
    feed(open_files(), Story().created().advisory("a/b").advisory("a_b").events)
    hashed = hashlib.sha256(b"a/b").hexdigest()[:12]
    names = {path for path in tree_of(root) if "_advisory_" in path}
    assert names == {f"{DAY}/{RUN}_advisory_a_b~{hashed}.json", f"{DAY}/{RUN}_advisory_a_b.json"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 64 + "~" + hashlib.sha256(b"a" * 65).hexdigest()[:12]),
        ("é" * 512, "_" * 64 + "~" + hashlib.sha256("é".encode() * 512).hexdigest()[:12]),
        ("../x", "___x~" + hashlib.sha256(b"../x").hexdigest()[:12]),
        ("a~b", "a_b~" + hashlib.sha256(b"a~b").hexdigest()[:12]),
    ],
)
def test_a_long_or_unsafe_id_is_cut_and_told_apart_by_its_hash(text, expected):
    assert safe_id(text) == expected


def test_a_run_is_filed_under_its_utc_day_whatever_offset_its_time_has(open_files, root):
    story = Story().imported(created_at_utc="2025-12-17T23:30:00.000000-05:00")
    feed(open_files(), story.explained("READY").events)
    assert set(tree_of(root)) == {f"2025-12-18/{RUN}.json", f"2025-12-18/{RUN}_explanation.json"}


def test_of_several_contents_for_one_path_in_a_batch_only_the_last_is_written(open_files, root, monkeypatch):
    replaced = []
    real = os.replace
    monkeypatch.setattr(tree.os, "replace", lambda a, b, **kw: (replaced.append(b), real(a, b, **kw)))
    feed(open_files(), Story().created().explained("PENDING").explained("READY").events)
    assert sorted(replaced) == [f"{RUN}.json", f"{RUN}_explanation.json"]


def test_nothing_is_written_twice(open_files, root):
    events = rich_story().events
    feed(open_files(), events)
    before = {path: os.stat(root / path) for path in tree_of(root)}
    files = open_files()
    files.reset()
    feed(files, events)
    assert {path: os.stat(root / path) for path in tree_of(root)} == before


@pytest.mark.parametrize("state", range(1, 4))
def test_every_state_that_the_log_gave_an_explanation_is_ours(state, open_files, root, tmp_path):
    story = Story().created().explained("PENDING").explained("READY", "s").explained("ERROR")
    files = open_files()
    feed(files, story.events)
    (earlier,) = (c for p, c in current(story.events[: state + 1]).items() if p == EXPLANATION)
    tamper(root / EXPLANATION, earlier)
    story.explained("READY", "again")
    feed(files, story.events)
    assert tree_of(root) == expected_tree(story.events)
    assert quarantined(tmp_path) == {}


def test_the_files_of_a_withdrawn_run_are_removed(open_files, root):
    story = Story().created().created(OTHER).advisory("a/b").explained("READY").withdrawn()
    feed(open_files(), story.events, batch=2)
    assert set(tree_of(root)) == {f"{DAY}/{OTHER}.json"}


def test_a_changed_file_of_a_withdrawn_run_is_kept_in_quarantine(open_files, root, tmp_path):
    story = Story().created()
    files = open_files()
    feed(files, story.events)
    tamper(root / CORE)
    feed(files, story.withdrawn().events)
    assert tree_of(root) == {}
    assert list(quarantined(tmp_path).values()) == [b"tampered"]


def test_an_import_after_a_withdrawal_begins_the_files_anew(open_files, root):
    story = rich_story()
    feed(open_files(), story.events, batch=3)
    assert set(tree_of(root)) == {
        f"2024-02-29/{RUN}.json",
        f"2024-02-29/{RUN}_advisory_{safe_id('a/b')}.json",
        f"2024-02-29/{RUN}_explanation.json",
    }
    assert tree_of(root) == expected_tree(story.events)


@pytest.mark.parametrize("batch", [1, 2, 5, 1000])
def test_folding_from_nothing_gives_the_same_tree_byte_for_byte(batch, open_files, root, tmp_path):
    events = rich_story().events
    feed(open_files(), events, batch)
    feed(open_files("rebuilt"), events)
    assert tree_of(tmp_path / "rebuilt") == tree_of(root) == expected_tree(events)


def test_another_root_starts_over(open_files, tmp_path):
    feed(open_files(), Story().created().events)
    assert open_files("elsewhere").saved() is None
    assert open_files().saved() == saved_at(1)


@pytest.mark.parametrize("what", ["the root", "its days"])
def test_a_deleted_tree_comes_back_the_same_and_why_is_told(what, open_files, root):
    story = rich_story()
    feed(open_files(), story.events)
    before = tree_of(root)
    if what == "the root":
        shutil.rmtree(root)
    else:
        (root / "notes.txt").write_bytes(b"of others")
        for day in root.glob("????-??-??"):
            shutil.rmtree(day)
    with capture_logs() as logs:
        files = open_files()
    assert [(line["event"], line["name"], line["log_level"]) for line in logs] == [
        ("projection.starts_over", "files", "warning")
    ]
    assert files.saved() is None
    feed(files, story.events, batch=3)
    (root / "notes.txt").unlink(missing_ok=True)
    assert tree_of(root) == before
    assert files.quarantined == 0


def test_a_tree_that_is_rightly_empty_starts_over_no_more_than_once(open_files, root):
    """Also where nobody but the withdrawn had a day; and where there was no run yet, never."""
    feed(open_files(), [])
    assert open_files().saved() is None
    story = Story().created().withdrawn()
    feed(open_files(), story.events)
    assert open_files().saved() == saved_at(2)
    shutil.rmtree(root)
    feed(open_files(), story.events)
    assert tree_of(root) == {}
    assert open_files().saved() == saved_at(2)


def test_a_tree_that_is_out_of_reach_does_not_start_over(open_files, root):
    """What cannot be seen is not known to be gone."""
    feed(open_files(), Story().created().events)
    root.rename(root.with_name("away"))
    root.write_bytes(b"in its place")
    assert open_files().saved() == saved_at(1)


def test_a_missing_root_is_made_and_stray_tmp_files_are_removed_at_start(open_files, root):
    open_files()
    assert root.is_dir()
    tamper(root / DAY / "x.json.tmp")
    tamper(root / "notes" / "x.tmp")
    open_files()
    assert set(tree_of(root)) == {"notes/x.tmp"}


def test_an_event_of_an_unknown_type_is_never_skipped(open_files):
    with pytest.raises(UnknownEvent):
        open_files().apply(Story().add("run.created.v2", {}).events[0])


def test_the_state_is_plain_sqlite_in_wal_mode(open_files, tmp_path):
    open_files()
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "files.sqlite")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
