"""Segments read in parts, several at once where there is more than one processor; in memory that does not grow.

A part is the lines that begin in a range of bytes, so that every line is in exactly one.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

from attrs import frozen

from eventlog.posix import PosixDisk
from eventlog.segment import segment_name, segment_path
from eventlog.stretch import Bad, Naming, Stretch, stretches

PART_BYTES = 4 << 20
PROCESSES_FROM_BYTES = 512 << 20
"""Below this a second process takes longer to start than it saves."""
LINE_BYTES_MAX = 80 << 20
_READ_BYTES = 1 << 20
_BEYOND_BYTES = 64 << 10


@frozen
class Part:
    """A range of bytes of one segment, whose file had *size* bytes when its reading began."""

    segment: int
    start: int
    end: int
    size: int


def parts_of(segments: Sequence[tuple[int, int]]) -> Iterator[Part]:
    """Yield the parts of *segments*, each with its size, in order; one without bytes has none."""
    for segment, size in segments:
        for start in range(0, size, PART_BYTES):
            yield Part(segment, start, min(start + PART_BYTES, size), size)


def processes_for(size: int) -> int:
    """Return how many processes read segments of *size* bytes in all."""
    return 1 if size < PROCESSES_FROM_BYTES else os.cpu_count() or 1


def read_parts(
    root: Path, segments: Sequence[tuple[int, int]], naming: Naming | None, source: bytes
) -> Iterator[tuple[Part, list[Stretch | Bad]]]:
    """Yield each part with what it holds, in order; *source* is what each event is to have (see `is_of_source`)."""
    processes = processes_for(sum(size for _, size in segments))
    if processes == 1:
        with closing(PosixDisk(root)) as disk:
            for part in parts_of(segments):
                yield part, _found(part, _piece(disk, part), naming, source)
        return
    # Spawned: a fork would take the progress bar's thread along.
    spawning = multiprocessing.get_context("spawn")
    with closing(PosixDisk(root)) as disk, ProcessPoolExecutor(processes, spawning) as pool:
        waiting: deque[tuple[Part, Future[list[Stretch | Bad]]]] = deque()
        try:
            for part in parts_of(segments):
                # What is kept packed is unpacked once, here, and not by each process anew.
                is_packed = disk.stored(segment_path(part.segment)) != segment_path(part.segment)
                piece = _piece(disk, part) if is_packed else None
                waiting.append((part, pool.submit(read_part, root, part, piece, naming, source)))
                if len(waiting) > 2 * processes:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@frozen
class _Piece:
    """The bytes of a segment from *start* on that a part's lines are in; the first line that begins in it is at *skip*."""

    start: int
    skip: int
    data: bytes


def read_part(
    root: Path, part: Part, piece: _Piece | None, naming: Naming | None, source: bytes
) -> list[Stretch | Bad]:
    """Return what the lines are that begin in *part*, from *piece* if that was read already."""
    if piece is None:
        with closing(PosixDisk(root)) as disk:
            piece = _piece(disk, part)
    return _found(part, piece, naming, source)


def _found(part: Part, piece: _Piece, naming: Naming | None, source: bytes) -> list[Stretch | Bad]:
    day = segment_name(part.segment)[:10].encode()
    return list(stretches(piece.data, piece.skip, piece.start, part.end, day, naming, source))


def _piece(disk: PosixDisk, part: Part) -> _Piece:
    path = segment_path(part.segment)
    # With the byte before, which tells whether a line begins here; and with what the last line may need: once, uncut.
    start = max(0, part.start - 1)
    data = disk.read(path, start, min(part.end + _BEYOND_BYTES, part.size) - start)
    skip = data.find(b"\n") + 1 or len(data) if part.start else 0
    if start + len(data) < part.size and data.find(b"\n", part.end - 1 - start) < 0:
        data += _rest_of_line(disk, path, start + len(data), part.size)
    return _Piece(start, skip, data)


def _rest_of_line(disk: PosixDisk, path: str, offset: int, size: int) -> bytes:
    rest = b""
    while offset < size and len(rest) < LINE_BYTES_MAX:
        piece = disk.read(path, offset, min(_READ_BYTES, size - offset))
        rest += piece
        offset += len(piece)
        if not piece or b"\n" in piece:
            break
    return rest
