"""Files in the log's folder that the log does not know: none may lie there but what it wrote."""

import re
from collections.abc import Iterator, Sequence

from eventlog.disk import Disk
from eventlog.seals import CHECKPOINTS, seal_name
from eventlog.segment import SEGMENTS, segment_name, segment_number
from eventlog.tiles import Tile
from eventlog.tree import FOLDER
from eventlog.verdict import Fault
from eventlog.whole import DRAFT

_KNOWN = frozenset({"log.json", "checkpoint", "checkpoints", "segments", "tiles", "torn"})
_TORN = re.compile(r"\d{4}-\d\d-\d\d\.\d{4}\.jsonl@\d+\.\d{4}-\d\d-\d\dT\d{6}\.\d{6}Z", re.ASCII)


def strays(disk: Disk, segments: Sequence[int], size: int, *, is_live: bool) -> Iterator[Fault]:
    """Yield every file and folder in `log/` that does not belong to a log of *segments* and *size* events."""
    names = {segment_name(each) for each in segments}
    seals = {seal_name(each) for each in segments}
    for name in _names(disk, "log"):
        if name not in _KNOWN:
            yield _unknown(f"log/{name}")
    for name in _names(disk, SEGMENTS):
        if name not in names and not (is_live and segment_number(name)):
            yield _unknown(f"{SEGMENTS}/{name}")
    for name in _names(disk, CHECKPOINTS):
        if name not in seals and not (is_live and segment_number(f"{name}.jsonl")):
            yield _unknown(f"{CHECKPOINTS}/{name}")
    for name in _names(disk, "log/torn"):
        if not (_TORN.fullmatch(name) and _is_file(disk, f"log/torn/{name}")):
            yield _unknown(f"log/torn/{name}")
    yield from _stray_tiles(disk, FOLDER, size, is_live=is_live)


def _stray_tiles(disk: Disk, folder: str, size: int, *, is_live: bool) -> Iterator[Fault]:
    for name in _names(disk, folder):
        path = f"{folder}/{name}"
        tile = Tile.parse(f"tile/{path.removeprefix(FOLDER + '/')}")
        if tile is not None:
            if not (is_live or tile.is_in(size)) or tile.path.count(".p/"):
                yield _unknown(path)
            continue
        if _is_file(disk, path):
            yield _unknown(path)
        else:
            yield from _stray_tiles(disk, path, size, is_live=is_live)


def _names(disk: Disk, folder: str) -> list[str]:
    return [name for name in disk.names(folder) if not (name.endswith(DRAFT) and _is_file(disk, f"{folder}/{name}"))]


def _is_file(disk: Disk, path: str) -> bool:
    try:
        disk.size(path)
    except IsADirectoryError:
        return False
    return True


def _unknown(path: str) -> Fault:
    return Fault("the log does not know this file", path)
