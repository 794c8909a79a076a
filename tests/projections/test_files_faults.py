import hashlib
import os
from functools import partial

import pytest
from structlog.testing import capture_logs

from eventlog.batch import Stream
from eventlog.event import Origin
from eventlog.log import Log
from projections import quarantine, tree
from projections.files import Files
from tests.projections.story import (
    CORE,
    DAY,
    RUN,
    Story,
    expected_tree,
    feed,
    quarantined,
    rich_story,
    run,
    tamper,
    tree_of,
)


def fail(error, *_args, **_kwargs):
    raise error


def test_a_changed_file_is_quarantined_logged_and_repaired_by_a_rebuild(open_files, root, tmp_path):
    events = Story().created().events
    feed(open_files(), events)
    right = tree_of(root)
    tamper(root / CORE)
    files = open_files()
    files.reset()
    with capture_logs() as lines:
        feed(files, events)
    assert tree_of(root) == right
    assert quarantined(tmp_path) == {CORE.replace("/", "__"): b"tampered"}
    assert files.quarantined == 1
    (line,) = lines
    assert (line["log_level"], line["event"], line["path"]) == ("error", "file.changed_outside", CORE)
    assert line["expected_sha256"] == hashlib.sha256(right[CORE]).hexdigest()
    assert line["found_sha256"] == hashlib.sha256(b"tampered").hexdigest()


@pytest.mark.parametrize("path", [CORE, DAY])
def test_a_link_is_put_aside_and_never_followed(path, open_files, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{RUN}.json").write_bytes(b"keep me")
    files = open_files()
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).symlink_to(outside / f"{RUN}.json" if path == CORE else outside)
    events = Story().created().events
    feed(files, events)
    assert tree_of(root) == expected_tree(events)
    assert tree_of(outside) == {f"{RUN}.json": b"keep me"}
    assert files.quarantined == 1


@pytest.mark.parametrize("other_file_system", [False, True])
@pytest.mark.parametrize("suffix", ["", ".tmp"])
def test_a_folder_in_the_place_of_a_file_is_put_aside_whole(
    suffix, other_file_system, open_files, root, tmp_path, monkeypatch
):
    if other_file_system:
        monkeypatch.setattr(quarantine.os, "rename", partial(fail, OSError(18, "EXDEV")))
    files = open_files()
    (root / (CORE + suffix)).mkdir(parents=True)
    (root / (CORE + suffix) / "inside").write_text("x")
    feed(files, Story().created().events)
    assert (root / CORE).is_file()
    (kept,) = (tmp_path / "data" / "quarantine").iterdir()
    assert (kept / "inside").read_text() == "x"


class Crash(BaseException):
    pass


class Steps:
    """Counts the steps of commits; at step *n* the process dies."""

    def __init__(self, n):
        self.left = n

    def wrap(self, real):
        def step(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise Crash
            return real(*args, **kwargs)

        return step


class CrashingDatabase:
    def __init__(self, db, steps):
        self._db = db
        self.execute, self.executemany = steps.wrap(db.execute), steps.wrap(db.executemany)

    def __enter__(self):
        return self._db.__enter__()

    def __exit__(self, *error):
        return self._db.__exit__(*error)


@pytest.mark.parametrize("batch_after", [1, 1000])
def test_a_crash_between_any_two_steps_of_a_commit_converges_to_the_same_tree(batch_after, tmp_path, monkeypatch):
    events = rich_story().events
    for n in range(1, 1000):
        data, root = tmp_path / f"data{n}", tmp_path / f"runs{n}"
        data.mkdir()
        steps = Steps(n)
        files = Files(data, root)
        feed(files, events[:2])
        with monkeypatch.context() as patch:
            for name in ("open", "write", "replace", "unlink", "fsync", "mkdir", "fchmod"):
                patch.setattr(os, name, steps.wrap(getattr(os, name)))
            patch.setattr(tree, "_syncfs", steps.wrap(tree._syncfs))
            # Nothing may tidy up after a crash.
            patch.setattr(tree.Tree, "_remove_tmps", lambda *_: None)
            files._db = CrashingDatabase(files._db, steps)
            try:
                feed(files, events, batch=6)
                crashed = False
            except Crash:
                crashed = True
        files._db._db.close()
        again = Files(data, root)
        feed(again, events, batch_after)
        again.close()
        assert tree_of(root) == expected_tree(events), f"step {n}"
        assert (again.quarantined, crashed) == (0, True) or not crashed
        if not crashed:
            assert n > 40
            return
    raise AssertionError("never ran to the end")


def test_after_an_error_of_the_machine_the_same_events_can_be_committed_again(open_files, root, monkeypatch):
    events = rich_story().events
    files = open_files()
    with monkeypatch.context() as patch:
        patch.setattr(tree, "_syncfs", lambda _fd: -1)
        with pytest.raises(OSError):
            feed(files, events)
    assert files.saved() is None
    assert tree_of(root) == {}
    files.rollback()
    feed(files, events)
    assert tree_of(root) == expected_tree(events)


def test_each_file_is_fsynced_where_there_is_no_syncfs(open_files, root, monkeypatch):
    monkeypatch.setattr(tree, "_syncfs", None)
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    feed(open_files(), Story().created().events)
    assert f"{root / CORE}.tmp" in synced
    assert str(root / DAY) in synced


def test_a_state_that_is_no_database_is_made_anew(open_files, tmp_path, root):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "files.sqlite").write_bytes(b"rubbish" * 1000)
    files = open_files()
    assert files.saved() is None
    feed(files, Story().created().events)
    assert set(tree_of(root)) == {CORE}


async def test_what_a_later_event_gives_is_ours_while_a_lost_state_is_folded_anew(open_files, root, tmp_path):
    files, origin = open_files(), Origin("cli")
    log = Log.open(tmp_path / "data")
    created = log.draft("rmos.run.created.v1", RUN, {"run": run()}, origin)
    states = [{"status": "READY", "summary": text} for text in "abc"]
    explained = [log.draft("rmos.explanation.set.v1", RUN, state, origin) for state in states]
    await log.append([created, *explained], Stream.ABSENT, origin)
    events = log.read_stream(RUN)
    await log.close()
    feed(files, events)
    right = tree_of(root)
    files.reset()
    feed(files, events, batch=1)
    assert tree_of(root) == right
    assert files.quarantined == 0
    # An event whose bytes are damaged proves nothing.
    (segment,) = (tmp_path / "data" / "log" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b'"summary":"c"', b'"summary":"d"'))
    files.reset()
    feed(files, events, batch=1)
    assert tree_of(root) == right
    assert files.quarantined == 1
