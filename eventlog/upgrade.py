"""A log from before there were keys gets one: it is read from its first event to its last, and then signed.

What is going to be signed is announced first, durably, in the draft of the new `log.json`; so a crash on the
way is gone on from. A key or a checkpoint that nobody announced means that the key was taken out of `log.json`.
"""

import structlog
from attrs import evolve

from eventlog.disk import Disk
from eventlog.errors import LogDamaged
from eventlog.index import Index
from eventlog.merkle import EMPTY_ROOT, Frontier, leaf_hash
from eventlog.note import Checkpoint, NoteRefused, open_checkpoint, signed_checkpoint
from eventlog.opening import (
    LOG_JSON,
    Identity,
    is_of_its_time,
    keep_signer,
    new_signer,
    parse_identity,
    read_signer,
)
from eventlog.recovery import End, check_known, survey
from eventlog.seals import CHECKPOINT, CHECKPOINTS, sealed_segments
from eventlog.segment import SEGMENTS, Placed, segment_name, segment_numbers
from eventlog.signing import Signer
from eventlog.whole import DRAFT, keep_whole, read_whole

logger = structlog.get_logger("eventlog.upgrade")

_ANNOUNCED = LOG_JSON + DRAFT
_BYTES_MAX = 1 << 16


def upgrade(disk: Disk, index: Index, identity: Identity) -> Identity:
    """Give a log without a key one, and sign what its index knows to be durable; return what `log.json` says now.

    Raises:
        LogDamaged: the log is not whole, or it had a key before; nothing was changed.

    """
    identity = _exact(identity)
    announced = _announced(disk, identity)
    signer = read_signer(disk)
    stored = read_whole(disk, CHECKPOINT, _BYTES_MAX)
    if announced is None or signer is None or signer.verifier != announced.verifier:
        # Before the announcement nothing is written, and the key comes right after it.
        if signer is not None or stored is not None or sealed_segments(disk):
            raise LogDamaged(
                "log.json names no key, but a key, a checkpoint or seals are there: the key was taken out of it, or these "
                "are of another log"
            )
        signer = None
    size = index.end().next_seq
    before = _signed_before(stored, signer)
    frontier = _verified(disk, index, size, before)
    signer = signer or _announce(disk, identity)
    disk.make_folder(CHECKPOINTS)
    keep_whole(disk, CHECKPOINT, signed_checkpoint(signer, size, frontier.root).data)
    upgraded = evolve(identity, vkey=signer.verifier.vkey)
    disk.replace(_ANNOUNCED, LOG_JSON)
    disk.sync_folder("log")
    logger.warning("log.upgraded", events=size, vkey=upgraded.vkey)
    return upgraded


def _exact(identity: Identity) -> Identity:
    """Return what the log would say of itself if it were new: its time to the millisecond, which its id tells too.

    Raises:
        LogDamaged: the two contradict each other. Signed with that, the log would not open again.

    """
    exact = evolve(identity, created=f"{identity.created[:-4]}000Z")
    if not is_of_its_time(exact):
        raise LogDamaged("log.json is not as it was written")
    return exact


def _announced(disk: Disk, identity: Identity) -> Identity | None:
    """Return what an upgrade that was interrupted meant to write; None if there was none."""
    data = read_whole(disk, _ANNOUNCED, _BYTES_MAX)
    try:
        told = parse_identity(data or b"")
    except LogDamaged:  # a crash may leave any part of a draft
        return None
    return told if told.vkey and (told.log_id, told.origin) == (identity.log_id, identity.origin) else None


def _announce(disk: Disk, identity: Identity) -> Signer:
    """Make a key, and keep it behind its announcement."""
    signer = new_signer(identity.origin)
    if disk.size(_ANNOUNCED) is not None:
        disk.remove(_ANNOUNCED)
    disk.create(_ANNOUNCED)
    disk.write(_ANNOUNCED, 0, evolve(identity, vkey=signer.verifier.vkey).data)
    disk.sync(_ANNOUNCED)
    disk.sync_folder("log")
    keep_signer(disk, signer)
    return signer


def _signed_before(stored: bytes | None, signer: Signer | None) -> Checkpoint:
    """Return what an interrupted upgrade signed."""
    if stored is None or signer is None:
        return Checkpoint("", 0, EMPTY_ROOT)
    try:
        return open_checkpoint(stored, signer.verifier)
    except NoteRefused as error:
        raise LogDamaged(f"its checkpoint counts for nothing ({error.reason})") from None


def _verified(disk: Disk, index: Index, size: int, before: Checkpoint) -> Frontier:
    """Read the whole log; return the tree of its first *size* events.

    Raises:
        LogDamaged: a batch of it is not whole, it is shorter than its index knows, or than what was signed *before*.

    """
    segments = segment_numbers(disk.names(SEGMENTS))
    check_known(disk, segments, index.segment_ends(), index.end(), index.place)
    frontiers = {target: Frontier() for target in (before.size, size)}

    def take(placed: list[Placed]) -> None:
        leaves = [leaf_hash(bytes.fromhex(one.frame.hash)) for one in placed]
        for target, frontier in frontiers.items():
            frontiers[target] = frontier.grown(leaves[: target - frontier.size])[0]

    end = survey(disk, segments, End(), take).end
    place = (segment_name(end.segment) if end.segment else "", end.offset, end.next_seq)
    if end.next_seq < max(before.size, size):
        raise LogDamaged(f"its good events end at {end.next_seq}, and {max(before.size, size)} were recorded", *place)
    if frontiers[before.size].root != before.root:
        raise LogDamaged(f"the events do not lead to the root of the checkpoint of size {before.size}")
    return frontiers[size]
