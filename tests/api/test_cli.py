"""The command line: quick help, one line for every error, exit codes, and `serve` up to where it listens."""

import json
import os
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import attrs
import click
import pytest

from api.cli import __main__ as command_line
from api.cli.__main__ import exit_code, main
from api.cli.serve import KeysMissing
from api.http.serve import first_page
from api.remote import refusal
from api.settings import SettingInvalid, Settings, SettingUnknown
from eventlog.errors import LogCorrupt, LogDamaged, LogHalted, LogLocked
from tests.server import Server, until

ROOT = Path(__file__).parents[2]
HEAVY = ("aiohttp", "structlog", "rich", "cattrs", "typed_settings", "orjson", "uvloop", "sqlite3", "asyncio")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("RUNLOG_", "RMOS_")):
            monkeypatch.delenv(name)


def run_python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


def runlog(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "api.cli.__main__", *arguments, cwd=cwd)


# --- help and version


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["--version"]], ids=" ".join)
def test_help_and_version_import_nothing_that_is_slow_to_import(arguments):
    code = (
        "import sys; before = set(sys.modules); from api.cli.__main__ import main; code = main(sys.argv[1:]); "
        "print(*sorted(set(sys.modules) - before), file=sys.stderr); sys.exit(code)"
    )
    done = run_python("-c", code, *arguments)
    assert done.returncode == 0
    assert "api.cli.__main__" in done.stderr.split()
    assert set(done.stderr.split()).isdisjoint(HEAVY)


def test_help_names_every_command_without_importing_any(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, summary) in command_line._COMMANDS.items():
        assert name in shown
        assert summary in shown
    assert "Example: " in shown


@pytest.mark.parametrize("name", command_line._COMMANDS)
def test_every_command_that_help_names_is_there_and_shows_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Example: runlog {name}" in capsys.readouterr().out


def test_a_misspelt_command_and_a_misspelt_option_are_usage_errors(capsys):
    assert main(["serv"]) == 2
    assert main(["serve", "--prot", "1"]) == 2
    assert main([]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    for package in ("api", "eventlog"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_version_says_that_the_commit_is_not_known_where_there_is_no_checkout(elsewhere):
    assert runlog("--version", cwd=elsewhere).stdout == f"runlog {metadata.version('runlog')} (commit unknown)\n"


def test_version_names_the_commit_that_an_installed_wheel_was_built_from(elsewhere):
    (elsewhere / "api" / "commit").write_text("0123456789ab\n")
    assert "(commit 0123456789ab)" in runlog("--version", cwd=elsewhere).stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_version_names_the_commit_of_the_checkout(elsewhere):
    git = ["git", "-C", str(elsewhere), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert "(commit unknown)" in runlog("--version", cwd=elsewhere).stdout  # a repository without a commit
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert f"(commit {commit[:12]})" in runlog("--version", cwd=elsewhere).stdout


# --- errors


@click.command
def broken() -> None:
    raise KeyError("two\nlines")


@click.command
def unable() -> None:
    raise FileNotFoundError(2, "No such file or directory", "gone")


@click.command
def forbidden() -> None:
    raise PermissionError(13, "Permission denied", "secrets/keys.json")


@click.command
def interrupted() -> None:
    raise KeyboardInterrupt


@click.command
def failing() -> int:
    return 1


@pytest.fixture
def odd_commands(monkeypatch):
    odd = {name: (f"{__name__}:{name}", "") for name in ("broken", "unable", "forbidden", "interrupted", "failing")}
    monkeypatch.setattr(command_line, "_COMMANDS", odd)


@pytest.mark.usefixtures("odd_commands")
def test_an_error_nobody_foresaw_is_one_line_that_owns_up_and_tells_how_to_see_more(capsys):
    assert main(["broken"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("runlog: this is a bug (KeyError: ")
    assert "--debug" in line


@pytest.mark.usefixtures("odd_commands")
def test_debug_shows_the_traceback_as_well(capsys):
    assert main(["--debug", "broken"]) == 70
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "in broken" in shown


@pytest.mark.usefixtures("odd_commands")
def test_an_error_of_the_operating_system_is_no_bug(capsys):
    assert main(["unable"]) == 3
    assert capsys.readouterr().err == "runlog: [Errno 2] No such file or directory: 'gone'\n"


@pytest.mark.usefixtures("odd_commands")
def test_what_another_users_command_left_is_refused_with_the_way_out(capsys):
    assert main(["forbidden"]) == 3
    told = capsys.readouterr().err
    assert told.startswith("runlog: [Errno 13] Permission denied: 'secrets/keys.json'. ")
    assert "`sudo -u`" in told


def test_a_command_that_a_server_asks_for_a_key_says_where_it_takes_one_from():
    told = {
        code: refusal("http://127.0.0.1:8080", 400, json.dumps({"error": code, "message": "No."}).encode()).message
        for code in ("UNAUTHENTICATED", "RUN_NOT_FOUND")
    }
    assert "RUNLOG_API_KEY" in told["UNAUTHENTICATED"]
    assert "RUNLOG_API_KEY" not in told["RUN_NOT_FOUND"]


@pytest.mark.usefixtures("odd_commands")
def test_an_interrupt_ends_it_without_a_word(capsys):
    assert main(["interrupted"]) == 130
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.usefixtures("odd_commands")
def test_what_a_command_returns_is_the_exit_code():
    assert main(["failing"]) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LogLocked("var", 1), 3),
        (LogDamaged("it is cut"), 3),
        (LogHalted("EIO"), 3),
        (KeysMissing("0.0.0.0", "var"), 3),
        (PermissionError(13, "Permission denied"), 3),
        (LogCorrupt(1, "2026-01-01.0000", 2), 1),
        (SettingUnknown("prot", "runlog.toml", "port"), 2),
        (SettingInvalid("port", "must be a whole number"), 2),
        (ValueError("a bug"), 70),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_exit_code(error, code):
    assert exit_code(error) == code


# --- serve


def test_a_misspelt_variable_stops_the_server_with_the_nearest_name(monkeypatch, capsys):
    monkeypatch.setenv("RUNLOG_PROT", "1")
    assert main(["serve"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("runlog: ")
    assert "RUNLOG_PROT" in line
    assert "RUNLOG_PORT" in line


def test_a_port_out_of_bounds_is_refused_under_the_name_of_the_flag(capsys):
    assert main(["serve", "--port", "65536"]) == 2
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "runlog.example", "::ffff:192.0.2.1"])
def test_a_server_without_keys_refuses_to_listen_beyond_loopback(host, tmp_path, capsys):
    assert main(["serve", "--host", host, "--data-dir", str(tmp_path / "my data")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert host in line
    assert f"--data-dir '{tmp_path}/my data'`" in line  # to be copied as it is
    assert "--allow-anonymous" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--host", "localhost"], ["--host", "0.0.0.0", "--allow-anonymous"]], ids=" ".join)
def test_a_server_may_listen_on_loopback_and_anywhere_when_that_is_permitted(options, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it gets as far as listening, and ends there
        port = str(taken.getsockname()[1])
        done = runlog("serve", *options, "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 3
    assert "runlog: Cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


class Opening(Server):
    """A server that shows its first page to a browser, which only notes the address."""

    def command(self) -> list[str]:
        browser, seen = self.folder / "browser", self.folder / "seen"
        browser.write_text(f"#!/bin/sh\necho $1 > '{seen}.part' && mv '{seen}.part' '{seen}'\n")
        browser.chmod(0o700)
        return ["env", f"BROWSER={browser}", *super().command(), "--open"]


def test_a_new_server_points_people_to_the_overview_in_words_and_in_their_browser(tmp_path):
    server = Opening(tmp_path)
    try:
        server.start()
        overview = f"http://127.0.0.1:{server.port}/rmos"
        until((tmp_path / "seen").exists, "the browser was opened", 60)
        assert (tmp_path / "seen").read_text().strip() == overview
        assert f"Open {overview} to see the runs." in server.output()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("url", "told", "shown"),
    [
        ("http://127.0.0.1:8080", {}, "http://127.0.0.1:8080/rmos"),
        ("http://0.0.0.0:8080", {"host": "0.0.0.0"}, "http://localhost:8080/rmos"),
        ("https://[::]:8443", {"host": "::", "allowed_host": ("a.example", "b")}, "https://a.example:8443/rmos"),
        ("http://[::]:8080", {"host": "::", "allowed_host": ("fd00::1",)}, "http://[fd00::1]:8080/rmos"),
        ("http://[::1]:8080", {"host": "::1", "allowed_host": ("a.example",)}, "http://[::1]:8080/rmos"),
    ],
)
def test_the_first_page_has_an_address_that_a_browser_can_go_to(url, told, shown):
    assert first_page(url, Settings(**told)) == shown


def test_print_config_shows_every_value_with_its_origin_and_makes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RUNLOG_CONNECTIONS_MAX", "7")
    data = tmp_path / "data"
    arguments = ["serve", "--data-dir", str(data), "--open", "--allowed-host", "a", "--allowed-host", "b"]
    assert main([*arguments, "--print-config"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == [field.name for field in attrs.fields(Settings)]
    assert lines["connections_max"] == ["7", "RUNLOG_CONNECTIONS_MAX"]
    assert lines["data_dir"] == [str(data), "--data-dir"]
    assert lines["open"] == ["true", "--open"]
    assert lines["allow_anonymous"] == ["false", "default"]
    assert lines["allowed_host"] == ["a,", "b", "--allowed-host"]
    assert list(tmp_path.iterdir()) == []


def test_print_config_as_json_is_for_programs(capsys):
    assert main(["serve", "--print-config", "--json", "--host", "::1"]) == 0
    rows = json.loads(capsys.readouterr().out)["settings"]
    assert rows[0] == {"name": "host", "value": "::1", "origin": "--host"}
    assert [row["name"] for row in rows] == [field.name for field in attrs.fields(Settings)]


def test_json_without_print_config_is_a_usage_error(capsys):
    assert main(["serve", "--json"]) == 2
    assert "--print-config" in capsys.readouterr().err
