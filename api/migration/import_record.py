"""The record of an import: which v1 file, which backup, how far. It is durable before the import's first event.

It lies at `<data>/imports/<import_id>.json`. One whose state is `running`, without a process that
runs it, was interrupted: the same v1 file again goes on under its id. A file of another name is not ours
and is left alone; one of such a name that cannot be read stops everything that would need to know it.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import attrs
from attrs import evolve, frozen

from eventlog.clock import Clock, time_text, uuid7
from eventlog.errors import RunlogError
from eventlog.posix import sync_folder

IMPORTS = "imports"
State = Literal["running", "done", "stopped", "rolled_back"]
"""`stopped`: the text of the v1 file ended before its end."""

_NAME = re.compile(r"[0-9a-f]{32}\.json", re.ASCII)


@frozen
class ImportRecordDamaged(RunlogError):
    """A file among the import records is none (exit code 3)."""

    code: ClassVar[str] = "IMPORT_RECORD_DAMAGED"
    file: str

    @property
    def message(self) -> str:
        return (
            f"{self.file} in the data directory is not a record of an import as Runlog writes it; nothing was changed. "
            f"Restore it from a backup, or move it out of {IMPORTS}/: that import can then be neither gone on with "
            "nor rolled back."
        )


@frozen
class ImportRecord:
    """One import. `backup` is {path, sha256}, None without one; times are RFC 3339."""

    import_id: str
    state: State
    v1_path: str
    v1_sha256: str
    backup: dict[str, str] | None
    counts: dict[str, int]
    began: str
    changed: str

    @property
    def backup_sha256(self) -> str | None:
        """The SHA-256 of the backup; None without one."""
        return self.backup["sha256"] if self.backup else None


def begun(data_dir: Path, clock: Clock, v1_path: str, v1_sha256: str, backup: dict[str, str] | None) -> ImportRecord:
    """Return the record of an import that begins now, or of the interrupted one that it goes on with; durable."""
    now = time_text(clock.now_us())
    record = interrupted(data_dir, v1_sha256) or ImportRecord(
        uuid7(clock.now_us()), "running", v1_path, v1_sha256, None, {}, now, now
    )
    return saved(data_dir, evolve(record, backup=backup or record.backup, changed=now))


def interrupted(data_dir: Path, v1_sha256: str) -> ImportRecord | None:
    """Return the import of that v1 file that did not come to its end; None if there is none."""
    return next((one for one in imports(data_dir) if (one.state, one.v1_sha256) == ("running", v1_sha256)), None)


def ended(
    data_dir: Path, clock: Clock, record: ImportRecord, state: State, counts: dict[str, int] | None = None
) -> ImportRecord:
    """Return *record* in its new *state*; durable."""
    changed = time_text(clock.now_us())
    return saved(data_dir, evolve(record, state=state, counts=counts or record.counts, changed=changed))


def imports(data_dir: Path) -> Iterator[ImportRecord]:
    """Give every import, oldest first.

    Raises:
        ImportRecordDamaged: the file of one cannot be read.

    """
    for path in sorted((data_dir / IMPORTS).glob("*.json")):
        if _NAME.fullmatch(path.name):
            yield _read(path)


def _read(path: Path) -> ImportRecord:
    try:
        facts: Any = json.loads(path.read_bytes())
        is_sound = _is_sound(facts) and facts["import_id"] == path.stem
        record = ImportRecord(**facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IsADirectoryError):
        raise ImportRecordDamaged(f"{IMPORTS}/{path.name}") from None
    if not is_sound:
        raise ImportRecordDamaged(f"{IMPORTS}/{path.name}")
    return record


def _is_sound(facts: Any) -> bool:
    """Tell whether every field has the type that it is read with."""
    texts = [facts[name] for name in ("import_id", "v1_path", "v1_sha256", "began", "changed")]
    if facts["backup"] is not None:
        texts += [facts["backup"]["path"], facts["backup"]["sha256"]]
    numbers = facts["counts"].values()
    return (
        facts["state"] in get_args(State)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in numbers)
    )


def saved(data_dir: Path, record: ImportRecord) -> ImportRecord:
    """Return *record* once it would survive a power loss."""
    folder = data_dir / IMPORTS
    if not folder.is_dir():
        folder.mkdir()
        sync_folder(data_dir)
    path = folder / f"{record.import_id}.json"
    draft = path.with_suffix(".json.tmp")
    with draft.open("wb") as file:
        file.write(json.dumps(attrs.asdict(record), indent=2, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(folder)
    return record
