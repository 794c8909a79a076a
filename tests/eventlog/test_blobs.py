"""Content-addressed attachments: whole and durable under their digest, or not there at all."""

import asyncio
import errno
import os
import shutil
import stat
import tracemalloc
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from eventlog.blobs import BlobMismatch, Blobs, BlobTooLarge, StoredBlob
from eventlog.errors import LogFull

CONTENT = b"G21\nG0 X0 Y0\n"
DIGEST = sha256(CONTENT).hexdigest()
STORED = StoredBlob(DIGEST, len(CONTENT))
MANY = 1 << 20


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "attachments")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "attachments"


@pytest.fixture
def synced(monkeypatch):
    """What is made durable or renamed, in order."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def name(fd: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{fd}")).name

    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(f"sync {name(fd)}") or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append(f"rename {Path(b).name}") or replace(a, b))
    return calls


async def test_a_blob_lies_read_only_under_its_digest_and_nothing_else_is_left(blobs, root):
    stored = await blobs.put(pieces(CONTENT[:3], b"", CONTENT[3:]), bytes_max=len(CONTENT), expected_sha256=DIGEST)
    assert stored == StoredBlob(DIGEST, len(CONTENT))
    path = root / DIGEST[:2] / DIGEST[2:4] / DIGEST
    assert blobs.path(DIGEST) == path
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert files(root) == [str(path.relative_to(root))]
    assert blobs.size(DIGEST) == len(CONTENT)
    assert await blobs.verify(DIGEST, len(CONTENT))


async def test_bytes_at_hand_are_stored_as_a_stream_of_them_is(blobs, root):
    assert await blobs.put_bytes(CONTENT) == StoredBlob(DIGEST, len(CONTENT))
    assert files(root) == [f"{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST}"]
    assert stat.S_IMODE(blobs.path(DIGEST).stat().st_mode) == 0o444
    assert await blobs.put(pieces(CONTENT), bytes_max=MANY) == StoredBlob(DIGEST, len(CONTENT))


async def test_a_blob_of_no_bytes_is_a_blob(blobs):
    stored = await blobs.put(pieces(), bytes_max=0)
    assert stored == StoredBlob(sha256(b"").hexdigest(), 0)
    assert blobs.size(stored.sha256) == 0
    assert await blobs.verify(stored.sha256, 0)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
async def test_the_bytes_are_synced_before_they_get_their_name_and_the_new_folders_with_their_parents(blobs, synced):
    await blobs.put(pieces(CONTENT), bytes_max=MANY)
    calls = ["sync the bytes" if call.endswith(".tmp") else call for call in synced]
    folders = [f"sync {DIGEST[:2]}", "sync attachments"]
    assert calls == [*folders, "sync the bytes", f"rename {DIGEST}", f"sync {DIGEST[2:4]}"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
async def test_a_blob_that_is_there_is_kept_and_yet_made_durable_for_a_crash_may_have_left_it_so(tmp_path, synced):
    await Blobs(tmp_path).put_bytes(CONTENT)
    blobs = Blobs(tmp_path)
    before = blobs.path(DIGEST).stat()
    synced.clear()
    await blobs.put(pieces(CONTENT), bytes_max=MANY)
    assert blobs.path(DIGEST).stat().st_ino == before.st_ino
    assert synced[-2:] == [f"sync {DIGEST}", f"sync {DIGEST[2:4]}"]
    assert not [call for call in synced if call.startswith("rename")]


@pytest.mark.parametrize("wrong", [b"", CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x"])
async def test_a_damaged_blob_is_found_and_put_right_by_the_right_bytes(blobs, wrong):
    await blobs.put_bytes(CONTENT)
    path = blobs.path(DIGEST)
    path.unlink()
    path.write_bytes(wrong)
    assert not await blobs.verify(DIGEST, len(CONTENT))
    await blobs.put(pieces(CONTENT), bytes_max=MANY)
    assert path.read_bytes() == CONTENT
    assert await blobs.verify(DIGEST, len(CONTENT))


async def test_a_missing_blob_has_no_size_and_does_not_verify(blobs):
    assert blobs.size(DIGEST) is None
    assert not await blobs.verify(DIGEST, 0)


async def test_too_many_bytes_are_refused_as_soon_as_they_come_and_nothing_is_kept(blobs, root):
    asked = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            asked.append(1)
            yield b"x" * 10

    with pytest.raises(BlobTooLarge) as caught:
        await blobs.put(endless(), bytes_max=25)
    assert (caught.value.code, caught.value.facts) == ("BODY_TOO_LARGE", {"bytes_max": 25})
    assert "25 bytes" in str(caught.value)
    assert len(asked) == 3
    assert files(root) == []


async def test_bytes_with_another_digest_than_announced_are_refused_and_nothing_is_kept(blobs, root):
    with pytest.raises(BlobMismatch) as caught:
        await blobs.put(pieces(CONTENT), bytes_max=MANY, expected_sha256="0" * 64)
    assert caught.value.code == "HASH_MISMATCH"
    assert caught.value.facts == {"expected": "0" * 64, "actual": DIGEST}
    assert DIGEST in str(caught.value)
    assert files(root) == []


async def test_a_stream_that_breaks_off_leaves_nothing(blobs, root):
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put(broken(), bytes_max=MANY)
    assert files(root) == []


async def test_a_cancelled_put_leaves_nothing(blobs, root):
    waits = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield CONTENT
        waits.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.put(stalled(), bytes_max=MANY))
    await waits.wait()
    assert len(files(root)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(root) == []


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_said_to_be_full_and_nothing_is_kept(blobs, root, monkeypatch, error):
    def full(_fd: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LogFull):
            await blobs.put(pieces(CONTENT), bytes_max=MANY)
        with pytest.raises(LogFull):
            await blobs.put_bytes(CONTENT)
    assert files(root) == []
    await blobs.put(pieces(CONTENT), bytes_max=MANY)
    assert await blobs.verify(DIGEST, len(CONTENT))


async def test_another_error_of_the_disk_is_not_taken_for_a_full_one(blobs, root, monkeypatch):
    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="I/O error"):
        await blobs.put(pieces(CONTENT), bytes_max=MANY)
    assert files(root) == []


async def test_what_an_interrupted_put_left_is_removed_at_the_next_start_and_nothing_else_is(blobs, root):
    await blobs.put_bytes(CONTENT)
    (root / "tmp" / "0123.tmp").write_bytes(b"half")
    (root / "tmp" / "note.txt").write_bytes(b"someone's")
    Blobs(root)
    assert files(root) == sorted([f"{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST}", "tmp/note.txt"])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../../etc/passwd",
        "a" * 63,
        "a" * 65,
        "A" * 64,
        "g" * 64,
        "a" * 64 + "\n",
        "a" * 63 + "/",
        "\u0660" * 64,
    ],
)
async def test_only_a_digest_leads_to_a_file(blobs, name):
    with pytest.raises(ValueError, match="is not a SHA-256"):
        blobs.path(name)
    with pytest.raises(ValueError, match="is not a SHA-256"):
        blobs.size(name)
    with pytest.raises(ValueError, match="is not a SHA-256"):
        await blobs.verify(name, 1)


async def test_a_folder_in_the_place_of_a_blob_is_no_blob(blobs):
    blobs.path(DIGEST).mkdir(parents=True)
    assert blobs.size(DIGEST) is None
    assert not await blobs.verify(DIGEST, len(CONTENT))


@pytest.mark.parametrize("gone", [".", "tmp", DIGEST[:2], f"{DIGEST[:2]}/{DIGEST[2:4]}"])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_folder_that_somebody_removed_is_made_again_and_synced_with_its_parents(
    blobs, root, synced, gone, is_stream
):
    await blobs.put_bytes(CONTENT)
    shutil.rmtree(root / gone)
    synced.clear()
    assert (await blobs.put(pieces(CONTENT), bytes_max=MANY) if is_stream else await blobs.put_bytes(CONTENT)) == STORED
    assert await blobs.verify(DIGEST, len(CONTENT))
    calls = ["sync the bytes" if call.endswith(".tmp") else call for call in synced]
    of_root = [f"sync {root.parent.name}"] if gone in (".", "tmp") else []
    of_folders = [f"sync {DIGEST[:2]}", "sync attachments"] if gone != "tmp" else []
    of_blob = ["sync the bytes", f"rename {DIGEST}"] if gone != "tmp" else [f"sync {DIGEST}"]
    assert calls == [*of_root, *of_folders, *of_blob, f"sync {DIGEST[2:4]}"]


async def test_a_data_directory_that_is_gone_is_not_made_again_for_a_blob(tmp_path):
    blobs = Blobs(tmp_path / "data" / "attachments")
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(FileNotFoundError):
        await blobs.put_bytes(CONTENT)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_in_the_place_of_a_blob_makes_way_for_the_bytes_and_nothing_in_it_is_lost(blobs, root):
    await blobs.put_bytes(CONTENT)
    blobs.path(DIGEST).unlink()
    blobs.path(DIGEST).mkdir()
    (blobs.path(DIGEST) / "note.txt").write_bytes(b"someone's")
    await blobs.put(pieces(CONTENT), bytes_max=MANY)
    assert await blobs.verify(DIGEST, len(CONTENT))
    Blobs(root)
    assert [path.read_bytes() for path in root.glob("tmp/*/note.txt")] == [b"someone's"]


async def test_many_puts_of_the_same_bytes_at_once_give_one_blob(blobs, root):
    stored = await asyncio.gather(*(blobs.put(pieces(CONTENT), bytes_max=MANY) for _ in range(20)))
    assert set(stored) == {StoredBlob(DIGEST, len(CONTENT))}
    assert len(files(root)) == 1


async def test_a_large_blob_takes_no_more_memory_than_a_few_of_its_chunks(blobs):
    chunk = b"x" * 65_536
    tracemalloc.start()
    try:
        stored = await blobs.put(pieces(*[chunk] * 512), bytes_max=64 * MANY)
        assert await blobs.verify(stored.sha256, stored.size_bytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.size_bytes == 32 * MANY
    assert peak < 4 * MANY
