"""Damage: what is served is true, and what cannot be explained keeps the log shut and as it was."""

import json
import shutil
from pathlib import Path

import pytest

from eventlog.batch import Appended, Stream
from eventlog.commit import Limits
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Origin
from eventlog.follow import Follower
from eventlog.frame import decode, encode
from eventlog.log import Log
from eventlog.posix import PosixDisk
from eventlog.verify import verify

ORIGIN = Origin("press")
ONE_A_SEGMENT = Limits(segment_bytes_max=1)


class Stopped:
    """A clock that stands in 1970."""

    def now_us(self) -> int:
        return 0


async def add(log: Log, *names: str) -> Appended:
    drafts = [log.draft("t.v1", names[0], {"name": name}, ORIGIN) for name in names]
    return await log.append(drafts, Stream.ABSENT, ORIGIN)


async def make(folder: Path, *names: str, limits: Limits | None = None) -> None:
    log = Log.open(folder, limits=limits)
    for name in names:
        await add(log, name)
    await log.close()


async def names(folder: Path) -> list[str]:
    log = Log.open(folder)
    found = names_of(log)
    await log.close()
    return found


def names_of(log: Log) -> list[str]:
    return [event.data["name"] for seq in range(log.head + 1) if (event := log.read(seq)) is not None]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "segments").iterdir())


def torn(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / "log" / "torn").glob("*"))]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the lock, whose holder writes its pid into it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "writer.lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def lose_index(folder: Path) -> None:
    for path in folder.glob("index.sqlite*"):
        path.unlink()


def write(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def refuses_to_open(folder: Path, what: str) -> LogDamaged:
    before = contents(folder)
    with pytest.raises(LogDamaged, match=what) as caught:
        Log.open(folder)
    assert contents(folder) == before
    assert "`runlog log verify`" in caught.value.message
    return caught.value


@pytest.mark.parametrize("index", ["kept", "deleted"])
@pytest.mark.parametrize("cut", [1, 100])
async def test_half_a_frame_at_the_end_is_kept_apart_and_cut_and_never_served(tmp_path, index, cut):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    good = path.read_bytes()
    half = good.replace(b'"seq":1,"first":1,"last":1', b'"seq":2,"first":2,"last":2').splitlines(True)[1][:-cut]
    write(path, good + half)
    if index == "deleted":
        lose_index(tmp_path)
    assert await names(tmp_path) == ["a", "b"]
    assert path.read_bytes() == good
    assert torn(tmp_path) == [half]
    (copy,) = (tmp_path / "log" / "torn").iterdir()
    assert copy.name.startswith(f"{path.name}@{len(good)}.20")
    await make(tmp_path, "c")
    assert await names(tmp_path) == ["a", "b", "c"]


async def test_a_batch_of_which_one_frame_is_missing_is_torn_as_a_whole(tmp_path):
    await make(tmp_path, "a")
    signed = (tmp_path / "log" / "checkpoint").read_bytes()
    log = Log.open(tmp_path)
    await add(log, "b", "c", "d")
    await log.close()
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(True)
    write(path, b"".join(lines[:3]))
    lose_index(tmp_path)
    refuses_to_open(tmp_path, "its good events end at 1, and its checkpoint is signed for 4")
    (tmp_path / "log" / "checkpoint").write_bytes(signed)
    assert await names(tmp_path) == ["a"]
    assert path.read_bytes() == lines[0]
    assert torn(tmp_path) == [b"".join(lines[1:3])]


async def test_a_frame_damaged_below_the_index_is_never_served_and_the_rest_is(tmp_path):
    await make(tmp_path, "a", "b", "c")
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(True)
    write(path, path.read_bytes().replace(b'"name":"b"', b'"name":"x"'))
    log = Log.open(tmp_path)
    try:
        with pytest.raises(LogCorrupt, match=f"Event 1 .segment {path.name}, byte {len(lines[0])}.") as caught:
            log.read(1)
        assert (caught.value.code, caught.value.seq) == ("LOG_CORRUPT", 1)
        with pytest.raises(LogCorrupt):
            log.read_stream("b")
        assert list(log.corrupt) == [1]
        assert [event.data["name"] for seq in (0, 2) if (event := log.read(seq))] == ["a", "c"]
        await add(log, "d")
        assert log.head == 3
    finally:
        await log.close()


async def test_of_a_stream_all_is_read_but_the_event_that_is_damaged(tmp_path):
    log = Log.open(tmp_path)
    await add(log, "a", "b", "c")
    await log.close()
    (path,) = segments(tmp_path)
    write(path, path.read_bytes().replace(b'"name":"b"', b'"name":"x"'))
    log = Log.open(tmp_path)
    try:
        assert [event.seq for event in log.read_stream_from("a", 0, 1 << 20)] == [0]
        with pytest.raises(LogCorrupt, match="Event 1 "):
            log.read_stream_from("a", 1, 1 << 20)
        assert [event.seq for event in log.read_stream_from("a", 2, 1 << 20)] == [2]
    finally:
        await log.close()


async def test_rubbish_behind_the_events_of_a_finished_segment_is_told_by_verify_and_hides_no_event(tmp_path):
    await make(tmp_path, "a", "b", "c", limits=ONE_A_SEGMENT)
    for path in segments(tmp_path)[:2]:
        write(path, path.read_bytes() + b"garbage")
    assert await names(tmp_path) == ["a", "b", "c"]
    log = Log.open(tmp_path)
    await log.close()
    follower, followed = Follower(disk := PosixDisk(tmp_path)), []
    while new := follower.read(log.end):
        followed += [event.data["name"] for event in new]
    disk.close()
    assert followed == ["a", "b", "c"]
    assert not verify(tmp_path, None, None).is_good


async def test_two_events_that_were_swapped_below_the_index_keep_the_log_shut(tmp_path):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    write(path, b"".join(path.read_bytes().splitlines(True)[::-1]))
    assert refuses_to_open(tmp_path, "hash cannot be read").segment == path.name


@pytest.mark.parametrize("seq", [0, 1, 2])
async def test_a_damaged_frame_that_good_ones_follow_keeps_a_log_without_index_shut_and_as_it_was(tmp_path, seq):
    await make(tmp_path, "a", "b", "c", "d")
    lose_index(tmp_path)
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(True)
    for damaged in (
        b"",
        lines[seq][:-1],
        lines[seq][:50],
        b"\0" * len(lines[seq]),
        lines[seq].replace(b"name", b"nome"),
    ):
        write(path, b"".join([*lines[:seq], damaged, *lines[seq + 1 :]]))
        error = refuses_to_open(tmp_path, "damaged")
        place = sum(map(len, lines[:seq]))
        assert (error.segment, error.offset, error.seq) == (path.name, place, seq)
        assert (tmp_path / "log" / "torn").exists() is False


async def test_a_damaged_frame_beyond_the_index_that_good_ones_follow_keeps_the_log_shut(tmp_path):
    await make(tmp_path, "a")
    index = (tmp_path / "index.sqlite").read_bytes()
    await make(tmp_path, "b", "c")
    lose_index(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(index)
    (path,) = segments(tmp_path)
    good = path.read_bytes()
    write(path, good.replace(b'"name":"b"', b'"name":"x"'))
    refuses_to_open(tmp_path, "damaged")
    write(path, good)
    assert await names(tmp_path) == ["a", "b", "c"]


async def test_a_damaged_frame_that_a_later_segment_follows_keeps_the_log_shut(tmp_path):
    await make(tmp_path, "a", "b", limits=ONE_A_SEGMENT)
    lose_index(tmp_path)
    first = segments(tmp_path)[0]
    write(first, first.read_bytes()[:-1])
    assert refuses_to_open(tmp_path, "a later segment follows").segment == first.name


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_segment_that_is_gone_keeps_the_log_shut(tmp_path, gone):
    await make(tmp_path, "a", "b", "c", limits=ONE_A_SEGMENT)
    path = segments(tmp_path)[gone]
    content = path.read_bytes()
    path.unlink()
    error = refuses_to_open(tmp_path, "a segment is gone")
    assert (error.segment, error.offset, error.seq) == (path.name, 0, gone)
    if gone < 2:
        lose_index(tmp_path)
        refuses_to_open(tmp_path, "damaged")
    path.write_bytes(content)
    assert await names(tmp_path) == ["a", "b", "c"]


async def test_a_segment_that_is_shorter_than_the_index_knows_keeps_the_log_shut(tmp_path):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    first = path.read_bytes().splitlines(True)[0]
    write(path, first)
    error = refuses_to_open(tmp_path, "and held")
    assert (error.segment, error.offset, error.seq) == (path.name, len(first), 1)


async def test_events_changed_together_with_their_hashes_keep_the_log_shut_and_the_first_doubtful_one_is_named(
    tmp_path,
):
    log = Log.open(tmp_path)
    await add(log, *"abcdefgh" * 40)
    await log.close()
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(True)
    place, named = sum(map(len, lines[:256])), sum(map(len, lines[:300]))
    lines[300] = encode(300, 0, 319, decode(lines[300]).event.replace(b'"name":"', b'"name":"x'))[1]
    write(path, b"".join(lines))
    error = refuses_to_open(tmp_path, "do not lead to the root of the checkpoint of size 320, from 256 on")
    assert (error.segment, error.offset, error.seq) == (path.name, place, 256)
    lose_index(tmp_path)
    assert refuses_to_open(tmp_path, "do not lead to the root").offset == place < named


async def test_a_log_of_which_every_segment_and_the_index_are_gone_stays_shut_and_says_where_it_looked(tmp_path):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    path.unlink()
    lose_index(tmp_path)
    assert "log/segments/ (none is there), byte 0, seq 0" in refuses_to_open(tmp_path, "signed for 2").message


@pytest.mark.parametrize("index", ["kept", "deleted"])
async def test_events_without_their_log_json_are_not_taken_for_a_new_log(tmp_path, index):
    await make(tmp_path, "a")
    (tmp_path / "log" / "log.json").unlink()
    if index == "deleted":
        lose_index(tmp_path)
    refuses_to_open(tmp_path, r"log/log\.json is gone")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format":1}', '{"format":2,"log_id":"a","origin":"b","created":"c"}']
)
async def test_a_log_json_that_cannot_be_understood_keeps_the_log_shut(tmp_path, text):
    await make(tmp_path, "a")
    (tmp_path / "log" / "log.json").write_text(text)
    refuses_to_open(tmp_path, r"log\.json (cannot be read|is of format 2)")


@pytest.mark.parametrize("index", ["kept", "deleted"])
async def test_nuls_after_the_last_frame_are_neither_a_torn_tail_nor_met_by_anyone_later(tmp_path, index):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    write(path, path.read_bytes() + b"\0" * 5000)
    if index == "deleted":
        lose_index(tmp_path)
    assert await names(tmp_path) == ["a", "b"]
    await make(tmp_path, "c", "d", limits=ONE_A_SEGMENT)
    assert not any(b"\0" in path.read_bytes() for path in segments(tmp_path))
    lose_index(tmp_path)
    assert await names(tmp_path) == ["a", "b", "c", "d"]
    assert torn(tmp_path) == []


@pytest.mark.parametrize("index", ["kept", "deleted"])
@pytest.mark.parametrize("left", [b"", b"\0" * 100, b'{"seq":2,"fir'])
async def test_a_segment_without_frames_is_removed_and_the_one_before_is_written_on(tmp_path, index, left):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    path.with_name(f"{path.name[:11]}0001.jsonl").write_bytes(left)
    if index == "deleted":
        lose_index(tmp_path)
    assert await names(tmp_path) == ["a", "b"]
    assert segments(tmp_path) == [path]
    await make(tmp_path, "c")
    assert await names(tmp_path) == ["a", "b", "c"]
    assert torn(tmp_path) == ([left] if left.startswith(b"{") else [])


async def test_an_index_that_is_no_database_or_of_another_log_is_made_anew(tmp_path):
    await make(tmp_path / "a", "a", "b")
    await make(tmp_path / "b", "x", "y", "z")
    for index in (b"rubbish" * 1000, b"", (tmp_path / "b" / "index.sqlite").read_bytes()):
        (tmp_path / "a" / "index.sqlite").write_bytes(index)
        assert await names(tmp_path / "a") == ["a", "b"]


@pytest.mark.parametrize("damaged", [("b",), ("a", "b")])
async def test_after_an_unreadable_last_event_the_next_one_still_lies_behind_it_though_the_clock_stepped_back(
    tmp_path, damaged
):
    await make(tmp_path, "a", "b")
    (path,) = segments(tmp_path)
    for name in damaged:
        write(path, path.read_bytes().replace(f'"name":"{name}"'.encode(), b'"name":"x"'))
    log = Log.open(tmp_path, clock=Stopped())
    added = (await add(log, "c")).events[0]
    assert segments(tmp_path) == [path]
    assert added.time[:10] == path.name[:10]
    if damaged == ("b",):
        assert (first := log.read(0)) is not None
        assert added.time > first.time
    await log.close()


def renamed(log_json: Path, log_id: str) -> bytes:
    """`log.json` with another id and all else kept."""
    told = json.loads(log_json.read_bytes())
    return json.dumps(told | {"log_id": log_id}, separators=(",", ":")).encode() + b"\n"


async def test_a_log_json_of_wrong_types_or_not_as_it_was_written_keeps_the_log_shut_and_is_a_fault(tmp_path):
    await make(tmp_path, "a")
    path = tmp_path / "log" / "log.json"
    told = json.loads(content := path.read_bytes())
    keys = ("vkey", "log_id", "origin", "created")
    wrong = [told | {key: value} for key in keys for value in (None, 5, "\ud800", "x", [])]
    wrong += [told | {"log_id": "f" * 32}, told | {"more": 1}]
    texts = [json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in wrong]
    for text in [*texts, content[:-1], content + b" ", b"[" * 60_000]:
        path.write_bytes(text)
        refuses_to_open(tmp_path, r"log\.json")
        assert verify(tmp_path, None, None).bad, text
    path.write_bytes(content)
    assert await names(tmp_path) == ["a"]


async def test_a_log_under_the_id_of_another_stays_shut_and_each_of_its_events_is_a_fault(tmp_path):
    await make(tmp_path, "a", "b")
    path = tmp_path / "log" / "log.json"
    log_id = json.loads(content := path.read_bytes())["log_id"]
    path.write_bytes(renamed(path, log_id[:-1] + ("0" if log_id[-1] != "0" else "1")))
    refuses_to_open(tmp_path, r"is not of the log .* seq 0")
    assert verify(tmp_path, None, None).bad == 2
    path.write_bytes(content)
    assert verify(tmp_path, None, None).is_good


@pytest.mark.parametrize("index", ["kept", "deleted"])
async def test_an_event_of_another_log_at_the_end_keeps_the_log_shut_and_is_a_fault(tmp_path, index):
    await make(tmp_path, "a")
    (path,) = segments(tmp_path)
    event = decode(path.read_bytes()).event
    log_id = json.loads((tmp_path / "log" / "log.json").read_bytes())["log_id"].encode()
    foreign = event.replace(log_id, b"0" * 32).replace(b'"time":"2', b'"time":"3')
    foreign = foreign.replace(b'"data":{', b'"data":{"more":{"source":"urn:runlog:%b","x":1},' % log_id)
    write(path, path.read_bytes() + encode(1, 1, 1, foreign)[1])
    if index == "deleted":
        lose_index(tmp_path)
    refuses_to_open(tmp_path, r"is not of the log .* seq 1")
    assert "later" not in (first := verify(tmp_path, None, None).first_bad).what
    assert first.seq == 1


async def test_seals_whose_folder_is_gone_come_back_the_same(tmp_path):
    await make(tmp_path, "a", "b", "c", limits=ONE_A_SEGMENT)
    folder = tmp_path / "log" / "checkpoints"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    assert await names(tmp_path) == ["a", "b", "c"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(before) == 2
    assert verify(tmp_path, None, None).is_good
