"""What to keep after a crash, and when to refuse. Opening is recovering: there is no other path.

Bytes beyond the good batches were never acknowledged only if nothing shows otherwise; any sign
that a later batch was whole once (a good frame behind, a later segment, an index that knows
more) makes it corruption, and then nothing is touched.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

from attrs import frozen

from eventlog.disk import Disk
from eventlog.errors import LogDamaged
from eventlog.event import Place
from eventlog.frame import FRAME_START, BadFrame, decode
from eventlog.segment import BatchScan, Placed, segment_name, segment_path

CHUNK_BYTES = 8 * 1024 * 1024
_FRAME_BYTES_MAX = 80 * 1024 * 1024


@frozen
class End:
    """Where a log, or a part of it that is known to be good, ends."""

    next_seq: int = 0
    segment: int | None = None
    offset: int = 0


@frozen
class TornTail:
    """Bytes of an unacknowledged batch that a crash left."""

    segment: int
    offset: int
    bytes: int


@frozen
class Survey:
    """What a scan found: where the good batches end, and what lies beyond."""

    end: End
    torn: TornTail | None


def check_known(
    disk: Disk, segments: list[int], known_ends: dict[int, int], known: End, place: Callable[[int], Place | None]
) -> None:
    """Refuse if the disk holds less than the index (which holds only fsynced events, each at its *place*) knows.

    Raises:
        LogDamaged: a segment is gone or shorter than it was; it names the first event that is not whole any more.

    """
    for number, end in sorted(known_ends.items()):
        size = disk.size(segment_path(number)) if number in segments else None
        if size is None:
            what = "a segment is gone that held events"
        elif size < end:
            what = f"a segment is {size} bytes long, and held {end}"
        else:
            continue
        seq, offset = _first_beyond(number, size or 0, known.next_seq, place)
        raise LogDamaged(what, segment_name(number), offset, seq)


def _first_beyond(segment: int, size: int, count: int, place: Callable[[int], Place | None]) -> tuple[int, int]:
    """Return seq and offset of the first of *count* events that ends beyond the first *size* bytes of a segment."""

    def found(seq: int) -> Place:
        at = place(seq)
        assert at is not None, "the index has no gaps"
        return at

    seq = bisect_right(range(count), (segment, size), key=lambda seq: _end(found(seq)))
    return seq, found(seq).offset


def _end(place: Place) -> tuple[int, int]:
    return place.segment, place.offset + place.length


def survey(
    disk: Disk, segments: list[int], known: End, take: Callable[[list[Placed]], None] = lambda _placed: None
) -> Survey:
    """Scan everything beyond *known*, in order, giving the frames of whole batches to *take*.

    Raises:
        LogDamaged: what lies beyond the good batches is not a torn tail.

    """
    end = known
    for number in segments:
        if known.segment is not None and number < known.segment:
            continue
        scan = BatchScan(number, end.next_seq, end.offset if number == known.segment else 0)
        for chunk in _chunks(disk, number, scan.good_end):
            placed = scan.feed(chunk)
            if placed:
                take(placed)
            if scan.fault is not None:
                break
        end = End(scan.next_seq, number, scan.good_end)
        content_end = _content_end(disk, number, scan.good_end)
        if scan.good_end < content_end:
            _refuse_unless_torn(disk, segments, end, scan)
            return Survey(end, TornTail(number, scan.good_end, content_end - scan.good_end))
    return Survey(end, None)


def _refuse_unless_torn(disk: Disk, segments: list[int], end: End, scan: BatchScan) -> None:
    assert end.segment is not None
    fault, (seq, offset) = scan.fault, scan.fault_at
    place = (segment_name(end.segment), offset, seq)
    if end.segment != segments[-1]:
        raise LogDamaged(f"a frame is damaged ({fault or 'it is cut off'}) and a later segment follows", *place)
    if _good_frame_behind(disk, end):
        raise LogDamaged(f"a frame is damaged ({fault or 'it is cut off'}) and good ones follow it", *place)


def _good_frame_behind(disk: Disk, end: End) -> bool:
    """Search at any byte offset, not only at line starts: a lost newline must not hide a frame."""
    assert end.segment is not None
    window = b""
    for chunk in _chunks(disk, end.segment, end.offset):
        window += chunk
        keep = len(window) - 64  # a frame's start may be cut by the end of the chunk
        for start in FRAME_START.finditer(window):
            newline = window.find(b"\n", start.start())
            if newline < 0:
                keep = min(keep, start.start())
            elif _is_good_and_later(window[start.start() : newline + 1], end.next_seq):
                return True
        window = window[max(keep, len(window) - _FRAME_BYTES_MAX, 0) :]
    return False


def _is_good_and_later(line: bytes, next_seq: int) -> bool:
    try:
        return decode(line).first > next_seq
    except BadFrame:
        return False


def _content_end(disk: Disk, number: int, offset: int) -> int:
    """Return where the bytes from *offset* end, without the NULs that were written ahead of events."""
    end = offset
    for chunk in _chunks(disk, number, offset):
        if content := chunk.rstrip(b"\0"):
            end = offset + len(content)
        offset += len(chunk)
    return end


def _chunks(disk: Disk, number: int, offset: int) -> Iterator[bytes]:
    while chunk := disk.read(segment_path(number), offset, CHUNK_BYTES):
        yield chunk
        offset += len(chunk)


def save_torn(disk: Disk, torn: TornTail, time: str) -> str:
    """Copy a torn tail to `log/torn/`, durably, then cut it off, durably; return the copy's path."""
    disk.make_folder("log/torn")
    copy = f"log/torn/{segment_name(torn.segment)}@{torn.offset}.{time.replace(':', '')}"
    disk.create(copy)
    written = 0
    while written < torn.bytes:
        chunk = disk.read(segment_path(torn.segment), torn.offset + written, min(CHUNK_BYTES, torn.bytes - written))
        disk.write(copy, written, chunk)
        written += len(chunk)
    disk.sync(copy)
    disk.sync_folder("log/torn")
    disk.truncate(segment_path(torn.segment), torn.offset)
    disk.sync(segment_path(torn.segment))
    return copy


def rewrite(disk: Disk, number: int, start: int, end: int) -> None:
    """Write [start, end) of a segment again in place and fsync it.

    The page cache may show bytes that never reached the disk, and an fsync alone may
    believe them clean; only writing them again makes them dirty, and so durable.
    """
    path = segment_path(number)
    for offset in range(start, end, CHUNK_BYTES):
        disk.write(path, offset, disk.read(path, offset, min(CHUNK_BYTES, end - offset)))
    disk.sync(path)
    disk.sync_folder("log/segments")
