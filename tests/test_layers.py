"""Imports point one way: api -> projections -> eventlog."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "eventlog": set(),
    "projections": {"eventlog"},
    "api": {"eventlog", "projections"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_names(source: str) -> Iterator[tuple[int, str]]:
    """Every absolute import, inside functions too; a relative one that stays in its package is no matter here."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def wrong_imports(package: str, source: str) -> list[str]:
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    return [f"line {line}: {name}" for line, name in imported_names(source) if name.split(".")[0] in forbidden]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_the_layers_below_it(package):
    sources = modules(package)
    assert sources
    wrong = {str(path.relative_to(ROOT)): wrong_imports(package, path.read_text("utf-8")) for path in sources}
    assert {path: lines for path, lines in wrong.items() if lines} == {}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_package_imports_the_tests_or_the_benchmarks(package):
    names = {name.split(".")[0] for path in modules(package) for _, name in imported_names(path.read_text("utf-8"))}
    assert names.isdisjoint({"tests", "bench"})


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("eventlog", "import projections"),
        ("eventlog", "import api.http.app"),
        ("eventlog", "def later():\n    from projections.run import fold"),
        ("projections", "from api import settings"),
        ("projections", "import os, api.cli"),
    ],
)
def test_an_import_against_the_direction_is_found_wherever_it_stands(package, source):
    assert wrong_imports(package, source) != []
