"""Finished segments that are kept packed are read as if they lay there plain; a damaged one is one that was cut."""

import errno
import os
import stat
from pathlib import Path

import pytest
import zstandard

from eventlog import parts
from eventlog.errors import LogCorrupt, LogDamaged, OutOfHandles
from eventlog.follow import Follower
from eventlog.log import Log
from eventlog.packed import UNPACKED_FILES_MAX, Packed, shown
from eventlog.posix import PosixDisk
from eventlog.recovery import End
from eventlog.segment import SegmentCompressed, segment_name, segment_number
from eventlog.verify import segment_bytes, verify
from tests.eventlog.logs import opened
from tests.eventlog.verified import COUNT, add, first_bad, judged, lines_of, places, rewrite, segments

A, B, C = (f"2026-01-05.000{part}.jsonl" for part in range(3))


def packed(data: bytes) -> bytes:
    """What `zstd` makes of a file: one frame, with its size and a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def streamed(data: bytes) -> bytes:
    """What `zstd` makes of a pipe: its header does not tell the size."""
    packing = zstandard.ZstdCompressor().compressobj()
    return packing.compress(data) + packing.flush()


def pack(path: Path, pack_bytes=packed) -> Path:
    target = path.with_name(f"{path.name}.zst")
    target.write_bytes(pack_bytes(path.read_bytes()))
    path.unlink()
    return target


@pytest.fixture
def lines(made) -> list[bytes]:
    """What the log holds."""
    return lines_of(made)


@pytest.fixture
def end(made) -> End:
    """Where it ends."""
    path, offset, length = places(made)[-1]
    number = segment_number(path.name)
    return End(COUNT, number, offset + length)


@pytest.fixture
def both(made, lines, end) -> list[Path]:
    """The first two of the three segments of that log, packed."""
    return [pack(path) for path in segments(made)[:2]]


def followed(data_dir: Path, end: End) -> list[bytes]:
    disk, found = PosixDisk(data_dir), []
    follower = Follower(disk)
    while new := follower.read(end):
        found += [event.bytes for event in new]
    disk.close()
    return found


@pytest.mark.parametrize("pack_bytes", [packed, streamed])
@pytest.mark.parametrize("has_index", [True, False])
async def test_a_log_with_packed_segments_opens_and_gives_every_event(made, lines, end, pack_bytes, has_index):
    both = [pack(path, pack_bytes) for path in segments(made)[:2]]
    if not has_index:
        (made / "index.sqlite").unlink()
    async with opened(made) as log:
        events = [log.read(seq) for seq in range(COUNT)]
        assert [event.bytes in line for event, line in zip(events, lines, strict=True)] == [True] * COUNT
        await add(log, "run_new")
    assert [stat.S_IMODE(path.stat().st_mode) for path in both] == [0o444] * 2
    assert followed(made, end) == [event.bytes for event in events]
    assert judged(made).faults == []


async def test_packed_segments_are_verified_as_plain_ones_are_by_one_process_and_by_two(made, monkeypatch):
    expected, size = judged(made).as_json(), segment_bytes(made)
    for path in segments(made)[:2]:
        pack(path)
    assert (judged(made).as_json(), segment_bytes(made)) == (expected, size)
    monkeypatch.setattr(parts, "PART_BYTES", 700)
    assert judged(made).as_json() == expected
    monkeypatch.setattr(parts, "PROCESSES_FROM_BYTES", 1)
    assert verify(made, None, None).as_json() == expected


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


HARMLESS = {
    "cut by a byte": lambda data: data[:-1],
    "a second frame": lambda data: data + packed(b"x"),
}
"""All bytes of the segment are there."""
HARMFUL = {
    "its checksum": lambda data: flipped(data, len(data) - 1),
    "a byte in the middle": lambda data: flipped(data, len(data) // 2),
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no zstd": lambda data: b"these bytes are not what zstd makes of anything",
    "other bytes": lambda data: packed(zstandard.decompress(data)[:-10]),
}


def bad_in(data_dir: Path) -> set[str]:
    return {fault.path for fault in judged(data_dir).faults}


@pytest.mark.parametrize("damage", HARMLESS.values(), ids=HARMLESS)
async def test_a_packed_segment_that_is_not_as_zstd_made_it_is_told_of_though_its_bytes_are_all_there(
    made, lines, both, damage
):
    rewrite(both[1], damage(both[1].read_bytes()))
    assert bad_in(made) == {f"log/segments/{both[1].name}"}
    async with opened(made) as log:
        assert [log.read(seq).bytes in lines[seq] for seq in range(COUNT)] == [True] * COUNT


@pytest.mark.parametrize("damage", HARMFUL.values(), ids=HARMFUL)
async def test_a_damaged_packed_segment_is_bad_and_nothing_of_it_is_given_wrong(
    made, lines, end, both, damage, monkeypatch
):
    rewrite(both[1], damage(both[1].read_bytes()))
    plain = both[1].name.removesuffix(".zst")
    first = zstandard.decompress(both[0].read_bytes()).count(b"\n")
    assert first <= (first_bad(made)[2] or 0) < COUNT, judged(made).faults
    assert bad_in(made) & {f"log/segments/{plain}", f"log/segments/{plain}.zst"}
    if damage is HARMFUL["cut short"]:
        assert first_bad(made) == (f"log/segments/{plain}.zst", 0, first)
    monkeypatch.setattr(parts, "PROCESSES_FROM_BYTES", 1)
    assert verify(made, None, None).bad
    with pytest.raises(LogCorrupt):
        followed(made, end)
    given = 0
    try:
        async with opened(made) as log:
            for seq in range(COUNT):
                try:
                    assert log.read(seq).bytes in lines[seq]
                    given += 1
                except LogCorrupt as error:
                    assert error.segment == plain  # noqa: PT017
    except LogDamaged as error:
        assert error.segment == plain  # noqa: PT017
    assert given < COUNT
    (made / "index.sqlite").unlink()
    with pytest.raises(LogDamaged):
        Log.open(made)


async def test_no_flipped_byte_of_a_packed_segment_changes_an_event_unseen(made, both):
    content, good = both[0].read_bytes(), zstandard.decompress(both[0].read_bytes())
    for at in range(0, len(content), 5):
        rewrite(both[0], flipped(content, at))
        try:
            is_same = zstandard.decompress(both[0].read_bytes()) == good
        except zstandard.ZstdError:
            is_same = False
        assert judged(made).is_good == is_same, at


async def test_where_a_segment_is_there_plain_and_packed_the_plain_one_counts_and_the_other_is_a_stray(made, lines):
    path = segments(made)[0]
    content = path.read_bytes()
    target = pack(path, lambda data: b"begun")
    path.write_bytes(content)
    assert bad_in(made) == {f"log/segments/{target.name}"}
    async with opened(made) as log:
        assert log.read(0).bytes in lines[0]


async def test_the_newest_segment_is_refused_with_what_unpacks_it(made):
    target = pack(segments(made)[-1])
    for read in (judged, Log.open):
        with pytest.raises(SegmentCompressed, match=f"`zstd -d --rm {target.name}` in log/segments"):
            read(made)


async def test_a_packed_segment_that_an_empty_one_left_by_a_crash_follows_is_the_newest_too(made):
    target = [pack(path) for path in segments(made)][-1]
    target.with_name(segment_name((segment_number(target.name[:-4]) or 0) + 1)).touch()
    with pytest.raises(SegmentCompressed, match=target.name):
        Log.open(made)


async def test_a_segment_may_be_packed_and_unpacked_under_an_open_log(made, lines):
    path = segments(made)[0]
    content = path.read_bytes()
    disk = PosixDisk(made)
    async with opened(made) as log:
        for _ in range(2):
            assert log.read(0).bytes in lines[0]
            target = pack(path)
            assert log.read(0).bytes in lines[0]
            assert disk.read(f"log/segments/{path.name}", 0, 1 << 20) == content
            path.with_suffix(".tmp").write_bytes(content)
            path.with_suffix(".tmp").rename(path)
            target.unlink()
        assert log.read(0).bytes in lines[0]
    disk.close()


async def test_a_packed_segment_is_never_written_to(made, both):
    """As where a crash left its last events unsigned, and somebody packed it before the next start."""
    disk = PosixDisk(made)
    with pytest.raises(OSError, match=rf"zstd -d --rm {both[0].name}") as caught:
        disk.write(f"log/segments/{both[0].name.removesuffix('.zst')}", 0, b"x")
    assert caught.value.errno == errno.EROFS
    assert not segments(made)[0].name.endswith(".jsonl")


def test_names_are_shown_plain_but_that_of_the_newest_and_of_one_that_is_there_plain():
    assert shown([A, f"{B}.zst", C]) == [A, B, C]
    assert shown([A, f"{B}.zst"]) == [A, f"{B}.zst"]
    assert shown([A, f"{A}.zst", B, "x.zst"]) == [A, f"{A}.zst", B, "x.zst"]
    assert shown([f"{A}.zst", f"{B}.zst", C, "note"]) == [A, B, C, "note"]
    assert shown([]) == []


def unpacking(tmp_path: Path, data: bytes, folder: str | None = None) -> Packed:
    (tmp_path / "a.zst").write_bytes(data)
    return Packed(os.open(tmp_path / "a.zst", os.O_RDONLY), folder or str(tmp_path))


def test_only_as_much_is_unpacked_as_is_read_and_any_part_can_be(tmp_path):
    data = os.urandom(1 << 20)
    file = unpacking(tmp_path, packed(data))
    before = space_of_nameless(tmp_path)
    assert file.read(0, 64) == data[:64]
    assert 0 < space_of_nameless(tmp_path) - before < len(data) // 2
    for offset, length in ((500_000, 1000), (3, 0), (len(data) - 5, 100), (len(data), 10), (9, len(data))):
        assert file.read(offset, length) == data[offset : offset + length]
    assert (file.size, file.fault) == (len(data), None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zst"]


def space_of_nameless(folder: Path) -> int:
    """The bytes in open files that have no name any more, where they had one in *folder*."""
    sizes = []
    for fd in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{fd}"
        if os.path.lexists(link) and os.readlink(link).startswith(f"{folder}/") and not os.stat(link).st_nlink:
            sizes.append(os.stat(link).st_size)
    return sum(sizes)


def test_where_nothing_may_be_made_beside_it_a_packed_file_is_unpacked_elsewhere(tmp_path):
    file = unpacking(tmp_path, packed(b"abc"), str(tmp_path / "none"))
    assert file.read(1, 9) == b"bc"


async def test_a_disk_without_space_to_unpack_is_not_taken_for_damage_and_reading_goes_on_later(
    made, lines, both, monkeypatch
):
    pwrite = os.pwrite

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    async with opened(made) as log:
        both[0].with_suffix(".tmp").write_bytes(both[0].read_bytes())
        both[0].with_suffix(".tmp").rename(both[0])  # another file, so that what was unpacked counts no more
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(OutOfHandles):
            log.read(0)
        monkeypatch.setattr(os, "pwrite", pwrite)
        assert log.read(0).bytes in lines[0]
        assert log.corrupt == {}


def test_only_so_many_packed_files_are_open_at_once_and_none_after_close(tmp_path):
    disk = PosixDisk(tmp_path)
    for day in range(10, 10 + 3 * UNPACKED_FILES_MAX):
        (tmp_path / f"2026-01-{day}.0000.jsonl.zst").write_bytes(packed(b"%d" % day))
    for day in range(10, 10 + 3 * UNPACKED_FILES_MAX):
        assert disk.read(f"2026-01-{day}.0000.jsonl", 0, 10) == b"%d" % day
    assert open_under(tmp_path) == 2 * UNPACKED_FILES_MAX
    disk.close()
    assert open_under(tmp_path) == 0
    with pytest.raises(FileNotFoundError):
        disk.read("2025-01-01.0000.jsonl", 0, 10)


def open_under(folder: Path) -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(link) and os.readlink(link).startswith(f"{folder}/") for link in links)
