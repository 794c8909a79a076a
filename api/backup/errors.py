"""What a backup, a restore and the first start after one refuse. How each ends the process is decided at the edge."""

from typing import ClassVar

from attrs import frozen

from eventlog.errors import RunlogError


@frozen
class BackupBad(RunlogError):
    """A copy does not verify, or its source does not (exit code 1)."""

    code: ClassVar[str] = "BACKUP_BAD"
    folder: str
    reason: str
    next_step: str

    @property
    def message(self) -> str:
        return f"{self.folder} is not a good backup: {self.reason}. {self.next_step}"


@frozen
class BackupRefused(RunlogError):
    """The folder is not one that this log can be backed up to (exit code 3)."""

    code: ClassVar[str] = "BACKUP_REFUSED"
    folder: str
    reason: str

    @property
    def message(self) -> str:
        return f"Nothing was backed up, and {self.folder} is as it was: {self.reason}. Give an empty folder, or the one of this log."


@frozen
class BackupBusy(RunlogError):
    """Another process is at work on the backup (exit code 3)."""

    code: ClassVar[str] = "BACKUP_BUSY"
    folder: str

    @property
    def message(self) -> str:
        return f"Another process is at work on the backup in {self.folder}. Wait until it has ended, and try again."


@frozen
class BackupMissing(RunlogError):
    """The folder holds no backup (exit code 3)."""

    code: ClassVar[str] = "BACKUP_MISSING"
    folder: str

    @property
    def message(self) -> str:
        return f"{self.folder} holds no backup, or none that was finished. Name a folder that `runlog backup` made."


@frozen
class RestoreRefused(RunlogError):
    """There is something already where the backup would go (exit code 3)."""

    code: ClassVar[str] = "RESTORE_REFUSED"
    data_dir: str
    found: str

    @property
    def message(self) -> str:
        return (
            f"{self.data_dir} is not empty ({self.found} is there); nothing was restored. Give an empty or a new "
            "--data-dir: what is there now may be all that is left of a log."
        )


@frozen
class LogOlderThanKnown(RunlogError):
    """The log once went on further than this copy of it, so this copy must not go on (exit code 3)."""

    code: ClassVar[str] = "LOG_OLDER_THAN_KNOWN"
    origin: str
    size: int
    known_size: int
    known_by: str

    @property
    def message(self) -> str:
        return (
            f"This copy of {self.origin} has {self.size} events, and {self.known_by} knows a checkpoint of "
            f"{self.known_size}: it is an older copy, and to go on with it would make two histories under one key. "
            "Restore a newer backup. If there is none, keep this copy to read from, and begin a new log under a new key."
        )


@frozen
class LogForked(RunlogError):
    """A checkpoint that this log's key signed is of another history than this copy's (exit code 3)."""

    code: ClassVar[str] = "LOG_FORKED"
    origin: str
    size: int
    known_size: int
    known_by: str

    @property
    def message(self) -> str:
        return (
            f"The checkpoint of {self.known_size} events of {self.origin} that {self.known_by} knows is not the beginning "
            f"of these {self.size}: there are two histories under one key. Nothing was changed; find out which one was "
            "shown to others before either goes on."
        )


@frozen
class WitnessNotHeard(RunlogError):
    """The log was restored, and a witness that would know a newer one did not answer (exit code 3)."""

    code: ClassVar[str] = "WITNESS_NOT_HEARD"
    witness: str
    reason: str

    @property
    def message(self) -> str:
        return (
            f"The log was restored from a backup, and the witness {self.witness} could not be asked whether it knows a "
            f"newer one: {self.reason}. Nothing was signed. Start the witness, or leave it out of the settings for good."
        )
