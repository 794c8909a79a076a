"""A folder changed as a whole: new files are made beside it, then take their places, and until `commit` all can be undone.

Whatever happens, the folder is what it was before or what it is to be: `roll_back` comes before anything is read or written.
What was replaced is kept until then, under a journal that was durable before the first file was moved.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from api.backup.copying import PRIVATE, sync_tree
from api.backup.errors import BackupBusy
from eventlog.posix import sync_folder

STAGE = ".incoming"
_UNDO = ".undo"
_JOURNAL = f"{_UNDO}/journal.json"
OWN = frozenset({STAGE, _UNDO})


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the one process that works with the backup in *folder*; the lock is on the folder and leaves nothing behind.

    Raises:
        BackupBusy: another one does.

    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupBusy(str(folder)) from None
        yield
    finally:
        os.close(fd)


def place(folder: Path, gone: Iterable[str]) -> None:
    """Move every file under `STAGE` to its place, and take the files *gone* away; durable, and not for good yet."""
    stage, undo = folder / STAGE, folder / _UNDO
    staged = sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file())
    leaving = sorted(path for path in {*staged, *gone} if (folder / path).exists())
    undo.mkdir()
    journal = {"added": [path for path in staged if path not in leaving], "replaced": leaving}
    _write(folder / _JOURNAL, json.dumps(journal).encode())
    sync_tree(folder, [_JOURNAL])
    for path in leaving:
        _move(folder / path, undo / path)
    # Before a name is given anew, what had it must be sure to be found under its other one.
    sync_tree(undo, leaving)
    sync_tree(folder, leaving)
    for path in staged:
        _move(stage / path, folder / path)
    sync_tree(folder, staged)


def commit(folder: Path) -> None:
    """Let what was placed stay, for good."""
    (folder / _JOURNAL).unlink()
    sync_folder(folder / _UNDO)
    _clear(folder)


def roll_back(folder: Path) -> None:
    """Undo what was placed and not committed; nothing happens where nothing was. Interrupted, it goes on when called again."""
    journal = folder / _JOURNAL
    if journal.exists():
        facts = json.loads(journal.read_bytes())
        for path in facts["added"]:
            (folder / path).unlink(missing_ok=True)
        for path in facts["replaced"]:
            if (folder / _UNDO / path).exists():
                _move(folder / _UNDO / path, folder / path)
        sync_tree(folder, [each for each in (*facts["added"], *facts["replaced"]) if (folder / each).parent.is_dir()])
        journal.unlink()
        sync_folder(folder / _UNDO)
    _clear(folder)


def _clear(folder: Path) -> None:
    for name in OWN:
        if (folder / name).exists():
            shutil.rmtree(folder / name)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


def _write(path: Path, data: bytes) -> None:
    """Make the file *path*, whole under its name."""
    draft = path.with_suffix(".tmp")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
