"""The client's README is true, and the client stands alone."""

import ast
import inspect
import re
import sys

import runlog_client
from runlog_client import RunlogClient
from tests.server import ROOT, Server

README = (ROOT / "client" / "README.md").read_text("utf-8")
SOURCES = sorted((ROOT / "client" / "runlog_client").glob("*.py"))


def test_the_example_runs_as_it_stands(server: Server, capsys):
    example = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)[0]
    here = example.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    assert here != example
    exec(compile(here, "README.md", "exec"), {"__name__": "readme"})
    summary, item = capsys.readouterr().out.splitlines()
    assert summary.startswith("[CRITICAL] ")
    assert item.endswith(" OK")


def test_every_method_has_its_row():
    rows = set(re.findall(r"^\| `(\w+)\(", README, re.M))
    public = {name for name, _ in inspect.getmembers(RunlogClient, inspect.isfunction) if not name.startswith("_")}
    assert rows == public


def test_what_the_package_offers_is_there_and_documented():
    offered = [getattr(runlog_client, name) for name in runlog_client.__all__]
    assert all(one.__doc__ for one in offered)


def test_it_imports_nothing_but_what_it_says_it_needs():
    allowed = {*sys.stdlib_module_names, "aiohttp", "attrs", "stamina", "runlog_client"}
    imported = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert imported <= allowed
    assert {"aiohttp", "attrs", "stamina"} <= imported


def test_it_is_typed():
    assert (ROOT / "client" / "runlog_client" / "py.typed").is_file()
