"""The pace of bulk writing, on a clock that stands still until it is told to go on."""

from typing import Any

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from api.pace import Pace
from projections.supervisor import Standing
from tests.server import FEW

NAMES = ("catalog", "files", "stats")
BEHIND_S = 0.5
"""How far behind a projection may be when a portion is let in: what it is asked for, and the time between two looks."""


@define
class World:
    """A log that grows, and projections that get as far as they are waited for, unless they hang."""

    now: float = 0.0
    head: int = -1
    hanging: set[str] = field(factory=set)
    waits: list[tuple[str, int]] = field(factory=list)
    heads: list[tuple[float, int]] = field(factory=list)
    standings: dict[str, Standing] = field(
        factory=lambda: {name: Standing(name, 1, generation=1) for name in NAMES},
    )

    def hurry(self) -> None:
        """They work when they are waited for."""

    async def wait(self, name: str, seq: int, timeout_s: float) -> bool:
        self.waits.append((name, seq))
        if name not in self.hanging:
            self.standings[name].position = seq
        return name not in self.hanging

    def pace(self) -> Pace:
        return Pace(self, lambda: self.head, lambda: self.now)

    def go_on(self, seconds: float, events: int) -> None:
        self.now, self.head = self.now + seconds, self.head + events
        self.heads.append((self.now, self.head))

    def head_before(self, seconds: float) -> int:
        return max((head for at, head in self.heads if at < self.now - seconds), default=-1)


STEPS = st.lists(st.tuples(st.floats(0.0, 0.2), st.integers(0, 500), st.sampled_from([*NAMES, None])), max_size=60)


@FEW
@given(steps=STEPS)
async def test_a_portion_is_let_in_only_when_every_projection_covers_what_was_durable_a_moment_ago(steps: Any) -> None:
    world = World()
    pace = world.pace()
    for seconds, events, ahead in steps:
        world.go_on(seconds, events)
        if ahead is not None:
            world.standings[ahead].position = world.head
        await pace.keep()
        covered = min(one.position for one in world.standings.values())
        # Looks are 0.1 s apart: a head that no look saw is covered with the next that one did.
        assert covered >= seen_before(world, BEHIND_S)
        assert all(seq <= world.head_before(0.0) for _, seq in world.waits)


def seen_before(world: World, seconds: float) -> int:
    """The head of the last look that is at least so old, looks being at least 0.1 s apart."""
    seen, last = -1, float("-inf")
    for at, head in world.heads:
        if at - last > 0.1:
            last = at
            if world.now - at > seconds:
                seen = head
    return seen


async def test_one_that_has_caught_up_is_not_waited_for() -> None:
    world = World()
    pace = world.pace()
    for _ in range(20):
        world.go_on(0.2, 100)
        for standing in world.standings.values():
            standing.position = world.head
        await pace.keep()
    assert world.waits == []


async def test_one_that_hangs_is_waited_for_once_and_again_when_it_moves() -> None:
    world = World(hanging={"files"})
    pace = world.pace()
    for _ in range(20):
        world.go_on(0.2, 100)
        await pace.keep()
    assert [name for name, _ in world.waits].count("files") == 1
    world.standings["files"].position = 7
    world.go_on(0.2, 100)
    await pace.keep()
    assert [name for name, _ in world.waits].count("files") == 2


@FEW
@given(state=st.sampled_from(["failed", "retrying", "rebuilding", "catching up", "not there"]))
async def test_one_that_failed_or_is_made_anew_is_not_waited_for(state: str) -> None:
    world = World()
    broken = world.standings["stats"]
    broken.error = {"seq": 0, "type": "", "message": ""} if state in ("failed", "retrying") else None
    broken.is_retrying, broken.is_rebuilding = state == "retrying", state == "rebuilding"
    broken.goal = 1_000_000 if state == "catching up" else -1
    broken.generation = 0 if state == "not there" else 1
    pace = world.pace()
    for _ in range(10):
        world.go_on(0.2, 100)
        await pace.keep()
    assert {name for name, _ in world.waits} == {"catalog", "files"}
