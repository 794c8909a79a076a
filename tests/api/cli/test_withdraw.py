"""`runlog withdraw`: a run goes out of force with a reason, offline or through a server, and stays in the log."""

from pathlib import Path

import pytest

from api.http.wire import command_of
from projections.run.errors import InvalidCommand
from projections.run.model import Withdraw
from tests.commands import events_in, everything_under, migrate, record, runlog, written
from tests.server import NOBODY, Server, fresh_id, refused

REASON = "recorded twice; the right one is next to it"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of four runs that no server uses."""
    folder = tmp_path_factory.mktemp("withdraw")
    assert (
        migrate(written(folder, *(record(f"run_{n:012x}") for n in range(4))), folder / "data", "--no-backup").code == 0
    )
    return folder / "data"


def test_without_a_server_the_event_is_written_and_the_projections_follow(data_dir: Path) -> None:
    run_id = "run_000000000001"
    (file,) = (data_dir / "runs").rglob(f"{run_id}.json")
    done = runlog("withdraw", run_id, "--reason", REASON, "--data-dir", data_dir, "--json")
    assert done.code == 0, done.err
    event = events_in(data_dir)[-1]
    assert (event["type"], event["subject"], event["actor"]) == ("rmos.run.withdrawn.v1", run_id, "cli")
    assert event["data"] == {"reason": REASON}
    assert done.json == {"run_id": run_id, "reason": REASON, "at_utc": event["time"], "seq": 4}
    assert not file.exists()
    assert runlog("log", "verify", "--data-dir", data_dir).code == 0

    again = runlog("withdraw", run_id, "--reason", REASON, "--data-dir", data_dir)
    assert again.code == 3
    assert REASON in again.err
    assert len(events_in(data_dir)) == 5


@pytest.mark.parametrize("reason", ["short", "x" * 501, " " * 8, "two\nlines", "a bell \a"])
def test_a_reason_of_another_length_or_with_control_characters_will_not_do(reason: str) -> None:
    with pytest.raises(InvalidCommand):
        command_of({"reason": reason}, Withdraw)


@pytest.mark.parametrize("reason", ["falsch", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 500])
def test_a_reason_is_counted_in_characters(reason: str) -> None:
    assert command_of({"reason": reason}, Withdraw).reason == reason


def test_a_reason_that_will_not_do_is_an_error_of_usage_and_nothing_is_written(data_dir: Path) -> None:
    before = len(events_in(data_dir))
    for reason in ("short", b"not UTF-8 \xff".decode("utf-8", "surrogateescape")):
        assert runlog("withdraw", "run_000000000002", "--reason", reason, "--data-dir", data_dir).code == 2
    assert len(events_in(data_dir)) == before


def test_a_run_or_a_log_that_is_not_there_is_refused_and_none_is_made(data_dir: Path, tmp_path: Path) -> None:
    for run_id in (fresh_id(), "../x"):
        unknown = runlog("withdraw", run_id, "--reason", REASON, "--data-dir", data_dir)
        assert unknown.code == 3
        assert "There is no run" in unknown.err
    assert runlog("withdraw", NOBODY, "--reason", REASON, "--data-dir", tmp_path / "none").code == 3
    assert everything_under(tmp_path) == {}


def test_beside_a_server_it_is_refused_with_the_servers_pid_and_goes_through_it_with_url(server: Server) -> None:
    run_id = server.create()["run_id"]
    beside = runlog("withdraw", run_id, "--reason", REASON, "--data-dir", server.data_dir)
    assert beside.code == 3
    assert str(server.pid) in beside.err
    assert "--url" in beside.err
    assert server.get(f"/runs/{run_id}").status == 200

    url = f"http://127.0.0.1:{server.port}"
    done = runlog("withdraw", run_id, "--reason", REASON, "--url", url, "--json")
    assert done.code == 0, done.err
    problem = refused(server.get(f"/runs/{run_id}"), 410, "RUN_WITHDRAWN")
    assert done.json == {"run_id": run_id, **{name: problem[name] for name in ("reason", "at_utc", "seq")}}
    again = runlog("withdraw", run_id, "--reason", REASON, "--url", url)
    assert again.code == 3
    assert "RUN_WITHDRAWN" in again.err
