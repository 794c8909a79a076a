"""Documents cannot rot: what the code has stands in docs/, and the README's commands work."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from attrs import fields

from api.cli.__main__ import cli
from api.http import listing
from api.http.app import ROUTES
from api.http.problems import STATUSES
from api.settings import DATA_DIR, Settings
from projections.run import model
from tests.commands import runlog
from tests.server import ROOT, Server

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE, HTTP, OPERATIONS = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("architecture", "http", "operations")
)
SOURCES = {
    path: path.read_text("utf-8")
    for package in ("eventlog", "projections", "api")
    for path in sorted((ROOT / package).rglob("*.py"))
}
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_jq = pytest.mark.skipif(
    not all(map(shutil.which, ("jq", "sha256sum", "sed", "awk"))), reason="jq, sha256sum, sed or awk is not installed"
)


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one that is as high or higher."""
    level = len(heading.partition(" ")[0])
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text that begins with a name in code."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]


def named(cell: str) -> str:
    """The name that stands in code."""
    return cell.strip("`")


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)


def shell_commands(text: str, program: str) -> list[list[str]]:
    """Every command of the shell blocks that runs a program, as its words; a command ends where its quotes do."""
    commands: list[list[str]] = []
    for block in shell_blocks(text):
        pending = ""
        for line in block.replace("\\\n", " ").splitlines(keepends=True):
            pending += line
            try:
                words = shlex.split(pending)
            except ValueError:  # a quote is still open
                continue
            commands.append(words)
            pending = ""
        assert not pending, f"this command does not end: {pending}"
    return [words for words in commands if words and words[0].endswith(program)]


def links(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors(path: Path) -> set[str]:
    """What the headings of a document can be linked by."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_tree(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from command_tree(below, f"{name} {each}")


PATTERN = r":[^{}]+\}"  # what a part of a path must match is no part of its name
COMMANDS = dict(command_tree(cli, "runlog"))


def logged_events() -> set[tuple[str, str]]:
    calls = re.compile(r'logger\.(debug|info|warning|error|exception)\(\s*"([^"]+)"')
    found = {call for text in SOURCES.values() for call in calls.findall(text)}
    return {(event, "error" if level == "exception" else level) for level, event in found}


def default_in_words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return str(Path(DATA_DIR) / value.relative_to(Path(DATA_DIR).absolute()))
    return str(value) if value not in ((), None, "") else "none"


def test_every_route_has_its_row_and_every_row_its_route():
    documented = [named(row[0]) for row in rows(section(HTTP, "## Routes"))]
    served = [f"{method} {re.sub(PATTERN, '}', path)}" for method, path, _ in ROUTES]
    assert sorted(documented) == sorted(served)


def test_every_error_code_has_its_row_with_its_status_and_a_meaning():
    table = rows(section(HTTP, "## Errors"))
    assert {named(row[0]): int(row[1]) for row in table} == STATUSES
    assert len(table) == len(STATUSES)
    assert all(row[2] for row in table)


def test_every_code_that_an_error_has_stands_in_the_documents():
    codes = {code for text in SOURCES.values() for code in re.findall(r'code: ClassVar\[str\] = "(\w+)"', text)}
    assert len(codes) > len(STATUSES)
    assert {code for code in codes if f"`{code}`" not in ARCHITECTURE + HTTP + OPERATIONS} == set()


def test_every_parameter_of_the_list_has_its_row_and_every_row_its_parameter():
    first_cells = " ".join(row[0] for row in rows(section(HTTP, "## Lists")))
    assert sorted(re.findall(r"`(\w+)`", first_cells)) == sorted(listing._PARAMS)


@pytest.mark.parametrize(
    "command", [model.CreateRun, model.Outputs, model.Hashes, model.Context], ids=lambda c: c.__name__
)
def test_every_field_of_a_new_run_stands_in_the_documents(command):
    text = section(HTTP, "## Recording a run")
    assert [field.name for field in fields(command) if f"`{field.name}`" not in text] == []


def test_every_setting_has_its_row_with_its_default_and_every_row_its_setting():
    table = {named(row[0]): row[1:] for row in rows(section(OPERATIONS, "## Settings"))}
    settings = Settings()
    expected = {field.name: default_in_words(getattr(settings, field.name)) for field in fields(Settings)}
    assert {name: cells[0] for name, cells in table.items()} == expected
    assert all(cells[1] for cells in table.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_section_with_every_option(name):
    text = section(OPERATIONS, f"### `{name}`")
    options = [option for each in COMMANDS[name].params if isinstance(each, click.Option) for option in each.opts]
    assert [option for option in options if f"`{option}`" not in text] == []


def test_no_section_tells_of_a_command_that_is_not_there():
    assert set(re.findall(r"^### `(runlog[^`]*)`$", OPERATIONS, re.M)) == set(COMMANDS)


def test_every_exit_code_has_its_row():
    from api.cli import __main__ as command_line

    codes = {getattr(command_line, name) for name in ("DONE", "CHECK_FAILED", "USAGE", "REFUSED", "BUG", "INTERRUPTED")}
    documented = re.findall(r"^\| (\d+) \|", section(OPERATIONS, "## Exit codes"), re.M)
    assert sorted(map(int, documented)) == sorted(codes)


def test_every_event_that_is_logged_has_its_row_with_its_level():
    table = rows(section(OPERATIONS, "## Diagnostics"))
    assert {(named(row[0]), row[1]) for row in table} == logged_events()


def test_every_metric_of_a_running_server_has_its_row_and_every_row_its_metric(server: Server):
    server.get("/runs")
    text = server.request("GET", "/metrics").body.decode()
    kinds = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M)
    served = {name for name, _ in kinds if not name.endswith("_created")}
    documented = {named(row[0]) for row in rows(section(OPERATIONS, "## Metrics"))}
    assert documented == served


def test_the_table_of_failures_that_the_writer_points_to_is_there():
    assert "docs/architecture.md" in SOURCES[ROOT / "eventlog" / "commit.py"]
    table = section(ARCHITECTURE, "## What happens when something fails")
    assert [word for word in ("ENOSPC", "EDQUOT", "fdatasync", "LOG_FULL", "LOG_HALTED") if word not in table] == []


def test_the_file_map_names_every_module():
    file_map = section(ARCHITECTURE, "## Layers")
    words = set(re.findall(r"\w+", file_map))
    names = {path.stem for path in SOURCES if path.stem != "__init__"}
    assert {name for name in names - words if not name.startswith("v1")} == set()  # told together: v1*.py


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_and_to_a_heading_in_it(path):
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_links_every_document():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {path for path in DOCUMENTS if path.name != "README.md"} <= linked


def test_every_make_target_of_the_readme_is_there():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = [words[1] for words in shell_commands(README, "make")]
    assert targets == ["run", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


@needs_curl
def test_the_readmes_curls_record_a_run_and_read_it_back(server: Server):
    curls = shell_commands(README, "curl")
    assert len(curls) == 2
    answers = []
    for words in curls:
        here = [word.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}") for word in words]
        assert here != words
        ended = subprocess.run([*here, "--fail-with-body"], capture_output=True, text=True, timeout=20)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        answers.append(json.loads(ended.stdout))
    recorded, read_back = answers
    assert recorded == read_back
    assert recorded["run_id"] == "run_0123456789ab"
    assert recorded["status"] == "BLOCKED"


def test_the_readmes_migration_imports_every_record(tmp_path):
    rehearsal, import_ = shell_commands(README, "runlog")
    assert "--dry-run" in rehearsal
    for words in (rehearsal, import_):
        ended = runlog(*words[1:], "--data-dir", tmp_path / "data", "--json")
        assert ended.code == 0, ended.err
        assert ended.json["imported"] == ended.json["total"] > 0
        assert ended.json["dry_run"] == (words is rehearsal)


@needs_jq
def test_the_check_by_hand_finds_the_hash_that_the_event_claims_and_then_a_changed_byte(tmp_path):
    assert runlog(*shell_commands(README, "runlog")[1][1:], "--data-dir", tmp_path / "var").code == 0
    by_hash, by_seq = shell_blocks(section(ARCHITECTURE, "## Checking a record by hand"))

    def outcome(script: str) -> list[str]:
        ended = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, timeout=20)
        assert ended.returncode == 0, ended.stderr
        return [line.split()[0] for line in ended.stdout.splitlines()]

    claimed, computed = outcome(by_hash)
    assert claimed == computed
    assert outcome(by_seq) == []  # no gap, and the run of the example is not in this log
    (segment,) = (tmp_path / "var" / "log" / "segments").glob("*.jsonl")
    segment.chmod(0o600)
    segment.write_bytes(segment.read_bytes().replace(b'"actor":"cli"', b'"actor":"clj"', 1))
    claimed, computed = outcome(by_hash)
    assert claimed != computed
