"""A simulated disk that can lose power.

It shows what was written, as a page cache does, and keeps apart what would survive: a file's
bytes after `sync`, a name after `sync_folder`, and nothing else. `crash_states` gives the disks
that may be found after a power loss now. It knows no clock, and is the same in every run.
"""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from functools import wraps
from threading import RLock
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from attrs import define

from eventlog.disk import Disk
from eventlog.powerloss import CachedFile, CachedFolder, Change, Entry, rolls

P = ParamSpec("P")
R = TypeVar("R")


def _alone(verb: "Callable[Concatenate[MemoryDisk, P], R]") -> "Callable[Concatenate[MemoryDisk, P], R]":
    """Let one thread at a time carry out a verb, with what hears of it."""

    @wraps(verb)
    def alone(self: "MemoryDisk", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return verb(self, *args, **kwargs)

    return alone


class MemoryDisk(Disk):
    """An empty disk; what a verb refuses, it refuses with the error that `posix.py` gives.

    `operations` lists what may have changed the disk, as `write log/checkpoint.tmp`; `on_operation`
    is called with the same words right after each, so that a test can cut the power there. To make
    a folder takes two: its name, and the sync of its parent.
    """

    def __init__(self) -> None:
        self.operations: list[str] = []
        self.on_operation: Callable[[str], None] | None = None
        self.lock = RLock()
        """Held by each verb; who looks at the disk while other threads write to it holds it too."""
        self._root = CachedFolder()
        self._moves: list[tuple[Entry, ...]] = []
        self._faults: list[_Fault] = []

    @_alone
    def make_folder(self, folder: str, *, private: bool = False) -> None:
        self._begin("make_folder", folder)
        parent = self._root
        for name in filter(None, folder.split("/")):
            node = parent.now.get(name)
            if isinstance(node, CachedFile):
                _refuse(errno.EEXIST, folder)
            if node is None:
                node = CachedFolder()
                self._move(Entry(parent, name, node))
                self._done("make_folder", folder)
                self._settle(parent)
                self._done("make_folder", folder)
            parent = node

    @_alone
    def names(self, folder: str) -> list[str]:
        self._begin("names", folder)
        return [] if self._find(folder) is None else sorted(self._folder(folder).now)

    @_alone
    def size(self, path: str) -> int | None:
        self._begin("size", path)
        return None if self._find(path) is None else len(self._file(path).now)

    @_alone
    def read(self, path: str, offset: int, length: int) -> bytes:
        self._begin("read", path)
        _refuse_negative(path, offset, length)
        return bytes(self._file(path).now[offset : offset + length])

    @_alone
    def create(self, path: str, *, private: bool = False) -> None:
        self._begin("create", path)
        folder, name = self._place(path)
        if name in folder.now:
            _refuse(errno.EEXIST, path)
        self._move(Entry(folder, name, CachedFile(mode=0o600 if private else 0o644)))
        self._done("create", path)

    @_alone
    def write(self, path: str, offset: int, data: bytes) -> None:
        _refuse_negative(path, offset)
        file, fault = self._file(path), self._due("write", path)
        kept = data[: fault.partial] if fault else data
        if kept:
            file.change(Change(offset, bytes(kept)))
        self._done("write", path)
        if fault:
            _refuse(fault.error, path)

    @_alone
    def sync(self, path: str) -> None:
        file, fault = self._file(path), self._due("sync", path)
        if fault:
            file.doubt()
            _refuse(fault.error, path)
        file.settle()
        self._done("sync", path)

    @_alone
    def truncate(self, path: str, size: int) -> None:
        self._begin("truncate", path)
        _refuse_negative(path, size)
        self._file(path).change(Change(size, b"", cuts=True))
        self._done("truncate", path)

    @_alone
    def make_readonly(self, path: str) -> None:
        self._begin("make_readonly", path)
        self._file(path).mode = 0o444
        self._done("make_readonly", path)

    @_alone
    def replace(self, source: str, target: str) -> None:
        self._begin("replace", target)
        file, (old_folder, old_name), (folder, name) = self._file(source), self._place(source), self._place(target)
        if isinstance(folder.now.get(name), CachedFolder):
            _refuse(errno.EISDIR, target)
        self._move(Entry(old_folder, old_name, None), Entry(folder, name, file))
        self._done("replace", f"{source} {target}")

    @_alone
    def remove(self, path: str) -> None:
        self._begin("remove", path)
        self._file(path)
        self._move(Entry(*self._place(path), None))
        self._done("remove", path)

    @_alone
    def sync_folder(self, folder: str) -> None:
        self._begin("sync_folder", folder)
        self._settle(self._folder(folder))
        self._done("sync_folder", folder)

    def free_bytes(self) -> int:
        """Return more than anybody writes here."""
        return 1 << 50

    def close(self) -> None:
        """Do nothing: nothing is held open, and closing makes nothing durable."""

    def mode(self, path: str) -> int:
        """Return the permission bits of a file: 0o644, 0o600 of a private one, or 0o444 after `make_readonly`."""
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
        for roll in rolls(faces, limit):
            rolled = iter(roll)
            moves = [move for move in self._moves if next(rolled)]
            survivors = {
                file: file.after_crash([each[next(rolled)] for each in of_file])
                for file, of_file in zip(files, fates, strict=True)
            }
            disk = MemoryDisk()
            disk._root = self._root.after_crash(moves, survivors)
            yield disk

    def _files(self) -> list[CachedFile]:
        """Return every file that some name may lead to after a power loss, in a fixed order."""
        found: dict[CachedFile, None] = {}
        todo: list[CachedFile | CachedFolder] = [self._root]
        todo += [entry.node for move in self._moves for entry in move if entry.node]
        while todo:
            node = todo.pop()
            if isinstance(node, CachedFile):
                found[node] = None
            else:
                todo += node.durable.values()
        return list(found)

    def _find(self, path: str) -> CachedFile | CachedFolder | None:
        node: CachedFile | CachedFolder | None = self._root
        for name in filter(None, path.split("/")):
            if isinstance(node, CachedFile):
                _refuse(errno.ENOTDIR, path)
            node = node.now.get(name) if node else None
        return node

    def _file(self, path: str) -> CachedFile:
        node = self._find(path)
        return node if isinstance(node, CachedFile) else _refuse(errno.EISDIR if node else errno.ENOENT, path)

    def _folder(self, path: str) -> CachedFolder:
        node = self._find(path)
        return node if isinstance(node, CachedFolder) else _refuse(errno.ENOTDIR if node else errno.ENOENT, path)

    def _place(self, path: str) -> tuple[CachedFolder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def _move(self, *entries: Entry) -> None:
        for entry in entries:
            entry.apply(entry.folder.now)
        self._moves.append(entries)

    def _settle(self, folder: CachedFolder) -> None:
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


def _refuse(error: int, path: str) -> NoReturn:
    raise OSError(error, os.strerror(error), path)


def _refuse_negative(path: str, *numbers: int) -> None:
    if min(numbers) < 0:
        _refuse(errno.EINVAL, path)
