"""`migrate --url` and `rollback --url`: through a running server, with the verdicts that the offline ones have."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.commands import V1_FILE, events_in, migrate, record, runlog, written
from tests.server import FILES, ROOT, Server, clean_environment, digest, faults, refused, until

V1 = json.loads(V1_FILE.read_bytes())
BLOB = "079a3f9b4a549997874e06798233ced96fee7cf8902ace429ad9872a61b581ea"
OTHER_BLOB = "cc883ac2b3b430bec5ff38d861923eeccdc3d14eb0a6f435847e98add7b08e5d"
SAME = ("total", "imported", "unchanged", "conflicts", "failed", "errors", "notes")
AS_LINES = {"Content-Type": "application/x-ndjson"}
HEAD = {"import": {"v1_path": "v1.json", "v1_sha256": "0" * 64}}


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def log_bytes(server: Server) -> int:
    return sum(path.stat().st_size for path in (server.data_dir / "log" / "segments").glob("*.jsonl"))


def test_a_server_imports_the_real_file_and_shows_it_when_the_command_ends(own_server: Server) -> None:
    path = Path(shutil.copy(V1_FILE, own_server.folder / "v1.json"))
    rehearsed = migrate(path, own_server.data_dir, "--dry-run")
    ran = migrate(path, own_server.data_dir, "--url", url_of(own_server))
    assert ran.code == 0, ran.err
    assert {name: ran.json[name] for name in SAME} == {name: rehearsed.json[name] for name in SAME}
    assert ran.json["imported"] == 39
    assert own_server.get("/runs", query={"limit": 200}).json["count"] == 39
    positions = own_server.request("GET", "/readyz").json["projections"].values()
    assert {one["position"] for one in positions} == {38}
    kept = json.loads((own_server.data_dir / "imports" / f"{ran.json['import_id']}.json").read_bytes())
    assert (kept["state"], kept["v1_sha256"], kept["backup"]) == (
        "done",
        digest(V1_FILE.read_bytes()),
        ran.json["backup"],
    )
    assert kept["counts"]["imported"] == 39
    again = migrate(path, own_server.data_dir, "--url", url_of(own_server), "--no-backup")
    assert (again.code, again.json["unchanged"]) == (0, 39)
    assert runlog("verify", "--v1-path", path, "--data-dir", own_server.data_dir, "--json").json["same"] == 39


def test_every_verdict_is_that_of_a_rehearsal_and_in_its_order(own_server: Server, tmp_path: Path) -> None:
    blobs = own_server.folder / "blobs"
    shutil.copytree(FILES, blobs)
    good = record("run_" + "0" * 16, attachments=[{"sha256": BLOB}], explanation_status="READY", note="two\nlines — ü")
    lines = {
        "x": record("x"),
        good["run_id"]: good,
        "run_" + "1" * 16: record("run_" + "1" * 16, status="MAYBE"),
        "run_" + "2" * 16: record("run_" + "2" * 16, attachments=[{"sha256": "0" * 64}]),
        "run_" + "3" * 16: 3,
    }
    text = json.dumps(lines, indent=2)[:-2] + ',"run_4444444444444444": {"a": NaN}, "run_5555555555555555": {"a" 1}}'
    path = tmp_path / "v1.json"
    path.write_text(text)
    options = ("--v1-attachments", blobs)
    rehearsed = migrate(path, own_server.data_dir, "--dry-run", *options)
    ran = migrate(path, own_server.data_dir, "--url", url_of(own_server), "--batch-size", 2, *options)
    assert ran.code == rehearsed.code == 1
    assert {name: ran.json[name] for name in SAME} == {name: rehearsed.json[name] for name in SAME}
    assert (ran.json["imported"], ran.json["failed"]) == (2, 5)
    served = own_server.get(f"/runs/{good['run_id']}/attachments/{BLOB}/download")
    assert digest(served.body) == BLOB
    compared = runlog("verify", "--v1-path", path, "--data-dir", own_server.data_dir, "--json")
    assert (compared.json["same"], len(compared.json["missing"]), compared.json["different"]) == (2, 5, [])
    stored = [each for each in (own_server.data_dir / "attachments").rglob("*") if each.is_file()]
    path = written(tmp_path, good | {"attachments": [{"sha256": OTHER_BLOB}]})
    again = migrate(path, own_server.data_dir, "--url", url_of(own_server), *options)
    assert (again.code, again.json["conflicts"]) == (1, 1)
    assert [each for each in (own_server.data_dir / "attachments").rglob("*") if each.is_file()] == stored


def test_a_text_that_ends_too_early_keeps_what_was_before_it(own_server: Server, tmp_path: Path) -> None:
    path = written(tmp_path, record("run_" + "0" * 16), record("run_" + "1" * 16))
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    ran = migrate(path, own_server.data_dir, "--url", url_of(own_server))
    assert (ran.code, ran.json["imported"]) == (1, 1)
    assert ran.json["errors"] == migrate(path, own_server.data_dir, "--dry-run").json["errors"]
    assert f"from byte {len(content) - 20} on" in ran.json["errors"][-1]["reason"]


def test_an_import_whose_server_is_killed_goes_on_under_its_id(own_server: Server, tmp_path: Path) -> None:
    runs = [record(f"run_{number:016x}", advisory_inputs=["a"]) for number in range(6_000)]
    path = written(tmp_path, *runs)
    command = [sys.executable, "-m", "api.cli.__main__", "migrate", "--v1-path", str(path), "--json"]
    command += ["--data-dir", str(own_server.data_dir), "--url", url_of(own_server)]
    first = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: log_bytes(own_server) > 500_000, "it has begun", 30)
    own_server.kill()
    out, told = first.communicate(timeout=60)
    assert first.returncode == 3, told
    assert b"Traceback" not in told
    assert b"goes on" in told
    assert json.loads(out)["backup"]["sha256"] == digest(path.read_bytes())
    own_server.start()
    ran = migrate(path, own_server.data_dir, "--url", url_of(own_server))
    assert ran.code == 0, ran.err
    assert ran.json["imported"] + ran.json["unchanged"] == 6_000
    assert ran.json["unchanged"] > 0
    events = events_in(own_server.data_dir)
    assert len(events) == 12_000
    ids = {event["data"]["import_id"] for event in events if event["type"] == "rmos.run.imported.v1"}
    assert ids == {ran.json["import_id"]}
    (kept,) = (own_server.data_dir / "imports").iterdir()
    assert json.loads(kept.read_bytes())["counts"]["imported"] == 6_000
    assert len(list(tmp_path.glob("v1.json.backup-*"))) == 1


def test_a_rollback_through_a_server_withdraws_and_a_new_import_begins_anew(own_server: Server) -> None:
    path = Path(shutil.copy(V1_FILE, own_server.folder / "v1.json"))
    backup = migrate(path, own_server.data_dir, "--url", url_of(own_server)).json["backup"]["path"]
    options = ("--v1-path", path, "--data-dir", own_server.data_dir, "--url", url_of(own_server), "--yes", "--json")
    ran = runlog("rollback", "--backup", backup, *options)
    assert ran.code == 0, ran.err
    assert (ran.json["withdrawn"], ran.json["restored"]) == (39, True)
    run_id = next(iter(V1))
    refused(own_server.get(f"/runs/{run_id}"), 410, "RUN_WITHDRAWN")
    assert own_server.get("/runs").json["count"] == 0
    assert migrate(path, own_server.data_dir, "--url", url_of(own_server)).json["imported"] == 39
    assert own_server.run(run_id)["log"]["revision"] == 2


def test_a_url_where_no_server_answers_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, record("run_" + "0" * 16))
    for url in ("http://127.0.0.1:9", "nonsense"):
        ran = migrate(path, tmp_path / "data", "--url", url)
        assert (ran.code, ran.out) == (3, ""), ran.err
    assert list(tmp_path.iterdir()) == [path]


def test_who_may_not_import_is_refused_before_anything_is_made_or_restored(own_server: Server) -> None:
    path = written(own_server.folder, record("run_" + "0" * 16))
    told = {"v1-path": path, "data-dir": own_server.data_dir, "url": url_of(own_server)}
    options = [word for name, value in told.items() for word in (f"--{name}", value)]
    imported = runlog("migrate", *options, "--json").json
    path.write_text("{}")
    added = runlog("keys", "add", "line-1", "--role", "producer", "--data-dir", own_server.data_dir, "--json")
    before = set(own_server.folder.iterdir())
    for command in (["migrate"], ["rollback", "--yes", "--backup", imported["backup"]["path"]]):
        ran = runlog(*command, *options, "--json", RUNLOG_API_KEY=added.json["key"])
        assert (ran.code, ran.out) == (3, "")
        assert "403" in ran.err
    assert set(own_server.folder.iterdir()) == before
    assert path.read_text() == "{}"


def test_what_is_no_import_is_refused_in_the_usual_shape(own_server: Server) -> None:
    refused(own_server.post("/admin/import", b"{}\n"), 415, "UNSUPPORTED_MEDIA_TYPE")
    refused(own_server.post("/admin/import", b"", AS_LINES), 422, "VALIDATION_ERROR")
    refused(own_server.post("/admin/import", b"nonsense\n", AS_LINES), 400, "MALFORMED_JSON")
    head = json.dumps(HEAD).encode() + b"\n"
    for line in (b"[]", b'{"run_id":1}', b'{"blob":{"sha256":"x"}}', b'{"a":NaN}', b'{"end":true,"failed":-1}'):
        answer = own_server.post("/admin/import", head + line + b"\n", AS_LINES)
        assert answer.status == 200
        lines = [json.loads(one) for one in answer.body.splitlines()]
        assert (lines[1]["status"], lines[1]["error"]) == (422, "VALIDATION_ERROR")
    for backup in ({"path": "b.json", "sha256": [None]}, {"path": 1, "sha256": "0" * 64}, {"path": "b.json"}):
        line = json.dumps({"import": {"v1_path": "v1.json", "v1_sha256": "0" * 64, "backup": backup}}).encode()
        assert faults(own_server.post("/admin/import", line, AS_LINES)) == ["$.import.backup"]
    assert own_server.post("/admin/import", head, AS_LINES).status == 200  # no record that cannot be read was left
    huge = own_server.post("/admin/import", head + b'{"run_id":"' + b"x" * (33 << 20), AS_LINES)
    assert json.loads(huge.body.splitlines()[-1])["status"] == 413
    assert events_in(own_server.data_dir) == []


def test_what_came_before_a_line_that_is_none_is_recorded_and_told(own_server: Server) -> None:
    one = record("run_0000000000000001")
    lines = [HEAD, {"run_id": one["run_id"], "record": one}, {"zzz": 1}]
    answer = own_server.post("/admin/import", b"\n".join(json.dumps(line).encode() for line in lines), AS_LINES)
    _, imported, refused_line = (json.loads(line) for line in answer.body.splitlines())
    assert (imported["run_id"], imported["outcome"]) == (one["run_id"], "imported")
    assert refused_line["status"] == 422
    assert "send all over again" in refused_line["message"]
    assert len(events_in(own_server.data_dir)) == 1


def test_an_import_outlives_a_client_that_is_killed(own_server: Server, tmp_path: Path) -> None:
    """What came is kept, and the same file again goes on."""
    runs = [record(f"run_{number:016x}") for number in range(6_000)]
    path = written(tmp_path, *runs)
    command = [sys.executable, "-m", "api.cli.__main__", "migrate", "--v1-path", str(path), "--no-backup"]
    command += ["--data-dir", str(own_server.data_dir), "--url", url_of(own_server)]
    client = subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: log_bytes(own_server) > 500_000, "it has begun", 30)
    client.send_signal(signal.SIGKILL)
    client.communicate()
    ran = migrate(path, own_server.data_dir, "--url", url_of(own_server), "--no-backup")
    assert ran.json["imported"] + ran.json["unchanged"] == 6_000
    assert len(events_in(own_server.data_dir)) == 6_000
