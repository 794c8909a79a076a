"""Verifying finds whatever was done to the events of a log, names the first bad one, and lets a good log pass."""

import json

from eventlog import parts
from eventlog.frame import encode
from eventlog.signing import Signer, Verifier
from eventlog.verdict import Fault, Verdict
from eventlog.verify import segment_bytes, verify
from tests.eventlog.logs import opened
from tests.eventlog.verified import (
    COUNT,
    first_bad,
    judged,
    places,
    rewrite,
    segments,
    three_segments,
)


async def test_a_good_log_is_good_and_its_figures_are_right(made):
    done: list[int] = []
    verdict = judged(made, on_progress=done.append)
    assert verdict.faults == []
    assert verdict.is_good
    assert (verdict.events, verdict.signed, verdict.unsigned_tail) == (COUNT, COUNT, 0)
    assert verdict.is_self_consistent_only
    assert done[-1] == segment_bytes(made)
    assert verdict.as_json()["ok"] is True
    key = Verifier.parse(verdict.key)
    verdict = judged(made, key=key)
    assert (verdict.is_good, verdict.is_self_consistent_only) == (True, False)
    other = Signer(key.name, b"x" * 32).verifier
    assert not judged(made, key=other).is_good


async def test_an_empty_log_is_good(tmp_path):
    async with opened(tmp_path):
        pass
    assert judged(tmp_path).is_good


async def test_every_flipped_byte_of_a_segment_is_found_in_its_own_event(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 700)
    made = await three_segments(tmp_path, (1, 3, 2, 1), 1200)
    for seq, (path, offset, length) in enumerate(places(made)):
        content = path.read_bytes()
        for at in range(offset, offset + length):
            changed = bytearray(content)
            changed[at] ^= 1 << (at % 7)
            rewrite(path, bytes(changed))
            verdict = judged(made)
            assert not verdict.is_good, (at - offset, bytes(content[at : at + 1]))
            assert verdict.first_bad is not None
            found = (verdict.first_bad.path, verdict.first_bad.offset, verdict.first_bad.seq, verdict.bad)
            assert found == (str(path.relative_to(made)), offset, seq, 1), (at - offset, verdict.faults)
        rewrite(path, content)
    assert judged(made).is_good


async def test_who_of_two_neighbours_lies_about_their_batch_is_told_by_the_others_and_by_the_times(made):
    for seq, (path, offset, _) in enumerate(places(made)):
        content = path.read_bytes()
        for at in [at for at in range(offset, offset + 40) if content[at : at + 1].isdigit()]:
            for digit in {*b"0123456789"} - {content[at]}:
                changed = bytearray(content)
                changed[at] = digit
                rewrite(path, bytes(changed))
                verdict = judged(made)
                assert verdict.first_bad is not None
                assert (verdict.first_bad.seq, verdict.bad) == (seq, 1), (bytes(changed[offset:][:40]), verdict.faults)
        rewrite(path, content)


async def test_what_was_removed_doubled_swapped_cut_or_added_is_found_and_the_first_place_named(made):
    path = segments(made)[1]
    content = path.read_bytes()
    lines = content.splitlines(True)
    first = len(segments(made)[0].read_bytes().splitlines())
    assert len(lines) >= 3
    name = f"log/segments/{path.name}"
    for changed, expected in (
        ([lines[0], *lines[2:]], (name, len(lines[0]), first + 1)),
        ([lines[0], lines[0], *lines[1:]], (name, len(lines[0]), first + 1)),
        ([lines[0], lines[2], lines[1], *lines[3:]], (name, len(lines[0]), first + 1)),
        ([lines[0], b"rubbish\n", *lines[1:]], (name, len(lines[0]), first + 1)),
        ([lines[0], b"\n", *lines[1:]], (name, len(lines[0]), first + 1)),
        ([lines[0][:-1], *lines[1:]], (name, 0, first)),
        ([b"\0" * len(lines[0]), *lines[1:]], (name, 0, first)),
        ([*lines, b"\0\0"], (name, len(content), first + len(lines))),
    ):
        rewrite(path, b"".join(changed))
        assert first_bad(made) == expected, judged(made).faults
    rewrite(path, b"".join(lines[:-1]))
    assert first_bad(made)[2] == first + len(lines) - 1
    rewrite(path, b"")
    assert not judged(made).is_good
    path.unlink()
    assert first_bad(made)[2] == first


async def test_the_end_cut_off_is_found_and_all_that_is_missing_counted(made):
    path = segments(made)[-1]
    lines = path.read_bytes().splitlines(True)
    rewrite(path, b"".join(lines[:-1]))
    verdict = judged(made)
    assert (verdict.bad, verdict.first_bad.seq) == (1, COUNT - 1)
    path.unlink()
    verdict = judged(made)
    assert verdict.first_bad.seq == COUNT - len(lines)
    assert verdict.bad >= len(lines)


async def test_renumbered_events_are_found(made):
    for path in segments(made):
        rewrite(path, path.read_bytes().replace(b'{"seq":', b'{"seq":1'))
    assert first_bad(made)[2] == 0


async def test_an_event_changed_together_with_its_hash_is_found_by_the_root(made):
    path = segments(made)[1]
    content = path.read_bytes()
    lines = content.splitlines(True)
    facts = json.loads(lines[1])
    event = lines[1].partition(b',"event":')[2][:-2].replace(b'"actor":"press"', b'"actor":"prexx"')
    lines[1] = encode(facts["seq"], facts["first"], facts["last"], event)[1]
    rewrite(path, b"".join(lines))
    verdict = judged(made)
    first = len(segments(made)[0].read_bytes().splitlines())
    assert verdict.first_bad.seq == first  # between the two seals round it nothing tells more
    assert verdict.first_bad.path == f"log/segments/{path.name}"
    assert "changed with their hashes" in verdict.first_bad.what


def test_an_event_that_is_bad_in_two_ways_counts_once_and_what_lies_elsewhere_counts_too():
    verdict = Verdict()
    for offset, seq in ((100, 3), (100, 3), (120, 3), (200, 4), (None, None), (None, None)):
        verdict.add(Fault("bad", "log/x", offset, seq))
    assert (verdict.bad, len(verdict.faults), "_bad_events" in verdict.as_json()) == (5, 6, False)


async def test_a_segment_under_the_name_of_another_day_is_found(made):
    path = segments(made)[-1]
    path.rename(path.with_name(f"2099{path.name[4:]}"))
    assert not judged(made).is_good


async def test_a_log_is_verified_the_same_by_several_processes_and_in_small_parts(made, monkeypatch):
    expected = judged(made).as_json()
    monkeypatch.setattr(parts, "PART_BYTES", 100)
    assert judged(made).as_json() == expected
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    monkeypatch.setattr(parts, "PROCESSES_FROM_BYTES", 1)
    assert verify(made, None, None).as_json() == expected
