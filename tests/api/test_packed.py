"""A log with packed segments is backed up, exported, replayed and folded as any other."""

import json
import shutil
from pathlib import Path

import pytest
import zstandard

from api.cli.__main__ import main
from tests.api.test_backup import grow, is_good, put_back, segments, taken
from tests.api.test_evidence_cli import checked, unpacked
from tests.commands import everything_under
from tests.projections.logs import run_id_of

COUNT = 12


def pack(*paths: Path) -> None:
    for path in paths:
        target = path.with_name(f"{path.name}.zst")
        target.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(path.read_bytes()))
        target.chmod(0o444)
        path.unlink()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of many segments, and the same with all but the newest packed."""
    folder = tmp_path_factory.mktemp("made")
    grow(folder / "plain", 0, COUNT)
    shutil.copytree(folder / "plain", folder / "packed")
    pack(*segments(folder / "packed")[:-1])
    assert len(segments(folder / "packed")) > 2
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "packed", tmp_path / "data")
    return tmp_path / "data"


def names(folder: Path) -> list[str]:
    return [path.name for path in segments(folder)]


def test_a_backup_keeps_what_is_packed_as_it_is_and_comes_back_as_a_log_that_goes_on(copy: Path, tmp_path: Path):
    taken(copy, tmp_path / "backup")
    assert names(tmp_path / "backup") == names(copy)
    put_back(tmp_path / "backup", tmp_path / "new")
    assert names(tmp_path / "new") == names(copy)
    grow(tmp_path / "new", COUNT, 3)
    assert is_good(tmp_path / "new")
    assert [path.stat().st_mode & 0o777 for path in segments(tmp_path / "new")[:-1]] == [0o444] * (
        len(names(tmp_path / "new")) - 1
    )


def test_a_backup_follows_when_segments_are_packed_and_ends_with_a_plain_one(made: Path, tmp_path: Path):
    data, backup = tmp_path / "data", tmp_path / "backup"
    shutil.copytree(made / "plain", data)
    taken(data, backup)
    newest = segments(data)[-1].name
    signed = (data / "log" / "checkpoint").read_bytes()
    grow(data, COUNT, 4)  # finishes what was the newest, and the checkpoint is taken for one from before
    (data / "log" / "checkpoint").write_bytes(signed)
    pack(*segments(data)[:-1])
    assert taken(data, backup).size == COUNT
    assert names(backup)[-1] == newest
    assert {name.endswith(".zst") for name in names(backup)[:-1]} == {True}
    assert is_good(backup)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def test_commands_tell_of_packed_segments_what_they_tell_of_plain_ones(
    made: Path, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    days = ("--from", "2020-01-01", "--to", "2100-01-01", "-o")
    prove = ("log", "prove", "--run", run_id_of(1), "-o", tmp_path / "proof", "--json")
    for command in (("log", "verify", "--json"), ("log", "replay"), ("log", "info", "--json"), prove):
        expected, found = (told(capsys, *command, "--data-dir", folder) for folder in (made / "plain", copy))
        assert found == expected, command
    plain, packed = tmp_path / "plain.zip", tmp_path / "packed.zip"
    for folder, target in ((made / "plain", plain), (copy, packed)):
        told(capsys, "log", "export", *days, target, "--data-dir", folder)
    assert plain.read_bytes() == packed.read_bytes()
    ended = checked(unpacked(packed, tmp_path / "evidence"))
    assert (ended.returncode, f"{COUNT} events" in ended.stdout) == (0, True), ended.stdout
    for folder in (made / "plain", copy):
        told(capsys, "projections", "rebuild", "all", "--data-dir", folder)
        told(capsys, "projections", "check", "files", "--data-dir", folder)
    assert everything_under(copy / "runs") == everything_under(made / "plain" / "runs")
    assert json.loads(told(capsys, "status", "--json", "--data-dir", copy))


def test_a_damaged_packed_segment_is_named_and_leaves_no_traceback(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = segments(copy)[1]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-40])
    for command, code in (
        (("log", "verify"), 1),
        (("log", "replay"), 1),
        (("log", "export", "--from", "2020-01-01", "--to", "2100-01-01", "-o", tmp_path / "x"), 1),
        (("backup", tmp_path / "backup"), 1),
    ):
        ended = main([*map(str, command), "--data-dir", str(copy)])
        out, err = capsys.readouterr()
        assert (ended, "bug" in err) == (code, False), (command, out, err)
        assert "segment" in (out + err).lower(), (command, out, err)
