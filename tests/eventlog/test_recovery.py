"""What lies beyond the good batches: a torn tail is kept apart and cut, anything else is damage and left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import recovery
from eventlog.errors import LogDamaged
from eventlog.event import Place
from eventlog.frame import encode
from eventlog.memory import MemoryDisk
from eventlog.recovery import End, Survey, TornTail, check_known, rewrite, save_torn, survey
from eventlog.segment import segment_path

FIRST, SECOND = 202601050000, 202601050001


def batch(first: int, last: int, pad: int = 0) -> bytes:
    events = [b'{"data":{"n":%d,"pad":"%s"}}' % (seq, b"x" * pad) for seq in range(first, last + 1)]
    return b"".join(encode(seq, first, last, event)[1] for seq, event in enumerate(events, first))


def holding(*segments: bytes) -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder("log/segments")
    for number, data in enumerate(segments, FIRST):
        disk.create(segment_path(number))
        disk.write(segment_path(number), 0, data)
        disk.sync(segment_path(number))
    disk.sync_folder("log/segments")
    return disk


def surveyed(*segments: bytes, known: End | None = None) -> tuple[Survey, list[int]]:
    seqs: list[int] = []
    numbers = list(range(FIRST, FIRST + len(segments)))
    disk = holding(*segments)
    before = list(disk.operations)
    try:
        found = survey(disk, numbers, known or End(), lambda placed: seqs.extend(p.frame.seq for p in placed))
    finally:
        assert disk.operations == before
    return found, seqs


@pytest.fixture(params=[1, 50, 8 << 20])
def chunk_bytes(request, monkeypatch):
    monkeypatch.setattr(recovery, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("chunk_bytes")
def test_whole_batches_are_taken_in_order_through_all_segments():
    a, b = batch(0, 1) + batch(2, 2), batch(3, 5)
    assert surveyed(a, b) == (Survey(End(6, SECOND, len(b)), None), [0, 1, 2, 3, 4, 5])
    assert surveyed() == (Survey(End(), None), [])


def test_only_what_lies_beyond_the_known_end_is_looked_at():
    a, b = b"rubbish" + batch(0, 2), b"more rubbish" + batch(3, 3) + batch(4, 5)
    known = End(4, SECOND, len(b) - len(batch(4, 5)))
    assert surveyed(a, b, known=known) == (Survey(End(6, SECOND, len(b)), None), [4, 5])
    known = End(3, FIRST, len(a))
    assert surveyed(a, batch(3, 3), known=known)[1] == [3]


@pytest.mark.usefixtures("chunk_bytes")
@pytest.mark.parametrize(
    "tail",
    [
        batch(2, 2)[:-1],
        batch(2, 2)[:10],
        b"\n",
        b"\0\0x",
        batch(2, 4).splitlines(True)[0],
        b"".join(batch(2, 4).splitlines(True)[1:]),
        b"\0" * 100 + b"".join(batch(2, 4).splitlines(True)[1:]),
        batch(2, 2).replace(b'"n":2', b'"n":3'),
        batch(0, 1),
    ],
)
def test_bytes_beyond_the_good_batches_that_no_later_batch_follows_are_a_torn_tail(tail):
    good = batch(0, 1)
    found, seqs = surveyed(good + tail)
    assert found == Survey(End(2, FIRST, len(good)), TornTail(FIRST, len(good), len(tail)))
    assert seqs == [0, 1]


@pytest.mark.usefixtures("chunk_bytes")
@pytest.mark.parametrize(
    "rubbish",
    [
        batch(2, 2)[:-1],  # a lost newline hides no frame
        batch(2, 2)[5:],
        b"",
        b"\0" * 64,
        b'{"seq":2,"first":' * 3,
        b'{"seq":9,"first":9,"last":9,\n',
        batch(2, 2).replace(b'"n":2', b'"n":3'),
    ],
)
def test_a_good_frame_of_a_later_batch_behind_the_damage_makes_it_damage(rubbish):
    good = batch(0, 1)
    with pytest.raises(LogDamaged, match="good ones follow it") as caught:
        surveyed(good + rubbish + batch(3, 4))
    error = caught.value
    assert (error.code, error.segment, error.offset, error.seq) == (
        "LOG_DAMAGED",
        "2026-01-05.0000.jsonl",
        len(good),
        2,
    )


def test_a_frame_far_behind_the_damage_is_found_even_where_rubbish_begins_like_a_frame(monkeypatch):
    monkeypatch.setattr(recovery, "CHUNK_BYTES", 100)
    monkeypatch.setattr(recovery, "_FRAME_BYTES_MAX", 1000)
    with pytest.raises(LogDamaged):
        surveyed(b'{"seq":0,"first":' + b"x" * 5000 + batch(3, 3, pad=500))


@given(st.integers(0, 400), st.integers(1, 120))
def test_a_frame_is_found_wherever_the_pieces_read_from_the_disk_end(shift, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "CHUNK_BYTES", chunk)
        with pytest.raises(LogDamaged):
            surveyed(b"r" * shift + batch(1, 1))


def test_damage_that_a_later_segment_follows_is_damage_however_it_looks():
    for tail, seq in ((b"x", 2), (batch(2, 2)[:-1], 2), (batch(2, 3).splitlines(True)[0], 3)):
        with pytest.raises(LogDamaged, match="a later segment follows") as caught:
            surveyed(batch(0, 1) + tail, batch(2, 2))
        assert (caught.value.segment, caught.value.seq) == ("2026-01-05.0000.jsonl", seq)


@pytest.mark.usefixtures("chunk_bytes")
def test_nuls_after_the_last_frame_are_padding():
    good = batch(0, 1)
    assert surveyed(good + b"\0" * 300) == (Survey(End(2, FIRST, len(good)), None), [0, 1])
    assert surveyed(b"\0" * 300) == (Survey(End(0, FIRST, 0), None), [])


def test_a_disk_that_holds_less_than_the_index_knows_is_damaged_and_the_first_lost_event_is_named():
    places = [Place(FIRST, 0, 4), Place(FIRST, 4, 6), Place(SECOND, 0, 2), Place(SECOND, 2, 2)].__getitem__
    known, ends = End(4, SECOND, 4), {FIRST: 10, SECOND: 4}
    check_known(holding(b"x" * 10, b"y" * 5), [FIRST, SECOND], ends, known, places)
    for files, segments, what, expected in (
        ((b"x" * 9, b"y" * 5), [FIRST, SECOND], "9 bytes long, and held 10", ("2026-01-05.0000.jsonl", 4, 1)),
        ((b"x" * 10, b"y" * 3), [FIRST, SECOND], "3 bytes long, and held 4", ("2026-01-05.0001.jsonl", 2, 3)),
        ((b"x" * 10, b"y" * 5), [FIRST], "is gone that held events", ("2026-01-05.0001.jsonl", 0, 2)),
        ((b"x" * 10, b"y" * 5), [SECOND], "is gone that held events", ("2026-01-05.0000.jsonl", 0, 0)),
    ):
        with pytest.raises(LogDamaged, match=what) as caught:
            check_known(holding(*files), segments, ends, known, places)
        assert (caught.value.segment, caught.value.offset, caught.value.seq) == expected


@pytest.mark.usefixtures("chunk_bytes")
def test_a_torn_tail_is_kept_durably_before_it_is_cut_off_durably():
    disk = holding(b"good" + b"torn bytes")
    path = segment_path(FIRST)
    lost = []

    def look(_what: str) -> None:
        for state in disk.crash_states():
            kept = [state.read(f"log/torn/{name}", 0, 99) for name in state.names("log/torn")]
            lost.append(state.size(path) == 4 and kept != [b"torn bytes"])

    disk.on_operation = look
    copy = save_torn(disk, TornTail(FIRST, 4, 10), "2026-01-05T00:00:00.000000Z")
    assert copy == "log/torn/2026-01-05.0000.jsonl@4.2026-01-05T000000.000000Z"
    assert not any(lost)
    for state in disk.crash_states():
        assert state.read(path, 0, 99) == b"good"
        assert state.read(copy, 0, 99) == b"torn bytes"


@pytest.mark.usefixtures("chunk_bytes")
def test_bytes_written_again_are_the_same_and_durable():
    disk = holding(b"")
    disk.write(segment_path(FIRST), 0, b"0123456789")
    rewrite(disk, FIRST, 3, 10)
    assert disk.read(segment_path(FIRST), 0, 99) == b"0123456789"
    assert {state.read(segment_path(FIRST), 0, 99) for state in disk.crash_states()} == {b"0123456789"}
    assert disk.operations[-2:] == [f"sync {segment_path(FIRST)}", "sync_folder log/segments"]
