"""What `strace` recorded of a process, done again on a disk that can lose power.

A write counts once it has returned; a sync makes durable what had returned when it was called. So at each
moment the simulated disk may lose what the real one might have lost then, and nothing else.
"""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from attrs import define, field

from eventlog.memory import MemoryDisk
from eventlog.powerloss import CachedFile, CachedFolder, Entry

CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,fsync,fdatasync,syncfs,ftruncate,lseek,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,fallocate"
)
OPTIONS = ["-f", "-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}"]

_CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)$")
_BEGUN = re.compile(r"(\d+) +(\w+\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)$")
_HEX = r"((?:\\x[0-9a-f]{2})*)"
_FD = re.compile(rf"(\d+|AT_FDCWD)<{_HEX}>")
_TEXT = re.compile(rf'"{_HEX}"')
_SYNCS = ("fsync", "fdatasync", "syncfs")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@define
class Call:
    """One system call that succeeded: what it was given, and what it returned."""

    name: str
    arguments: str
    returned: int
    described: str

    @property
    def paths(self) -> list[str]:
        """The folders or files of its descriptors, in order."""
        return [_bytes(found).decode() for _, found in _FD.findall(self.arguments)]

    @property
    def texts(self) -> list[bytes]:
        """Its strings: names, or what is written."""
        return [_bytes(found) for found in _TEXT.findall(self.arguments)]

    @property
    def fd(self) -> int:
        """The descriptor that it works on."""
        return int(self.arguments.split("<")[0])

    @property
    def numbers(self) -> list[int]:
        """What stands behind its strings and descriptors."""
        rest = _FD.sub("", _TEXT.sub("", self.arguments))
        return [int(each) for each in re.findall(r"(?<![\w|])\d+(?![\w|])", rest)]


def calls_of(trace: str) -> list[Call]:
    """Return the calls in the order in which they took effect: syncs when they began, others when they returned."""
    begun: dict[str, tuple[int, str]] = {}
    found: list[tuple[int, Call]] = []
    for number, line in enumerate(trace.splitlines()):
        if unfinished := _BEGUN.match(line):
            begun[unfinished[1]] = (number, unfinished[2])
            continue
        start = number
        if resumed := _RESUMED.match(line):
            start, head = begun.pop(resumed[1])
            line = f"{resumed[1]} {head}{resumed[2]}"
        if (call := _CALL.match(line)) and int(call[4]) >= 0:
            at = start if call[2] in _SYNCS else number
            found.append((at, Call(call[2], call[3], int(call[4]), call[5])))
    return [call for _, call in sorted(found, key=lambda each: each[0])]


@define
class Replay:
    """Does calls again, those below *root*; `told` are the lines that the process wrote to its standard output."""

    root: str
    disk: "ReplayedDisk" = field(factory=lambda: ReplayedDisk())
    told: bytes = b""
    _at: dict[int, int] = field(factory=dict)
    """Where a descriptor stands in its file."""

    def do(self, call: Call) -> bool:
        """Tell whether it changed anything."""
        work = getattr(self, f"_{call.name}", None)
        assert work is not None, f"{call.name} is not known; teach it to Replay"
        before = len(self.disk.operations)
        work(call)
        return len(self.disk.operations) > before

    def _openat(self, call: Call) -> None:
        self._at[call.returned] = 0
        path = self._inside(call.paths[0], call.texts[0])
        if path is None or "O_DIRECTORY" in call.arguments:
            return
        if "O_CREAT" in call.arguments and self.disk.size(path) is None:
            self.disk.create(path)
        elif "O_TRUNC" in call.arguments and self.disk.size(path):
            self.disk.truncate(path, 0)
        assert "O_APPEND" not in call.arguments

    def _write(self, call: Call) -> None:
        if call.fd == 1:
            self.told += call.texts[0]
        elif (path := self._of_fd(call)) is not None:
            at = self._at.get(call.fd, 0)
            self.disk.write(path, at, call.texts[0][: call.returned])
            self._at[call.fd] = at + call.returned

    def _pwrite64(self, call: Call) -> None:
        if (path := self._of_fd(call)) is not None:
            self.disk.write(path, call.numbers[-1], call.texts[0][: call.returned])

    def _lseek(self, call: Call) -> None:
        self._at[call.fd] = call.returned

    def _ftruncate(self, call: Call) -> None:
        if (path := self._of_fd(call)) is not None:
            self.disk.truncate(path, call.numbers[-1])

    def _fsync(self, call: Call) -> None:
        if (path := self._of_fd(call)) is not None:
            (self.disk.sync_folder if self.disk.is_folder(path) else self.disk.sync)(path)

    _fdatasync = _fsync

    def _syncfs(self, _call: Call) -> None:
        self.disk.sync_all()

    def _rename(self, call: Call) -> None:
        folders = call.paths or ["/", "/"]
        source, target = map(self._inside, folders, call.texts)
        assert (source is None) == (target is None)
        if source is not None and target is not None:
            self.disk.replace(source, target)

    _renameat = _renameat2 = _rename

    def _unlink(self, call: Call) -> None:
        path = self._inside((call.paths or ["/"])[0], call.texts[0])
        if path is not None:
            assert "AT_REMOVEDIR" not in call.arguments
            self.disk.remove(path)

    _unlinkat = _unlink

    def _mkdir(self, call: Call) -> None:
        path = self._inside((call.paths or ["/"])[0], call.texts[0])
        if path:
            self.disk.name_folder(path)

    _mkdirat = _mkdir

    def _of_fd(self, call: Call) -> str | None:
        path = self._inside("/", call.paths[0].encode())
        # Of a file without a name nothing is left after a power loss; SQLite's shared memory is no file to it.
        return None if path is None or not self.disk.is_there(path) else path

    def _inside(self, folder: str, name: bytes) -> str | None:
        """The path below the root; None for another."""
        path = PurePosixPath(folder) / name.decode()
        return str(path.relative_to(self.root)).removeprefix(".") if path.is_relative_to(self.root) else None


class ReplayedDisk(MemoryDisk):
    """The simulated disk, with what processes do that the log's own port does not."""

    def is_there(self, path: str) -> bool:
        return self._find(path) is not None

    def is_folder(self, path: str) -> bool:
        return isinstance(self._find(path), CachedFolder)

    def name_folder(self, path: str) -> None:
        """Make a folder whose name is durable once its parent is synced."""
        self._move(Entry(*self._place(path), CachedFolder()))
        self._done("make_folder", path)

    def sync_all(self) -> None:
        """Make everything durable, as `syncfs` does."""
        self._each(self._root, CachedFile.settle, self._settle)
        self._done("sync_all", "")

    def _each(
        self, folder: CachedFolder, on_file: Callable[[CachedFile], None], on_folder: Callable[[CachedFolder], None]
    ) -> None:
        for node in folder.now.values():
            if isinstance(node, CachedFile):
                on_file(node)
            else:
                self._each(node, on_file, on_folder)
        on_folder(folder)
