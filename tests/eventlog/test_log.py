"""The log on real files: what it took is there, whatever else happens to the folder."""

import asyncio
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from eventlog.batch import Appended, Expected, Stream
from eventlog.canonical import canonical
from eventlog.commit import Limits
from eventlog.errors import IdempotencyKeyReused, LogLocked, RevisionConflict
from eventlog.event import IdempotencyKey, Origin
from eventlog.follow import Follower, last_whole_batch
from eventlog.log import Log
from eventlog.posix import PosixDisk
from tests.eventlog.logs import opened

ORIGIN = Origin("press")


async def add(
    log: Log, stream: str, *names: str, expected: Expected = Stream.ABSENT, origin: Origin = ORIGIN
) -> Appended:
    drafts = [log.draft("t.v1", stream, {"name": name}, origin) for name in names]
    return await log.append(drafts, expected, origin)


def keyed(key: str, request: str = "a", actor: str = "press") -> Origin:
    return Origin(actor, idempotency=IdempotencyKey(key, request * 64))


def names(log: Log) -> list[str]:
    return [event.data["name"] for seq in range(log.head + 1) if (event := log.read(seq)) is not None]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "segments").iterdir())


def lose_index(folder: Path) -> None:
    for path in folder.glob("index.sqlite*"):
        path.unlink()


async def test_an_appended_event_is_read_back_with_the_bytes_that_lie_in_its_segment(tmp_path):
    async with opened(tmp_path) as log:
        appended = await add(log, "run_1", "a", "b")
        assert (appended.first, appended.last, appended.revision, appended.replayed) == (0, 1, 1, False)
        assert (log.head, log.end.next_seq, log.halted, log.queued_events) == (1, 2, None, 0)
        event = log.read(1)
        assert event is not None
        assert event == appended.events[1]
        assert (event.type, event.stream, event.data, event.event["actor"]) == ("t.v1", "run_1", {"name": "b"}, "press")
        assert event.event["source"] == f"urn:runlog:{log.identity.log_id}"
        assert event.bytes == canonical(event.event)
        lines = segments(tmp_path)[0].read_bytes().splitlines()
        assert json.loads(lines[1]) == {"seq": 1, "first": 0, "last": 1, "hash": event.hash, "event": event.event}
        assert log.read(2) is None


async def test_a_stream_is_its_events_oldest_first(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "run_1", "a")
        await add(log, "run_2", "b")
        await add(log, "run_1", "c", "d", expected=Stream.PRESENT)
        await add(log, "run_1", "e", expected=2)
        assert [event.data["name"] for event in log.read_stream("run_1")] == ["a", "c", "d", "e"]
        assert log.has_stream("run_2")
        assert not log.has_stream("run_3")
        assert log.read_stream("run_3") == []


async def test_an_append_to_a_stream_that_is_not_as_expected_is_refused_and_writes_nothing(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "run_1", "a")
        for stream, expected in (("run_1", Stream.ABSENT), ("run_1", 1), ("run_2", Stream.PRESENT), ("run_2", 0)):
            with pytest.raises(RevisionConflict):
                await add(log, stream, "x", expected=expected)
        assert log.head == 0


async def test_of_two_creates_at_once_one_is_taken_and_one_refused(tmp_path):
    async with opened(tmp_path) as log:
        answers = await asyncio.gather(*(add(log, "run_1", name) for name in "ab"), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Appended, RevisionConflict]
        assert names(log) == ["a"]


@pytest.mark.parametrize("before", [lambda _folder: None, lose_index], ids=["index kept", "index deleted"])
async def test_a_log_opened_again_is_the_same_and_goes_on(tmp_path, before: Callable[[Path], None]):
    async with opened(tmp_path) as log:
        await add(log, "run_1", "a", "b")
        await add(log, "run_2", "c", origin=keyed("k"))
        identity, found = log.identity, [log.read(seq) for seq in range(3)]
    before(tmp_path)
    bytes_before = segments(tmp_path)[0].read_bytes()
    async with opened(tmp_path) as log:
        assert (log.identity, log.head) == (identity, 2)
        assert [log.read(seq) for seq in range(3)] == found
        assert [event.seq for event in log.read_stream("run_1")] == [0, 1]
        await add(log, "run_1", "d", expected=1)
        assert names(log) == ["a", "b", "c", "d"]
    assert segments(tmp_path)[0].read_bytes().startswith(bytes_before)


@pytest.mark.parametrize("before", [lambda _folder: None, lose_index], ids=["index kept", "index deleted"])
async def test_an_idempotency_key_survives_reopening(tmp_path, before):
    async with opened(tmp_path) as log:
        first = await add(log, "run_1", "a", "b", origin=keyed("k"))
    before(tmp_path)
    async with opened(tmp_path) as log:
        again = await add(log, "run_1", "a", "b", origin=keyed("k"))
        assert (again.first, again.last, again.replayed) == (first.first, first.last, True)
        with pytest.raises(IdempotencyKeyReused):
            await add(log, "run_2", "c", origin=keyed("k", "b"))
        assert (use := log.key_use("press", IdempotencyKey("k", ""))) is not None
        assert (use.first, use.last, use.request_sha256) == (0, 1, "a" * 64)
        assert log.key_use("lathe", IdempotencyKey("k", "")) is None
        assert not (await add(log, "run_2", "c", origin=keyed("k", "b", actor="lathe"))).replayed
        assert names(log) == ["a", "b", "c"]


async def test_a_refused_append_does_not_use_up_its_key(tmp_path):
    async with opened(tmp_path) as log:
        with pytest.raises(RevisionConflict):
            await add(log, "run_1", "a", expected=Stream.PRESENT, origin=keyed("k"))
        assert not (await add(log, "run_1", "b", origin=keyed("k", "b"))).replayed


async def test_an_append_whose_client_goes_away_runs_to_its_end(tmp_path):
    async with opened(tmp_path) as log:
        task = asyncio.create_task(add(log, "run_1", "a"))
        while not log.queued_events:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await add(log, "run_2", "b")
        assert names(log) == ["a", "b"]


async def test_what_waits_at_close_is_written(tmp_path):
    log = Log.open(tmp_path)
    tasks = [asyncio.create_task(add(log, f"run_{number}", str(number))) for number in range(50)]
    await asyncio.sleep(0)
    await log.close()
    assert {(await task).revision for task in tasks} == {0}
    async with opened(tmp_path) as log:
        assert names(log) == [str(number) for number in range(50)]


async def test_what_comes_while_the_writer_rests_goes_with_the_next_batch_and_a_close_waits_for_it(tmp_path):
    async with opened(tmp_path) as log:
        batches: list[list[str]] = []
        log.on_commit(lambda batch: batches.append([event.data["name"] for event in batch.events]))
        asked: list[float] = []

        def rest_s() -> float:
            asked.append(0.3)
            return asked[-1]

        log.rest_between_batches(rest_s)
        first = asyncio.create_task(add(log, "run_1", "a"))
        while not asked:
            await asyncio.sleep(0)
        rest = [asyncio.create_task(add(log, f"run_{name}", name)) for name in "bcd"]
        await asyncio.gather(first, *rest)
        assert batches == [["a", "b", "c", "d"]]
        assert len(asked) == 1, "while nothing waits nobody needs to know"
        last = asyncio.create_task(add(log, "run_e", "e"))
        await asyncio.sleep(0)
        await log.close()
        assert (await last).first == 4
    async with opened(tmp_path) as log:
        assert names(log) == ["a", "b", "c", "d", "e"]


async def test_a_log_goes_on_without_a_rest_where_it_cannot_be_told_whether_one_is_due(tmp_path):
    async with opened(tmp_path) as log:
        log.rest_between_batches(lambda: 1 / 0)
        with capture_logs() as lines:
            await add(log, "run_1", "a")
        assert [line["event"] for line in lines] == ["log.rest_not_known"]


async def test_listeners_hear_of_each_batch_in_order_before_its_appends_are_answered(tmp_path):
    heard: list[int] = []
    async with opened(tmp_path) as log:
        log.on_commit(lambda batch: heard.extend(event.seq for event in batch.events))
        for number in range(3):
            appended = await add(log, f"run_{number}", "a", "b")
            assert heard[-1] == appended.last
    assert heard == list(range(6))


async def test_a_second_writer_is_refused_with_the_pid_of_the_first_and_changes_nothing(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "run_1", "a")
        with pytest.raises(LogLocked, match=f"Process {os.getpid()} is already writing") as caught:
            Log.open(tmp_path)
        assert (caught.value.code, caught.value.pid) == ("LOG_LOCKED", os.getpid())
        await add(log, "run_2", "b")
    async with opened(tmp_path) as log:
        assert names(log) == ["a", "b"]


async def test_a_finished_segment_is_read_only_and_the_newest_is_not(tmp_path):
    async with opened(tmp_path, limits=Limits(segment_bytes_max=1)) as log:
        for number in range(3):
            await add(log, f"run_{number}", str(number))
    assert [stat.S_IMODE(path.stat().st_mode) for path in segments(tmp_path)] == [0o444, 0o444, 0o644]
    for path in segments(tmp_path):
        path.chmod(0o644)
    async with opened(tmp_path):
        pass
    assert [stat.S_IMODE(path.stat().st_mode) for path in segments(tmp_path)] == [0o444, 0o444, 0o644]


async def test_a_copied_data_directory_is_the_same_log(tmp_path):
    async with opened(tmp_path / "a") as log:
        await add(log, "run_1", "a")
        found = log.read(0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with opened(tmp_path / "b") as log:
        assert log.read(0) == found


async def test_an_index_that_cannot_be_saved_fails_no_append(tmp_path, monkeypatch):
    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with opened(tmp_path) as log:
        monkeypatch.setattr(log._index, "save", full)
        await add(log, "run_1", "a")
        assert names(log) == ["a"]
        assert log.unindexed_events == 1
    async with opened(tmp_path) as log:
        assert names(log) == ["a"]


async def test_a_lock_whose_holder_is_not_known_is_a_lock_all_the_same(tmp_path):
    async with opened(tmp_path):
        (tmp_path / "writer.lock").write_text("")
        with pytest.raises(LogLocked, match="Another process is already writing"):
            Log.open(tmp_path)


class Stepping:
    """A clock that a test sets."""

    now = 1_767_589_636_000_000

    def now_us(self) -> int:
        return self.now


async def test_a_clock_that_steps_back_is_noticed_and_times_rise_all_the_same(tmp_path):
    clock = Stepping()
    async with opened(tmp_path, clock=clock) as log:
        first = (await add(log, "run_1", "a")).events[0]
        clock.now -= 10_000_000
        assert log.held_us == 10_000_000
        second = (await add(log, "run_2", "b")).events[0]
        assert (first.time, second.time) == ("2026-01-05T05:07:16.000000Z", "2026-01-05T05:07:16.000001Z")
    async with opened(tmp_path, clock=clock) as log:
        assert (await add(log, "run_3", "c")).events[0].time == "2026-01-05T05:07:16.000002Z"


async def test_a_clock_that_stepped_back_is_warned_of_once_until_it_has_caught_up(tmp_path):
    """By the append that meets it, whether or not anybody asks how the server is."""
    clock = Stepping()

    async def told_after(step_us: int) -> list[tuple[str, str, float]]:
        clock.now += step_us
        with capture_logs() as lines:
            await add(log, "run_1", "a", expected=log.head if log.head >= 0 else Stream.ABSENT)
        told = [line for line in lines if line["event"] == "clock.stepped_back"]
        return [(line["event"], line["log_level"], line["held_s"]) for line in told]

    async with opened(tmp_path, clock=clock) as log:
        assert await told_after(0) == []
        assert await told_after(-5_000_000) == []  # 5 s are borne
        assert await told_after(-1_000_000) == [("clock.stepped_back", "warning", 6.000001)]
        assert await told_after(-1_000_000) == []
        assert await told_after(6_000_000) == []  # it has not caught up yet
        assert await told_after(-7_000_000) == []
        assert await told_after(60_000_000) == []
        assert await told_after(-3600_000_000) == [("clock.stepped_back", "warning", 3600.0)]
    async with opened(tmp_path, clock=clock) as log:  # whoever reads of this start alone is told too
        assert len(await told_after(0)) == 1


async def test_a_stream_is_read_in_pieces_from_any_event_on(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "run_1", "a")
        await add(log, "run_2", "b")
        await add(log, "run_1", "c", "d", expected=0)
        for bytes_max, expected in ((1, [2]), (1 << 20, [2, 3])):
            assert [event.seq for event in log.read_stream_from("run_1", 1, bytes_max)] == expected
        assert log.read_stream_from("run_1", 4, 1) == log.read_stream_from("run_3", 0, 1) == []


async def test_events_are_written_into_nuls_laid_ahead_of_them_which_no_reader_meets(tmp_path):
    """Neither while the log is open, nor in a segment that is finished, nor after a close."""
    limits = Limits(segment_bytes_max=4000, ahead_bytes=3000, ahead_after_batches=2)
    disk, sizes, followed = PosixDisk(tmp_path), set(), []
    follower = Follower(disk)
    async with opened(tmp_path, limits=limits) as log:
        for number in range(20):
            await add(log, f"run_{number}", "x" * 300)
            followed += follower.read(log.end)
            assert last_whole_batch(disk, log.head + 1).next_seq == log.head + 1
            newest = max((tmp_path / "log/segments").iterdir())
            sizes.add(newest.stat().st_size > log.end.offset)
    assert True in sizes, "nothing was ever written ahead"
    assert [one.seq for one in followed] == list(range(20))
    segments = sorted((tmp_path / "log/segments").iterdir())
    assert len(segments) > 2
    assert all(segment.read_bytes().endswith(b"}}\n") for segment in segments)
    disk.close()
