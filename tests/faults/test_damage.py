"""What was done to the log while the server was stopped, and a second server beside the first."""

import json
import re
from pathlib import Path

import pytest

from tests.commands import everything_under, runlog
from tests.faults.load import Sent, at_the_head, every_acknowledged_run_is_served, post
from tests.server import Server, digest, free_port, refused, unique


def the_segment(server: Server) -> Path:
    """The only segment."""
    (segment,) = (server.data_dir / "log" / "segments").iterdir()
    return segment


def half_a_frame(_last_line: bytes, seq: int) -> bytes:
    """What a crash leaves in the middle of a write."""
    return b'{"seq":%d,"first":%d,"last":%d,"hash":"%s","event":{"actor":"anon' % (seq, seq, seq, b"0a" * 32)


def half_a_batch(last_line: bytes, seq: int) -> bytes:
    """A good frame whose batch has another one, which is not there."""
    event = last_line.partition(b',"event":')[2].removesuffix(b"}\n")
    frame = b'{"seq":%d,"first":%d,"last":%d,"hash":"%s","event":%s}\n'
    return frame % (seq, seq, seq + 1, digest(event).encode(), event)


def no_frame_at_all(_last_line: bytes, _seq: int) -> bytes:
    """Bytes of something else."""
    return b"\0\xff\nrubbish\n" * 100


@pytest.mark.parametrize("tail", [half_a_frame, half_a_batch, no_frame_at_all])
def test_a_torn_tail_is_put_aside_and_the_server_goes_on(own_server: Server, tail) -> None:
    """Nothing is thrown away, and nothing acknowledged is touched."""
    sent = [post(own_server) for _ in range(3)]
    assert own_server.stop() == 0
    segment = the_segment(own_server)
    whole = segment.read_bytes()
    torn = tail(whole.splitlines(keepends=True)[-1], 3)
    with segment.open("ab") as file:
        file.write(torn)
    own_server.start()
    assert segment.read_bytes() == whole
    (copy,) = (own_server.data_dir / "log" / "torn").iterdir()
    assert copy.read_bytes() == torn
    assert copy.name.startswith(f"{segment.name}@{len(whole)}.")
    (warning,) = [line for line in own_server.log_lines() if line["event"] == "log.torn_tail"]
    assert (warning["level"], warning["offset"], warning["bytes"]) == ("warning", len(whole), len(torn))
    assert warning["segment"] in segment.name
    new = post(own_server)
    assert new.run is not None
    assert new.run["log"]["seq"] == 3
    every_acknowledged_run_is_served(own_server, [*sent, new])
    own_server.restart()  # the second time there is nothing to put aside
    every_acknowledged_run_is_served(own_server, [*sent, new])
    assert list(copy.parent.iterdir()) == [copy]


def damage(server: Server, seq: int) -> int:
    """Flip one bit inside event *seq*; return the byte offset of its frame."""
    segment = the_segment(server)
    lines = segment.read_bytes().splitlines(keepends=True)
    offset = sum(map(len, lines[:seq]))
    content = bytearray(b"".join(lines))
    content[content.index(b'"tool_id"', offset) + 3] ^= 1
    segment.write_bytes(content)
    return offset


def stopped_with_runs(server: Server) -> list[Sent]:
    """Five runs, everything folded and indexed, and the server at an end."""
    sent = [post(server) for _ in range(5)]
    at_the_head(server)
    assert server.stop() == 0
    return sent


def test_a_damaged_event_below_the_index_is_not_served_and_all_else_is(own_server: Server) -> None:
    """The server says so wherever it is asked, and goes on."""
    sent = stopped_with_runs(own_server)
    offset = damage(own_server, 2)
    own_server.start()
    bad = sent.pop(2).run
    assert bad is not None
    for path in ("", "/events", "/download"):
        problem = refused(own_server.get(f"/runs/{bad['run_id']}{path}"), 503, "LOG_CORRUPT")
        assert (problem["seq"], problem["offset"]) == (2, offset)
        assert problem["segment"] in the_segment(own_server).name
    every_acknowledged_run_is_served(own_server, sent)
    every_acknowledged_run_is_served(own_server, [post(own_server)])
    ready = own_server.request("GET", "/readyz")
    assert (ready.status, ready.json["status"]) == (503, "unready")
    assert any("event 2 " in reason for reason in ready.json["reasons"])
    assert own_server.request("GET", "/healthz").status == 200
    (line,) = [line for line in own_server.log_lines() if line["event"] == "log.corrupt"]
    assert (line["level"], line["seq"], line["offset"]) == ("error", 2, offset)


def test_a_damaged_event_keeps_a_log_without_an_index_shut_and_untouched(own_server: Server) -> None:
    """Exit code 3, and what to do next."""
    stopped_with_runs(own_server)
    offset = damage(own_server, 2)
    for path in own_server.data_dir.glob("index.sqlite*"):
        path.unlink()
    before = everything_under(own_server.data_dir)
    ended = runlog("serve", "--data-dir", own_server.data_dir, "--port", free_port())
    assert ended.code == 3, ended
    assert the_segment(own_server).name.partition(".jsonl")[0] in ended.err
    assert re.search(rf"\bbyte {offset}\b", ended.err), ended.err
    assert re.search(r"\bseq 2\b", ended.err), ended.err
    assert "`runlog log verify`" in ended.err
    after = everything_under(own_server.data_dir)
    before.pop("writer.lock")
    after.pop("writer.lock")
    assert after == before


def test_a_second_server_on_the_same_data_is_refused_and_writes_nothing(own_server: Server) -> None:
    """It names the process that holds the data; that one goes on."""
    sent = stopped_with_runs(own_server)
    own_server.start()
    at_the_head(own_server)
    before = written_at(own_server.data_dir)
    content = everything_under(own_server.data_dir)
    ended = runlog("serve", "--data-dir", own_server.data_dir, "--port", free_port())
    assert ended.code == 3, ended
    assert re.search(rf"\b{own_server.pid}\b", ended.err), ended.err
    assert everything_under(own_server.data_dir) == content
    assert written_at(own_server.data_dir) == before
    every_acknowledged_run_is_served(own_server, [*sent, post(own_server)])


def written_at(folder: Path) -> dict[str, int]:
    """When each file and folder under *folder* was last written (ns)."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_changed_and_a_deleted_file_are_found_and_had_again_from_the_log(own_server: Server) -> None:
    """The changed one is kept in the quarantine."""
    stopped_with_runs(own_server)
    root = own_server.data_dir / "runs"
    right = everything_under(root)
    changed, deleted = sorted(root.rglob("*.json"))[:2]
    forged = changed.read_bytes().replace(b'"OK"', b'"KO"')
    changed.unlink()
    changed.write_bytes(forged)
    deleted.unlink()
    options = ("files", "--json", "--data-dir", own_server.data_dir)
    checked = runlog("projections", "check", *options)
    assert checked.code == 1
    assert checked.json["changed"] == [str(changed.relative_to(root))]
    assert checked.json["missing"] == [str(deleted.relative_to(root))]
    assert runlog("projections", "rebuild", *options).code == 0
    assert everything_under(root) == right
    kept = [path.read_bytes() for path in (own_server.data_dir / "quarantine").rglob("*") if path.is_file()]
    assert kept == [forged]
    assert runlog("projections", "check", *options).code == 0


def test_a_catalog_deleted_while_the_server_was_stopped_comes_back_with_the_same_lists(own_server: Server) -> None:
    """Byte for byte, with filters and without."""
    tool = unique("tool")
    sent = [post(own_server, tool_id=tool, status=status) for status in ("OK", "BLOCKED", "ERROR", "OK")]
    run_ids = [one.run["run_id"] for one in sent if one.run is not None]
    own_server.post(f"/runs/{run_ids[0]}/attach-advisory", {"advisory_id": "a/b"})
    own_server.post(f"/runs/{run_ids[1]}/explanation", {"status": "READY", "summary": "why"})

    def asked() -> list[bytes]:
        queries = ({}, {"status": "OK"}, {"tool_id": tool, "limit": 2, "include_total": "true"})
        answers = [own_server.get("/runs", query=query) for query in queries]
        paths = [f"/runs/{run_id}{what}" for run_id in run_ids for what in ("", "/events", "/advisories")]
        answers += [own_server.get(path) for path in paths]
        assert {answer.status for answer in answers} == {200}
        return [json.dumps(answer.json).encode() for answer in answers]

    before = asked()
    assert own_server.stop() == 0
    for path in own_server.data_dir.glob("catalog.sqlite*"):
        path.unlink()
    own_server.start()
    assert asked() == before
    assert (own_server.data_dir / "catalog.sqlite").exists()
