"""An event's bytes: CloudEvents in canonical form, with its time spliced in."""

import pytest

from eventlog.canonical import canonical
from eventlog.event import TIME_SLOT, IdempotencyKey, Origin, Place, Recorded, draft
from eventlog.strict_json import parse

TIME = "2026-01-05T05:07:16.690677Z"
PLAIN = {
    "specversion": "1.0",
    "id": "0" * 32,
    "source": "urn:runlog:1",
    "type": "t.v1",
    "subject": "run_1",
    "time": TIME,
    "datacontenttype": "application/json",
    "data": {"a": 1},
    "actor": "press",
}


def stamped(origin: Origin, data: dict, time: str = TIME) -> bytes:
    drafted = draft("t.v1", "run_1", data, event_id="0" * 32, source="urn:runlog:1", origin=origin)
    event = drafted.stamped(time.encode())
    assert drafted.stream == "run_1"
    assert drafted.size >= len(event)
    return event


def test_the_bytes_are_the_canonical_form_of_the_event_with_its_time():
    assert stamped(Origin("press"), {"a": 1}) == canonical(PLAIN)


def test_what_the_request_carried_is_recorded_and_absent_means_absent():
    origin = Origin("press", "req-1", "00-ab-cd-01", IdempotencyKey("key", "f" * 64))
    assert parse(stamped(origin, {"a": 1})) == PLAIN | {
        "requestid": "req-1",
        "traceparent": "00-ab-cd-01",
        "idempotencykey": "key",
        "requestsha256": "f" * 64,
    }


def test_the_time_is_spliced_in_wherever_the_data_ask_for_it():
    data = {"run": {"created_at_utc": TIME_SLOT, "meta": [TIME_SLOT, 1e-5]}}
    assert parse(stamped(Origin("press"), data))["data"] == {"run": {"created_at_utc": TIME, "meta": [TIME, 1e-5]}}


FORGED = {"prefix": "time:", "guess": "time:" + "0" * 32, "almost": TIME_SLOT[:-1], "time": TIME}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_text_that_looks_like_the_place_of_the_time_stays_as_it_is(forged):
    assert parse(stamped(Origin("press"), {"a": forged, forged: 1}))["data"] == {"a": forged, forged: 1}


def test_a_recorded_event_is_read_from_its_own_bytes_once():
    recorded = Recorded(7, "0" * 64, stamped(Origin("press"), {"a": 2**70}), Place(202601050000, 0, 10))
    assert (recorded.type, recorded.stream, recorded.time, recorded.data) == ("t.v1", "run_1", TIME, {"a": 2**70})
    assert recorded.event is recorded.event
