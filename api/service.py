"""The service: carries out commands on runs, and (`reading.py`) reads them back never older than acknowledged.

Every way in (HTTP, CLI, migration) comes through here. A command is decided on the run's
present state and appended under that revision; one that meets another revision is decided again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from attrs import evolve

from api.brake import Brake
from api.pace import Pace
from api.reading import Reading, View
from api.settings import Settings
from api.witness.asking import Witnesses
from api.witness.known import Witness
from eventlog.batch import Appended, Stream
from eventlog.blobs import Blobs
from eventlog.clock import random_hex
from eventlog.commit import Limits
from eventlog.errors import IdempotencyKeyReused, LogBusy, RevisionConflict
from eventlog.event import Draft, Origin, Recorded
from eventlog.log import Log
from eventlog.record import record
from projections.run import events
from projections.run.decide import NewRun, StoredBlob
from projections.run.errors import ImmutabilityViolation
from projections.run.fold import fold, view_of
from projections.run.model import RunState

logger = structlog.get_logger("api.service")

T = TypeVar("T")

ATTEMPTS_MAX = 16


@record
class Outcome:
    """What a command led to. `position` is the seq of its append's last event; None where it wrote none."""

    view: View
    position: int | None
    events: tuple[Recorded, ...] = ()
    replayed: bool = False


@record
class Creation:
    """A new run, decided and encoded. It holds no value of the request: thousands of them may wait for the disk."""

    run_id: str
    is_named: bool
    """Whether the client named it."""
    drafts: list[Draft]
    blobs: tuple[StoredBlob, ...]
    status: str
    risk_level: str
    feasibility_sha256: str


class Service(Reading):
    """One open data directory: what `Reading` offers, and the commands."""

    def __init__(self, settings: Settings, log: Log, blobs: Blobs) -> None:
        """Use `Service.open`."""
        super().__init__(settings, log)
        self.blobs = blobs
        self.pace = Pace(self.projections, lambda: log.head)
        log.rest_between_batches(Brake(self.projections))
        self.witnesses = Witnesses(log.notary, [Witness.parse(each) for each in settings.witness])
        log.on_commit(lambda _batch: self.projections.advance(log.end))

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """Open the log (recovering it), the blobs and the projections; call inside a running loop.

        Raises:
            LogLocked, LogDamaged: the log cannot be opened; nothing was changed.

        """
        log = Log.open(
            settings.data_dir,
            limits=Limits(
                segment_bytes_max=settings.segment_bytes_max,
                batch_events_max=settings.batch_events_max,
                batch_bytes_max=settings.batch_bytes_max,
                queue_events_max=settings.queue_events_max,
                queue_bytes_max=settings.queue_bytes_max,
            ),
        )
        return cls(settings, log, Blobs(settings.attachments_dir))

    async def close(self) -> None:
        """Write what waits, let the projections come to the head, and close."""
        await self.projections.close(self.settings.shutdown_timeout_s / 2)
        await self.witnesses.close()
        await self.log.close()
        self.close_readers()

    def replay_of(self, origin: Origin) -> Outcome | None:
        """Return the recorded outcome of the same request; None if its key was not used.

        Raises:
            IdempotencyKeyReused: the key stands for another request.

        """
        if origin.idempotency is None:
            return None
        use = self.log.key_use(origin.actor, origin.idempotency)
        if use is None:
            return None
        if use.request_sha256 != origin.idempotency.request_sha256:
            raise IdempotencyKeyReused(origin.idempotency.key)
        return self._replayed(use.first, use.last)

    async def prepare(
        self, decide: Callable[[str], NewRun], run_id: str | None, origin: Origin, *, is_large: bool = False
    ) -> Creation:
        """Decide and encode a new run, under *run_id* or one that is minted; what *is_large*, off the event loop.

        Raises:
            HashMismatch: from *decide*.

        """
        if is_large:
            return await asyncio.to_thread(self.decided, decide, run_id, origin)
        return self.decided(decide, run_id, origin)

    async def create(self, creation: Creation, origin: Origin) -> Outcome:
        """Record a new run, and return once it is durable.

        Raises:
            ImmutabilityViolation: its id is taken.
            LogBusy: an id that was minted is (48 random bits, so hardly ever); the next try mints another.

        """
        appended = await self.created(creation, await self.begin(creation, origin))
        if appended.replayed:
            return self._replayed(appended.first, appended.last)
        return self.outcome(creation.run_id, None, appended)

    async def begin(self, creation: Creation, origin: Origin) -> "asyncio.Future[Appended]":
        """Put a new run into the log's queue, its blobs being durable; `created` tells what becomes of it.

        Raises:
            ImmutabilityViolation: its id is taken, and its blobs were not kept for nothing.
            LogBusy, LogFull, LogHalted, AppendTooLarge: it is not in the queue.

        """
        if creation.blobs:
            if creation.is_named and self.log.has_stream(creation.run_id) and self.replay_of(origin) is None:
                raise ImmutabilityViolation(creation.run_id)
            for blob in creation.blobs:
                await self.blobs.put_bytes(blob.content)
        return self.enqueue(creation, origin)

    def enqueue(self, creation: Creation, origin: Origin) -> "asyncio.Future[Appended]":
        """Put a new run without blobs into the log's queue; as `begin`."""
        return self.log.begin(creation.drafts, Stream.ABSENT, origin)

    async def created(self, creation: Creation, begun: "asyncio.Future[Appended]") -> Appended:
        """Return where the run that *begun* appends stands, once it is durable; raises as `create` does."""
        try:
            appended = await begun
        except RevisionConflict:
            raise (ImmutabilityViolation(creation.run_id) if creation.is_named else LogBusy()) from None
        if not appended.replayed:
            self.tell(creation, appended)
        return appended

    def tell(self, creation: Creation, appended: Appended) -> None:
        """Log that a run was recorded."""
        logger.info(
            "run.created",
            run_id=creation.run_id,
            status=creation.status,
            risk_level=creation.risk_level,
            seq=appended.first,
        )
        for seq, blob in enumerate(creation.blobs, appended.first + 1):
            digest, size = blob.attachment["sha256"], blob.attachment["size_bytes"]
            logger.info("attachment.added", run_id=creation.run_id, sha256=digest, size_bytes=size, seq=seq)

    def decided(self, decide: Callable[[str], NewRun], run_id: str | None, origin: Origin) -> Creation:
        """Decide and encode a new run, as `prepare` does, on the thread of the caller."""
        name = run_id or f"run_{random_hex(6)}"
        new = decide(name)
        drafts = [self.log.draft(events.CREATED, name, {"run": new.run}, origin)]
        for blob in new.blobs:
            drafts.append(self.log.draft(events.ATTACHMENT_ADDED, name, {"attachment": blob.attachment}, origin))
        run = new.run
        return Creation(
            name,
            run_id is not None,
            drafts,
            new.blobs,
            run["status"],
            run["decision"]["risk_level"],
            run["hashes"]["feasibility_sha256"],
        )

    async def add(
        self, run_id: str, event_type: str, decide: Callable[[RunState], dict[str, Any] | None], origin: Origin
    ) -> Outcome:
        """Record what *decide* makes of the run's present state, if anything, and return once it is durable.

        Raises:
            RunNotFound, RunWithdrawn, and what *decide* raises: nothing was recorded.
            LogBusy: others changed the run 16 times in a row.

        """
        if (replay := self.replay_of(origin)) is not None:
            return replay
        for _ in range(ATTEMPTS_MAX):
            await self.fresh()
            view = self.view(run_id)
            data = decide(view.state)
            if data is None:
                return Outcome(view, None)
            draft = self.log.draft(event_type, run_id, data, origin)
            try:
                appended = await self.log.append([draft], view.state.revision, origin)
            except RevisionConflict:
                continue
            if appended.replayed:
                return self._replayed(appended.first, appended.last)
            return self.outcome(run_id, view, appended)
        raise LogBusy()

    def outcome(self, run_id: str, before: View | None, appended: Appended) -> Outcome:
        """Return what a durable append made of a run, which was *before*."""
        state = before.state if before else None
        for recorded in appended.events:
            state = fold(state, recorded)
        assert state is not None
        if before is None:
            json = view_of(appended.events[0], state)
        else:
            found = self.catalog.run(run_id)
            assert found is not None
            json = self.found_json(evolve(found, state=state))
        return Outcome(View(run_id, json, state), appended.last, appended.events)

    def _replayed(self, first: int, last: int) -> Outcome:
        recorded = self.log.read(last)
        assert recorded is not None, "a key's events are in the log"
        view = self.view_until(recorded.stream, lambda past: past.seq <= last)
        own = [one for seq in range(first, last + 1) if (one := self.log.read(seq)) is not None]
        return Outcome(view, last, tuple(own), replayed=True)
