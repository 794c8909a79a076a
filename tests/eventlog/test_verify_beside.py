"""Verifying finds what was done to what lies beside the events, of a log that is stopped or live."""

import json
import shutil

from eventlog.batch import Stream
from eventlog.blobs import Blobs
from eventlog.commit import Limits
from eventlog.frame import encode
from eventlog.lock import WriterLock
from eventlog.signing import Verifier
from eventlog.verify import verify
from tests.eventlog.logs import opened
from tests.eventlog.verified import (
    COUNT,
    NAMING,
    ORIGIN,
    add,
    first_bad,
    judged,
    rewrite,
    segments,
    three_segments,
)


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


async def test_a_line_that_is_doubled_in_what_is_signed_is_found_and_that_of_a_witness_is_right(made):
    checkpoint, seal = made / "log" / "checkpoint", min((made / "log" / "checkpoints").iterdir())
    for path in (checkpoint, seal):
        content = path.read_bytes()
        own = content.splitlines(True)[-1]
        for line, is_good in ((own, False), (own.replace(b" runlog.local", b" w.example"), path == checkpoint)):
            path.write_bytes(content + line)
            verdict = judged(made)
            assert (verdict.is_good, [fault.path for fault in verdict.faults]) == (
                is_good,
                [] if is_good else [str(path.relative_to(made))],
            ), line
        path.write_bytes(content)
    assert judged(made).is_good


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
    other = await three_segments(tmp_path / "other")
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
    for path in late:  # the first of them is that of a segment which ends where the checkpoint does
        path.unlink()
    stopped = judged(made)
    assert stopped.bad == len(late) > 1, stopped.faults
    lock = WriterLock(made)
    verdict = judged(made)
    assert (verdict.is_good, len(verdict.notes)) == (True, len(late)), verdict.faults
    seals[0].unlink()
    assert [fault.path for fault in judged(made).faults] == [f"log/checkpoints/{seals[0].name}"]
    seals[0].write_bytes(contents[seals[0]])
    held = [lock]
    assert judged(made, on_progress=lambda _done: held.pop().release() if held else None).is_good
    assert judged(made, on_progress=lambda _done: held.append(WriterLock(made)) if not held else None).is_good
    held.pop().release()
