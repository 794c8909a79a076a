"""A rebuild without a server: it equals what was fed event by event, and can be ended anywhere."""

import sqlite3
from contextlib import closing

import pytest
from attrs import evolve
from structlog.testing import capture_logs

from projections.known import NAMES
from projections.offline import catch_up, locked, opened, rebuild
from projections.projection import ProjectionFailed
from projections.stopped import facts_of, note, noted
from tests.projections.logs import append, many, run_id_of
from tests.projections.story import tree_of

DATABASES = ("catalog", "stats")


class Ended(Exception):
    """What ends a rebuild in these tests."""


def rows(path):
    """Every row and the schema; of the files' own state too."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        schema = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        return schema, {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables}


def state_of(data_dir):
    return {name: rows(data_dir / f"{name}.sqlite") for name in NAMES}, tree_of(data_dir / "runs")


def fed_in_pieces(data_dir, told, pieces=4):
    """A log and projections that were fed as it grew."""
    step = len(told) // pieces + 1
    for begin in range(0, len(told), step):
        append(data_dir, told[begin : begin + step])
        catch_all_up(data_dir)


def catch_all_up(data_dir):
    with opened(data_dir) as (_, log):
        catch_up(log, data_dir, data_dir / "runs", lambda _done: None)


def rebuild_all(data_dir, on_progress=lambda _done: None, names=NAMES):
    with opened(data_dir) as (_, log), locked(data_dir):
        for name in names:
            rebuild(name, log, data_dir, data_dir / "runs", on_progress)


def test_what_was_rebuilt_equals_what_was_fed_in_pieces_with_withdrawals_and_imports(tmp_path):
    fed_in_pieces(tmp_path, many(300))
    before = state_of(tmp_path)
    assert before[1]
    rebuild_all(tmp_path)
    assert state_of(tmp_path) == before
    assert not list(tmp_path.glob("*.new*"))


def test_what_was_rebuilt_goes_on_as_what_was_fed_in_pieces(tmp_path):
    """With its indexes, its WAL, and its position."""
    told = many(200)
    fed_in_pieces(tmp_path / "fed", told)
    append(tmp_path / "rebuilt", told[:500])
    rebuild_all(tmp_path / "rebuilt")
    append(tmp_path / "rebuilt", told[500:])
    catch_all_up(tmp_path / "rebuilt")
    assert tree_of(tmp_path / "rebuilt" / "runs").keys() == tree_of(tmp_path / "fed" / "runs").keys()
    for name in DATABASES:
        schema, tables = rows(tmp_path / "rebuilt" / f"{name}.sqlite")
        fed_schema, fed_tables = rows(tmp_path / "fed" / f"{name}.sqlite")
        assert schema == fed_schema
        assert {table: len(found) for table, found in tables.items()} == {
            table: len(found) for table, found in fed_tables.items()
        }


@pytest.mark.parametrize("name", DATABASES)
def test_a_rebuild_that_was_ended_leaves_the_old_state_and_a_second_one_starts_over(tmp_path, name):
    fed_in_pieces(tmp_path, many(100), pieces=1)
    before = rows(tmp_path / f"{name}.sqlite")

    def end(_done):
        raise Ended

    with pytest.raises(Ended):
        rebuild_all(tmp_path, end, [name])
    assert rows(tmp_path / f"{name}.sqlite") == before
    (tmp_path / f"{name}.sqlite.new").write_bytes(b"what a killed process left" * 500)
    rebuild_all(tmp_path, names=[name])
    assert rows(tmp_path / f"{name}.sqlite") == before
    assert not list(tmp_path.glob("*.new*"))


def test_a_files_rebuild_that_was_ended_is_gone_on_with(tmp_path):
    """The tree is there all the time; the state says how far it is known to be right."""
    fed_in_pieces(tmp_path, many(100), pieces=1)
    before = state_of(tmp_path)

    def end(_done):
        raise Ended

    with pytest.raises(Ended):
        rebuild_all(tmp_path, end, ["files"])
    assert tree_of(tmp_path / "runs") == before[1]
    catch_all_up(tmp_path)
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("run_id", [run_id_of(1), run_id_of(999)], ids=["of a run", "of no run"])
@pytest.mark.parametrize("name", NAMES)
def test_an_event_of_an_unknown_type_stops_a_rebuild_and_names_the_event(tmp_path, name, run_id):
    fed_in_pieces(tmp_path, many(20), pieces=1)
    before = {each: rows(tmp_path / f"{each}.sqlite") for each in DATABASES}
    append(tmp_path, [("run.renamed", run_id, {})])
    with pytest.raises(ProjectionFailed, match=r"rmos\.run\.renamed\.v1") as failed:
        rebuild_all(tmp_path, names=[name])
    assert failed.value.seq == len(many(20))
    assert {each: rows(tmp_path / f"{each}.sqlite") for each in DATABASES} == before


@pytest.mark.parametrize("stopper", ["unknown", "damaged", "missing"])
@pytest.mark.parametrize("name", NAMES)
def test_what_stops_a_projection_is_logged_with_its_place(tmp_path, name, stopper):
    append(tmp_path, [*many(3), ("run.renamed" if stopper == "unknown" else "run.withdrawn", run_id_of(1), {})])
    with opened(tmp_path) as (_, log), locked(tmp_path):
        (segment,) = (tmp_path / "log" / "segments").iterdir()
        *before, last = segment.read_bytes().splitlines(True)
        if stopper == "damaged":
            segment.write_bytes(b"".join([*before, last.replace(b'"actor":', b'"Actor":')]))
        if stopper == "missing":
            segment.rename(tmp_path / "elsewhere")
        with capture_logs() as lines, pytest.raises(ProjectionFailed):
            rebuild(name, log, tmp_path, tmp_path / "runs", lambda _done: None)
    (line,) = [line for line in lines if line["event"] == "projection.failed"]
    place = (None, None, 0) if stopper == "missing" else (segment.name, sum(map(len, before)), len(before))
    assert (line["segment"], line["offset"], line["seq"]) == place
    assert line["log_level"] == "error"


@pytest.mark.parametrize("name", NAMES)
def test_what_stops_a_projection_is_noted_until_it_gets_over_it(tmp_path, name):
    fed_in_pieces(tmp_path, many(20), pieces=1)
    append(tmp_path, [("run.renamed", run_id_of(1), {})])
    with pytest.raises(ProjectionFailed) as failed:
        catch_all_up(tmp_path)
    assert noted(tmp_path, name) == facts_of(evolve(failed.value, name=name))
    segment = next((tmp_path / "log" / "segments").iterdir())
    segment.write_bytes(segment.read_bytes().replace(b'"mode":', b'"Mode":', 1))
    with pytest.raises(ProjectionFailed) as earlier:
        rebuild_all(tmp_path, names=[name])
    assert earlier.value.seq == 0
    # A database keeps its old state, which is beyond that; the files start over, and stop there.
    assert noted(tmp_path, name)["seq"] == (0 if name == "files" else failed.value.seq)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["caught up", "rebuilt"])
def test_a_note_of_what_stopped_a_projection_goes_when_it_is_at_the_head(tmp_path, name, way):
    append(tmp_path, many(20))
    note(tmp_path, ProjectionFailed(name, 3, "", "what was mended"))
    if way == "caught up":
        catch_all_up(tmp_path)
    else:
        rebuild_all(tmp_path, names=[name])
    assert list(tmp_path.glob("*.failed.json")) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE saved SET version = version + 1",
        "UPDATE saved SET log_id = 'another'",
        "UPDATE saved SET next_seq = 1000000000",
    ],
)
def test_a_state_of_another_version_or_log_or_beyond_the_end_is_folded_anew(tmp_path, change):
    fed_in_pieces(tmp_path, many(20), pieces=1)
    before = state_of(tmp_path)
    for name in NAMES:
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as db, db:
            db.execute(change)
            if name != "files":
                db.execute("DELETE FROM run")
    catch_all_up(tmp_path)
    assert state_of(tmp_path) == before
