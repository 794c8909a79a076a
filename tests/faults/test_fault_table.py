"""The table of faults names tests that exist, for every fault of the specification."""

import ast
import re

from tests.server import ROOT

NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(test_\w+)`")
FAULTS = (
    "power loss at any moment",
    "`kill -9`",
    "EIO, ENOSPC and others on each file call",
    "a full disk, truly",
    "one flipped byte; a line or segment cut, swapped, removed, added",
    "two writers",
    "a projection crashes at any event",
    "the clock steps back, leaps a year; midnight; leap day",
    "hostile input",
    "slow or dead clients",
)


def rows() -> dict[str, list[tuple[str, str]]]:
    """Of each fault the tests, as file and name."""
    text = (ROOT / "docs" / "faults.md").read_text()
    lines = [line.split("|") for line in text.splitlines() if line.startswith("| ")][1:]
    return {cells[1].strip(): NAMED.findall(cells[-2]) for cells in lines}


def named_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_has_its_row_and_every_test_that_a_row_names_exists() -> None:
    found = rows()
    assert set(FAULTS) <= found.keys()
    for fault, named in found.items():
        assert named, fault
        assert not [(file, name) for file, name in named if name not in named_in(file)], fault
