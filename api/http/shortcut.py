"""The short way of a plain create: from the bytes of its request to those of its answer, without a task of its own.

What aiohttp makes of each request (a request, a task, a match, a response) costs as much as all that Runlog does with a
new run. So a `POST /runs` that is whole as it arrives, small, and of a head that asks for nothing special is decided on
the spot, and answered when it is durable. All else goes the whole way, and so does whatever goes wrong with such a
one: nothing of it was recorded then, so it starts anew. Here nothing is refused, so no refusal is worded twice.
"""

import asyncio

from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from attrs import evolve

from api.access.roles import RUNS
from api.http.accept import JSON
from api.http.answers import created_bytes
from api.http.auth import Access
from api.http.health import Metrics
from api.http.inputs import check_type, key_faults, request_id_of, sent_by, what_is_asked
from api.http.wire import command_of
from api.service import Creation, Service
from eventlog import logging
from eventlog.batch import Appended
from eventlog.canonical import sha256_json
from eventlog.errors import IdempotencyKeyReused, RevisionConflict
from eventlog.event import IdempotencyKey
from eventlog.record import record
from eventlog.strict_json import parse
from projections.run.decide import NewRun, decide_create
from projections.run.model import CreateRun

BODY_BYTES_MAX = 16_384
"""Of a create that takes the short way; it is held until it is durable, by each connection."""

_PLAIN = frozenset(
    [
        "host",
        "content-type",
        "content-length",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
        "x-request-id",
        "traceparent",
        "idempotency-key",
        "authorization",
    ]
)
"""Headers that are heeded here or mean nothing to a create; with any other one, such as `Origin`, it is not plain."""


@record
class Begun:
    """A create that waits for the disk."""

    creation: Creation
    head: RawRequestMessage
    request_id: str
    recorded: "asyncio.Future[Appended]"


class Shortcut:
    """The short way into one service."""

    def __init__(self, service: Service, access: Access, metrics: Metrics) -> None:
        """Record in *service* what *access* lets in, and count it in *metrics*."""
        self._service, self._access, self._metrics = service, access, metrics
        self._is_open = not service.settings.cors_origin  # with it, answers have other headers
        self._bytes_max = min(BODY_BYTES_MAX, service.settings.body_bytes_max)

    def begin(self, head: RawRequestMessage, body: StreamReader) -> Begun | None:
        """Put the run that a plain create describes into the log's queue; None for anything else, *body* being as it was."""
        if head.path != RUNS or head.method != "POST" or not self._is_open or not body.is_eof():
            return None
        if not _is_plain(head) or head.version != HttpVersion11 or head.should_close or head.upgrade:
            return None
        try:
            actor = self._access.producer(head)
            content = b"".join(body._buffer)  # looked at, not read: another may have to read it
            if actor is None or len(content) > self._bytes_max:
                return None
            return self._begun(head, content, actor)
        except Exception:  # whatever it was, on the whole way it is worded
            return None

    def _begun(self, head: RawRequestMessage, content: bytes, actor: str) -> Begun | None:
        check_type(head, JSON)
        body = parse(content)
        command = command_of(body, CreateRun)
        origin = sent_by(actor, head)
        key = head.headers.get("Idempotency-Key")
        if key is not None:
            asked = what_is_asked("POST", RUNS, {}, body)
            used = IdempotencyKey(key, sha256_json(asked))
            origin = evolve(origin, idempotency=used)
            if key_faults(key) or self._service.log.key_use(actor, used) is not None:
                return None

        def decide(run_id: str) -> NewRun:
            return decide_create(command, run_id, origin.request_id)

        creation = self._service.decided(decide, command.run_id, origin)
        if creation.blobs:
            return None
        return Begun(creation, head, request_id_of(head), self._service.enqueue(creation, origin))

    def answer(self, begun: Begun) -> bytes | None:
        """Return the answer to a create that is durable; None if it was recorded before, or another may be its like.

        Raises:
            LogFull, LogHalted: it is not recorded, and to try it again is for the client to decide.

        """
        try:
            appended = begun.recorded.result()
        except (RevisionConflict, IdempotencyKeyReused):
            return None
        if appended.replayed:
            return None
        outside = logging.REQUEST_ID.set(begun.request_id)
        self._service.tell(begun.creation, appended)
        logging.REQUEST_ID.reset(outside)
        outcome = self._service.outcome(begun.creation.run_id, None, appended)
        self._metrics.count("POST", RUNS, 201)
        return created_bytes(begun.head, outcome, f"{RUNS}/{begun.creation.run_id}", begun.request_id)


SHORTCUT = web.AppKey("shortcut", Shortcut)


def _is_plain(head: RawRequestMessage) -> bool:
    """Tell whether it has headers of `_PLAIN` alone, and each in one line."""
    names = tuple(head.headers)  # each once, however often it stands
    return len(names) == len(head.headers) and _PLAIN.issuperset(map(str.lower, names))
