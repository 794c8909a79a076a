"""The rows of the result: one table for people, one JSON file for later."""

import json
import sys
from pathlib import Path
from typing import Any

from attrs import asdict, frozen
from rich.console import Console
from rich.table import Table

from bench.bars import BARS

_WIDTH_WHEN_NOT_A_TERMINAL = 180


@frozen
class Row:
    """One line: `ok` is None where there is no bar."""

    id: str
    what: str
    measured: str
    peers: str = ""
    ratio: float | None = None
    bar: str = ""
    reach: str = ""
    ok: bool | None = None


def judged(bar: str, what: str, measured: str, value: float, peers: str = "", *, ratio: bool = False) -> Row:
    """Return a row with the verdict of *bar* on *value*, which is shown as the ratio if it is one."""
    limit = BARS[bar]
    shown = value if ratio else None
    return Row(bar.partition(" ")[0], what, measured, peers, shown, limit.text, limit.reach, limit.holds(value))


def show(rows: list[Row], title: str, remarks: list[str]) -> None:
    """Print the table, and the remarks below it."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_WHEN_NOT_A_TERMINAL, highlight=False)
    table = Table(
        "id", "what", "measured", "peer(s)", "ratio", "bar", "reach", "ok?", title=title, title_justify="left"
    )
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        verdict = {None: "", True: "[green]yes[/]", False: "[bold red]MISSED[/]"}[row.ok]
        table.add_row(row.id, row.what, row.measured, row.peers, ratio, row.bar, row.reach, verdict)
    console.print(table)
    for remark in remarks:
        console.print(f"- {remark}", markup=False)


def save(path: Path, rows: list[Row], document: dict[str, Any]) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**document, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
