"""`runlog demo`: a data directory for a newcomer to look at. It only ever fills an empty one."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click
from attrs import frozen

from eventlog.errors import RunlogError

if TYPE_CHECKING:
    from datetime import datetime

DATA_DIR = "demo"
RUNS, DAYS, SEED = 300, 14, 1
TODAY_SHARE = 8
"""One run in so many is one of today."""


@frozen
class DemoRefused(RunlogError):
    """The folder holds something; what a log has recorded could never be taken out of it again (exit code 3)."""

    code: ClassVar[str] = "DEMO_REFUSED"
    data_dir: str

    @property
    def message(self) -> str:
        return f"{self.data_dir} is not empty, and made-up runs must not get into a log. Name a new --data-dir."


@click.command(epilog="Example: runlog demo && runlog serve --data-dir demo --open")
@click.option(
    "--data-dir", metavar="DIR", default=DATA_DIR, help=f"A new folder, or an empty one (default {DATA_DIR})."
)
@click.option("--runs", type=click.IntRange(1, 100_000), default=RUNS, help=f"How many runs (default {RUNS}).")
@click.option("--seed", type=int, default=SEED, help=f"The same number makes the same runs (default {SEED}).")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    help=f"The last of the {DAYS} days before today's runs (default yesterday).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demo(data_dir: str, runs: int, seed: int, until: "datetime | None", as_json: bool) -> int:
    """Make a data directory with a few hundred plausible runs.

    It tells of a workshop: plans, some of them blocked and tried again, programs, failures, advisories,
    explanations and attachments. Most are imported, as those of an old store, with times of past days; the
    rest is recorded now.
    """
    import asyncio
    import os
    from datetime import UTC, date, datetime, timedelta

    from api.cli.progress import bar
    from api.demo.fill import import_past, record_today
    from api.demo.workshop import Workshop
    from api.setting_sources import load
    from eventlog.logging import configure

    configure("warning")
    os.umask(0o077)  # as the server: what it writes is its user's alone
    last_day = (until or datetime.now(UTC) - timedelta(days=1)).date()
    if last_day < (first := date.min + timedelta(days=DAYS - 1)):
        raise click.BadParameter(
            f"There are no {DAYS} days up to {last_day}. Name {first} or a later day.", param_hint="--until"
        )
    _make_empty(Path(data_dir).absolute())
    # Nothing of the environment: its folders are those of a real log.
    settings = load({"data_dir": data_dir}, {}).settings
    now = runs // TODAY_SHARE
    workshop = Workshop.of(seed)
    past = workshop.past(runs - now, DAYS, last_day)
    behind = import_past(past, settings, bar)
    asyncio.run(record_today(workshop.today(now), settings))
    _tell(settings.data_dir, len(past), now, as_json)
    if behind:
        click.echo(f"runlog: {behind}", err=True)
    return 1 if behind else 0


def _make_empty(folder: Path) -> None:
    """Make *folder*, or make sure that it holds nothing.

    Raises:
        DemoRefused: it does, or it is no folder.

    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise DemoRefused(str(folder)) from None


def _tell(folder: Path, imported: int, recorded: int, as_json: bool) -> None:
    if as_json:
        import json

        facts = {"data_dir": str(folder), "runs": imported + recorded, "imported": imported, "recorded": recorded}
        click.echo(json.dumps(facts))
        return
    click.echo(f"{folder} has {imported} imported runs of {DAYS} days, and {recorded} that were recorded now.")
    import shlex

    click.echo(
        f"Next: `runlog serve --data-dir {shlex.quote(str(folder))} --open`. Delete the folder when you have seen enough."
    )
