"""The one error root, and what can go wrong in the log.

Every error has a stable `code`, its facts as fields, and a message that says
what happened and what to do next. How an error travels (HTTP status, exit
code) is decided at the edge, never here.
"""

import errno
from typing import Any, ClassVar

import attrs
from attrs import frozen

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)
"""What the system says when it cannot open (or unpack) a file now: it passes, and says nothing of the file."""


class RunlogError(Exception):
    """The root of every error that Runlog raises on purpose."""

    code: ClassVar[str] = "INTERNAL"

    @property
    def message(self) -> str:
        """What happened, and what to do next."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, Any]:
        """The fields, for logs and for answers."""
        cls: Any = type(self)
        return {f.name: getattr(self, f.name) for f in attrs.fields(cls)} if attrs.has(cls) else {}

    def __str__(self) -> str:
        return self.message


class EventLogError(RunlogError):
    """An error of the log itself."""


@frozen
class LogBusy(EventLogError):
    """The queue in front of the writer is full, or a decision met too many others."""

    code: ClassVar[str] = "LOG_BUSY"
    retry_after_s: int = 1

    @property
    def message(self) -> str:
        return (
            "More is waiting to be written than the log takes at once; nothing of this request was "
            f"written. Send it again after {self.retry_after_s} s."
        )


@frozen
class OutOfHandles(EventLogError):
    """The process may open no more files, or the system has no memory or space for it; it passes."""

    code: ClassVar[str] = "LOG_BUSY"
    retry_after_s: int = 1

    @property
    def message(self) -> str:
        return (
            "A file could not be opened, for too many are open, or the disk has no space to unpack one; nothing of this "
            f"request was written. Send it again after {self.retry_after_s} s; the operator can allow the server more "
            "open files, or make space."
        )


@frozen
class LogHalted(EventLogError):
    """A write or an fsync failed, so what is on disk is not known; only a restart helps."""

    code: ClassVar[str] = "LOG_HALTED"
    reason: str

    @property
    def message(self) -> str:
        return (
            "The log has stopped taking writes because the disk failed it. Whether this request was "
            "recorded is not known: restart the server, then send it again with the same "
            "Idempotency-Key. Reads go on."
        )


@frozen
class LogFull(EventLogError):
    """No space left for the segment; nothing was recorded."""

    code: ClassVar[str] = "LOG_FULL"

    @property
    def message(self) -> str:
        return (
            "The disk is full; nothing of this request was recorded. Make space on the data directory's "
            "file system and send it again. Reads go on; ?stale=ok reads what the catalog has so far."
        )


@frozen
class LogCorrupt(EventLogError):
    """An event's stored bytes do not match its hash, or it is not the one that was signed; it is never served."""

    code: ClassVar[str] = "LOG_CORRUPT"
    seq: int
    segment: str
    offset: int

    @property
    def message(self) -> str:
        return (
            f"Event {self.seq} (segment {self.segment}, byte {self.offset}) does not match its hash or the signed tree, so it "
            "is not served. Other events are. Ask the operator to run `runlog log verify` and to "
            "restore that segment from a backup."
        )


@frozen
class CheckpointBehind(EventLogError):
    """No signed checkpoint covers an event yet."""

    code: ClassVar[str] = "CHECKPOINT_BEHIND"
    size: int
    signed_size: int
    retry_after_s: int = 1

    @property
    def message(self) -> str:
        return (
            f"The signed checkpoint covers {self.signed_size} events, and {self.size} are needed for the proof. Ask "
            "again in a moment; /readyz tells why no newer one could be signed."
        )


@frozen
class LogDamaged(EventLogError):
    """Open found damage that recovery must not touch; the log stays shut (exit code 3)."""

    code: ClassVar[str] = "LOG_DAMAGED"
    what: str
    segment: str = ""
    offset: int = 0
    seq: int = 0

    @property
    def message(self) -> str:
        place = f" Segment {self.segment}, byte {self.offset}, seq {self.seq}." if self.segment else ""
        return (
            f"The log does not open: {self.what}.{place} Nothing was changed. Run `runlog log verify` "
            "to see the whole extent, then restore the data directory from a backup."
        )


@frozen
class LogLocked(EventLogError):
    """Another process is the writer of this data directory (exit code 3)."""

    code: ClassVar[str] = "LOG_LOCKED"
    data_dir: str
    pid: int | None

    @property
    def message(self) -> str:
        holder = f"process {self.pid}" if self.pid else "another process"
        return (
            f"{holder[0].upper()}{holder[1:]} is already writing to {self.data_dir}; nothing was changed. "
            "Stop it first, or give another --data-dir."
        )


@frozen
class RevisionConflict(EventLogError):
    """A stream is not at the revision that the append was decided on."""

    code: ClassVar[str] = "REVISION_CONFLICT"
    stream: str
    expected: int | None
    actual: int | None

    @property
    def message(self) -> str:
        return (
            f"Stream {self.stream} is at revision {self.actual}, not {self.expected}; read it again and decide again."
        )


@frozen
class IdempotencyKeyReused(EventLogError):
    """The key was used before, by the same actor, for another request."""

    code: ClassVar[str] = "IDEMPOTENCY_KEY_REUSED"
    idempotency_key: str

    @property
    def message(self) -> str:
        return (
            f"The Idempotency-Key {self.idempotency_key!r} was used before for a different request; nothing "
            "was written. Use a new key for a new request, and the old key only to repeat the old one."
        )


@frozen
class AppendTooLarge(EventLogError):
    """One append is larger than a batch may ever be."""

    code: ClassVar[str] = "BODY_TOO_LARGE"
    bytes: int
    bytes_max: int

    @property
    def message(self) -> str:
        return f"The events of this request take {self.bytes} bytes, more than the {self.bytes_max} of one append. Send less at once."


@frozen
class NotCanonical(EventLogError):
    """A value that has no canonical JSON form."""

    code: ClassVar[str] = "NOT_CANONICAL"
    reason: str

    @property
    def message(self) -> str:
        return f"This value has no canonical JSON form: {self.reason}. Correct the value before hashing it."
