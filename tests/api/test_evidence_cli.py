"""`runlog log …`: evidence as an operator takes it out of the log, beside a running server, and as an auditor checks it."""

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from api.cli.__main__ import main
from eventlog.batch import Stream
from eventlog.event import Origin
from eventlog.log import Log
from eventlog.merkle import leaf_hash
from eventlog.note import Note, signed_checkpoint
from eventlog.proof_text import LogProof
from eventlog.signing import COSIGNATURE, Signer
from tests.commands import everything_under, runlog
from tests.server import NOBODY, ROOT, Server, clean_environment, digest, until

GCODE = b"G0 X0\n" * 50_000


@pytest.fixture(scope="module")
def run(server: Server) -> str:
    """A run with an advisory and an attachment, all of it signed."""
    server.create()
    run_id = server.create(tool_id="=cmd|' /C calc'!A0", block_reason="<script>alert(1)</script>")["run_id"]
    server.post(f"/runs/{run_id}/attach-advisory", {"advisory_id": "a"})
    assert server.upload(run_id, GCODE, kind="gcode").status == 201
    server.create()
    assert server.get(f"/runs/{run_id}/proof").status == 200
    return str(run_id)


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.get("/log/key").body.decode().strip()


@pytest.mark.usefixtures("run")
def test_info_tells_the_key_that_the_server_tells(server: Server, key: str):
    ended = runlog("log", "info", "--data-dir", server.data_dir, "--json")
    assert ended.code == 0
    assert ended.json["key"] == key
    assert ended.json["checkpoint"]["size"] >= 5
    assert key in runlog("log", "info", "--data-dir", server.data_dir).out


@pytest.mark.usefixtures("run")
def test_verify_says_whether_the_log_holds_and_with_which_key(server: Server, key: str):
    ended = runlog("log", "verify", "--data-dir", server.data_dir)
    assert (ended.code, "self-consistent only" in ended.out) == (0, True)
    ended = runlog("log", "verify", "--data-dir", server.data_dir, "--key", key, "--json")
    assert (ended.code, ended.json["ok"], ended.json["bad"], ended.json["blobs"]) == (0, True, 0, 1)
    assert ended.json["is_self_consistent_only"] is False
    other = runlog(
        "log",
        "verify",
        "--data-dir",
        server.data_dir,
        "--key",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    )
    assert other.code == 1
    assert runlog("log", "verify", "--data-dir", server.data_dir, "--key", "rubbish").code == 2


def test_verify_names_the_first_bad_event_and_a_changed_attachment(own_server: Server):
    run_id = own_server.create()["run_id"]
    own_server.upload(run_id, b"content", kind="note")
    own_server.create()
    assert own_server.stop() == 0
    (segment,) = (own_server.data_dir / "log" / "segments").iterdir()
    content = segment.read_bytes()
    offset = content.index(b"\n") + 1
    changed = bytearray(content)
    changed[offset + 300] ^= 1
    segment.write_bytes(changed)
    ended = runlog("log", "verify", "--data-dir", own_server.data_dir, "--json")
    assert (ended.code, ended.json["bad"]) == (1, 1)
    first = ended.json["first_bad"]
    assert (first["seq"], first["offset"], first["path"]) == (1, offset, f"log/segments/{segment.name}")
    assert f"byte {offset}, seq 1" in runlog("log", "verify", "--data-dir", own_server.data_dir).out
    segment.write_bytes(content)
    log_json = own_server.data_dir / "log" / "log.json"
    told = log_json.read_bytes()
    log_json.unlink()
    ended = runlog("log", "verify", "--data-dir", own_server.data_dir)
    assert (ended.code, "log/log.json: it is gone" in ended.out) == (1, True)
    ended = runlog("log", "info", "--data-dir", own_server.data_dir)
    assert (ended.code, "log/log.json is gone" in ended.err) == (3, True)
    log_json.write_bytes(told)
    name = digest(b"content")
    blob = own_server.data_dir / "attachments" / name[:2] / name[2:4] / name
    blob.chmod(0o600)
    blob.write_bytes(b"kontent")
    ended = runlog("log", "verify", "--data-dir", own_server.data_dir)
    assert (ended.code, name in ended.out) == (1, True)
    ended = runlog(
        "log", "export", "--run", run_id, "-o", own_server.folder / "x.zip", "--data-dir", own_server.data_dir
    )
    assert (ended.code, name in ended.err) == (3, True)
    assert [path.name for path in own_server.folder.glob("x.zip*")] == []


def test_a_proof_is_written_and_checked_without_the_log(server: Server, run: str, key: str, tmp_path: Path):
    ended = runlog(
        "log", "prove", "--run", run, "-o", tmp_path / "new" / "proofs", "--data-dir", server.data_dir, "--json"
    )
    assert ended.code == 0
    seqs = ended.json["seqs"]
    assert len(seqs) == 3
    proof, event = (tmp_path / "new" / "proofs" / f"{seqs[0]}.{kind}" for kind in ("tlog-proof", "event.json"))
    assert json.loads(event.read_bytes())["subject"] == run
    assert len(proof.read_bytes()) < 1024
    ended = runlog("log", "check-proof", proof, "--key", key, "--json")
    assert (ended.code, ended.json["ok"], ended.json["seq"]) == (0, True, seqs[0])
    event.write_bytes(event.read_bytes().replace(b"GREEN", b"GREAN"))
    ended = runlog("log", "check-proof", proof, "--key", key)
    assert (ended.code, "NOT PROVEN" in ended.out) == (1, True)
    event.unlink()
    assert runlog("log", "check-proof", proof, "--key", key).code == 2
    assert runlog("log", "prove", "--run", NOBODY, "-o", tmp_path / "none", "--data-dir", server.data_dir).code == 3
    assert not (tmp_path / "none").exists()


def test_a_proof_tells_who_cosigned_its_checkpoint_and_when_and_a_witness_can_be_demanded(tmp_path: Path, capsys):
    log = Signer("log.example/a", bytes(32))
    first, second, absent = (Signer(f"w.example/{n}", bytes([n]) * 32, COSIGNATURE) for n in (1, 2, 3))
    (tmp_path / "0.event.json").write_bytes(b"{}")
    note = signed_checkpoint(log, 1, leaf_hash(sha256(b"{}").digest()))
    lines = (*note.signatures, first.cosign(note.text, 1_767_589_636), second.cosign(note.text, 2**63))
    path = tmp_path / "0.tlog-proof"
    path.write_bytes(LogProof(0, (), Note(note.text, lines)).data)

    def checked(*options: str) -> tuple[int, str]:
        code = main(["log", "check-proof", str(path), "--key", log.verifier.vkey, *options])
        return code, capsys.readouterr().out

    code, told = checked("--witness", first.verifier.vkey)
    assert (code, "Cosigned by w.example/1 at 2026-01-05T05:07:16Z." in told) == (0, True)
    assert "Not checked: a line of w.example/2, which tells no time." in told
    code, told = checked("--json")
    assert json.loads(told)["cosignatures"] == [
        {"name": "w.example/1", "time": "2026-01-05T05:07:16Z", "checked": False},
        {"name": "w.example/2", "time": None, "checked": False},
    ]
    code, told = checked("--witness", first.verifier.vkey, "--witness", absent.verifier.vkey)
    assert (code, "NOT PROVEN" in told, absent.verifier.vkey in told) == (1, True, True)
    forged = first.cosign("other\n", 1_767_589_636)
    path.write_bytes(LogProof(0, (), Note(note.text, (*note.signatures, forged))).data)
    assert checked("--witness", first.verifier.vkey)[0] == 1
    assert checked("--witness", log.verifier.vkey)[0] == 2


def unpacked(target: Path, folder: Path) -> Path:
    with zipfile.ZipFile(target) as packed:
        assert packed.testzip() is None
        packed.extractall(folder)
    return folder


def checked(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", folder / "verify.py", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_exported_evidence_of_a_run_is_checked_with_the_standard_library_and_one_altered_byte_fails_it(
    server: Server, run: str, key: str, tmp_path: Path
):
    target = tmp_path / "evidence.zip"
    ended = runlog("log", "export", "--run", run, "-o", target, "--data-dir", server.data_dir, "--json")
    assert (ended.code, ended.json["events"]) == (0, 3), ended.err
    folder = unpacked(target, tmp_path / "evidence")
    assert (folder / "attachments" / digest(GCODE)).read_bytes() == GCODE
    (row,) = csv.DictReader((folder / "runs.csv").read_text().splitlines())
    assert (row["run_id"], row["tool_id"][:2], row["status"]) == (run, "'=", "OK")
    page = (folder / "index.html").read_text()
    assert run in page
    assert "<script" not in page
    ended = checked(folder, "--key", key)
    assert (ended.returncode, "THE EVIDENCE HOLDS: 3 events, 1 attachment." in ended.stdout) == (0, True), ended.stdout
    assert "self-consistent only" in checked(folder).stdout
    for name in everything_under(folder):
        path = folder / name
        if path.is_file() and path.name != "verify.py":
            content = path.read_bytes()
            path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
            assert checked(folder, "--key", key).returncode == 1, name
            path.write_bytes(content)
    assert checked(folder, "--key", key).returncode == 0


@pytest.mark.usefixtures("run")
def test_exported_evidence_of_days_has_all_their_events_and_is_the_same_each_time(
    server: Server, key: str, tmp_path: Path
):
    today = datetime.now(UTC)
    days = ("--from", f"{today - timedelta(1):%Y-%m-%d}", "--to", f"{today + timedelta(1):%Y-%m-%d}")
    for name in "ab":
        ended = runlog("log", "export", *days, "-o", tmp_path / name, "--data-dir", server.data_dir, "--json")
        assert ended.code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    count = runlog("log", "info", "--data-dir", server.data_dir, "--json").json["checkpoint"]["size"]
    assert ended.json["events"] == count
    assert checked(unpacked(tmp_path / "a", tmp_path / "evidence"), "--key", key).returncode == 0
    empty = runlog(
        "log",
        "export",
        "--from",
        "2001-01-01",
        "--to",
        "2001-01-02",
        "-o",
        tmp_path / "c",
        "--data-dir",
        server.data_dir,
    )
    assert empty.code == 3
    assert not (tmp_path / "c").exists()
    backwards = ["--from", "2001-01-02", "--to", "2001-01-01"]
    for wrong in ([], ["--from", "2001-01-01"], ["--run", NOBODY, *days], ["--from", "x", "--to", "y"], backwards):
        ended = runlog("log", "export", *wrong, "-o", tmp_path / "c", "--data-dir", server.data_dir)
        assert ended.code == 2, wrong


def test_an_export_never_takes_the_place_of_what_is_no_file(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ended = runlog("log", "export", "--run", NOBODY, "-o", pipe, "--data-dir", tmp_path)
    assert (ended.code, pipe.is_fifo()) == (2, True)
    assert "is no file" in ended.err


async def make_log(folder: Path, count: int) -> None:
    log, origin = Log.open(folder), Origin("cli")
    for start in range(0, count, 500):
        names = [f"run_{number:012x}" for number in range(start, start + 500)]
        drafts = [log.draft("t.v1", name, {"pad": name * 500}, origin) for name in names]
        await asyncio.gather(*(log.begin([one], Stream.ABSENT, origin) for one in drafts))
    await log.close()


def exported_in_mb(data_dir: Path, count: int) -> float:
    """Export all *count* events of a log in a process of its own; return the most memory that it took."""
    code = (
        "import resource, sys; from api.cli.__main__ import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    options = ["--from", "2020-01-01", "--to", "2100-01-01", "-o", data_dir / "evidence.zip", "--data-dir", data_dir]
    command = [sys.executable, "-c", code, "log", "export", *map(str, options), "--json"]
    ended = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=300)
    told, peak_kb = ended.stdout.splitlines()
    assert (ended.returncode, json.loads(told)["events"]) == (0, count)
    return int(peak_kb) / 1024


async def test_the_memory_of_an_export_does_not_grow_with_its_range(tmp_path: Path):
    for name, count in (("small", 500), ("large", 5000)):
        await make_log(tmp_path / name, count)
    grown_mb = exported_in_mb(tmp_path / "large", 5000) - exported_in_mb(tmp_path / "small", 500)
    assert grown_mb < 36, "what is read at once, of the 40 MB that the large log has more"


@pytest.mark.usefixtures("run")
def test_tail_prints_the_newest_events_and_goes_on_with_what_comes(server: Server, tmp_path: Path):
    ended = runlog("log", "tail", "-n", "2", "--data-dir", server.data_dir, "--json")
    seqs = [json.loads(line)["seq"] for line in ended.out.splitlines()]
    assert len(seqs) == 2
    assert len(runlog("log", "tail", "--data-dir", server.data_dir, "-n", "1").out.splitlines()) == 1
    out = tmp_path / "out"
    errors = tmp_path / "errors"
    with out.open("wb") as file, errors.open("wb") as stderr:
        command = [
            sys.executable,
            "-u",
            "-m",
            "api.cli.__main__",
            "log",
            "tail",
            "-f",
            "-n",
            "0",
            "--data-dir",
            str(server.data_dir),
        ]
        # Whoever runs the tests in the background may have it ignore what Ctrl-C sends.
        restored = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        following = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=stderr, preexec_fn=restored)
        try:
            until(
                lambda: server.create() and time.sleep(0.2) is None and out.read_bytes().count(b"\n") > 1,
                "it follows",
                60,
            )
        finally:
            following.send_signal(signal.SIGINT)
            assert following.wait(60) == 0
    assert errors.read_bytes() == b""


def test_where_there_is_no_log_nothing_is_made(tmp_path: Path):
    for words in (("info",), ("verify",), ("tail",), ("prove", "--run", NOBODY, "-o", str(tmp_path / "o"))):
        ended = runlog("log", *words, "--data-dir", tmp_path / "none")
        assert (ended.code, "There is no log" in ended.err) == (3, True)
    assert not (tmp_path / "none").exists()
