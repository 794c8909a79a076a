"""What a witness signs: a checkpoint of a log it knows, if it begins with the one it signed last. Pure.

Two checkpoints of one log that contradict each other never both pass. The order of the checks, and
which answer each leads to, are those of c2sp.org/tlog-witness.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from attrs import frozen

from eventlog.errors import RunlogError
from eventlog.merkle import EMPTY_ROOT, ProofRefused, verify_consistency
from eventlog.note import Checkpoint, Note, NoteRefused
from eventlog.proof_text import Submission
from eventlog.signing import Verifier

Logs = Mapping[str, Sequence[Verifier]]
"""The logs that a witness knows: their keys by their origin."""


@frozen
class SubmissionRefused(RunlogError):
    """What came is no submission."""

    code: ClassVar[str] = "SUBMISSION_MALFORMED"
    reason: str

    @property
    def message(self) -> str:
        return f"This cannot be read: {self.reason}. Send what c2sp.org/tlog-witness describes as add-checkpoint."


@frozen
class OriginUnknown(RunlogError):
    """The witness was not told of this log."""

    code: ClassVar[str] = "ORIGIN_UNKNOWN"
    origin: str

    @property
    def message(self) -> str:
        return f"This witness does not know {self.origin[:200]!r}. Its operator makes it known with --origin-key."


@frozen
class NotSigned(RunlogError):
    """None of the log's keys signed the checkpoint."""

    code: ClassVar[str] = "CHECKPOINT_NOT_SIGNED"
    origin: str
    reason: str

    @property
    def message(self) -> str:
        return f"This is no checkpoint of {self.origin}: {self.reason}. Send one that the log's own key signed."


@frozen
class OldSizeConflict(RunlogError):
    """The submission does not start at the checkpoint that the witness signed last."""

    code: ClassVar[str] = "OLD_SIZE_CONFLICT"
    origin: str
    old: int
    size: int

    @property
    def message(self) -> str:
        return f"The checkpoint of {self.origin} that was signed last has size {self.size}, not {self.old}. Prove from there."


@frozen
class SplitView(RunlogError):
    """The log signed two histories: the new checkpoint does not begin with the one that was signed last."""

    code: ClassVar[str] = "SPLIT_VIEW"
    origin: str
    old: int
    size: int
    reason: str

    @property
    def message(self) -> str:
        return (
            f"The checkpoint of size {self.size} does not show that {self.origin} goes on from the one of size {self.old} "
            f"that was signed last: {self.reason}. Compare both logs: one of them is a copy that went on otherwise, or was rewritten."
        )

    @property
    def is_same_size(self) -> bool:
        """Whether the two differ in nothing but the root."""
        return self.old == self.size


def judged(body: bytes, logs: Logs, last: Mapping[str, Checkpoint]) -> tuple[Checkpoint, Note]:
    """Return the checkpoint that is to be signed, and its note with the signatures of its log alone.

    *last* has the checkpoint that was signed last, by origin.

    Raises:
        SubmissionRefused, OriginUnknown, NotSigned, OldSizeConflict, SplitView: it is not to be signed.

    """
    try:
        submission = Submission.parse(body)
        checkpoint = Checkpoint.parse(submission.note.text)
    except (ProofRefused, NoteRefused) as error:
        raise SubmissionRefused(error.reason) from None
    origin, size = checkpoint.origin, checkpoint.size
    if origin not in logs:
        raise OriginUnknown(origin)
    try:
        signatures = submission.note.signed_by(logs[origin])
    except NoteRefused as error:
        raise NotSigned(origin, error.reason) from None
    if submission.old > size:
        raise SubmissionRefused(f"its old size {submission.old} is above its checkpoint's size {size}")
    before = last.get(origin, Checkpoint(origin, 0, EMPTY_ROOT))
    if submission.old != before.size:
        raise OldSizeConflict(origin, submission.old, before.size)
    try:
        verify_consistency(before.size, before.root, size, checkpoint.root, submission.hashes)
    except ProofRefused as error:
        raise SplitView(origin, before.size, size, error.reason) from None
    return checkpoint, Note(submission.note.text, tuple(signatures.values()))
