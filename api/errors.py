"""What can go wrong at the way in, beside what the log and the run refuse themselves."""

from typing import ClassVar

from attrs import frozen

from eventlog.errors import RunlogError
from eventlog.strict_json import Fault, InvalidJson
from projections.run.errors import InvalidCommand


@frozen
class ProjectionBehind(RunlogError):
    """A read would be older than a write that was acknowledged before it came."""

    code: ClassVar[str] = "PROJECTION_BEHIND"
    projection: str
    position: int
    head: int
    retry_after_s: int = 1

    @property
    def message(self) -> str:
        return (
            f"The {self.projection} stands at event {self.position} and the log at {self.head}. Ask again in a moment, "
            "or with ?stale=ok for what there is; /readyz tells whether it is catching up or has stopped."
        )


@frozen
class AttachmentNotFound(RunlogError):
    """The run has no such attachment, or its bytes are gone."""

    code: ClassVar[str] = "ATTACHMENT_NOT_FOUND"
    run_id: str
    sha256: str

    @property
    def message(self) -> str:
        return (
            f"Run {self.run_id} has no attachment {self.sha256[:80]!r}, or its bytes are missing from the store. See "
            f"/api/rmos/runs/{self.run_id}/attachments; uploading the same bytes again restores them."
        )


@frozen
class NotFound(RunlogError):
    """No route has this path."""

    code: ClassVar[str] = "NOT_FOUND"
    path: str

    @property
    def message(self) -> str:
        return (
            f"There is nothing at {self.path[:200]}. The runs are at /api/rmos/runs, and the pages for people at /rmos."
        )


@frozen
class MethodNotAllowed(RunlogError):
    """The path is there, but not for this method."""

    code: ClassVar[str] = "METHOD_NOT_ALLOWED"
    method: str
    allow: tuple[str, ...]

    @property
    def message(self) -> str:
        return (
            f"{self.method} is not possible here; use {' or '.join(self.allow)}. What is recorded is never changed: a "
            "correction is a new event."
        )


@frozen
class Forbidden(RunlogError):
    """The request comes from, or goes by, a name that this server does not answer to."""

    code: ClassVar[str] = "FORBIDDEN"
    header: str
    value: str

    @property
    def message(self) -> str:
        return (
            f"The {self.header} {self.value[:120]!r} is not one that this server answers to. Use the address that it "
            "printed at start, or start it with --allowed-host."
        )


@frozen
class Unauthenticated(RunlogError):
    """The server asks for a key, and none that counts came."""

    code: ClassVar[str] = "UNAUTHENTICATED"
    reason: str
    """`no_key`, `unknown_key`, or `session_over`."""

    @property
    def message(self) -> str:
        what = {
            "no_key": "No API key came with the request",
            "unknown_key": "The API key that came is not one of this server, or was revoked",
            "session_over": "The session is over, or its key was revoked",
        }[self.reason]
        return (
            f"{what}. Send `Authorization: Bearer <name>.<secret>` (an operator makes keys with `runlog keys add`), or "
            "sign in at /rmos/sign-in."
        )


@frozen
class RoleMissing(RunlogError):
    """The key is good, but not for this."""

    code: ClassVar[str] = "FORBIDDEN"
    role: str
    needed: tuple[str, ...]

    @property
    def message(self) -> str:
        return (
            f"The role of this key is {self.role}, and this needs {' or '.join(self.needed)}. Nothing was done. Use "
            "another key, or ask an operator for one."
        )


@frozen
class RateLimited(RunlogError):
    """One key asks more often than it may."""

    code: ClassVar[str] = "RATE_LIMITED"
    retry_after_s: int

    @property
    def message(self) -> str:
        return (
            f"This key has asked too often; nothing was done. Ask again in {self.retry_after_s} s, with the same "
            "Idempotency-Key; many runs at once belong into POST /api/rmos/runs/batch."
        )


@frozen
class BodyTooLarge(RunlogError):
    """The body is above the bound of its route."""

    code: ClassVar[str] = "BODY_TOO_LARGE"
    bytes_max: int

    @property
    def message(self) -> str:
        return (
            f"The body is larger than {self.bytes_max} bytes; nothing was recorded. Send large payloads as attachments "
            "(POST /api/rmos/runs/{id}/attachments)."
        )


_THE_REST = (
    "The lines answered before this one are done. An import, or lines under an Idempotency-Key of the whole request, "
    "send all over again; of other lines only what follows."
)
"""For errors that end a body of which a part is recorded: who sent all of it again without keys would double that part,
and who sent a part under a key of the whole would have its lines taken for others, as they count from its start."""


@frozen
class BatchTooLong(RunlogError):
    """A batch goes on beyond its bound; the lines before it are done."""

    code: ClassVar[str] = "BODY_TOO_LARGE"
    bytes_max: int
    lines_max: int

    @property
    def message(self) -> str:
        return (
            f"A batch ends at {self.lines_max} lines or {self.bytes_max} bytes. The lines answered before this one are "
            "done, and the rest was not read: send it as another batch, without or with another Idempotency-Key."
        )


@frozen
class UnsupportedMediaType(RunlogError):
    """The body is of a type, or in an encoding, that the route does not read."""

    code: ClassVar[str] = "UNSUPPORTED_MEDIA_TYPE"
    header: str
    value: str
    wanted: str = "application/json"

    @property
    def message(self) -> str:
        given = f"{self.header} {self.value[:120]!r}" if self.value else f"no {self.header}"
        return f"The request has {given}; send plain JSON with Content-Type: {self.wanted} and no Content-Encoding."


@frozen
class RequestTimeout(RunlogError):
    """The body stopped coming."""

    code: ClassVar[str] = "REQUEST_TIMEOUT"
    idle_s: float

    @property
    def message(self) -> str:
        return f"No more of the request came within {self.idle_s:g} s, so it was ended; nothing was recorded. Send it again."


@frozen
class LinesTimeout(RunlogError):
    """A body of lines stopped coming when its answer had begun."""

    code: ClassVar[str] = "REQUEST_TIMEOUT"
    idle_s: float

    @property
    def message(self) -> str:
        return f"No byte of the body came for {self.idle_s:g} s, so the request was ended. {_THE_REST}"


@frozen
class ServerEnding(RunlogError):
    """The server ends before a body of lines does."""

    code: ClassVar[str] = "LOG_BUSY"
    retry_after_s: int = 1

    @property
    def message(self) -> str:
        return f"The server is ending and did not wait for the rest of the body. {_THE_REST}"


@frozen
class RangeNotSatisfiable(RunlogError):
    """The range lies outside the attachment."""

    code: ClassVar[str] = "RANGE_NOT_SATISFIABLE"
    range: str
    size_bytes: int

    @property
    def message(self) -> str:
        return f"The range {self.range[:80]!r} does not lie in the {self.size_bytes} bytes of this attachment."


@frozen
class BadRequest(RunlogError):
    """What came is not HTTP that can be answered."""

    code: ClassVar[str] = "MALFORMED_REQUEST"
    reason: str

    @property
    def message(self) -> str:
        return f"The request could not be read as HTTP/1.1: {self.reason}. Correct it and send it again."


@frozen
class LinesBroken(RunlogError):
    """A body of lines cannot be read any more, and its answer had begun."""

    code: ClassVar[str] = "MALFORMED_REQUEST"
    reason: str

    @property
    def message(self) -> str:
        return f"The body could not be read to its end: {self.reason}. {_THE_REST}"


@frozen
class HeadersTooLarge(RunlogError):
    """The request line or a header field is too long."""

    code: ClassVar[str] = "HEADERS_TOO_LARGE"

    @property
    def message(self) -> str:
        return "The request line or the headers are too large (8,190 bytes each). Send shorter ones."


@frozen
class Internal(RunlogError):
    """A fault of Runlog's own; the log line of this request id has the details."""

    code: ClassVar[str] = "INTERNAL"

    @property
    def message(self) -> str:
        return (
            "Runlog met a fault of its own. If this was a write, repeat it with the same Idempotency-Key; and tell the "
            "operator the request_id, which finds the details in the server's log."
        )


@frozen
class LineRefused(RunlogError):
    """A line of an import is none; what came before it is recorded."""

    code: ClassVar[str] = "VALIDATION_ERROR"
    errors: tuple[Fault, ...]

    @property
    def message(self) -> str:
        return f"{self.errors[0].path}: {self.errors[0].message}, so the import ends at this line. {_THE_REST}"


@frozen
class LineTooLong(RunlogError):
    """A line of an import is above its bound; what came before it is recorded."""

    code: ClassVar[str] = "BODY_TOO_LARGE"
    bytes_max: int

    @property
    def message(self) -> str:
        return f"A line is longer than {self.bytes_max} bytes, so the import ends there. {_THE_REST}"


def ended_early(error: RunlogError) -> RunlogError:
    """Return *error* as it is to be told in a line, after lines whose work is done."""
    match error:
        case RequestTimeout(idle_s):
            return LinesTimeout(idle_s)
        case BadRequest(reason):
            return LinesBroken(reason)
        case BodyTooLarge(bytes_max):
            return LineTooLong(bytes_max)
        case InvalidCommand(errors) | InvalidJson(errors):
            return LineRefused(errors)
    return error
