"""Sessions: as long as 12 hours, their key and their number allow."""

from hypothesis import given
from hypothesis import strategies as st

from api.access.keys import Key, Keys
from api.access.roles import Role
from api.access.sessions import LIFETIME_S, Sessions
from tests.server import FEW

KEY = Key.of("a", Role.AUDITOR, "secret", "2026-01-01T00:00:00.000000Z")
ANEW = Key.of("a", Role.AUDITOR, "another", "2026-01-02T00:00:00.000000Z")
KEYS = Keys({"a": KEY})


@given(passed=st.floats(0, 2 * LIFETIME_S))
@FEW
def test_a_session_ends_after_twelve_hours(passed):
    sessions = Sessions()
    begun = sessions.begin(KEY, 5.0)
    assert (sessions.holder(begun, KEYS, 5.0 + passed) == KEY) == (passed < LIFETIME_S)


def test_a_session_dies_with_its_key_and_does_not_rise_with_a_new_one_of_that_name():
    sessions = Sessions()
    begun = sessions.begin(KEY, 0)
    assert sessions.holder(begun, Keys({"a": ANEW}), 1) is None
    assert sessions.holder(begun, KEYS, 2) is None
    assert sessions.holder(sessions.begin(KEY, 0), Keys({}), 1) is None
    assert len(sessions) == 0


def test_who_signed_out_is_out_and_nobody_else():
    sessions = Sessions()
    one, other = sessions.begin(KEY, 0), sessions.begin(KEY, 0)
    assert one != other
    sessions.end(one)
    sessions.end("no session")
    assert sessions.holder(one, KEYS, 1) is None
    assert sessions.holder(other, KEYS, 1) == KEY


def test_above_the_bound_the_oldest_session_ends():
    sessions = Sessions(sessions_max=3)
    begun = [sessions.begin(KEY, 0) for _ in range(5)]
    assert [sessions.holder(one, KEYS, 1) is not None for one in begun] == [False, False, True, True, True]


def test_nobody_signs_another_out_by_signing_in_again_and_again():
    sessions = Sessions(sessions_max=10, of_one_key_max=3)
    other = sessions.begin(Key.of("b", Role.OPERATOR, "other", KEY.created_at_utc), 0)
    begun = [sessions.begin(KEY, 0) for _ in range(50)]
    keys = Keys({"a": KEY, "b": Key.of("b", Role.OPERATOR, "other", KEY.created_at_utc)})
    assert sessions.holder(other, keys, 1) is not None
    assert [one for one in begun if sessions.holder(one, keys, 1)] == begun[-3:]


def test_what_is_over_makes_room():
    sessions = Sessions()
    for _ in range(10):
        sessions.begin(KEY, 0)
    sessions.begin(KEY, LIFETIME_S)
    assert len(sessions) == 1
