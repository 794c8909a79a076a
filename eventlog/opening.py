"""What a log is opened by: `log.json`, which says which log it is, the key that signs for it, and its checkpoint.

`log.json` is written last when a log is made; if it is there and what it stands for is not, the log
does not open, and nothing is ever made anew in silence. A log without a key is from before there was one.
"""

import json
import os

from attrs import frozen

from eventlog.clock import Clock, time_text, uuid7
from eventlog.disk import Disk
from eventlog.errors import LogDamaged
from eventlog.merkle import EMPTY_ROOT
from eventlog.note import Checkpoint, Note, NoteRefused, open_checkpoint, signed_checkpoint
from eventlog.seals import CHECKPOINT, CHECKPOINTS
from eventlog.segment import SEGMENTS, segment_numbers, segment_path
from eventlog.signing import KeyRefused, Signer, Verifier
from eventlog.whole import keep_whole, read_whole

LOG_JSON = "log/log.json"
SECRETS = "secrets"
SIGNING_KEY = f"{SECRETS}/signing.key"
FORMAT = 1
_BYTES_MAX = 1 << 16


@frozen
class Identity:
    """What `log.json` says."""

    log_id: str
    origin: str
    created: str
    vkey: str = ""
    """The key that signs for the log; empty only in a log from before, until its first open."""

    @property
    def source(self) -> str:
        """The CloudEvents source of its events."""
        return f"urn:runlog:{self.log_id}"

    @property
    def data(self) -> bytes:
        """The bytes of its `log.json`."""
        facts = {"format": FORMAT, "log_id": self.log_id, "origin": self.origin, "vkey": self.vkey}
        return json.dumps(facts | {"created": self.created}, separators=(",", ":")).encode() + b"\n"

    @property
    def verifier(self) -> Verifier:
        """The key that checks what the log signs.

        Raises:
            LogDamaged: it is no key, or not that of this log.

        """
        try:
            verifier = Verifier.parse(self.vkey)
        except KeyRefused as error:
            raise LogDamaged(f"the vkey of log.json is not a key ({error.reason})") from None
        if verifier.name != self.origin:
            raise LogDamaged(f"the vkey of log.json is that of {verifier.name}, and its origin is {self.origin}")
        return verifier


def read_identity(disk: Disk) -> Identity | None:
    """Return what `log.json` says; None if there is none.

    Raises:
        LogDamaged: it cannot be understood, or is of a newer format.

    """
    data = read_whole(disk, LOG_JSON, _BYTES_MAX)
    return None if data is None else parse_identity(data)


def parse_identity(data: bytes) -> Identity:
    """Return what the bytes of a `log.json` say; errors as above."""
    try:
        facts = json.loads(data)
        if facts["format"] != FORMAT:
            raise LogDamaged(f"log.json is of format {facts['format']}, and this version reads {FORMAT}")
        return Identity(facts["log_id"], facts["origin"], facts["created"], facts.get("vkey", ""))
    except (ValueError, KeyError, TypeError) as error:
        raise LogDamaged(f"log.json cannot be read ({error})") from None


def make_log(disk: Disk, clock: Clock, *, index_exists: bool) -> Identity:
    """Make a new, empty log: its key, a signed checkpoint of size 0, and last `log.json`; a crash before leaves none.

    Raises:
        LogDamaged: there are events, seals or an index already, so a log was here before.

    """
    numbers = segment_numbers(disk.names(SEGMENTS))
    if index_exists or any(disk.size(segment_path(number)) for number in numbers) or _was_signed(disk):
        raise LogDamaged("log/log.json is gone, but events, a checkpoint of some or an index are there")
    now = clock.now_us() // 1000 * 1000  # the id tells the same millisecond, so that each bears witness of the other
    log_id = uuid7(now)
    signer = new_signer(f"runlog.local/{log_id}")
    identity = Identity(log_id, signer.name, time_text(now), signer.verifier.vkey)
    keep_signer(disk, signer)
    for folder in (SEGMENTS, CHECKPOINTS):
        disk.make_folder(folder)
    keep_whole(disk, CHECKPOINT, signed_checkpoint(signer, 0, EMPTY_ROOT).data)
    keep_whole(disk, LOG_JSON, identity.data)
    return identity


def _was_signed(disk: Disk) -> bool:
    data = read_whole(disk, CHECKPOINT, _BYTES_MAX)
    if data is None:
        return bool(disk.names(CHECKPOINTS))
    try:
        return Checkpoint.parse(Note.parse(data).text).size > 0
    except NoteRefused:
        return True  # a crash leaves a whole one or none


def is_of_its_time(identity: Identity) -> bool:
    """Tell whether `created` is the millisecond that the log's id tells."""
    try:
        return identity.created == time_text(int(identity.log_id[:12], 16) * 1000)
    except ValueError:
        return False


def new_signer(name: str) -> Signer:
    """Return a new key of that name."""
    return Signer(name, os.urandom(32))


def keep_signer(disk: Disk, signer: Signer) -> None:
    """Keep the log's key, durably, for nobody but the owner."""
    disk.make_folder(SECRETS, private=True)
    keep_whole(disk, SIGNING_KEY, signer.secret.encode() + b"\n", private=True)


def read_signer(disk: Disk) -> Signer | None:
    """Return the log's key; None if there is none.

    Raises:
        LogDamaged: what is there is not one.

    """
    data = read_whole(disk, SIGNING_KEY, _BYTES_MAX)
    if data is None:
        return None
    try:
        return Signer.parse(data.decode().removesuffix("\n"))
    except (KeyRefused, UnicodeDecodeError):
        raise LogDamaged(f"{SIGNING_KEY} does not hold a signing key") from None


def opened_signer(disk: Disk, identity: Identity) -> Signer:
    """Return the key that signs for the log.

    Raises:
        LogDamaged: it is not there, or is another log's.

    """
    signer, verifier = read_signer(disk), identity.verifier
    if signer is None:
        raise LogDamaged(f"the key that signs for it is gone ({SIGNING_KEY})")
    if signer.verifier != verifier:
        raise LogDamaged(f"{SIGNING_KEY} holds the key {signer.verifier.vkey}, and log.json names {verifier.vkey}")
    return signer


def opened_checkpoint(disk: Disk, verifier: Verifier) -> tuple[bytes, Checkpoint]:
    """Return the log's signed checkpoint, as it stands and as it reads.

    Raises:
        LogDamaged: it is not there, or *verifier* did not sign it.

    """
    data = read_whole(disk, CHECKPOINT, _BYTES_MAX)
    if data is None:
        raise LogDamaged(f"its signed checkpoint is gone ({CHECKPOINT})")
    try:
        return data, open_checkpoint(data, verifier)
    except NoteRefused as error:
        raise LogDamaged(f"its checkpoint counts for nothing ({error.reason})") from None
