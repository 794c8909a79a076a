import os

import pytest

from projections.check import check
from projections.run.events import UnknownEvent
from tests.projections.story import CORE, DAY, EXPLANATION, OTHER, RUN, Story, feed, rich_story, saved_at, tamper


def test_a_check_of_a_right_tree_finds_nothing(open_files, root, tmp_path):
    story = rich_story()
    feed(open_files(), story.events)
    report = check(story.events, root, saved_at(len(story.events)))
    assert report.is_good
    assert report.files == 3
    assert not list((tmp_path / "data").glob("check-*"))


def test_a_check_names_every_missing_changed_and_foreign_file(open_files, root, tmp_path):
    story = Story().created().created(OTHER).explained("READY").advisory("x").created("run_00000000000f")
    story.withdrawn("run_00000000000f")
    feed(open_files(), story.events)
    (root / CORE).unlink()
    tamper(root / EXPLANATION)
    other = root / DAY / f"{OTHER}.json"
    other.rename(root / "moved")
    other.symlink_to(root / "moved")
    tamper(root / DAY / "run_00000000000f.json")
    tamper(root / DAY / "stray.json.tmp")
    tamper(root / "notes" / "readme")
    tamper(root / os.fsdecode(b"\xff\n"))
    report = check(story.events, root, saved_at(len(story.events)))
    assert report.missing == [CORE]
    assert report.changed == [f"{DAY}/{OTHER}.json", EXPLANATION]
    assert set(report.foreign) == {
        "moved",
        "\\xff\n",
        f"{DAY}/run_00000000000f.json",
        f"{DAY}/stray.json.tmp",
        "notes/readme",
    }


def test_a_check_beside_a_server_expects_nothing_of_events_beyond_the_saved_position_and_allows_it(
    open_files, root, tmp_path
):
    story = Story().created().explained("PENDING").created(OTHER)
    later = story.explained("READY").withdrawn(OTHER).created("run_00000000000f").events
    for done in (3, len(later)):
        feed(open_files(), later[:done])
        assert check(later, root, saved_at(3)).is_good


def test_a_check_of_a_tree_that_is_gone_misses_everything(tmp_path):
    events = Story().created().events
    assert check(events, tmp_path / "nowhere", saved_at(1)).missing == [CORE]
    assert check(events, tmp_path / "nowhere", None).is_good


@pytest.mark.parametrize("run_id", [RUN, OTHER], ids=["of a run", "of no run"])
def test_a_check_that_meets_an_event_of_an_unknown_type_names_it_rather_than_guess(tmp_path, run_id):
    events = Story().created().add("run.renamed", {}, run_id).events
    with pytest.raises(UnknownEvent) as unknown:
        check(events, tmp_path / "runs", saved_at(1))
    assert (unknown.value.seq, unknown.value.type) == (1, "rmos.run.renamed.v1")
