"""What the log signs: over all that is durable and nothing else, soon, and never against what it signed before."""

import asyncio
import errno
import shutil
import stat
from pathlib import Path

import pytest
from attrs import evolve

from eventlog.batch import Appended, Stream
from eventlog.commit import Limits
from eventlog.errors import CheckpointBehind, LogCorrupt, LogDamaged
from eventlog.event import Origin
from eventlog.frame import encode
from eventlog.log import Log
from eventlog.memory import MemoryDisk
from eventlog.merkle import verify_consistency
from eventlog.note import Checkpoint, open_checkpoint, signed_checkpoint
from eventlog.opening import opened_signer
from eventlog.posix import PosixDisk
from eventlog.seals import seal_path
from eventlog.segment import segment_number
from eventlog.signing import COSIGNATURE, Signer, Verifier, cosigned_at
from eventlog.tiles import ENTRIES, Tile, entries_of
from tests.eventlog.logs import opened

ORIGIN = Origin("press")
ONE_A_SEGMENT = Limits(segment_bytes_max=1)
WAIT_S = 30


async def add(log: Log, stream: str, count: int = 1) -> Appended:
    drafts = [log.draft("t.v1", stream, {"n": n}, ORIGIN) for n in range(count)]
    return await log.append(drafts, Stream.ABSENT, ORIGIN)


def checkpoint(folder: Path, vkey: str) -> Checkpoint:
    return open_checkpoint((folder / "log" / "checkpoint").read_bytes(), Verifier.parse(vkey))


def refused(folder: Path, what: str, disk=None) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "writer.lock"}
    with pytest.raises(LogDamaged, match=what):
        Log.open(folder, disk=disk)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "writer.lock"}
    assert after == before


async def test_a_new_log_has_a_key_for_its_owner_alone_and_a_signed_checkpoint_of_nothing(tmp_path):
    async with opened(tmp_path) as log:
        vkey = log.identity.vkey
        assert log.identity.origin == f"runlog.local/{log.identity.log_id}"
        assert checkpoint(tmp_path, vkey).size == 0
    assert stat.S_IMODE((tmp_path / "secrets" / "signing.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    async with opened(tmp_path) as log:
        assert log.identity.vkey == vkey


async def test_every_commit_is_covered_soon_though_no_other_follows(tmp_path):
    async with opened(tmp_path) as log:
        for number in range(3):
            appended = await add(log, f"run_{number}", 3)
            published = await log.notary.covering(appended.last + 1, WAIT_S)
            assert checkpoint(tmp_path, log.identity.vkey).size >= published.size
            for event in appended.events:
                proof = log.notary.proof(event, published)
                proof.verify(bytes.fromhex(event.hash), log.identity.verifier)
        assert log.notary.unsigned_events == 0


async def test_no_proof_is_given_out_of_an_event_that_was_changed_together_with_its_hash(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 300)
    (path,) = (tmp_path / "log" / "segments").iterdir()
    lines = path.read_bytes().splitlines(True)
    lines[7] = encode(7, 0, 299, lines[7].partition(b',"event":')[2][:-2].replace(b"press", b"prexx"))[1]
    path.write_bytes(b"".join(lines))
    async with opened(tmp_path) as log:
        published = log.notary.published
        with pytest.raises(LogCorrupt) as found:
            log.notary.proof(log.read(7), published)
        assert (found.value.seq, found.value.offset) == (7, sum(map(len, lines[:7])))
        assert [*log.corrupt] == [7], "and /readyz tells"
        log.notary.proof(log.read(8), published).verify(bytes.fromhex(log.read(8).hash), log.identity.verifier)


async def test_a_stop_signs_what_was_committed_a_moment_ago(tmp_path):
    async with opened(tmp_path, limits=Limits(checkpoint_interval_ms=600_000)) as log:
        await add(log, "a")
        await log.notary.covering(1, WAIT_S)
        await add(log, "b")
        with pytest.raises(CheckpointBehind) as behind:
            await log.notary.covering(2, 0)
        assert (behind.value.size, behind.value.signed_size) == (2, 1)
    assert checkpoint(tmp_path, log.identity.vkey).size == 2


async def test_each_checkpoint_continues_the_one_before_and_a_reopened_log_signs_on(tmp_path):
    signed = []
    for number in range(3):
        async with opened(tmp_path) as log:
            signed.append(log.notary.published.checkpoint)
            await add(log, f"run_{number}", 200)
            signed.append((await log.notary.covering(log.head + 1, WAIT_S)).checkpoint)
            for old in signed:
                proof = log.notary.consistency(old.size, signed[-1].size)
                verify_consistency(old.size, old.root, signed[-1].size, signed[-1].root, proof)
    assert [one.size for one in signed] == [0, 200, 200, 400, 400, 600]


async def test_each_finished_segment_has_the_seal_of_its_end_and_a_lost_one_comes_back_the_same(tmp_path):
    async with opened(tmp_path, limits=ONE_A_SEGMENT) as log:
        for number in range(4):
            await add(log, f"run_{number}", 2)
        verifier = log.identity.verifier
    seals = sorted((tmp_path / "log" / "checkpoints").iterdir())
    names = sorted(path.name for path in (tmp_path / "log" / "segments").iterdir())
    assert [f"{path.name}.jsonl" for path in seals] == names[:-1]
    assert [open_checkpoint(path.read_bytes(), verifier).size for path in seals] == [2, 4, 6]
    content = seals[1].read_bytes()
    seals[1].unlink()
    async with opened(tmp_path):
        assert seals[1].read_bytes() == content


async def test_a_checkpoint_that_does_not_begin_the_tree_is_the_last_that_is_signed(tmp_path, caplog):
    async with opened(tmp_path, limits=Limits(checkpoint_interval_ms=0)) as log:
        await add(log, "a")
        published = await log.notary.covering(1, WAIT_S)
        forged = evolve(published, checkpoint=evolve(published.checkpoint, root=b"x" * 32))
        log.notary.published = forged
        await add(log, "b")
        with pytest.raises(CheckpointBehind):
            await log.notary.covering(2, 1)
        assert log.notary.refused is not None
        assert list(log.corrupt) == [0]
        assert log.notary.published is forged
    assert (tmp_path / "log" / "checkpoint").read_bytes() == published.note.data


@pytest.mark.parametrize("verb", ["create", "write", "sync", "replace", "sync_folder"])
async def test_a_checkpoint_or_a_seal_that_cannot_be_written_fails_no_append_and_comes_later(tmp_path, verb):
    disk = MemoryDisk()
    async with opened(tmp_path, disk=disk, limits=evolve(ONE_A_SEGMENT, checkpoint_interval_ms=0)) as log:
        await add(log, "a")
        await log.notary.covering(1, WAIT_S)
        disk.fail(verb, errno.ENOSPC, under="log/checkpoint", times=2)
        await add(log, "b")
        assert (await log.notary.covering(2, WAIT_S)).size == 2
        assert log.notary.failing is None
    assert disk.names("log/checkpoints") == [name.removesuffix(".jsonl") for name in disk.names("log/segments")[:1]]


async def test_full_tiles_lie_on_disk_and_come_back_the_same_when_they_are_deleted(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 600)
        await log.notary.covering(600, WAIT_S)
        bundle = log.notary.tile(Tile(ENTRIES, 1))
        partial = log.notary.tile(Tile(0, 2, 88))
        assert log.notary.tile(Tile(0, 2, 89)) is None
        assert [digest.hex() for digest in entries_of(bundle)] == [log.read(seq).hash for seq in range(256, 512)]
    tiles = tmp_path / "log" / "tiles"
    content = {path.relative_to(tiles): path.read_bytes() for path in tiles.rglob("*") if path.is_file()}
    assert len(content) == 4
    shutil.rmtree(tiles)
    async with opened(tmp_path) as log:
        assert (log.notary.tile(Tile(ENTRIES, 1)), log.notary.tile(Tile(0, 2, 88))) == (bundle, partial)

        async def all_there() -> None:
            while {p.relative_to(tiles): p.read_bytes() for p in tiles.rglob("*") if p.is_file()} != content:
                await asyncio.sleep(0.05)

        await asyncio.wait_for(all_there(), WAIT_S)


async def test_a_tile_that_can_neither_be_read_nor_made_again_is_said_to_be_corrupt(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 300)
    shutil.rmtree(tmp_path / "log" / "tiles" / "entries")
    (segment,) = (tmp_path / "log" / "segments").iterdir()
    lines = segment.read_bytes().splitlines(True)
    segment.chmod(0o600)
    digest = lines[7].partition(b'"hash":"')[2][:64]
    segment.write_bytes(b"".join(lines).replace(digest, digest[::-1]))
    async with opened(tmp_path) as log:
        with pytest.raises(LogCorrupt):
            log.notary.tile(Tile(ENTRIES, 0))
        assert log.corrupt


async def test_a_log_whose_key_or_checkpoint_is_gone_or_is_another_ones_stays_shut(tmp_path):
    for name in ("a", "b"):
        async with opened(tmp_path / name) as log:
            await add(log, name)
    for path, gone, wrong in (
        ("secrets/signing.key", "the key that signs for it is gone", "holds the key"),
        ("log/checkpoint", "its signed checkpoint is gone", "counts for nothing"),
    ):
        kept = (tmp_path / "a" / path).read_bytes()
        (tmp_path / "a" / path).unlink()
        refused(tmp_path / "a", gone)
        shutil.copyfile(tmp_path / "b" / path, tmp_path / "a" / path)
        refused(tmp_path / "a", wrong)
        (tmp_path / "a" / path).write_bytes(b"rubbish")
        refused(tmp_path / "a", "does not hold a signing key|counts for nothing")
        (tmp_path / "a" / path).write_bytes(kept)
    async with opened(tmp_path / "a") as log:
        assert log.head == 0


async def test_a_log_that_holds_less_than_its_checkpoint_or_than_a_seal_stays_shut(tmp_path):
    async with opened(tmp_path, limits=ONE_A_SEGMENT) as log:
        await add(log, "a", 2)
        await log.notary.covering(2, WAIT_S)
        signed_2 = (tmp_path / "log" / "checkpoint").read_bytes()
        await add(log, "b")
        await add(log, "c")
    segments = sorted((tmp_path / "log" / "segments").iterdir())
    for path in tmp_path.glob("index.sqlite*"):
        path.unlink()
    for path in segments[1:]:
        path.unlink()
    refused(tmp_path, "its good events end at 2, and its checkpoint is signed for 4")
    (tmp_path / "log" / "checkpoint").write_bytes(signed_2)
    refused(tmp_path, f"its good events end at 2, and {seal_path(segment_number(segments[1].name))} is signed for 3")
    seal = tmp_path / seal_path(segment_number(segments[1].name))
    seal.write_bytes(b"rubbish")
    refused(tmp_path, "counts for nothing")


async def test_events_that_do_not_lead_to_the_signed_root_keep_the_log_shut(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a", 2)
    disk = PosixDisk(tmp_path)
    signer = opened_signer(disk, log.identity)
    disk.close()
    (tmp_path / "log" / "checkpoint").write_bytes(signed_checkpoint(signer, 2, b"\0" * 32).data)
    refused(tmp_path, "do not lead to the root of the checkpoint of size 2")


def made_old(folder: Path) -> bytes:
    """Take all that is signed away, as in a log from before; return what log.json says then."""
    path = folder / "log" / "log.json"
    content = path.read_bytes()
    old = content.replace(b',"vkey":"' + content.partition(b',"vkey":"')[2].partition(b'"')[0] + b'"', b"")
    path.write_bytes(old)
    (folder / "log" / "checkpoint").unlink()
    for name in ("log/checkpoints", "log/tiles", "secrets"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return old


@pytest.mark.parametrize("index", ["kept", "deleted"])
async def test_a_log_from_before_is_read_signed_and_goes_on(tmp_path, capsys, index):
    async with opened(tmp_path, limits=ONE_A_SEGMENT) as log:
        for number in range(3):
            await add(log, f"run_{number}", 300)
        hashes = [log.read(seq).hash for seq in range(900)]
    old = made_old(tmp_path)
    if index == "deleted":
        (tmp_path / "index.sqlite").unlink()
    async with opened(tmp_path) as log:
        assert "log.upgraded" in capsys.readouterr().out
        assert [log.read(seq).hash for seq in range(900)] == hashes
        published = await log.notary.covering(900, WAIT_S)
        log.notary.proof(log.read(77), published).verify(bytes.fromhex(hashes[77]), log.identity.verifier)
    assert len(list((tmp_path / "log" / "checkpoints").iterdir())) == 2
    async with opened(tmp_path):
        assert "log.upgraded" not in capsys.readouterr().out
    (tmp_path / "log" / "log.json").write_bytes(old)
    refused(tmp_path, "the key was taken out of it")


async def test_a_damaged_log_from_before_is_not_signed(tmp_path):
    async with opened(tmp_path) as log:
        for number in range(5):
            await add(log, f"run_{number}")
    made_old(tmp_path)
    (segment,) = (tmp_path / "log" / "segments").iterdir()
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'"subject":"run_3"', b'"subject":"run_4"'))
    refused(tmp_path, "a frame is damaged")
    segment.write_bytes(b"".join(content.splitlines(True)[:4]))
    refused(tmp_path, "bytes long, and held")
    assert not (tmp_path / "secrets").exists()


async def test_a_log_from_before_whose_time_is_not_that_of_its_id_is_not_signed(tmp_path):
    async with opened(tmp_path) as log:
        await add(log, "a")
    old = made_old(tmp_path)
    created = log.identity.created.encode()
    (tmp_path / "log" / "log.json").write_bytes(old.replace(created, b"1" + created[1:]))
    refused(tmp_path, "log.json is not as it was written")


async def test_an_upgrade_that_loses_power_at_any_moment_is_gone_on_from(tmp_path):
    disk = MemoryDisk()
    async with opened(tmp_path / "work", disk=disk) as log:
        await add(log, "a", 5)
    identity = evolve(log.identity, vkey="")
    disk = next(disk.crash_states())
    for path in ("log/checkpoint", "secrets/signing.key"):
        disk.remove(path)
    disk.write("log/log.json", 0, old := identity.data.replace(b'"vkey":"",', b""))
    disk.truncate("log/log.json", len(old))
    disk.sync("log/log.json")
    for folder in ("log", "secrets"):
        disk.sync_folder(folder)
    crashes: list[MemoryDisk] = []
    disk.on_operation = lambda _what: crashes.extend(disk.crash_states(16))
    (tmp_path / "first").mkdir()
    shutil.copyfile(tmp_path / "work" / "index.sqlite", tmp_path / "first" / "index.sqlite")
    log = Log.open(tmp_path / "first", disk=disk)
    disk.on_operation = None
    await log.close()
    assert len(crashes) > 30
    for number, crash in enumerate(crashes):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copyfile(tmp_path / "work" / "index.sqlite", folder / "index.sqlite")
        async with opened(folder, disk=crash) as log:
            assert (await log.notary.covering(5, WAIT_S)).size == 5
            assert log.identity.vkey
            assert log.head == 4


def test_a_signing_key_tells_nothing_when_it_is_shown():
    signer = Signer("a", b"secret".ljust(32))
    assert "secret" not in repr(signer)


async def test_witnesses_lines_are_kept_on_the_checkpoint_that_they_are_of_each_key_once(tmp_path):
    witnesses = [Signer(f"w.example/{n}", bytes([n]) * 32, COSIGNATURE) for n in range(1, 20)]
    async with opened(tmp_path) as log:
        first = await log.notary.covering((await add(log, "run_1")).last + 1, WAIT_S)
        for seconds, witness in enumerate((*witnesses[:2], witnesses[0])):
            await log.notary.cosigned(first.note.text, [witness.cosign(first.note.text, seconds)])
        lines = log.notary.published.note.signatures
        assert [each.name for each in lines] == [log.identity.origin, "w.example/1", "w.example/2"]
        assert cosigned_at(lines[1]) == 2
        second = await log.notary.covering((await add(log, "run_2")).last + 1, WAIT_S)
        await log.notary.cosigned(first.note.text, [witnesses[0].cosign(first.note.text, 3)])
        assert log.notary.published is second
        await log.notary.cosigned(second.note.text, [each.cosign(second.note.text, 4) for each in witnesses])
        published = log.notary.published.note
        assert len(published.signed_by([log.identity.verifier, *(each.verifier for each in witnesses)])) == 16
    async with opened(tmp_path) as log:
        assert log.notary.published.note == published
