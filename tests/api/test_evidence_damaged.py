"""What is taken out of a damaged log: all of it as it was signed, or an error that names the place, and no file."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.__main__ import main
from eventlog.archive import Archive, EventsNotSigned
from eventlog.batch import Stream
from eventlog.commit import Limits
from eventlog.errors import LogCorrupt
from eventlog.event import Origin
from eventlog.frame import encode
from eventlog.log import Log

COUNT = 306
OF_RUN = (0, 3, 4, 5)
"""The events of the run that is asked for; 4 is the one that most is done to."""
RUN, OTHER = "run_00000000000a", "run_00000000000b"
DAYS = ("--from", "2020-01-01", "--to", "2100-01-01")
ORIGIN = Origin("press")

Lines = list[bytes]
Damage = Callable[[Lines], Lines]


async def make_log(folder: Path, limits: Limits) -> None:
    log = Log.open(folder, limits=limits)
    for seq in range(6):
        stream = RUN if seq in OF_RUN else f"run_{seq:012x}"
        expected = Stream.PRESENT if seq in OF_RUN[1:] else Stream.ABSENT
        await log.append([log.draft("t.v1", stream, {"n": seq}, ORIGIN)], expected, ORIGIN)
    drafts = [log.draft("t.v1", OTHER, {"n": seq}, ORIGIN) for seq in range(6, COUNT)]
    await log.append(drafts, Stream.ABSENT, ORIGIN)
    await log.close()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped log of one segment: a tile of its tree is stored, and its last 50 events lie in none."""
    folder = tmp_path_factory.mktemp("good") / "data"
    asyncio.run(make_log(folder, Limits()))
    return folder


@pytest.fixture
def data(good: Path, tmp_path: Path) -> Path:
    """A copy of that log, to damage."""
    return shutil.copytree(good, tmp_path / "data")


def segments(data: Path) -> list[Path]:
    return sorted((data / "log" / "segments").iterdir())


def change(path: Path, damage: Damage) -> None:
    path.chmod(0o644)
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(True))))


def replaced(lines: Lines, seq: int, line: bytes) -> Lines:
    assert lines[seq] != line
    return [*lines[:seq], line, *lines[seq + 1 :]]


def rewritten(lines: Lines, seq: int, event: bytes) -> Lines:
    """Put another event in the place of *seq*, with the hash that it has."""
    frame = json.loads(lines[seq])
    return replaced(lines, seq, encode(seq, frame["first"], frame["last"], event)[1])


def event_of(line: bytes) -> bytes:
    return line.partition(b',"event":')[2][:-2]


def swapped(lines: Lines, seq: int) -> Lines:
    first, second = event_of(lines[seq]), event_of(lines[seq + 1])
    return rewritten(rewritten(lines, seq, second), seq + 1, first)


MISSING: dict[str, tuple[Damage, int]] = {
    "a bit of the first byte of a line": (lambda lines: replaced(lines, 2, bytes([lines[2][0] ^ 1]) + lines[2][1:]), 2),
    "a line is gone": (lambda lines: lines[:4] + lines[5:], 4),
    "the last line is gone": (lambda lines: lines[:-1], COUNT - 1),
    "its subject is another": (lambda lines: replaced(lines, 4, lines[4].replace(b':"run_', b':"rum_')), 4),
    "the file is cut at a line": (lambda lines: lines[:5], 5),
    "the file is cut in a batch": (lambda lines: lines[:20], 6),
    "the file is cut in a line": (lambda lines: [*lines[:4], lines[4][:-9]], 4),
    "the file is empty": (lambda _lines: [], 0),
    "a seq is that of another": (lambda lines: replaced(lines, 5, lines[5].replace(b'"seq":5,', b'"seq":4,')), 5),
    "a seq is far beyond": (lambda lines: replaced(lines, 5, lines[5].replace(b'"seq":5,', b'"seq":9995,')), 5),
}  # what is done, and the first event that is not there: of a batch it may be any, for none of it is given out


CHANGED: dict[str, tuple[Damage, int]] = {
    "two events change places": (lambda lines: swapped(lines, 4), 4),
    "two events that no stored tile covers change places": (lambda lines: swapped(lines, 290), 256),
    "a subject is changed with its hash": (
        lambda lines: rewritten(lines, 4, event_of(lines[4]).replace(RUN.encode(), OTHER.encode())),
        4,
    ),
}  # what is done, and from which event on the log is told to be another


def taken_out(data: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[int, str]]:
    """Ask for evidence in each way; return the exit code and the message of each, none of which may write a file."""
    found = {}
    for name, options in {
        "prove": ("prove", "--run", RUN, "-o", str(folder / "proofs")),
        "export run": ("export", "--run", RUN, "-o", str(folder / "run.zip")),
        "export days": ("export", *DAYS, "-o", str(folder / "days.zip")),
    }.items():
        code = main(["log", *options, "--data-dir", str(data)])
        found[name] = (code, capsys.readouterr().err)
    assert [path.name for path in folder.iterdir()] == ["data"]
    return found


@pytest.mark.parametrize("name", MISSING)
def test_what_is_damaged_is_refused_with_its_place_and_never_left_out_in_silence(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    damage, seq = MISSING[name]
    (path,) = segments(data)
    lines = path.read_bytes().splitlines(True)
    change(path, damage)
    for command, (code, said) in taken_out(data, tmp_path, capsys).items():
        assert (code, "a bug" in said) == (1, False), (command, said)
        if name not in ("the file is cut in a batch", "the file is cut in a line", "the last line is gone"):
            assert f"Event {seq} " in said, (command, said)
            assert f"byte {sum(map(len, lines[:seq]))})" in said, (command, said)
    for command in (("tail", "-n", str(COUNT)), ("replay",), ("replay", "--run", RUN)):
        code = main(["log", *command, "--data-dir", str(data)])
        told, said = capsys.readouterr()
        assert (code, "Event " in said, "byte " in said) == (1, True, True), (command, said)
        assert len(told.splitlines()) <= (seq if command[0] == "tail" else 0), command


@pytest.mark.parametrize("name", CHANGED)
def test_evidence_of_events_that_were_changed_with_their_hashes_is_never_written(
    name: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    damage, seq = CHANGED[name]
    (path,) = segments(data)
    lines = path.read_bytes().splitlines(True)
    change(path, damage)
    for command, (code, said) in taken_out(data, tmp_path, capsys).items():
        assert code == 1, (command, said)
        assert f"From event {seq} on (segment {path.name}, byte {sum(map(len, lines[:seq]))})" in said, (command, said)


def test_a_good_log_is_taken_out_whole(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["log", "prove", "--run", RUN, "-o", str(tmp_path / "p"), "--data-dir", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seqs"] == [*OF_RUN]
    assert main(["log", "export", *DAYS, "-o", str(tmp_path / "z"), "--data-dir", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == COUNT
    assert main(["log", "tail", "-n", "400", "--data-dir", str(data)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == COUNT


def test_the_end_of_a_log_that_is_replayed_in_part_is_not_looked_for(data: Path, capsys: pytest.CaptureFixture[str]):
    change(*segments(data), lambda lines: lines[:20])
    assert main(["log", "replay", "--until", "2", "--run", RUN, "--data-dir", str(data)]) == 3
    assert "t.v1" in capsys.readouterr().err, "it came as far as the events, which are of no type that can be folded"


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped log of seven segments of an event each, which were given days of their own, and their seals with them."""
    folder = tmp_path_factory.mktemp("days") / "data"
    asyncio.run(make_log(folder, Limits(segment_bytes_max=1)))
    for kind, suffix in (("segments", ".jsonl"), ("checkpoints", "")):
        for number, path in enumerate(sorted((folder / "log" / kind).iterdir()), 1):
            path.rename(path.with_name(f"2026-01-{number:02d}.0000{suffix}"))
    return folder


def seqs_of(data: Path, first: int, last: int) -> list[int]:
    archive = Archive.open(data)
    assert archive is not None
    return [recorded.seq for recorded in archive.events(days=(20260100 + first, 20260100 + last))]


def test_the_events_of_days_are_found_from_the_seal_before_them_on(days: Path, tmp_path: Path):
    data = shutil.copytree(days, tmp_path / "data")
    assert seqs_of(data, 3, 5) == [2, 3, 4]
    assert seqs_of(data, 1, 31) == [*range(COUNT)]
    assert (seqs_of(data, 0, 0), seqs_of(data, 8, 9)) == ([], [])
    change(segments(data)[0], lambda lines: [lines[0].replace(b"press", b"prexx")])
    assert seqs_of(data, 3, 5) == [2, 3, 4], "damage elsewhere"
    change(segments(data)[5], lambda lines: [lines[0].replace(b"press", b"prexx")])
    assert seqs_of(data, 3, 5) == [2, 3, 4], "in the very next event"
    with pytest.raises(LogCorrupt):
        seqs_of(data, 1, 5)


@pytest.mark.parametrize("first", [4, 5])
def test_a_segment_that_is_gone_is_no_day_without_events(days: Path, tmp_path: Path, first: int):
    data = shutil.copytree(days, tmp_path / "data")
    segments(data)[3].unlink()
    with pytest.raises(LogCorrupt) as refused:
        seqs_of(data, 4, first)
    assert refused.value.seq == 3
    assert seqs_of(data, 5, 5) == [4], "its seal tells how many events there were"
    (data / "log" / "checkpoints" / "2026-01-04.0000").write_bytes(b"x")
    with pytest.raises(LogCorrupt):
        seqs_of(data, 5, 5)


def test_a_proof_is_never_made_of_an_event_that_was_not_signed(data: Path):
    archive = Archive.open(data)
    assert archive is not None
    first, second = archive.stream(RUN)[:2]
    archive.proof(first).verify(bytes.fromhex(first.hash), archive.identity.verifier)
    second.seq = first.seq
    with pytest.raises(EventsNotSigned):
        archive.proof(second)
