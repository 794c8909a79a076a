"""What a witness remembers: the newest checkpoint that it signed for each log.

No cosignature leaves before its checkpoint is durable. The folder of checkpoints is made before the
key, so a key without it is a loss that is told, never a fresh start: a witness that forgot would sign a fork.
"""

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Self

from attrs import frozen

from api.witness.judging import Logs, judged
from eventlog.clock import random_hex
from eventlog.errors import RunlogError
from eventlog.lock import WriterLock
from eventlog.note import Checkpoint, Note, NoteRefused
from eventlog.posix import PosixDisk
from eventlog.signing import COSIGNATURE, KeyRefused, Signature, Signer
from eventlog.whole import DRAFT, keep_whole, read_whole

CHECKPOINTS = "checkpoints"
SECRETS = "secrets"
KEY = f"{SECRETS}/witness.key"
_BYTES_MAX = 1 << 20


@frozen
class WitnessDamaged(RunlogError):
    """What the witness remembered is gone or changed (exit code 3)."""

    code: ClassVar[str] = "WITNESS_DAMAGED"
    path: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"The witness does not start: {self.path} {self.reason}. Nothing was changed. Without its memory it could "
            "sign a fork: retire its key, and start a new witness in an empty --data-dir."
        )


class Ledger:
    """The witness's key and memory, in a folder that no other process uses. Its methods belong to one thread."""

    def __init__(self, disk: PosixDisk, lock: WriterLock, signer: Signer, logs: Logs) -> None:
        """Use `Ledger.open`."""
        self._disk, self._lock, self._signer, self._logs = disk, lock, signer, logs
        self._last: dict[str, Checkpoint] = {}

    @classmethod
    def open(cls, data_dir: Path, logs: Logs) -> Self:
        """Open the memory in *data_dir*, a new one with a new key if there is none.

        Raises:
            LogLocked: another process uses it.
            WitnessDamaged: a part of it is gone or changed.

        """
        disk = PosixDisk(data_dir)
        disk.make_folder(".")
        lock = WriterLock(data_dir)
        try:
            ledger = cls(disk, lock, _signer(disk, data_dir), logs)
            ledger._remember()
        except BaseException:
            lock.release()
            raise
        return ledger

    @property
    def vkey(self) -> str:
        """The key that checks what is signed here."""
        return self._signer.verifier.vkey

    def add(self, body: bytes) -> Signature:
        """Return the cosignature of the checkpoint in *body*, once it is remembered durably.

        Raises:
            SubmissionRefused, OriginUnknown, NotSigned, OldSizeConflict, SplitView: it is not to be signed.
            OSError: it could not be remembered, so nothing was signed.

        """
        checkpoint, note = judged(body, self._logs, self._last)
        signature = self._signer.cosign(note.text, int(time.time()))
        kept = Note(note.text, (*note.signatures, signature))
        keep_whole(self._disk, _path(checkpoint.origin), kept.data)
        self._last[checkpoint.origin] = checkpoint
        return signature

    def close(self) -> None:
        """Let go of the folder."""
        self._disk.close()
        self._lock.release()

    def _remember(self) -> None:
        """Read every checkpoint; each bears the witness's own signature, so that one which rotted is not believed."""
        for name in self._disk.names(CHECKPOINTS):
            path = f"{CHECKPOINTS}/{name}"
            if name.endswith(DRAFT):  # a crash left it; nothing of it was told
                continue
            try:
                note = Note.parse(read_whole(self._disk, path, _BYTES_MAX) or b"")
                note.signed_by((self._signer.verifier,))
                checkpoint = Checkpoint.parse(note.text)
            except NoteRefused as error:
                raise WitnessDamaged(path, f"counts for nothing ({error.reason})") from None
            if _path(checkpoint.origin) != path:
                raise WitnessDamaged(path, f"is of {checkpoint.origin}, which has another file")
            self._last[checkpoint.origin] = checkpoint


def _path(origin: str) -> str:
    return f"{CHECKPOINTS}/{sha256(origin.encode()).hexdigest()}"


def _signer(disk: PosixDisk, data_dir: Path) -> Signer:
    data, is_there = read_whole(disk, KEY, _BYTES_MAX), (data_dir / CHECKPOINTS).is_dir()
    if data is None:
        if disk.names(CHECKPOINTS):
            raise WitnessDamaged(KEY, "is gone")
        signer = Signer(f"runlog.witness/{random_hex(8)}", os.urandom(32), COSIGNATURE)
        disk.make_folder(CHECKPOINTS, private=True)
        disk.make_folder(SECRETS, private=True)
        keep_whole(disk, KEY, signer.secret.encode() + b"\n", private=True)
        return signer
    if not is_there:
        raise WitnessDamaged(CHECKPOINTS, "is gone")
    try:
        signer = Signer.parse(data.decode().removesuffix("\n"))
    except (KeyRefused, UnicodeDecodeError):
        raise WitnessDamaged(KEY, "does not hold a key") from None
    if signer.kind != COSIGNATURE:
        raise WitnessDamaged(KEY, "holds a key of another kind")
    return signer
