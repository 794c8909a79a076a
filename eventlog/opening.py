"""What a log is opened by: `log.json`, which says which log it is, the key that signs for it, and its checkpoint.

`log.json` is written last when a log is made; if it is there and what it stands for is not, the log
does not open, and nothing is ever made anew in silence. A log without a key is from before there was one.
"""

import json
import os
import re
from contextlib import suppress

from attrs import frozen

from eventlog.clock import Clock, time_text, uuid7
from eventlog.disk import Disk
from eventlog.errors import LogCorrupt, LogDamaged
from eventlog.event import Place
from eventlog.frame import BadFrame, decode
from eventlog.locate import Finder
from eventlog.merkle import EMPTY_ROOT
from eventlog.note import Checkpoint, Note, NoteRefused, open_checkpoint, signed_checkpoint
from eventlog.seals import CHECKPOINT, CHECKPOINTS
from eventlog.segment import SEGMENTS, segment_name, segment_numbers, segment_path
from eventlog.signing import KeyRefused, Signer, Verifier
from eventlog.stretch import is_of_source
from eventlog.whole import keep_whole, read_whole

LOG_JSON = "log/log.json"
SECRETS = "secrets"
SIGNING_KEY = f"{SECRETS}/signing.key"
FORMAT = 1
_BYTES_MAX = 1 << 16
_LOG_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


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
    def source_in_event(self) -> bytes:
        """Its source as it stands in the bytes of an event."""
        return f',"source":"{self.source}",'.encode()

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
        LogDamaged: it cannot be understood, is of a newer format, is not as it was written, or is of another log.

    """
    data = read_whole(disk, LOG_JSON, _BYTES_MAX)
    if data is None:
        return None
    identity = parse_identity(data)
    if identity.vkey and not is_as_written(identity, data):  # one without a key is `upgrade`'s matter
        raise LogDamaged("log.json is not as it was written")
    with suppress(LogCorrupt):  # there is no first event, or none to be believed
        check_source(disk, identity, Finder(disk).place(0))
    return identity


def check_source(disk: Disk, identity: Identity, place: Place) -> None:
    """Refuse a log whose event at *place* is of another; one that does not match its hash tells nothing.

    Raises:
        LogDamaged: it is of another.

    """
    with suppress(BadFrame):
        frame = decode(disk.read(segment_path(place.segment), place.offset, place.length))
        if not is_of_source(frame.event, identity.source_in_event):
            what = f"an event is not of the log {identity.log_id} that log.json names"
            raise LogDamaged(what, segment_name(place.segment), place.offset, frame.seq)


def parse_identity(data: bytes) -> Identity:
    """Return what the bytes of a `log.json` say.

    Raises:
        LogDamaged: they cannot be understood, or are of a newer format.

    """
    try:
        facts = json.loads(data)
        if facts["format"] != FORMAT:
            raise LogDamaged(f"log.json is of format {facts['format']}, and this version reads {FORMAT}")
        told = (facts["log_id"], facts["origin"], facts["created"], facts.get("vkey", ""))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LogDamaged(f"log.json cannot be read ({error})") from None
    if not all(isinstance(each, str) and each.isascii() for each in told) or not _LOG_ID.fullmatch(told[0]):
        raise LogDamaged("log.json cannot be read (its log_id, origin, created or vkey is not what it can be)")
    return Identity(*told)


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
    except (ValueError, OverflowError):
        return False


def is_as_written(identity: Identity, data: bytes) -> bool:
    """Tell whether *data*, which say *identity*, are the very bytes that were written for it."""
    return data == identity.data and is_of_its_time(identity)


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
