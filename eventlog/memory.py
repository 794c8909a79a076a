"""A simulated disk that can lose power.

It shows what was written, as a page cache does, and keeps apart what would survive: a file's
bytes after `sync`, a name after `sync_folder`, and nothing else. `crash_states` gives the disks
that may be found after a power loss now. It knows no clock, and is the same in every run.
"""

import errno
import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from typing import NoReturn

from attrs import Factory, define, frozen

from eventlog.disk import Disk

SECTOR_BYTES = 512


class MemoryDisk(Disk):
    """An empty disk; what a verb refuses, it refuses with the error that `posix.py` gives.

    `operations` lists what may have changed the disk, as `write log/checkpoint.tmp`; `on_operation`
    is called with the same words right after each, so that a test can cut the power there. To make
    a folder takes two: its name, and the sync of its parent.
    """

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.on_operation: Callable[[str], None] | None = None
        self._root = _Folder()
        self._moves: list[tuple[_Entry, ...]] = []
        self._faults: list[_Fault] = []

    def make_folder(self, folder: str) -> None:
        self._begin("make_folder", folder)
        parent = self._root
        for name in filter(None, folder.split("/")):
            node = parent.now.get(name)
            if isinstance(node, _File):
                _refuse(errno.EEXIST, folder)
            if node is None:
                node = _Folder()
                self._move(_Entry(parent, name, node))
                self._done("make_folder", folder)
                self._settle(parent)
                self._done("make_folder", folder)
            parent = node

    def names(self, folder: str) -> list[str]:
        self._begin("names", folder)
        return [] if self._find(folder) is None else sorted(self._folder(folder).now)

    def size(self, path: str) -> int | None:
        self._begin("size", path)
        return None if self._find(path) is None else len(self._file(path).now)

    def read(self, path: str, offset: int, length: int) -> bytes:
        self._begin("read", path)
        _refuse_negative(path, offset, length)
        return bytes(self._file(path).now[offset : offset + length])

    def create(self, path: str) -> None:
        self._begin("create", path)
        folder, name = self._place(path)
        if name in folder.now:
            _refuse(errno.EEXIST, path)
        self._move(_Entry(folder, name, _File()))
        self._done("create", path)

    def write(self, path: str, offset: int, data: bytes) -> None:
        _refuse_negative(path, offset)
        file, fault = self._file(path), self._due("write", path)
        kept = data[: fault.partial] if fault else data
        if kept:
            file.change(_Change(offset, bytes(kept)))
        self._done("write", path)
        if fault:
            _refuse(fault.error, path)

    def sync(self, path: str) -> None:
        file, fault = self._file(path), self._due("sync", path)
        if fault:
            file.doubt()
            _refuse(fault.error, path)
        file.settle()
        self._done("sync", path)

    def truncate(self, path: str, size: int) -> None:
        self._begin("truncate", path)
        _refuse_negative(path, size)
        self._file(path).change(_Change(size, b"", cuts=True))
        self._done("truncate", path)

    def make_readonly(self, path: str) -> None:
        self._begin("make_readonly", path)
        self._file(path).mode = 0o444
        self._done("make_readonly", path)

    def replace(self, source: str, target: str) -> None:
        self._begin("replace", target)
        file, (old_folder, old_name), (folder, name) = self._file(source), self._place(source), self._place(target)
        if isinstance(folder.now.get(name), _Folder):
            _refuse(errno.EISDIR, target)
        self._move(_Entry(old_folder, old_name, None), _Entry(folder, name, file))
        self._done("replace", f"{source} {target}")

    def remove(self, path: str) -> None:
        self._begin("remove", path)
        self._file(path)
        self._move(_Entry(*self._place(path), None))
        self._done("remove", path)

    def sync_folder(self, folder: str) -> None:
        self._begin("sync_folder", folder)
        self._settle(self._folder(folder))
        self._done("sync_folder", folder)

    def close(self) -> None:
        """Do nothing: nothing is held open, and closing makes nothing durable."""

    def mode(self, path: str) -> int:
        """Return the permission bits of a file: 0o644, or 0o444 after `make_readonly`."""
        return self._file(path).mode

    def fail(
        self, verb: str, error: int, after: int = 0, times: int | None = 1, partial: int = 0, under: str = ""
    ) -> None:
        """Let *verb* raise OSError(*error*), an errno, after *after* more calls, *times* times (None: until `heal`).

        A `write` that fails has written its first *partial* bytes. What a `sync` that fails should have
        made durable stays in doubt, though a later one succeeds, until it is written and synced again.
        Only paths that start with *under* count; of a `replace`, its target.
        """
        assert hasattr(self, verb), f"the disk has no verb {verb!r}"
        self._faults.append(_Fault(verb, error, after, times, partial, under))

    def heal(self) -> None:
        """Forget every `fail`."""
        self._faults.clear()

    def crash_states(self, limit: int | None = 256) -> Iterator["MemoryDisk"]:
        """Yield the disks that may be found after a power loss now; this one must not change meanwhile.

        Each write that is not durable is lost, kept or torn, each truncate and each change of a name lost
        or kept, all on their own; a rename is one change, until one of its two folders is synced.
        All states if there are at most *limit* (None: no bound), otherwise *limit* of them: all lost,
        all kept, a single change kept or lost, then a sample that is the same in every run.
        """
        files = self._files()
        fates = [file.fates() for file in files]
        faces = [2] * len(self._moves) + [len(each) for of_file in fates for each in of_file]
        for roll in _rolls(faces, limit):
            rolled = iter(roll)
            moves = [move for move in self._moves if next(rolled)]
            survivors = {
                file: file.after_crash([each[next(rolled)] for each in of_file])
                for file, of_file in zip(files, fates, strict=True)
            }
            disk = MemoryDisk()
            disk._root = self._root.after_crash(moves, survivors)
            yield disk

    def _files(self) -> "list[_File]":
        """Return every file that some name may lead to after a power loss, in a fixed order."""
        found: dict[_File, None] = {}
        todo: list[_File | _Folder] = [self._root]
        todo += [entry.node for move in self._moves for entry in move if entry.node]
        while todo:
            node = todo.pop()
            if isinstance(node, _File):
                found[node] = None
            else:
                todo += node.durable.values()
        return list(found)

    def _find(self, path: str) -> "_File | _Folder | None":
        node: _File | _Folder | None = self._root
        for name in filter(None, path.split("/")):
            if isinstance(node, _File):
                _refuse(errno.ENOTDIR, path)
            node = node.now.get(name) if node else None
        return node

    def _file(self, path: str) -> "_File":
        node = self._find(path)
        return node if isinstance(node, _File) else _refuse(errno.EISDIR if node else errno.ENOENT, path)

    def _folder(self, path: str) -> "_Folder":
        node = self._find(path)
        return node if isinstance(node, _Folder) else _refuse(errno.ENOTDIR if node else errno.ENOENT, path)

    def _place(self, path: str) -> "tuple[_Folder, str]":
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _move(self, *entries: "_Entry") -> None:
        for entry in entries:
            entry.apply(entry.folder.now)
        self._moves.append(entries)

    def _settle(self, folder: "_Folder") -> None:
        for entry in itertools.chain.from_iterable(self._moves):
            if entry.folder is folder:
                entry.apply(folder.durable)
        left = [tuple(entry for entry in move if entry.folder is not folder) for move in self._moves]
        self._moves = [move for move in left if move]

    def _due(self, verb: str, path: str) -> "_Fault | None":
        return next((fault for fault in self._faults if fault.is_due(verb, path)), None)

    def _begin(self, verb: str, path: str) -> None:
        if fault := self._due(verb, path):
            _refuse(fault.error, path)

    def _done(self, verb: str, what: str) -> None:
        self.operations.append(f"{verb} {what}")
        if self.on_operation:
            self.on_operation(self.operations[-1])


# What of a change reached the disk: of its data the bytes from the first to the second, and whether its size did.
_Fate = tuple[int, int, bool]
_LOST = (0, 0, False)


@define(eq=False)
class _Change:
    """A write of *data* at *offset* or, if it *cuts*, a truncate to that size."""

    offset: int
    data: bytes
    cuts: bool = False
    doubtful: bool = False
    settled: bool = False

    @property
    def whole(self) -> _Fate:
        return (0, len(self.data), True)

    def fates(self, size_min: int) -> list[_Fate]:
        """All that may have become of it, lost first and whole last, in a file of at least *size_min* bytes."""
        if self.settled or self.cuts:
            return [self.whole] if self.settled else [_LOST, self.whole]
        length = len(self.data)
        tears = sorted({1, length // 2, length - 1, *range(-self.offset % SECTOR_BYTES, length, SECTOR_BYTES)})
        tears = [tear for tear in tears if 0 < tear < length]
        torn = [fate for tear in tears for fate in ((0, tear, False), (tear, length, True))]
        if self.offset + length > size_min:
            # The file may have its new size and not yet its bytes: they read as NULs.
            torn += [(0, tear, True) for tear in [0, *tears]]
        return [_LOST, *torn, self.whole]

    def apply(self, content: bytearray, fate: _Fate) -> None:
        start, stop, sized = fate
        if fate == _LOST:
            return
        if self.cuts:
            del content[self.offset :]
        end = self.offset + (len(self.data) if sized else stop)
        content.extend(bytes(max(0, end - len(content))))
        content[self.offset + start : self.offset + stop] = self.data[start:stop]


@define(eq=False)
class _File:
    now: bytearray = Factory(bytearray)
    durable: bytearray = Factory(bytearray)
    pending: list[_Change] = Factory(list)
    mode: int = 0o644

    def change(self, change: _Change) -> None:
        change.apply(self.now, change.whole)
        self.pending.append(change)

    def settle(self) -> None:
        for change in self.pending:
            change.settled = not change.doubtful
        # What follows a doubtful change waits behind it, for the order in which they apply matters.
        while self.pending and self.pending[0].settled:
            change = self.pending.pop(0)
            change.apply(self.durable, change.whole)

    def doubt(self) -> None:
        # The system may have dropped the pages that it could not write, and will not try again.
        for change in self.pending:
            change.doubtful = not change.settled

    def fates(self) -> list[list[_Fate]]:
        size_min = min([len(self.durable), *(change.offset for change in self.pending if change.cuts)])
        return [change.fates(size_min) for change in self.pending]

    def after_crash(self, fates: list[_Fate]) -> "_File":
        content = bytearray(self.durable)
        for change, fate in zip(self.pending, fates, strict=True):
            change.apply(content, fate)
        return _File(content, bytearray(content), mode=self.mode)


@define(eq=False)
class _Folder:
    now: "dict[str, _File | _Folder]" = Factory(dict)
    durable: "dict[str, _File | _Folder]" = Factory(dict)

    def after_crash(self, moves: "list[tuple[_Entry, ...]]", survivors: dict[_File, _File]) -> "_Folder":
        names = dict(self.durable)
        for entry in itertools.chain.from_iterable(moves):
            if entry.folder is self:
                entry.apply(names)
        left = {
            name: survivors[node] if isinstance(node, _File) else node.after_crash(moves, survivors)
            for name, node in names.items()
        }
        return _Folder(left, dict(left))


@frozen(eq=False)
class _Entry:
    """The *name* in *folder* now leads to *node*, or, without one, nowhere."""

    folder: _Folder
    name: str
    node: _File | _Folder | None

    def apply(self, names: dict[str, _File | _Folder]) -> None:
        if self.node:
            names[self.name] = self.node
        else:
            names.pop(self.name, None)


@define
class _Fault:
    verb: str
    error: int
    after: int
    times: int | None
    partial: int
    under: str

    def is_due(self, verb: str, path: str) -> bool:
        if verb != self.verb or not path.startswith(self.under) or self.times == 0:
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times:
            self.times -= 1
        return True


def _rolls(faces: list[int], limit: int | None) -> Iterator[tuple[int, ...]]:
    """Yield a face for each die: all rolls, or *limit* different ones; face 0 is lost, the last is kept."""
    if limit is None or math.prod(faces) <= limit:
        yield from itertools.product(*map(range, faces))
        return
    chance = random.Random(0)  # noqa: S311 - a sample, not a secret
    lost, kept = (0,) * len(faces), tuple(face - 1 for face in faces)
    single = (
        (*one[:die], other[die], *one[die + 1 :])
        for die in range(len(faces))
        for one, other in ((kept, lost), (lost, kept))
    )
    sample = (tuple(chance.choice((0, face - 1, chance.randrange(face))) for face in faces) for _ in range(20 * limit))
    unlike = dict.fromkeys(itertools.chain([lost, kept], single, sample))
    yield from itertools.islice(unlike, limit)


def _refuse(error: int, path: str) -> NoReturn:
    raise OSError(error, os.strerror(error), path)


def _refuse_negative(path: str, *numbers: int) -> None:
    if min(numbers) < 0:
        _refuse(errno.EINVAL, path)
