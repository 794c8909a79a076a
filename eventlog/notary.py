"""The notary: follows each commit with the tree, and signs where it stands.

A checkpoint is signed only over durable events and only if the one before is its beginning; it is
shown to readers once it is durable itself. Nothing here ever fails an append: what the disk refuses
is tried again, later and later.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TypeVar

import structlog
from attrs import frozen

from eventlog.background import is_set_within, later
from eventlog.batch import Batch
from eventlog.disk import Disk
from eventlog.errors import CheckpointBehind, LogCorrupt
from eventlog.event import Recorded
from eventlog.merkle import ProofRefused
from eventlog.note import Checkpoint, Note, signed_checkpoint
from eventlog.proof_text import LogProof
from eventlog.seals import CHECKPOINT, write_seal
from eventlog.signing import Signature, Signer
from eventlog.tiles import TILE_WIDTH, Tile
from eventlog.tree import Tree, TreeDamaged
from eventlog.whole import keep_whole

logger = structlog.get_logger("eventlog.notary")

T = TypeVar("T")

TILES_INTERVAL_S = 1.0
COSIGNATURES_MAX = 15
"""With the log's own line as many as every reader of notes must take."""

_RESTORED_AT_ONCE = 512


@frozen
class Published:
    """A signed checkpoint that is durable: what readers are shown, and what proofs lead to."""

    note: Note
    checkpoint: Checkpoint

    @classmethod
    def of(cls, note: Note) -> "Published":
        """Return what *note*, which was checked or made here, publishes."""
        return cls(note, Checkpoint.parse(note.text))

    @property
    def size(self) -> int:
        """How many events it covers."""
        return self.checkpoint.size


class Notary:
    """The tree, the key and the checkpoint of an open log. Its methods belong to the event loop of the log."""

    def __init__(
        self,
        disk: Disk,
        signer: Signer,
        tree: Tree,
        published: Note,
        found_corrupt: Callable[[int, str], LogCorrupt],
        segment: int | None,
        interval_s: float,
    ) -> None:
        """Go on from what recovery found: *tree* begins with *published*; *segment* is the newest, if there is one.

        *found_corrupt* hears of events that lead nowhere.
        """
        self._disk, self._signer, self._tree, self._found_corrupt = disk, signer, tree, found_corrupt
        self.published = Published.of(published)
        self.refused: LogCorrupt | None = None
        """Why nothing is signed any more: the tree no longer begins with what was published."""
        self.failing: OSError | None = None
        """Why the newest checkpoint is not on disk yet; tried again."""
        self._interval_s = interval_s
        self._segment = segment
        self._hashes: list[str] = []
        """Of durable events that the tree does not have yet; many at once cost less."""
        self._ended: list[tuple[int, int]] = []
        """Finished segments without a seal, and how many events the log had at their end."""
        self._missing: Iterator[Tile] = iter(())
        self._lost: set[Tile] = set()
        """Tiles that the log cannot make again."""
        self._writing = asyncio.Lock()
        """Held while the checkpoint's file is written."""
        self._moved = asyncio.Event()
        """Set, and replaced, whenever another checkpoint is published."""
        self._committed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._threads = ThreadPoolExecutor(2, "log-notary")  # a checkpoint never waits behind tiles
        if tree.size > self.published.size:
            self._committed.set()
        self._tasks = [
            asyncio.create_task(self._sign(), name="log-notary"),
            asyncio.create_task(self._save_tiles(), name="log-tiles"),
        ]

    @property
    def vkey(self) -> str:
        """The key that checks what is signed here."""
        return self._signer.verifier.vkey

    @property
    def unsigned_events(self) -> int:
        """How many durable events no published checkpoint covers yet."""
        return self._tree.size + len(self._hashes) - self.published.size

    def committed(self, batch: Batch) -> None:
        """Hear of a durable batch; about a microsecond an event, now or soon."""
        segment = batch.tail.segment
        if segment != self._segment:
            if self._segment is not None:
                self._ended.append((self._segment, batch.events[0].seq))
            self._segment = segment
        self._hashes += [recorded.hash for recorded in batch.events]
        if len(self._hashes) >= TILE_WIDTH:
            self._grow()
        self._committed.set()

    async def covering(self, size: int, wait_s: float) -> Published:
        """Return the published checkpoint once it covers *size* events.

        Raises:
            CheckpointBehind: it does not within *wait_s* seconds.

        """
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while self.published.size < size:
                    await self._moved.wait()
        if self.published.size < size:
            raise CheckpointBehind(size, self.published.size)
        return self.published

    async def newer(self, than: Published) -> Published:
        """Return the published checkpoint once it covers more than *than*."""
        while self.published.size <= than.size:
            await self._moved.wait()
        return self.published

    def proof(self, recorded: Recorded, published: Published) -> LogProof:
        """Return the proof that *recorded* is in the tree of *published*, checked, in well under a millisecond.

        Raises:
            LogCorrupt: it is not the event that was signed, or a part of the tree is lost and the log cannot make it again.

        """
        hashes = self._told(lambda: self._tree.inclusion_proof(recorded.seq, published.size))
        proof = LogProof(recorded.seq, tuple(hashes), published.note)
        try:
            proof.check(bytes.fromhex(recorded.hash), published.checkpoint)
        except ProofRefused as error:
            raise self._found_corrupt(recorded.seq, f"it was changed together with its hash: {error.reason}") from None
        return proof

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return the proof that the first *old* events are the beginning of the first *size*.

        Raises:
            LogCorrupt: a part of the tree is lost, and the log cannot make it again.

        """
        return self._told(lambda: self._tree.consistency_proof(old, size))

    def tile(self, tile: Tile) -> bytes | None:
        """Return the bytes of a tile, full or partial; None if it holds more than was published. Errors as above."""
        return self._told(lambda: self._tree.tile(tile)) if tile.is_in(self.published.size) else None

    async def cosigned(self, text: str, signatures: Sequence[Signature]) -> None:
        """Add witnesses' *signatures*, which were checked, to the published checkpoint, if *text* is still what it says.

        Each takes the place of an older one by the same key. Do not cancel it, or two could write the file at once.

        Raises:
            OSError: they are not kept.

        """
        async with self._writing:
            note = self.published.note
            if note.text == text:
                own = [each for each in note.signatures if self._signer.verifier.made(each)]
                of_key = {(each.name, each.key_id): each for each in (*note.signatures, *signatures) if each not in own}
                await self._publish(Note(text, (*own, *[*of_key.values()][-COSIGNATURES_MAX:])))

    async def close(self) -> None:
        """Sign what was committed, save the tiles, and stop; what cannot be saved is made again by the next open."""
        self._stopping.set()
        self._committed.set()
        for task in self._tasks:
            await task
        self._threads.shutdown()

    async def _sign(self) -> None:
        pause_s = self._interval_s
        while self.refused is None:
            await self._committed.wait()
            self._committed.clear()
            try:
                await self._step()
                self.failing, pause_s = None, self._interval_s
            except OSError as error:
                self.failing, pause_s = error, later(pause_s)
                logger.warning("checkpoint.not_saved", error=str(error), retry_in_s=pause_s)
                self._committed.set()
            if self._stopping.is_set() and (self.failing or not (self.unsigned_events or self._ended)):
                return
            await is_set_within(self._stopping, pause_s)

    async def _step(self) -> None:
        """Sign for where the tree stands, and for the segments that ended."""
        self._grow()
        before, ended = self.published.checkpoint, [*self._ended]
        try:
            if self._tree.root(before.size) != before.root:
                raise TreeDamaged(f"checkpoint {before.size}")
            seals = [(segment, size, self._tree.root(size)) for segment, size in ended]
            note = signed_checkpoint(self._signer, self._tree.size, self._tree.root())
        except (TreeDamaged, LogCorrupt) as error:
            reason = f"nothing is signed any more, for what is there does not begin with the checkpoint: {error}"
            self.refused = self._found_corrupt(max(0, before.size - 1), reason)
            return
        for seal in seals:
            await self._in_thread(partial(write_seal, self._disk, self._signer, *seal))
        del self._ended[: len(ended)]
        if self._tree.size > before.size:
            async with self._writing:
                await self._publish(note)

    async def _publish(self, note: Note) -> None:
        """Make *note* durable, then show it to readers."""
        await self._in_thread(partial(keep_whole, self._disk, CHECKPOINT, note.data))
        self.published = Published.of(note)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _grow(self) -> None:
        hashes, self._hashes = self._hashes, []
        self._tree.append([bytes.fromhex(each) for each in hashes])

    async def _save_tiles(self) -> None:
        pause_s = TILES_INTERVAL_S
        stopping = False
        while not stopping:
            stopping = await is_set_within(self._stopping, pause_s)
            self._grow()
            try:
                if not stopping:
                    await self._restore_some()
                if self._tree.unsaved:
                    await self._in_thread(self._tree.save)
                pause_s = TILES_INTERVAL_S
            except OSError as error:
                pause_s = later(pause_s)
                logger.warning("tiles.not_saved", error=str(error), retry_in_s=pause_s)

    async def _restore_some(self) -> None:
        """Make some of the tiles again that are not on disk."""
        if self._tree.incomplete:
            self._tree.incomplete = False
            self._missing = self._tree.missing()
        for tile in await self._in_thread(lambda: [*islice(self._missing, _RESTORED_AT_ONCE)]):
            if tile not in self._lost:
                try:
                    self._tree.restore(tile)
                except (TreeDamaged, LogCorrupt):  # told when somebody asks for it, and by `verify`
                    self._lost.add(tile)
                await asyncio.sleep(0)  # a millisecond each: let others have their turn

    def _told(self, find: Callable[[], T]) -> T:
        try:
            return find()
        except TreeDamaged as error:
            raise self._found_corrupt(error.first_seq, str(error)) from None
        except LogCorrupt as error:
            raise self._found_corrupt(error.seq, str(error)) from None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
