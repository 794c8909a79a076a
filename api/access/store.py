"""Where keys are kept: `<data>/secrets/keys.json`, for its owner alone, replaced as a whole and durably.

Edits take a lock of their own, not the writer's: keys are added and revoked beside a running server. A file
that is there, even one without a key, means that keys are asked for; nothing here ever takes it away.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from api.access.keys import Key, Keys
from api.access.roles import Role
from eventlog.clock import SystemClock, time_text
from eventlog.posix import PosixDisk
from eventlog.whole import keep_whole

FOLDER = "secrets"
KEYS = f"{FOLDER}/keys.json"
_LOCK = f"{FOLDER}/keys.lock"
_LOCK_S = 10.0
_SECRET_BYTES = 32


def read_keys(data_dir: Path) -> Keys | None:
    """Return the keys of a data directory; None where none was ever made.

    Raises:
        KeysDamaged: they cannot be understood.
        OSError: they cannot be read.

    """
    path = data_dir / KEYS
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Keys.parse(data, str(path))


def add_key(data_dir: Path, name: str, role: Role) -> str:
    """Make a key and return `<name>.<secret>`; nobody can tell it again.

    Raises:
        KeyExists, KeysDamaged: nothing was changed.

    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    key = Key.of(name, role, secret, time_text(SystemClock().now_us()))
    _edit(data_dir, lambda keys: keys.with_key(key))
    return f"{name}.{secret}"


def revoke_key(data_dir: Path, name: str) -> Keys:
    """Take the key *name* away for good; return those that are left.

    Raises:
        KeyUnknown, KeysDamaged: nothing was changed.

    """
    return _edit(data_dir, lambda keys: keys.without(name))


def _edit(data_dir: Path, change: Callable[[Keys], Keys]) -> Keys:
    if not (data_dir / KEYS).exists():
        change(Keys({}))  # before a folder is made for nothing
    disk = PosixDisk(data_dir)
    disk.make_folder(FOLDER, private=True)
    try:
        with FileLock(data_dir / _LOCK, timeout=_LOCK_S, mode=0o600, fallback_to_soft=False):
            changed = change(read_keys(data_dir) or Keys({}))
            keep_whole(disk, KEYS, changed.data, private=True)
            return changed
    finally:
        disk.close()
