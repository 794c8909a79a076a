"""Bounds, and a disk that fails: what was not written is said so, and what is not known is not guessed."""

import asyncio
import errno
import sqlite3

import pytest
from structlog.testing import capture_logs

from eventlog.batch import Appended, Stream
from eventlog.commit import Limits
from eventlog.errors import AppendTooLarge, LogBusy, LogFull, LogHalted
from eventlog.event import Origin
from eventlog.log import Log
from eventlog.memory import MemoryDisk

ORIGIN = Origin("press")
ONE_A_SEGMENT = Limits(segment_bytes_max=1)


async def add(log: Log, name: str) -> Appended:
    return await log.append([log.draft("t.v1", name, {"name": name}, ORIGIN)], Stream.ABSENT, ORIGIN)


def names_of(log: Log) -> list[str]:
    return [event.data["name"] for seq in range(log.head + 1) if (event := log.read(seq)) is not None]


async def test_a_queue_above_its_bound_is_busy_and_takes_again_what_comes_later(tmp_path):
    log = Log.open(tmp_path, limits=Limits(queue_events_max=3))
    answers = await asyncio.gather(*(add(log, str(number)) for number in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Appended] * 3 + [LogBusy] * 2
    await add(log, "later")
    assert names_of(log) == ["0", "1", "2", "later"]
    await log.close()
    with pytest.raises(LogBusy):
        await add(log, "too late")


async def test_a_queue_takes_one_append_above_its_bytes_but_no_second(tmp_path):
    log = Log.open(tmp_path, limits=Limits(queue_bytes_max=1))
    answers = await asyncio.gather(*(add(log, str(number)) for number in range(2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Appended, LogBusy]
    await log.close()


async def test_an_append_larger_than_any_batch_is_refused(tmp_path):
    log = Log.open(tmp_path, limits=Limits(append_bytes_max=1000))
    with pytest.raises(AppendTooLarge) as caught:
        await add(log, "x" * 1000)
    assert (caught.value.code, caught.value.bytes_max) == ("BODY_TOO_LARGE", 1000)
    await log.close()


@pytest.fixture
def disk():
    return MemoryDisk()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("limits", [Limits(), ONE_A_SEGMENT], ids=["same segment", "new segment"])
@pytest.mark.parametrize("verb", ["write", "create"])
async def test_a_full_disk_fails_the_append_and_serves_again_when_there_is_space(tmp_path, disk, error, limits, verb):
    log = Log.open(tmp_path, disk=disk, limits=limits)
    await add(log, "a")
    end = log.end
    disk.fail(verb, error, partial=7)
    if verb == "create" and limits == Limits():
        disk.heal()
        disk.fail("write", error)
    with pytest.raises(LogFull):
        await add(log, "b")
    assert (log.end, log.halted, names_of(log)) == (end, None, ["a"])
    lost = next(disk.crash_states())
    assert [lost.size(f"log/segments/{name}") for name in lost.names("log/segments")] == [end.offset]
    await add(log, "c")
    assert names_of(log) == ["a", "c"]
    await log.close()


@pytest.mark.parametrize(
    ("verb", "error"), [("sync", errno.EIO), ("sync", errno.ENOSPC), ("write", errno.EIO), ("write", errno.EROFS)]
)
async def test_a_failed_fsync_or_write_halts_the_log_and_reads_go_on(tmp_path, disk, verb, error):
    log = Log.open(tmp_path, disk=disk)
    await add(log, "a")
    disk.fail(verb, error)
    answers = await asyncio.gather(*(add(log, name) for name in "bc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LogHalted] * 2
    with pytest.raises(LogHalted):
        await add(log, "d")
    assert log.halted is not None
    assert (log.head, names_of(log)) == (0, ["a"])
    await log.close()
    log = Log.open(tmp_path, disk=disk)
    assert names_of(log) in (["a"], ["a", "b", "c"])
    await add(log, "e")
    assert names_of(log)[-1] == "e"
    await log.close()


@pytest.mark.parametrize("verb", ["truncate", "sync"])
async def test_a_full_disk_that_cannot_even_be_cut_back_halts_the_log(tmp_path, disk, verb):
    log = Log.open(tmp_path, disk=disk)
    await add(log, "a")
    disk.fail("write", errno.ENOSPC, partial=5)
    disk.fail(verb, errno.EIO)
    with pytest.raises(LogHalted):
        await add(log, "b")
    await log.close()
    log = Log.open(tmp_path, disk=disk)
    assert names_of(log) == ["a"]
    await log.close()


@pytest.mark.parametrize("verb", ["create", "sync_folder"])
async def test_a_segment_that_cannot_be_made_durable_halts_the_log(tmp_path, disk, verb):
    log = Log.open(tmp_path, disk=disk, limits=ONE_A_SEGMENT)
    await add(log, "a")
    disk.fail(verb, errno.EIO)
    with pytest.raises(LogHalted):
        await add(log, "b")
    assert names_of(log) == ["a"]
    await log.close()


async def test_a_finished_segment_that_cannot_be_made_read_only_fails_no_append(tmp_path, disk):
    log = Log.open(tmp_path, disk=disk, limits=ONE_A_SEGMENT)
    disk.fail("make_readonly", errno.EPERM)
    await add(log, "a")
    await add(log, "b")
    assert names_of(log) == ["a", "b"]
    await log.close()


async def test_when_the_log_halts_all_that_waits_for_later_batches_fails_too(tmp_path, disk):
    log = Log.open(tmp_path, disk=disk, limits=Limits(batch_events_max=1))
    disk.fail("sync", errno.EIO, under="log/segments")
    answers = await asyncio.gather(*(add(log, name) for name in "abc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LogHalted] * 3
    assert (log.queued_events, log.head) == (0, -1)
    await log.close()


async def test_an_index_that_cannot_be_asked_refuses_the_append_and_is_asked_again_for_the_next(tmp_path, monkeypatch):
    def locked(_streams: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    log = Log.open(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(log._index, "revisions", locked)
        with pytest.raises(LogBusy):
            await add(log, "a")
    await add(log, "b")
    assert names_of(log) == ["b"]
    await log.close()


async def test_a_fault_of_our_own_in_the_writer_halts_the_log_instead_of_leaving_appends_without_an_answer(
    tmp_path, monkeypatch
):
    def wrong(_streams: object) -> None:
        raise RuntimeError("a fault of ours")

    log = Log.open(tmp_path)
    await add(log, "a")
    monkeypatch.setattr(log._index, "revisions", wrong)
    with capture_logs() as lines, pytest.raises(LogHalted) as caught:
        await add(log, "b")
    assert "a fault of ours" in caught.value.reason
    (line,) = [line for line in lines if line["event"] == "log.halted"]
    (segment,) = (tmp_path / "log" / "segments").iterdir()
    assert (line["segment"], line["offset"], line["seq"]) == (segment.name, log.end.offset, 1)
    assert names_of(log) == ["a"]
    await log.close()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
async def test_a_failure_of_writing_ahead_takes_nothing_that_was_answered(tmp_path, disk, error):
    """Without space the log goes on without; a disk that fails halts it, as anywhere."""
    log = Log.open(tmp_path, disk=disk, limits=Limits(ahead_bytes=3000, ahead_after_batches=1))
    disk.fail("write", error, after=1, under="log/segments/")
    await add(log, "a")
    if error == errno.EIO:
        with pytest.raises(LogHalted):
            await add(log, "b")
    else:
        await add(log, "b")
    assert (log.halted is not None) == (error == errno.EIO)
    served = names_of(log)
    await log.close()
    log = Log.open(tmp_path, disk=disk)
    assert names_of(log) == served
    await log.close()
