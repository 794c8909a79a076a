"""`runlog log replay`: what the log says the runs were then, equal to what `?at=` gives, beside a server too."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import V1_FILE, migrate, runlog
from tests.server import NOBODY, Server


def replayed(server: Server, *options: object) -> list[dict[str, Any]]:
    ran = runlog("log", "replay", "--data-dir", server.data_dir, *options)
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def test_it_gives_at_every_event_what_the_server_gives_for_that_moment(own_server: Server) -> None:
    first, second = own_server.create(), own_server.create()
    ids = [first["run_id"], second["run_id"]]
    own_server.post(f"/runs/{ids[0]}/attach-advisory", {"advisory_id": "a"})
    own_server.post(f"/runs/{ids[1]}/explanation", {"status": "READY", "summary": "why"})
    own_server.post(f"/admin/runs/{ids[0]}/withdraw", {"reason": "cut twice"})
    for seq in range(5):
        expected = []
        for run_id in ids:
            answer = own_server.get(f"/runs/{run_id}", query={"at": seq, "include_withdrawn": "true"})
            expected += [answer.json] if answer.status == 200 else []
        assert replayed(own_server, "--until", seq) == expected
    assert replayed(own_server, "--until", second["created_at_utc"]) == [first, second]
    assert replayed(own_server, "--until", first["created_at_utc"], "--json") == [first]
    assert replayed(own_server, "--run", ids[1], "--until", 2) == [second]
    whole = replayed(own_server)
    assert [one["run_id"] for one in whole] == ids
    assert whole[0]["withdrawn"]["seq"] == 4
    assert whole == replayed(own_server, "--until", 1_000_000)


def test_a_run_that_is_not_there_and_a_moment_that_is_none_are_told(server: Server) -> None:
    server.create()
    assert runlog("log", "replay", "--data-dir", server.data_dir, "--run", NOBODY).code == 1
    assert runlog("log", "replay", "--data-dir", server.data_dir, "--until", "yesterday").code == 2
    assert runlog("log", "replay", "--data-dir", server.data_dir / "no").code == 3


def test_a_changed_event_is_never_shown(tmp_path: Path) -> None:
    migrate(V1_FILE, tmp_path / "data", "--no-backup")
    (segment,) = (tmp_path / "data" / "log" / "segments").iterdir()
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes().replace(b"helical", b"helixal", 1))
    ran = runlog("log", "replay", "--data-dir", tmp_path / "data")
    assert (ran.code, ran.out) == (1, "")
    assert "Event 0" in ran.err


@pytest.mark.parametrize("until", [None, 38])
def test_every_imported_run_is_replayed_as_it_is_served(own_server: Server, until: int | None) -> None:
    own_server.stop()
    migrate(V1_FILE, own_server.data_dir, "--no-backup")
    own_server.start()
    runs = replayed(own_server, *([] if until is None else ["--until", until]))
    assert runs == [own_server.run(run["run_id"]) for run in runs]
    assert len(runs) == 39
