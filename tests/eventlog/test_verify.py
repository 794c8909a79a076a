"""Verifying finds whatever was done to a log, names the first bad event, and lets a good one pass, stopped or live."""

import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventlog import parts
from eventlog.batch import Stream
from eventlog.blobs import Blobs
from eventlog.commit import Limits
from eventlog.errors import LogDamaged
from eventlog.event import Origin
from eventlog.frame import encode
from eventlog.locate import Finder
from eventlog.lock import WriterLock
from eventlog.log import Log
from eventlog.posix import PosixDisk
from eventlog.segment import segment_path
from eventlog.signing import Signer, Verifier
from eventlog.stretch import Naming
from eventlog.verdict import Fault, Verdict
from eventlog.verify import segment_bytes, verify

ORIGIN = Origin("press")
THREE_SEGMENTS = Limits(segment_bytes_max=1800)
SIZES = (1, 3, 1, 1, 2, 1, 2)
COUNT = sum(SIZES)


def named(event: bytes) -> tuple[str, int]:
    blob = json.loads(event)["data"]["blob"]
    return blob["sha256"], blob["size"]


NAMING = Naming(b'"type":"blob.v1"}', named)


@asynccontextmanager
async def opened(folder: Path, **how):
    log = Log.open(folder, **how)
    try:
        yield log
    finally:
        await log.close()


async def add(log: Log, stream: str, count: int = 1) -> None:
    drafts = [log.draft("t.v1", stream, {"n": n, "pad": "x" * 20}, ORIGIN) for n in range(count)]
    await log.append(drafts, Stream.ABSENT, ORIGIN)


@pytest.fixture
async def made(tmp_path) -> Path:
    """A small log of three segments, stopped."""
    folder = tmp_path / "data"
    async with opened(folder, limits=THREE_SEGMENTS) as log:
        for number, count in enumerate(SIZES):
            await add(log, f"run_{number}", count)
    assert len(segments(folder)) == 3
    return folder


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log" / "segments").iterdir())


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in segments(folder) for line in path.read_bytes().splitlines(True)]


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def judged(folder: Path, **how) -> Verdict:
    return verify(folder, folder / "attachments", NAMING, **how)


def first_bad(folder: Path) -> tuple[str, int | None, int | None]:
    verdict = judged(folder)
    assert not verdict.is_good
    assert verdict.first_bad is not None
    return verdict.first_bad.path, verdict.first_bad.offset, verdict.first_bad.seq


def places(folder: Path) -> list[tuple[Path, int, int]]:
    """Segment, offset and length of every event."""
    found = []
    for path in segments(folder):
        offset = 0
        for line in path.read_bytes().splitlines(True):
            found.append((path, offset, len(line)))
            offset += len(line)
    return found


async def test_a_good_log_is_good_and_its_figures_are_right(made):
    done: list[int] = []
    verdict = judged(made, on_progress=done.append)
    assert verdict.faults == []
    assert verdict.is_good
    assert (verdict.events, verdict.signed, verdict.unsigned_tail) == (COUNT, COUNT, 0)
    assert verdict.is_self_consistent_only
    assert done[-1] == segment_bytes(made)
    assert verdict.as_json()["ok"] is True
    key = Verifier.parse(verdict.key)
    verdict = judged(made, key=key)
    assert (verdict.is_good, verdict.is_self_consistent_only) == (True, False)
    other = Signer(key.name, b"x" * 32).verifier
    assert not judged(made, key=other).is_good


async def test_an_empty_log_is_good(tmp_path):
    async with opened(tmp_path):
        pass
    assert judged(tmp_path).is_good


async def test_every_flipped_byte_of_a_segment_is_found_in_its_own_event(made, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 700)
    for seq, (path, offset, length) in enumerate(places(made)):
        content = path.read_bytes()
        for at in range(offset, offset + length):
            changed = bytearray(content)
            changed[at] ^= 1 << (at % 7)
            rewrite(path, bytes(changed))
            verdict = judged(made)
            assert not verdict.is_good, (at - offset, bytes(content[at : at + 1]))
            assert verdict.first_bad is not None
            found = (verdict.first_bad.path, verdict.first_bad.offset, verdict.first_bad.seq, verdict.bad)
            assert found == (str(path.relative_to(made)), offset, seq, 1), (at - offset, verdict.faults)
        rewrite(path, content)
    assert judged(made).is_good


async def test_who_of_two_neighbours_lies_about_their_batch_is_told_by_the_others_and_by_the_times(made):
    for seq, (path, offset, _) in enumerate(places(made)):
        content = path.read_bytes()
        for at in [at for at in range(offset, offset + 40) if content[at : at + 1].isdigit()]:
            for digit in {*b"0123456789"} - {content[at]}:
                changed = bytearray(content)
                changed[at] = digit
                rewrite(path, bytes(changed))
                verdict = judged(made)
                assert verdict.first_bad is not None
                assert (verdict.first_bad.seq, verdict.bad) == (seq, 1), (bytes(changed[offset:][:40]), verdict.faults)
        rewrite(path, content)


async def test_every_flipped_byte_of_what_is_signed_or_says_which_log_it_is_is_found(made):
    for path in [made / "log" / "checkpoint", made / "log" / "log.json", *(made / "log" / "checkpoints").iterdir()]:
        content = path.read_bytes()
        for at in range(len(content)):
            changed = bytearray(content)
            changed[at] ^= 1 << (at % 7)
            path.write_bytes(changed)
            assert not judged(made).is_good, (path.name, at, content)
        path.write_bytes(content)
    assert judged(made).is_good


async def test_what_was_removed_doubled_swapped_cut_or_added_is_found_and_the_first_place_named(made):
    path = segments(made)[1]
    content = path.read_bytes()
    lines = content.splitlines(True)
    first = len(segments(made)[0].read_bytes().splitlines())
    assert len(lines) >= 3
    name = f"log/segments/{path.name}"
    for changed, expected in (
        ([lines[0], *lines[2:]], (name, len(lines[0]), first + 1)),
        ([lines[0], lines[0], *lines[1:]], (name, len(lines[0]), first + 1)),
        ([lines[0], lines[2], lines[1], *lines[3:]], (name, len(lines[0]), first + 1)),
        ([lines[0], b"rubbish\n", *lines[1:]], (name, len(lines[0]), first + 1)),
        ([lines[0], b"\n", *lines[1:]], (name, len(lines[0]), first + 1)),
        ([lines[0][:-1], *lines[1:]], (name, 0, first)),
        ([b"\0" * len(lines[0]), *lines[1:]], (name, 0, first)),
        ([*lines, b"\0\0"], (name, len(content), first + len(lines))),
    ):
        rewrite(path, b"".join(changed))
        assert first_bad(made) == expected, judged(made).faults
    rewrite(path, b"".join(lines[:-1]))
    assert first_bad(made)[2] == first + len(lines) - 1
    rewrite(path, b"")
    assert not judged(made).is_good
    path.unlink()
    assert first_bad(made)[2] == first


async def test_the_end_cut_off_is_found_and_all_that_is_missing_counted(made):
    path = segments(made)[-1]
    lines = path.read_bytes().splitlines(True)
    rewrite(path, b"".join(lines[:-1]))
    verdict = judged(made)
    assert (verdict.bad, verdict.first_bad.seq) == (1, COUNT - 1)
    path.unlink()
    verdict = judged(made)
    assert verdict.first_bad.seq == COUNT - len(lines)
    assert verdict.bad >= len(lines)


async def test_renumbered_events_are_found(made):
    for path in segments(made):
        rewrite(path, path.read_bytes().replace(b'{"seq":', b'{"seq":1'))
    assert first_bad(made)[2] == 0


async def test_an_event_changed_together_with_its_hash_is_found_by_the_root(made):
    path = segments(made)[1]
    content = path.read_bytes()
    lines = content.splitlines(True)
    facts = json.loads(lines[1])
    event = lines[1].partition(b',"event":')[2][:-2].replace(b'"actor":"press"', b'"actor":"prexx"')
    lines[1] = encode(facts["seq"], facts["first"], facts["last"], event)[1]
    rewrite(path, b"".join(lines))
    verdict = judged(made)
    first = len(segments(made)[0].read_bytes().splitlines())
    assert verdict.first_bad.seq == first  # between the two seals round it nothing tells more
    assert verdict.first_bad.path == f"log/segments/{path.name}"
    assert "changed with their hashes" in verdict.first_bad.what


async def test_the_stored_bundles_tell_which_event_was_changed_together_with_its_hash(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 700)
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(True)
    for seq in (300, 301):
        event = lines[seq].partition(b',"event":')[2][:-2].replace(b'"actor":"press"', b'"actor":"prexx"')
        lines[seq] = encode(seq, 0, 699, event)[1]
    rewrite(path, b"".join(lines))
    verdict = judged(tmp_path)
    assert (verdict.bad, [fault.seq for fault in verdict.faults]) == (2, [300, 301])
    assert verdict.first_bad.offset == sum(map(len, lines[:300]))


async def test_seals_and_segments_of_another_log_missing_seals_and_files_of_nobody_are_found(made, tmp_path):
    other = tmp_path / "other"
    async with opened(other, limits=THREE_SEGMENTS) as log:
        for number, count in enumerate(SIZES):
            await add(log, f"run_{number}", count)
    seals = [sorted((folder / "log" / "checkpoints").iterdir()) for folder in (made, other)]
    content = seals[0][0].read_bytes()
    seals[0][0].write_bytes(seals[1][0].read_bytes())
    assert first_bad(made)[0] == f"log/checkpoints/{seals[0][0].name}"
    seals[0][0].write_bytes(seals[0][1].read_bytes())
    assert first_bad(made)[0] == f"log/checkpoints/{seals[0][0].name}"
    seals[0][0].unlink()
    assert "missing" in judged(made).first_bad.what
    seals[0][0].write_bytes(content)
    assert judged(made).is_good
    for mine, theirs in zip(segments(made), segments(other), strict=True):
        kept = mine.read_bytes()
        rewrite(mine, theirs.read_bytes())
        assert first_bad(made)[0] == f"log/segments/{mine.name}"
        rewrite(mine, kept)
    for stray in ("log/x", "log/segments/x", "log/checkpoints/2020-01-01.0000", "log/torn/x", "log/tiles/0/000"):
        path = made / stray
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        assert first_bad(made)[0] == stray
        path.rename(path.with_name(path.name + ".tmp"))
        assert judged(made).is_good, judged(made).faults


async def test_a_folder_under_the_name_of_a_draft_hides_no_file(made):
    folder = made / "log" / "more.tmp"
    folder.mkdir()
    (folder / "hidden").write_bytes(b"x")
    assert first_bad(made)[0] == "log/more.tmp"


async def test_a_log_whose_log_json_is_gone_is_bad_and_its_events_are_read_nevertheless(made):
    key = Verifier.parse(judged(made).key)
    (made / "log" / "log.json").unlink()
    verdict = judged(made)
    assert (verdict.bad, verdict.events, verdict.first_bad.path) == (1, COUNT, "log/log.json")
    assert "restore it from a backup" in verdict.first_bad.what
    assert (judged(made, key=key).bad, judged(made, key=key).signed) == (1, COUNT)


async def test_a_log_from_before_there_were_keys_is_told_that_its_next_open_signs_it(made):
    path = made / "log" / "log.json"
    told = json.loads(path.read_bytes())
    del told["vkey"]
    path.write_text(json.dumps(told))
    assert "the key was taken out of it" in judged(made).first_bad.what
    (made / "log" / "checkpoint").unlink()
    shutil.rmtree(made / "log" / "checkpoints")
    verdict = judged(made)
    assert (verdict.bad, verdict.events) == (1, COUNT), verdict.faults
    assert "`runlog serve` signs it" in verdict.first_bad.what


def test_an_event_that_is_bad_in_two_ways_counts_once_and_what_lies_elsewhere_counts_too():
    verdict = Verdict()
    for offset, seq in ((100, 3), (100, 3), (120, 3), (200, 4), (None, None), (None, None)):
        verdict.add(Fault("bad", "log/x", offset, seq))
    assert (verdict.bad, len(verdict.faults), "_bad_events" in verdict.as_json()) == (5, 6, False)


async def test_a_segment_that_is_there_only_compressed_is_refused_with_what_unpacks_it(made):
    path = segments(made)[0]
    packed = path.with_name(f"{path.name}.zst")
    path.rename(packed)
    for read in (judged, Log.open):
        with pytest.raises(LogDamaged, match=f"`zstd -d --rm {packed.name}` in log/segments"):
            read(made)
    path.write_bytes(packed.read_bytes())
    assert first_bad(made)[0] == f"log/segments/{packed.name}"
    packed.unlink()
    assert judged(made).is_good


async def test_a_segment_under_the_name_of_another_day_is_found(made):
    path = segments(made)[-1]
    path.rename(path.with_name(f"2099{path.name[4:]}"))
    assert not judged(made).is_good


async def test_changed_tiles_are_found_and_deleted_ones_are_no_fault(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 700)
    for path in [path for path in (tmp_path / "log" / "tiles").rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
        assert first_bad(tmp_path)[0] == str(path.relative_to(tmp_path))
        path.write_bytes(content[:-1])
        assert not judged(tmp_path).is_good
        path.write_bytes(content)
    shutil.rmtree(tmp_path / "log" / "tiles")
    verdict = judged(tmp_path)
    assert (verdict.is_good, verdict.tiles_missing) == (True, 4)


async def test_tiles_beside_damaged_bytes_or_a_damaged_hash_are_not_accused_and_wrong_ones_still_are(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 600)
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    lines = content.splitlines(True)
    wrong = tmp_path / "log" / "tiles" / "0" / "001"
    tile = wrong.read_bytes()
    for name in (b'"pad":"', b'"hash":"'):
        at = lines[70].index(name) + len(name)
        changed = lines[70][:at] + (b"0" if lines[70][at : at + 1] != b"0" else b"1") + lines[70][at + 1 :]
        rewrite(path, b"".join([*lines[:70], changed, *lines[71:]]))
        verdict = judged(tmp_path)
        assert (verdict.bad, [fault.seq for fault in verdict.faults]) == (1, [70]), verdict.faults
        wrong.write_bytes(tile[::-1])
        verdict = judged(tmp_path)
        assert [fault.path for fault in verdict.faults if fault.seq is None] == ["log/tiles/0/001"], verdict.faults
        assert verdict.bad == 2
        wrong.write_bytes(tile)


async def test_a_blob_that_an_event_names_is_read_and_one_that_is_changed_or_gone_is_found(tmp_path):
    blobs = Blobs(tmp_path / "attachments")
    blob = await blobs.put_bytes(b"content")
    async with opened(tmp_path) as log:
        data = {"blob": {"sha256": blob.sha256, "size": blob.size_bytes}}
        drafts = [log.draft("blob.v1", "run", data, ORIGIN) for _ in range(2)]
        await log.append(drafts, Stream.ABSENT, ORIGIN)
    assert (judged(tmp_path).is_good, judged(tmp_path).blobs) == (True, 1)
    path = blobs.path(blob.sha256)
    rewrite(path, b"kontent")
    assert first_bad(tmp_path)[2] == 0
    path.unlink()
    assert "missing" in judged(tmp_path).first_bad.what
    assert verify(tmp_path, None, NAMING).is_good


async def test_what_lies_above_the_checkpoint_counts_unless_the_log_is_being_written(made):
    path = segments(made)[-1]
    whole = path.read_bytes()
    half = encode(COUNT, COUNT, COUNT + 1, whole.splitlines()[-1].partition(b',"event":')[2][:-1])[1]
    rewrite(path, whole + half[:50])
    assert first_bad(made) == (f"log/segments/{path.name}", len(whole), COUNT)
    rewrite(path, whole + b"\0" * 5000)
    assert judged(made).is_good
    rewrite(path, whole)
    async with opened(made, limits=Limits(checkpoint_interval_ms=600_000)) as log:
        await add(log, "first")
        await log.notary.covering(COUNT + 1, 30)
        await add(log, "second", 2)
        verdict = judged(made)
        assert (verdict.is_good, verdict.signed, verdict.unsigned_tail) == (True, COUNT + 1, 2), verdict.faults
        end = path.stat().st_size
        with path.open("ab") as file:
            file.write(half[:50])
        verdict = judged(made)
        assert verdict.is_good
        assert len(verdict.notes) == 1
        with path.open("ab") as file:
            file.truncate(end)
    assert judged(made).is_good


async def test_a_log_is_verified_the_same_by_several_processes_and_in_small_parts(made, monkeypatch):
    expected = judged(made).as_json()
    monkeypatch.setattr(parts, "PART_BYTES", 100)
    assert judged(made).as_json() == expected
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    monkeypatch.setattr(parts, "PROCESSES_FROM_BYTES", 1)
    assert verify(made, None, None).as_json() == expected


async def test_every_event_is_found_without_an_index(made):
    disk = PosixDisk(made)
    finder = Finder(disk)
    for seq, (path, offset, length) in enumerate(places(made)):
        place = finder.place(seq)
        assert (made / segment_path(place.segment), place.offset, place.length) == (path, offset, length)
    disk.close()


async def test_an_event_is_found_by_halving_a_segment_of_many(tmp_path, monkeypatch):
    monkeypatch.setattr("eventlog.locate._READ_BYTES", 1000)
    async with opened(tmp_path) as log:
        await add(log, "a", 300)
    disk = PosixDisk(tmp_path)
    finder = Finder(disk)
    for seq, (_, offset, length) in enumerate(places(tmp_path)):
        place = finder.place(seq)
        assert (place.offset, place.length) == (offset, length)
    disk.close()


async def test_seals_above_the_checkpoint_are_awaited_of_a_log_that_is_held_when_the_reading_begins_or_ends(made):
    seals = sorted((made / "log" / "checkpoints").iterdir())
    checkpoint = (made / "log" / "checkpoint").read_bytes()
    contents = {path: path.read_bytes() for path in seals}
    limits = Limits(segment_bytes_max=1, checkpoint_interval_ms=600_000)
    async with opened(made, limits=limits) as log:
        for number in range(4):
            await add(log, f"late_{number}")
    (made / "log" / "checkpoint").write_bytes(checkpoint)
    late = [path for path in sorted((made / "log" / "checkpoints").iterdir()) if path not in contents]
    for path in late[1:]:
        path.unlink()
    stopped = judged(made)
    assert stopped.bad == len(late) - 1 > 1, stopped.faults
    lock = WriterLock(made)
    verdict = judged(made)
    assert (verdict.is_good, len(verdict.notes)) == (True, len(late) - 1), verdict.faults
    seals[0].unlink()
    assert [fault.path for fault in judged(made).faults] == [f"log/checkpoints/{seals[0].name}"]
    seals[0].write_bytes(contents[seals[0]])
    held = [lock]
    assert judged(made, on_progress=lambda _done: held.pop().release() if held else None).is_good
    assert judged(made, on_progress=lambda _done: held.append(WriterLock(made)) if not held else None).is_good
    held.pop().release()
