"""Deciding a batch: one moment, one order, against what is durable and what stands earlier in the same batch."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.batch import Append, Appended, Batch, Stream, Tail, decide_batch
from eventlog.clock import DAY_US, day_of, time_us
from eventlog.errors import IdempotencyKeyReused, RevisionConflict
from eventlog.event import IdempotencyKey, Origin, draft
from eventlog.frame import decode
from eventlog.index import KeyUse

NOW = time_us("2026-01-05T12:00:00Z")
MIDNIGHT = time_us("2026-01-06T00:00:00Z")
ROOMY = 1 << 30


def append(stream: str, count: int = 1, expected=Stream.ABSENT, key: str | None = None, request: str = "r") -> Append:
    origin = Origin("press", idempotency=IdempotencyKey(key, request) if key else None)
    drafts = [draft("t.v1", stream, {}, event_id="0" * 32, source="urn:x", origin=origin) for _ in range(count)]
    return Append(drafts, expected, origin, None)


def decide(*waiting: Append, tail=None, now=NOW, revisions=None, keys=None, segment_bytes_max=ROOMY) -> Batch:
    known = keys or {}
    return decide_batch(
        waiting, tail or Tail(), now, revisions or {}, lambda actor, key: known.get((actor, key)), segment_bytes_max
    )


def outcomes(batch: Batch, *waiting: Append) -> list:
    """What each of *waiting* is told: where its events lie and the revision, or the error's class."""
    told = {id(append): outcome for append, outcome in batch.outcomes}
    answers = [told[id(append)] for append in waiting]
    return [(a.first, a.last, a.revision) if isinstance(a, Appended) else type(a) for a in answers]


def times(batch: Batch) -> list[int]:
    return [time_us(json.loads(event.bytes)["time"]) for event in batch.events]


def test_the_appends_of_a_batch_get_consecutive_seqs_and_agree_on_its_ends():
    waiting = [append("a", 2), append("b"), append("c", 3)]
    batch = decide(*waiting, tail=Tail(10, NOW - 5, 202601050000, 700))
    assert outcomes(batch, *waiting) == [(10, 11, 1), (12, 12, 0), (13, 15, 2)]
    frames = [decode(line) for line in batch.data.splitlines(True)]
    assert [(f.seq, f.first, f.last) for f in frames] == [(seq, 10, 15) for seq in range(10, 16)]
    assert [(e.seq, e.hash, e.bytes) for e in batch.events] == [(f.seq, f.hash, f.event) for f in frames]
    assert batch.outcomes[1][1].events == (batch.events[2],)
    assert batch.taken == 3


def test_each_event_lies_where_its_place_says():
    batch = decide(append("a", 2), append("b"), tail=Tail(10, NOW - 5, 202601050000, 700))
    assert batch.offset == 700
    for event in batch.events:
        assert event.place.segment == 202601050000
        line = batch.data[event.place.offset - 700 :][: event.place.length]
        assert decode(line).seq == event.seq
    assert batch.tail == Tail(13, NOW + 2, 202601050000, 700 + len(batch.data))


def test_of_two_creates_of_one_stream_in_a_batch_the_first_wins():
    waiting = [append("a", 2), append("a"), append("b")]
    batch = decide(*waiting)
    assert outcomes(batch, *waiting) == [(0, 1, 1), RevisionConflict, (2, 2, 0)]
    (refusal,) = [outcome for _, outcome in batch.outcomes if isinstance(outcome, RevisionConflict)]
    assert refusal.facts == {"stream": "a", "expected": None, "actual": 1}


def test_an_append_may_rest_on_an_earlier_one_of_the_same_batch():
    waiting = [append("a"), append("a", expected=0), append("a", expected=0), append("a", expected=Stream.PRESENT)]
    assert outcomes(decide(*waiting), *waiting) == [(0, 0, 0), (1, 1, 1), RevisionConflict, (2, 2, 2)]


@pytest.mark.parametrize(
    ("expected", "revision", "fits"),
    [
        (Stream.ABSENT, None, True),
        (Stream.ABSENT, 0, False),
        (Stream.PRESENT, None, False),
        (Stream.PRESENT, 0, True),
        (3, 3, True),
        (3, 4, False),
        (0, None, False),
    ],
)
def test_what_is_expected_is_held_against_what_is_durable(expected, revision, fits):
    waiting = append("a", expected=expected)
    batch = decide(waiting, revisions={} if revision is None else {"a": revision})
    assert bool(batch.events) == fits
    assert outcomes(batch, waiting) == (
        [(0, 0, (-1 if revision is None else revision) + 1)] if fits else [RevisionConflict]
    )


def test_a_key_seen_before_gives_back_the_events_of_then_whatever_has_become_of_the_stream():
    waiting = append("a", key="k")
    batch = decide(waiting, revisions={"a": 7}, keys={("press", "k"): KeyUse("r", 3, 4)})
    ((_, answer),) = batch.outcomes
    assert answer == Appended(3, 4, -1, (), replayed=True)
    assert (batch.data, batch.events, batch.taken) == (b"", [], 1)


def test_a_key_that_stands_for_another_request_is_refused():
    waiting = append("a", key="k")
    batch = decide(waiting, keys={("press", "k"): KeyUse("other", 3, 4)})
    assert outcomes(batch, waiting) == [IdempotencyKeyReused]


def test_keys_count_within_a_batch_too_and_only_where_an_event_was_written():
    waiting = [
        append("a", 2, key="k"),
        append("a", 2, key="k"),
        append("b", key="k", request="other"),
        append("a", key="unused"),
        append("c", key="unused", request="other"),
    ]
    batch = decide(*waiting)
    expected = [(0, 1, 1), (0, 1, -1), IdempotencyKeyReused, RevisionConflict, (2, 2, 0)]
    assert outcomes(batch, *waiting) == expected
    assert [outcome.replayed for _, outcome in batch.outcomes if isinstance(outcome, Appended)].count(True) == 1


def test_a_key_is_one_actors_own():
    waiting = append("a", key="k")
    batch = decide(waiting, keys={("lathe", "k"): KeyUse("other", 3, 4)})
    assert outcomes(batch, waiting) == [(0, 0, 0)]


def test_a_batch_of_refusals_only_writes_nothing_and_leaves_the_tail():
    tail = Tail(5, NOW, 202601050000, 100)
    batch = decide(append("a", expected=3), tail=tail)
    assert (batch.tail, batch.data, batch.events, batch.taken) == (tail, b"", [], 1)


@pytest.mark.parametrize("now", [NOW - 10 * DAY_US, NOW - 1, NOW, NOW + 1, NOW + 400 * DAY_US])
def test_times_rise_strictly_even_where_the_clock_steps_back_or_leaps(now):
    batch = decide(append("a", 3), append("b"), tail=Tail(5, NOW, 202601050000, 100), now=now)
    first = max(now, NOW + 1)
    assert times(batch) == [first, first + 1, first + 2, first + 3]
    assert batch.tail.time_us == first + 3


def test_a_batch_ends_where_the_day_changes_and_the_rest_waits():
    waiting = [append("a", 2), append("b"), append("c")]
    batch = decide(*waiting, now=MIDNIGHT - 4)
    assert batch.taken == 3
    batch = decide(*waiting, now=MIDNIGHT - 2)
    assert (batch.taken, len(batch.events), batch.tail.segment) == (1, 2, 202601050000)
    rest = decide(*waiting[1:], tail=batch.tail, now=MIDNIGHT - 2, revisions={"a": 1})
    assert (rest.taken, rest.tail.segment, rest.offset) == (2, 202601060000, 0)
    assert times(rest) == [MIDNIGHT, MIDNIGHT + 1]


def test_an_append_that_would_span_midnight_waits_for_the_new_day_as_a_whole():
    batch = decide(append("a", 3), now=MIDNIGHT - 2)
    assert times(batch) == [MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 2]
    assert batch.tail.segment == 202601060000


def test_a_refusal_after_the_cut_waits_for_its_batch():
    waiting = [append("a", 2), append("b"), append("a")]
    batch = decide(*waiting, now=MIDNIGHT - 2)
    assert batch.taken == 1
    assert len(batch.outcomes) == 1


def test_a_segment_that_is_full_is_followed_by_its_next_part():
    first = decide(append("a"))
    size = len(first.data)
    fits = decide(append("b"), tail=first.tail, segment_bytes_max=2 * size)
    assert (fits.tail.segment, fits.offset, fits.tail.segment_bytes) == (202601050000, size, 2 * size)
    rolls = decide(append("c"), tail=fits.tail, segment_bytes_max=2 * size)
    assert (rolls.tail.segment, rolls.offset, rolls.tail.segment_bytes) == (202601050001, 0, size)
    assert rolls.events[0].place.offset == 0
    tomorrow = decide(append("d"), tail=fits.tail, now=MIDNIGHT, segment_bytes_max=2 * size)
    assert (tomorrow.tail.segment, tomorrow.offset) == (202601060000, 0)


CLOCKS = st.integers(-3 * DAY_US, 3 * DAY_US) | st.integers(-5, 5)


@given(st.lists(st.tuples(CLOCKS, st.lists(st.integers(1, 4), min_size=1, max_size=4)), max_size=8))
def test_whatever_the_clock_does_times_rise_and_each_batch_lies_in_one_day_and_segment(rounds):
    tail, seq, last = Tail(), 0, -1
    for number, (offset, counts) in enumerate(rounds):
        waiting = [append(f"{number}.{i}", count) for i, count in enumerate(counts)]
        while waiting:
            batch = decide(*waiting, tail=tail, now=MIDNIGHT + offset, segment_bytes_max=2000)
            assert batch.taken >= 1
            waiting = waiting[batch.taken :]
            assert [event.seq for event in batch.events] == list(range(seq, batch.tail.next_seq))
            assert [last, *times(batch)] == sorted({last, *times(batch)})
            assert {day_of(us) for us in times(batch)} == {batch.tail.segment // 10_000}
            assert {event.place.segment for event in batch.events} == {batch.tail.segment}
            assert batch.tail.segment >= (tail.segment or 0)
            tail, seq, last = batch.tail, batch.tail.next_seq, times(batch)[-1]
