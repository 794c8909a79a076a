"""What a server proves: whoever has its key checks it with nothing of the server's."""

import base64
import contextlib
import json
from pathlib import Path

import pytest

from eventlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from eventlog.note import open_checkpoint
from eventlog.proof_text import LogProof
from eventlog.signing import Verifier
from eventlog.tiles import entries_of
from tests.server import NOBODY, Server, digest, refused, until


@pytest.fixture(scope="module")
def verifier(server: Server) -> Verifier:
    return Verifier.parse(server.get("/log/key").body.decode().removesuffix("\n"))


def test_the_checkpoint_and_the_key_are_plain_texts(server: Server, verifier: Verifier):
    for path in ("/log/checkpoint", "/log/key"):
        answer = server.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert open_checkpoint(server.get("/log/checkpoint").body, verifier).origin == verifier.name
    assert verifier.name.startswith("runlog.local/")


def test_a_run_is_proven_right_after_its_201(server: Server, verifier: Verifier):
    run = server.create()
    server.post(f"/runs/{run['run_id']}/attach-advisory", {"advisory_id": "a"})
    proof = server.get(f"/runs/{run['run_id']}/proof").json
    assert (proof["run_id"], proof["key"]) == (run["run_id"], verifier.vkey)
    assert [one["seq"] for one in proof["events"]] == [run["log"]["seq"], run["log"]["seq"] + 1]
    for one in proof["events"]:
        event = base64.b64decode(one["event_base64"])
        assert digest(event) == one["hash"]
        checked = LogProof.parse(one["proof"].encode())
        assert checked.note.data.decode() == proof["checkpoint"]
        checked.verify(bytes.fromhex(one["hash"]), verifier)


def test_every_commit_is_covered_by_the_checkpoint_though_no_other_follows(server: Server, verifier: Verifier):
    seq = server.create()["log"]["seq"]
    until(
        lambda: open_checkpoint(server.get("/log/checkpoint").body, verifier).size > seq, "the checkpoint covers it", 20
    )


def test_two_checkpoints_are_proven_consistent(server: Server, verifier: Verifier):
    server.get(f"/runs/{server.create()['run_id']}/proof")
    old = open_checkpoint(server.get("/log/checkpoint").body, verifier)
    for _ in range(5):
        last = server.create()
    new = LogProof.parse(server.get(f"/runs/{last['run_id']}/proof").json["events"][0]["proof"].encode()).note
    new_one = open_checkpoint(new.data, verifier)
    answer = server.get("/log/proof/consistency", query={"from": old.size, "to": new_one.size}).json
    assert (answer["from"], answer["to"]) == (old.size, new_one.size)
    hashes = [base64.b64decode(each) for each in answer["hashes"]]
    verify_consistency(old.size, old.root, new_one.size, new_one.root, hashes)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"from": 1},
        {"from": -1, "to": 1},
        {"from": 1, "to": 10**9},
        {"from": "x", "to": 1},
        {"from": 2, "to": 1},
        {"from": "01", "to": 1},
        {"from": "\u0660", "to": 1},
        {"from": 0, "to": "9" * 5000},
    ],
)
def test_a_consistency_proof_between_sizes_that_were_not_published_is_refused(server: Server, query):
    for _ in range(2):
        server.get(f"/runs/{server.create()['run_id']}/proof")
    refused(server.get("/log/proof/consistency", query=query), 422, "VALIDATION_ERROR")


def test_a_size_above_the_published_one_is_refused_with_the_published_one(server: Server, verifier: Verifier):
    server.get(f"/runs/{server.create()['run_id']}/proof")
    problem = refused(server.get("/log/proof/consistency?from=0&to=100000"), 422, "VALIDATION_ERROR")
    size = open_checkpoint(server.get("/log/checkpoint").body, verifier).size
    assert problem["errors"] == [
        {"path": "?to", "message": f"must not be above {size}, the size that was published last"}
    ]


def test_a_withdrawn_run_is_still_proven(server: Server, verifier: Verifier):
    run_id = server.create()["run_id"]
    withdrawn = server.post(f"/admin/runs/{run_id}/withdraw", {"reason": "measured with the wrong tool"})
    assert withdrawn.status == 200
    events = server.get(f"/runs/{run_id}/proof").json["events"]
    types = []
    for one in events:
        LogProof.parse(one["proof"].encode()).verify(bytes.fromhex(one["hash"]), verifier)
        types.append(json.loads(base64.b64decode(one["event_base64"]))["type"])
    assert types == ["rmos.run.created.v1", "rmos.run.withdrawn.v1"]


def made(folder: Path) -> bool:
    """Make *folder*, unless something of its name is there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        return True
    return False


def test_a_run_that_no_checkpoint_covers_has_no_proof_yet_and_it_is_told_what_is_signed(server: Server):
    in_the_way = server.data_dir / "log" / "checkpoint.tmp"
    until(lambda: made(in_the_way), "nothing is being signed")
    try:
        run = server.create()
        answer = server.get(f"/runs/{run['run_id']}/proof")
        problem = refused(answer, 503, "CHECKPOINT_BEHIND")
        assert problem["size"] == run["log"]["seq"] + 1 > problem["signed_size"]
        assert answer.headers["Retry-After"] == "1"
    finally:
        in_the_way.rmdir()
    until(lambda: server.get(f"/runs/{run['run_id']}/proof").status == 200, "it is signed after all", 60)


def test_the_tiles_are_those_of_the_tree_and_only_full_ones_are_kept_for_ever(server: Server, verifier: Verifier):
    run = server.create()
    size = until(
        lambda: (
            (found := open_checkpoint(server.get("/log/checkpoint").body, verifier)).size > run["log"]["seq"] and found
        ),
        "the checkpoint covers it",
        20,
    ).size
    assert size < 256, "the tests of this module make few runs"
    entries = server.get(f"/log/tile/entries/000.p/{size}")
    assert (entries.status, entries.headers["Content-Type"]) == (200, "application/octet-stream")
    assert "immutable" not in entries.headers["Cache-Control"]
    events = entries_of(entries.body)
    assert events[run["log"]["seq"]].hex() == run["log"]["event_sha256"]
    hashes = server.get(f"/log/tile/0/000.p/{size}").body
    assert hashes == b"".join(map(leaf_hash, events))
    verify_inclusion(leaf_hash(events[0]), 0, 1, [], leaf_hash(events[0]))
    for path in (
        "0/000",
        f"0/000.p/{size + 200}",
        "0/0",
        "0/001.p/1",
        "64/000.p/1",
        "x",
        "entries/../0/000",
        "0/000.p/0",
    ):
        refused(server.get(f"/log/tile/{path}"), 404, "NOT_FOUND")


def test_a_full_tile_may_be_kept_for_ever(own_server: Server):
    for _ in range(256):
        last = own_server.create()
    own_server.get(f"/runs/{last['run_id']}/proof")
    answer = own_server.get("/log/tile/entries/000")
    assert len(entries_of(answer.body)) == 256
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert len(own_server.get("/log/tile/1/000.p/1").body) == 32
    own_server.restart()
    assert own_server.get("/log/tile/entries/000").body == answer.body


def test_a_run_that_is_not_there_has_no_proof(server: Server):
    refused(server.get(f"/runs/{NOBODY}/proof"), 404, "RUN_NOT_FOUND")
    refused(server.get("/runs/nope/proof"), 404, "RUN_NOT_FOUND")
    refused(server.get(f"/runs/{server.create()['run_id']}/proof?x=1"), 422, "VALIDATION_ERROR")
    assert server.request("HEAD", "/api/rmos/log/checkpoint").status == 200
