"""Witnesses: what the log signs is signed by a second machine too, and a log that forks is found out by it."""

import base64
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.witness.asking import Trouble, answered
from api.witness.known import Witness
from eventlog.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash
from eventlog.notary import Published
from eventlog.note import Note, open_checkpoint, signed_checkpoint
from eventlog.proof_text import Submission
from eventlog.signing import COSIGNATURE, Signature, Signer, Verifier
from tests.commands import runlog
from tests.server import ROOT, START_S, STOP_S, Answer, Server, clean_environment, free_port, until

LOG = Signer("log.example/a", bytes(range(32)))
UNKNOWN = Signer("log.example/b", bytes(range(1, 33)))
THEIRS = Signer("w.example/1", bytes(range(32)), COSIGNATURE)
WITNESS = Witness("http://w.example", THEIRS.verifier)
NOTE = signed_checkpoint(LOG, 3, EMPTY_ROOT)
TEXT = NOTE.text
WAIT_S = 60


class WitnessProcess:
    """A `witness serve` process on a folder of its own."""

    def __init__(self, folder: Path, *keys: str) -> None:
        self.folder, self.data_dir, self.keys = folder, folder / "witness", keys
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._client = Server(folder)
        self._client.port = self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("witness.out", "witness.err"))

    def start(self) -> str:
        """Start, and return the key that it prints."""
        out, err = self.folder / "witness.out", self.folder / "witness.err"
        keys = [word for key in self.keys for word in ("--origin-key", key)]
        command = [sys.executable, "-m", "api.cli.__main__", "witness", "serve", "--port", str(self.port), *keys]
        with out.open("wb") as stdout, err.open("ab") as stderr:
            self._process = subprocess.Popen(
                [*command, "--data-dir", str(self.data_dir)],
                cwd=ROOT,
                env=clean_environment(),
                stdout=stdout,
                stderr=stderr,
            )
        until(lambda: "--witness" in out.read_text(), f"the witness listens: {err.read_text()}", START_S)
        return out.read_text().split()[-1]

    def stop(self, number: int = signal.SIGTERM) -> None:
        self._client.hang_up()
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STOP_S)

    def add(self, body: bytes) -> Answer:
        return self._client.request("POST", "/add-checkpoint", body)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    """A witness that knows `LOG`, not started yet."""
    one = WitnessProcess(tmp_path, LOG.verifier.vkey)
    yield one
    one.stop()
    assert "Traceback" not in one.output


def tree(size: int, salt: str = "") -> tuple[list[bytes], bytes]:
    leaves = [leaf_hash(f"{n}{salt}".encode()) for n in range(size)]
    return leaves, Frontier().grown(leaves)[0].root


def proof(old: int, size: int, salt: str = "") -> tuple[bytes, ...]:
    leaves, _ = tree(size, salt)
    return tuple(
        consistency_proof(
            old, size, lambda level, at: Frontier().grown(leaves[at << level : (at + 1) << level])[0].root
        )
    )


def submission(old: int, size: int, salt: str = "", signer: Signer = LOG) -> bytes:
    note = signed_checkpoint(signer, size, tree(size, salt)[1])
    return Submission(old, proof(old, size, salt), note).data


def cosigned(answer: Answer, vkey: str, size: int) -> None:
    assert answer.status == 200, answer.body
    text = signed_checkpoint(LOG, size, tree(size)[1]).text
    name, _, value = answer.body.decode().removeprefix("\u2014 ").rstrip("\n").partition(" ")
    raw = base64.b64decode(value)
    assert Verifier.parse(vkey).fits(Signature(name, raw[:4], raw[4:]), text)


def test_a_witness_answers_as_the_protocol_says_and_remembers_what_it_signed(witness: WitnessProcess):
    key = witness.start()
    assert Verifier.parse(key).kind == COSIGNATURE
    secret = witness.data_dir / "secrets" / "witness.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    for body in (b"", b"rubbish", submission(0, 3)[:-5], submission(0, 3).replace(b"old 0", b"old 00")):
        assert witness.add(body).status == 400
    assert witness.add(Submission(5, (), signed_checkpoint(LOG, 3, tree(3)[1])).data).status == 400
    assert witness.add(submission(0, 3, signer=UNKNOWN)).status == 404
    stranger = signed_checkpoint(Signer(LOG.name, UNKNOWN.seed), 3, tree(3)[1])
    assert witness.add(Submission(0, (), stranger).data).status == 403
    assert witness.add(Submission(0, (), signed_checkpoint(LOG, 0, EMPTY_ROOT)).data).status == 200
    cosigned(witness.add(submission(0, 3)), key, 3)
    cosigned(witness.add(submission(3, 3)), key, 3)
    cosigned(witness.add(submission(3, 7)), key, 7)
    for restart in (signal.SIGTERM, signal.SIGKILL):
        behind = witness.add(submission(3, 8))
        assert (behind.status, behind.body) == (409, b"7\n")
        assert behind.headers["Content-Type"] == "text/x.tlog.size"
        forked = witness.add(submission(7, 7, "else"))
        assert (forked.status, forked.body) == (409, b"7\n")
        assert witness.add(submission(7, 9, "else")).status == 422
        assert witness.add(Submission(7, (), Note.parse(submission(7, 9).partition(b"\n\n")[2])).data).status == 422
        witness.stop(restart)
        assert witness.start() == key
    cosigned(witness.add(submission(7, 9)), key, 9)
    assert witness.output.count("witness.refused_fork") >= 3  # what was logged just before a SIGKILL may be lost


def test_a_witness_whose_memory_is_gone_does_not_start_again(witness: WitnessProcess):
    witness.start()
    assert witness.add(submission(0, 3)).status == 200
    again = ["witness", "serve", "--data-dir", witness.data_dir, "--origin-key", LOG.verifier.vkey, "--port", 0]
    assert "already writing" in runlog(*again).err
    witness.stop()
    (kept,) = (witness.data_dir / "checkpoints").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"\n3\n", b"\n2\n"))
    ended = runlog(*again)
    assert (ended.code, "does not start" in ended.err) == (3, True)
    shutil.rmtree(witness.data_dir / "checkpoints")
    ended = runlog(*again)
    assert (ended.code, "checkpoints is gone" in ended.err) == (3, True)


def test_of_many_histories_that_come_at_once_a_witness_signs_one(witness: WitnessProcess):
    witness.start()
    bodies = [submission(0, 2 + n % 3, f"history {n}") for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = [answer.status for answer in pool.map(witness.add, bodies)]
    assert (answers.count(200), answers.count(409)) == (1, 11)


@pytest.mark.parametrize(
    ("status", "answer", "is_split", "reason"),
    [
        (200, THEIRS.cosign("else", 1).line.encode(), False, "does not fit"),
        (200, Signer("w.example/2", THEIRS.seed, COSIGNATURE).cosign(TEXT, 1).line.encode(), False, "not signed by"),
        (200, LOG.sign(TEXT).line.encode(), False, "not signed by"),
        (200, THEIRS.cosign(TEXT, 1).line.encode()[:-1], False, "signature lines"),
        (200, b"\xff\n", False, "counts for nothing"),
        (500, b"no\nmore", False, "500 no"),
        (404, b"", False, "404"),
        (409, b"3\n", True, "two histories"),
        (409, b"", True, "two histories"),
        (409, b"4\n", True, "older copy"),
        (422, b"", True, "two histories"),
    ],
)
def test_an_answer_that_is_no_signature_of_the_witness_is_a_trouble(status, answer, is_split, reason):
    trouble = answered(WITNESS, Published.of(NOTE), 3, status, answer)
    assert isinstance(trouble, Trouble)
    assert (trouble.is_split, reason in trouble.reason) == (is_split, True)


def test_of_an_answer_only_the_lines_of_the_witness_are_taken():
    line = THEIRS.cosign(TEXT, 1)
    answer = (Signer("w.example/2", THEIRS.seed, COSIGNATURE).cosign(TEXT, 1).line + line.line).encode()
    assert answered(WITNESS, Published.of(NOTE), 0, 200, answer) == (line,)


def test_only_a_logs_key_is_an_origin_key_and_only_a_witnesss_key_is_a_witnesss(tmp_path: Path):
    theirs = THEIRS.verifier.vkey
    assert runlog("witness", "serve", "--data-dir", tmp_path, "--origin-key", theirs).code == 2
    assert runlog("witness", "serve", "--data-dir", tmp_path).code == 2
    for url, key in (("http://w.example", LOG.verifier.vkey), ("w.example", theirs), ("http://w.example", "rubbish")):
        ended = runlog("serve", "--data-dir", tmp_path, "--witness", url, key)
        assert (ended.code, "witness" in ended.err) == (2, True)
    assert not os.listdir(tmp_path)


class Witnessed(Server):
    """A log that asks a witness, named in its settings file."""

    def ask(self, url: str, key: str) -> None:
        self.data_dir.mkdir(exist_ok=True)
        (self.data_dir / "runlog.toml").write_text(f'witness = ["{url} {key}"]\n')

    def checkpoint(self) -> bytes:
        return self.get("/log/checkpoint").body

    def is_cosigned(self, key: str, size: int) -> bool:
        """Whether the published checkpoint covers *size* events and bears the witness's line; a wrong one fails."""
        note = Note.parse(self.checkpoint())
        own = Verifier.parse(self.get("/log/key").body.decode().strip())
        signed = note.signed_by((own, Verifier.parse(key)))
        return len(signed) == 2 and open_checkpoint(note.data, own).size >= size

    def reasons(self) -> list[str]:
        ready = self.request("GET", "/readyz")
        assert ready.status == 200
        assert (ready.json["status"] == "ready") == (not ready.json["reasons"])
        reasons: list[str] = ready.json["reasons"]
        return reasons

    def page(self) -> str:
        """The page for operators."""
        return self.request("GET", "/rmos/log", headers={"Accept": "text/html"}).body.decode()

    def told(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.log_lines() if line["event"] == event]


def test_a_split_view_is_caught_and_a_witness_that_is_down_holds_nothing_up(tmp_path: Path):
    log, fork = Witnessed(tmp_path), Witnessed(tmp_path / "fork")
    fork.folder.mkdir()
    log.start()
    witness = WitnessProcess(tmp_path, log.get("/log/key").body.decode().strip())
    try:
        key = witness.start()
        log.stop()
        log.ask(witness.url, key)
        log.start()
        run_id = log.create()["run_id"]
        until(lambda: log.is_cosigned(key, 1), "the checkpoint is cosigned", WAIT_S)
        assert log.reasons() == []
        assert "signed it</span> at" in log.page()

        # The line is durable, is shown offline, and goes along with proofs.
        assert log.get(f"/runs/{run_id}/proof").json["checkpoint"].encode() == log.checkpoint()
        proofs = tmp_path / "proofs"
        name = key.partition("+")[0]
        assert runlog("log", "info", "--data-dir", log.data_dir, "--json").json["cosigned_by"] == [name]
        assert runlog("log", "prove", "--run", run_id, "-o", proofs, "--data-dir", log.data_dir).code == 0
        verified = runlog("log", "verify", "--data-dir", log.data_dir, "--key", witness.keys[0], "--json")
        assert (verified.code, verified.json["ok"]) == (0, True)
        checked = runlog("log", "check-proof", proofs / "0.tlog-proof", "--key", witness.keys[0], "--json")
        assert (checked.code, checked.json["also_signed_by"]) == (0, [name])

        # Without the witness the log goes on, says so, and is caught up with once the witness is back.
        witness.stop()
        log.create()
        until(
            lambda: any("does not sign" in reason for reason in log.reasons()), "/readyz tells that it is down", WAIT_S
        )
        assert log.told("witness.does_not_sign")
        assert "has not signed it</span>; signed 1 events last" in log.page()
        assert witness.start() == key
        until(lambda: log.is_cosigned(key, 2), "the witness signs again", WAIT_S)
        until(lambda: log.reasons() == [], "/readyz is green again", WAIT_S)

        # An older copy is not gone on with where the witness knows more. One that goes on without asking is found out
        # when it does ask: the witness signs one history and refuses the other.
        log.stop()
        shutil.copytree(log.data_dir, fork.data_dir)
        log.start()
        log.create()
        until(lambda: log.is_cosigned(key, 3), "the log goes on and is cosigned", WAIT_S)
        log.stop()
        older = runlog("serve", "--data-dir", fork.data_dir, "--port", free_port())
        assert older.code == 3
        assert "log.older_than_known" in older.err
        (fork.data_dir / "runlog.toml").unlink()
        fork.start()
        for _ in range(3):
            fork.create()
        fork.stop()
        fork.ask(witness.url, key)
        fork.start()
        until(lambda: any("two histories" in reason for reason in fork.reasons()), "the fork is told", WAIT_S)
        assert not fork.is_cosigned(key, 3)
        assert fork.told("witness.split_view")
        assert "witness.refused_fork" in witness.output
        log.start()
        log.create()
        until(lambda: log.is_cosigned(key, 4), "the log that was seen first is signed on", WAIT_S)
    finally:
        log.stop()
        fork.stop()
        witness.stop()
    assert "Traceback" not in log.output() + fork.output() + witness.output
