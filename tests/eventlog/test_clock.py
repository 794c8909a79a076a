"""UTC times as numbers and as text of one width, days, and event ids."""

import os
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.clock import DAY_US, RandomPool, SystemClock, day_of, random_hex, time_text, time_us, uuid7

YEAR_1 = -62_135_596_800_000_000
YEAR_10000 = 253_402_300_800_000_000
MOMENTS = st.integers(YEAR_1, YEAR_10000 - 1)


@given(MOMENTS)
@example(YEAR_1)
@example(YEAR_10000 - 1)
@example(0)
def test_a_time_as_text_is_27_characters_and_leads_back_to_the_number(us):
    text = time_text(us)
    assert len(text) == 27
    assert text.endswith("Z")
    assert time_us(text) == us


@given(MOMENTS, MOMENTS)
def test_texts_sort_as_times_do(a, b):
    assert (time_text(a) < time_text(b)) == (a < b)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01 00:00:00.5+00:00", 500_000),
        ("1970-01-01T01:00:00.123456789+01:00", 123_456),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1969-12-31T18:30:00-05:30", 0),
        ("2024-02-29T12:00:00Z", 1_709_208_000_000_000),
    ],
)
def test_a_time_with_any_offset_is_understood(text, us):
    assert time_us(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00.0123456789Z",
        "1970-01-01T00:00:00+0000",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:60Z",
        "2023-02-29T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00Z\n",
        "\u0661970-01-01T00:00:00Z",
    ],
)
def test_what_is_no_such_time_is_refused(text):
    with pytest.raises(ValueError):
        time_us(text)


@given(MOMENTS)
def test_a_day_is_the_digits_of_the_utc_date(us):
    assert str(day_of(us)).zfill(8) == time_text(us)[:10].replace("-", "")


def test_a_day_begins_at_midnight_also_on_a_leap_day():
    leap_day = time_us("2024-02-29T00:00:00Z")
    assert [day_of(us) for us in (leap_day - 1, leap_day, leap_day + DAY_US - 1, leap_day + DAY_US)] == [
        20240228,
        20240229,
        20240229,
        20240301,
    ]


def test_the_systems_clock_tells_the_present_in_microseconds():
    before = time.time_ns() // 1000
    assert before <= SystemClock().now_us() <= time.time_ns() // 1000


@given(st.integers(0, YEAR_10000 - 1))
def test_an_id_is_a_uuid_of_version_7_that_begins_with_its_time(us):
    event_id = uuid7(us)
    assert len(event_id) == 32
    assert event_id == f"{int(event_id, 16):032x}"
    assert int(event_id[:12], 16) == us // 1000
    assert event_id[12] == "7"
    assert event_id[16] in "89ab"


def test_ids_of_one_moment_differ_in_every_random_bit():
    ids = [int(uuid7(0), 16) for _ in range(300)]
    assert len(set(ids)) == 300
    ones, zeros = 0, 0
    for number in ids:
        ones |= number
        zeros |= ~number
    varied = ones & zeros & (1 << 128) - 1
    assert varied == (0xFFF << 64) | (1 << 62) - 1


def test_no_random_byte_is_given_twice_and_none_is_made_up(monkeypatch):
    drawn = iter(range(256))
    monkeypatch.setattr(os, "urandom", lambda size: bytes(next(drawn) for _ in range(size)))
    pool = RandomPool(48)
    taken = bytes.fromhex("".join(pool.take() for _ in range(9)))
    assert sorted(taken) == list(range(9 * 16))


def test_random_hex_is_two_digits_a_byte():
    assert len(random_hex(16)) == 32
    assert random_hex(16) != random_hex(16)
