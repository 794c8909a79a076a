"""A backup beside a running server, put back elsewhere; and a witness that keeps an older copy from going on."""

import threading
from pathlib import Path

from tests.api.test_witness import WAIT_S, Witnessed, WitnessProcess
from tests.commands import migrate, record, runlog, written
from tests.server import Server, body, free_port, until


class Posting:
    """A client that posts runs, unhurried, for as long as the block lasts."""

    def __init__(self, server: Server) -> None:
        self._server, self._stop, self._thread = server, threading.Event(), threading.Thread(target=self._post)
        self.posted = 0

    def __enter__(self) -> "Posting":
        self._thread.start()
        until(lambda: self.posted, "a first run is posted", WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)

    def _post(self) -> None:
        while not self._stop.wait(0.02):
            assert self._server.post("/runs", body()).status == 201
            self.posted += 1


def backed_up(data_dir: Path, folder: Path) -> int:
    """Take a backup that must be good, and return how many events it has."""
    done = runlog("backup", folder, "--data-dir", data_dir, "--json")
    assert done.code == 0, done.err
    assert done.json["ok"]
    assert done.json["unsigned"] == 0
    size: int = done.json["size"]
    return size


def restored(folder: Path, data_dir: Path) -> None:
    done = runlog("restore", folder, "--data-dir", data_dir, "--json")
    assert done.code == 0, done.err


def test_what_was_acknowledged_before_a_backup_comes_back_and_an_older_one_does_not_go_on(tmp_path: Path) -> None:
    server, folder = Witnessed(tmp_path), tmp_path / "backup"
    server.start()
    vkey = server.get("/log/key").body.decode().strip()
    witness = WitnessProcess(tmp_path, vkey)
    new = Witnessed(tmp_path / "new")
    new.folder.mkdir()
    try:
        key = witness.start()
        server.stop()
        server.ask(witness.url, key)
        with (server.data_dir / "runlog.toml").open("a") as file:
            file.write("segment_bytes_max = 16384\n")
        server.start()

        # Beside a server that is written to: all that was acknowledged before is in it, and it is whole.
        with Posting(server) as posting:
            runs = [server.create(outputs={"gcode_text": f"G1 X{n}\n" * 30_000}) for n in range(3)]
            runs.append(server.create())
            acknowledged = runs[-1]["log"]["last_seq"] + 1
            size = backed_up(server.data_dir, folder)
        assert size >= acknowledged
        assert posting.posted > 1
        assert runlog("log", "verify", "--data-dir", folder, "--key", vkey).code == 0

        # What comes later is known to the witness. The older backup, put back, is refused while the witness says so.
        last = server.create()
        until(lambda: server.is_cosigned(key, last["log"]["seq"] + 1), "the newest checkpoint is cosigned", WAIT_S)
        server.stop()
        restored(folder, tmp_path / "older")
        older = runlog("serve", "--data-dir", tmp_path / "older", "--port", free_port())
        assert older.code == 3
        assert "log.older_than_known" in older.err
        witness.stop()
        unheard = runlog("serve", "--data-dir", tmp_path / "older", "--port", free_port())
        assert unheard.code == 3
        assert "could not be asked" in unheard.err

        # The newest one is asked for too, and goes on.
        assert backed_up(server.data_dir, folder) > size
        restored(folder, new.data_dir)
        assert (new.data_dir / "restored.json").exists()
        assert witness.start() == key
        new.start()
        assert not (new.data_dir / "restored.json").exists()
        for run in (*runs, last):
            assert new.run(run["run_id"]) == run
        for run in runs[:3]:
            assert new.get(f"/runs/{run['run_id']}/attachments/verify").json["all_valid"]
        assert new.create()["log"]["seq"] > last["log"]["seq"]
        new.stop()
        assert runlog("log", "verify", "--data-dir", new.data_dir, "--key", vkey).code == 0
        assert backed_up(new.data_dir, folder) > size
    finally:
        server.stop()
        new.stop()
        witness.stop()
    assert "Traceback" not in server.output() + new.output() + witness.output


def test_a_bad_copy_ends_with_1_a_refusal_with_3_and_neither_changes_anything(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "backup"
    assert migrate(written(tmp_path, record("run_0123456789ab")), data, "--no-backup").code == 0
    backed_up(data, folder)
    (segment,) = (folder / "log" / "segments").glob("*.jsonl")
    segment.chmod(0o600)
    segment.write_bytes(segment.read_bytes().replace(b"OK", b"KO", 1))
    bad = runlog("restore", folder, "--data-dir", tmp_path / "new", "--json")
    assert (bad.code, bad.json["ok"]) == (1, False)
    assert not (tmp_path / "new").exists()
    assert runlog("restore", folder, "--data-dir", data).code == 3
    assert runlog("restore", tmp_path / "nowhere", "--data-dir", tmp_path / "new").code == 2
    assert runlog("backup", folder, "--data-dir", tmp_path / "nowhere").code == 3
