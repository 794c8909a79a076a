"""Asking witnesses to sign each newest checkpoint (c2sp.org/tlog-witness, add-checkpoint).

The log never waits for them: one that is down is asked again, later and later, and only for the
newest checkpoint. A line is kept only if the witness's key, known beforehand, made it.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from attrs import define, frozen

from api.witness.known import Witness
from eventlog.background import later
from eventlog.errors import LogCorrupt
from eventlog.notary import Notary, Published
from eventlog.note import Note, NoteRefused, parse_signatures
from eventlog.proof_text import Submission
from eventlog.signing import Signature

if TYPE_CHECKING:
    import aiohttp

logger = structlog.get_logger("api.witness")

ASKED_MAX_S = 5.0
"""How long one request may take, with the second try that a 409 leads to."""

_TRIES_MAX = 3
_ANSWER_BYTES_MAX = 1 << 16


@frozen
class Trouble:
    """Why a witness did not sign."""

    reason: str
    is_split: bool = False
    """Whether it saw another history of this log."""
    known_size: int | None = None
    """How many events it signed, where that is more than there are here."""


@define
class Standing:
    """How a witness stands."""

    witness: Witness
    size: int = 0
    """How large the log was that it signed last, as far as is known here."""
    trouble: Trouble | None = None
    is_heard: bool = False
    """Whether it signed since the start."""

    @property
    def in_words(self) -> str:
        """What `/readyz` says of its trouble."""
        assert self.trouble is not None
        verb = "refuses this log" if self.trouble.is_split else "does not sign"
        return f"witness {self.witness.name} {verb}: {self.trouble.reason}"


class Witnesses:
    """The witnesses of an open log, each asked by a task of its own: never twice at once."""

    def __init__(self, notary: Notary, witnesses: Sequence[Witness]) -> None:
        """Ask nobody before `start`."""
        self._notary = notary
        self._standings = [Standing(witness) for witness in witnesses]
        self._asking: asyncio.Task[None] | None = None

    @property
    def troubles(self) -> list[str]:
        """What is wrong with those that do not sign, in words."""
        return [one.in_words for one in self._standings if one.trouble is not None]

    @property
    def standings(self) -> Sequence[Standing]:
        """How each of them stands."""
        return self._standings

    async def heard(self) -> list[Standing]:
        """Ask each once, all at the same time; return how they stand then."""
        if not self._standings:
            return []
        import aiohttp

        published = self._notary.published
        limit = aiohttp.ClientTimeout(total=ASKED_MAX_S)
        async with aiohttp.ClientSession(timeout=limit) as session, asyncio.TaskGroup() as group:
            for standing in self._standings:
                group.create_task(self._ask(session, standing, published))
        return self._standings

    def start(self) -> None:
        """Begin to ask."""
        if self._standings:
            self._asking = asyncio.create_task(self._ask_all(), name="witnesses")

    async def close(self) -> None:
        """Stop asking; what was signed and came is kept."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))

    async def _ask_all(self) -> None:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=ASKED_MAX_S)
        async with aiohttp.ClientSession(timeout=limit) as session, asyncio.TaskGroup() as group:
            for standing in self._standings:
                group.create_task(self._follow(session, standing))

    async def _follow(self, session: "aiohttp.ClientSession", standing: Standing) -> None:
        pause_s = 0.0
        while True:
            published = self._notary.published
            # Asked once after each start though it signed already: it may have seen more since, of another copy.
            is_done = standing.is_heard and not standing.trouble and standing.witness.has_signed(published.note)
            if is_done or published.size == 0:
                published = await self._notary.newer(published)
            await self._ask(session, standing, published)
            pause_s = later(pause_s) if standing.trouble else 0.0
            await asyncio.sleep(pause_s)

    async def _ask(self, session: "aiohttp.ClientSession", standing: Standing, published: Published) -> None:
        """Ask for a line under *published*, and note what came of it."""
        signed = await self._signed(session, standing, published)
        trouble = signed if isinstance(signed, Trouble) else await self._kept(published, signed)
        _note(standing, published, trouble)

    async def _signed(
        self, session: "aiohttp.ClientSession", standing: Standing, published: Published
    ) -> tuple[Signature, ...] | Trouble:
        """Return the witness's lines for *published*."""
        import aiohttp

        try:
            async with asyncio.timeout(ASKED_MAX_S):
                for _ in range(_TRIES_MAX):
                    old = min(standing.size, published.size)
                    hashes = tuple(self._notary.consistency(old, published.size))
                    body = Submission(old, hashes, published.note).data
                    status, answer = await _post(session, f"{standing.witness.url}/add-checkpoint", body)
                    told = _size(answer) if status == HTTPStatus.CONFLICT else None
                    if told is None or told == old or told > published.size:
                        return answered(standing.witness, published, old, status, answer)
                    standing.size = told
        except TimeoutError:
            return Trouble(f"no answer within {ASKED_MAX_S:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Trouble(str(error) or type(error).__name__)
        except LogCorrupt as error:
            return Trouble(f"no proof can be made for it: {error}")
        return Trouble("it told another size each time; somebody else submits this log's checkpoints")

    async def _kept(self, published: Published, signatures: tuple[Signature, ...]) -> Trouble | None:
        """Put *signatures* on the published checkpoint; it may have moved on, then the next one gets its own."""
        keeping = asyncio.create_task(self._notary.cosigned(published.note.text, signatures))
        try:
            await asyncio.shield(keeping)
        except OSError as error:
            return Trouble(f"its signature could not be kept: {error}")
        except asyncio.CancelledError:
            await asyncio.wait((keeping,))  # the file is being written: nobody else may begin to
            raise
        return None


async def _post(session: "aiohttp.ClientSession", url: str, body: bytes) -> tuple[int, bytes]:
    headers = {"Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity"}
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        answer = bytearray()
        async for chunk in response.content.iter_any():
            answer += chunk
            if len(answer) > _ANSWER_BYTES_MAX:
                raise ValueError(f"its answer is longer than {_ANSWER_BYTES_MAX} bytes")
        return response.status, bytes(answer)


def _size(answer: bytes) -> int | None:
    """Return the size that a 409 tells; None if it tells none."""
    text = answer.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) <= 19 else None


def answered(
    witness: Witness, published: Published, old: int, status: int, answer: bytes
) -> tuple[Signature, ...] | Trouble:
    """Return what an answer means that asks for no other old size: the witness's lines, which fit, or why there are none."""
    if status == HTTPStatus.CONFLICT:
        told = _size(answer)
        if told is not None and told > published.size:
            what = f"it signed {told} events of this log, which has {published.size}: an older copy was restored, or two go on"
            return Trouble(what, is_split=True, known_size=told)
        return Trouble(f"it signed other events as the first {old} of this log: there are two histories", is_split=True)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        what = f"what it signed, {old} events, is not the beginning of these {published.size}: there are two histories"
        return Trouble(what, is_split=True)
    if status != HTTPStatus.OK:
        words = answer.decode(errors="replace").split("\n")[0]
        return Trouble(f"it answers {status} {words[:200]}".rstrip())
    try:
        found = Note(published.note.text, parse_signatures(answer.decode())).signed_by((witness.verifier,))
    except (NoteRefused, UnicodeDecodeError) as error:
        return Trouble(f"its answer counts for nothing: {error}")
    return tuple(found.values())


def _note(standing: Standing, published: Published, trouble: Trouble | None) -> None:
    """Remember how it stands, and log it when that changes."""
    before, standing.trouble = standing.trouble, trouble
    name = standing.witness.name
    if trouble is None:
        standing.size = published.size
        if before is not None or not standing.is_heard:
            standing.is_heard = True
            logger.info("witness.signs", witness=name, size=published.size)
    elif trouble.is_split and not (before and before.is_split):
        logger.error("witness.split_view", witness=name, size=published.size, reason=trouble.reason)
    elif not trouble.is_split and (before is None or before.is_split):
        logger.warning("witness.does_not_sign", witness=name, size=published.size, reason=trouble.reason)
