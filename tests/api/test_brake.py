"""The brake of single writing, on a clock that stands still until it is told to go on."""

import pytest
from attrs import define, field

from api.brake import LAG_S, REST_MAX_S, Brake
from projections.supervisor import Standing

NAMES = ("catalog", "files", "stats")


@define
class World:
    """Projections that lag as much as they are told to, and move on all the while."""

    now: float = 100.0
    lags: dict[str, float] = field(factory=lambda: dict.fromkeys(NAMES, 0.0))
    hanging: set[str] = field(factory=set)
    standings: dict[str, Standing] = field(
        factory=lambda: {name: Standing(name, 1, generation=1) for name in NAMES},
    )

    def lags_s(self) -> dict[str, float]:
        return self.lags

    def rest_after(self, brake: Brake, seconds: float) -> float:
        """Go on for *seconds*, asking all the while; return the last answer."""
        rest_s = 0.0
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            for name in set(NAMES) - self.hanging:
                self.standings[name].position += 1
            rest_s = brake()
        return rest_s

    def brake(self) -> Brake:
        return Brake(self, lambda: self.now)


def test_nobody_rests_while_all_are_within_their_pauses() -> None:
    world = World()
    brake = world.brake()
    world.lags["files"] = LAG_S
    assert world.rest_after(brake, 5) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_further_one_is_behind_the_longer_is_the_rest_up_to_a_bound(name: str) -> None:
    world = World()
    brake = world.brake()
    rests = []
    for lag in (LAG_S + 0.1, LAG_S + 0.3, 2.0, 60.0):
        world.lags[name] = lag
        rests.append(world.rest_after(brake, 0.2))
    assert rests == sorted(set(rests))
    assert 0 < rests[0] < 0.01
    assert rests[-1] == REST_MAX_S
    world.lags[name] = 0.5
    assert world.rest_after(brake, 0.2) == 0


@pytest.mark.parametrize("failing", [True, False])
def test_one_that_failed_or_is_made_anew_is_not_waited_for(failing: bool) -> None:
    world = World()
    brake = world.brake()
    world.lags["files"] = 60.0
    standing = world.standings["files"]
    if failing:
        standing.error = {"seq": 1, "type": "", "message": "no space"}
    else:
        standing.goal = 1_000_000
    assert standing.state != "running"
    assert world.rest_after(brake, 1) == 0


def test_one_that_hangs_is_not_waited_for_until_it_moves_again() -> None:
    world = World(hanging={"files"})
    brake = world.brake()
    world.lags["files"] = 60.0
    assert world.rest_after(brake, 8) == REST_MAX_S, "it may be slow"
    assert world.rest_after(brake, 4) == 0
    world.hanging.clear()
    assert world.rest_after(brake, 1) == REST_MAX_S
