"""`runlog rollback`: says what it will do, asks, and does it; what it refuses it lists, and then nothing was changed."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.cli.v1_options import (
    FILE,
    data_dir_option,
    json_option,
    require_v1,
    settings_of,
    url_option,
    v1_path_of,
    v1_path_option,
    writing,
)
from api.settings import Settings

if TYPE_CHECKING:
    from api.migration.rollback import Plan, Rollback

REFUSED = 3


@click.command(epilog="Example: runlog rollback --backup old/runs.json.backup-2026-01-05T050716.690677Z --yes")
@click.option("--backup", metavar="FILE", type=FILE, required=True, help="The backup that `runlog migrate` reported.")
@v1_path_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Withdraw runs that were added to since their import, too.")
@url_option
@data_dir_option
@json_option
def rollback(
    backup: Path,
    v1_path: Path | None,
    yes: bool,
    force: bool,
    url: str | None,
    data_dir: str | None,
    as_json: bool,
) -> int:
    """Take an import back: restore the v1 file, and withdraw the runs of the import.

    The log keeps them, and `runlog migrate` can import them again. Stop the server first, or go
    through it with --url (then on its machine: the import's record lies in its data directory).
    """
    from api.migration.rollback import Rollback, plan_of

    settings = settings_of(data_dir)
    path = v1_path_of(v1_path, settings).resolve()
    if not backup.is_file():
        raise click.UsageError(f"There is no backup at {backup}.")
    require_v1(path)
    plan = plan_of(backup.absolute(), settings.data_dir)
    say: Callable[[str], None] = (lambda _text: None) if as_json else click.echo
    say(f"Restores {path} from {backup}, and withdraws the runs of import {', '.join(plan.import_ids)}.")
    _ask(yes)
    done = Rollback(plan.record.import_id)
    with writing(), _told_of(done, as_json):
        stopped = _roll_back(plan, path, settings, url, force, done)
    _print(done, as_json)
    if stopped:
        click.echo(f"runlog: {stopped}", err=True)
    if done.refused:
        return REFUSED
    return 1 if stopped else 0


@contextmanager
def _told_of(done: "Rollback", as_json: bool) -> Iterator[None]:
    """Tell what was done, too, if it is interrupted after it began to change something."""
    from eventlog.errors import RunlogError

    try:
        yield
    except (RunlogError, OSError, KeyboardInterrupt):
        if done.safety_copy is not None:
            _print(done, as_json)
            click.echo("runlog: It was interrupted. Next: the same command goes on from there.", err=True)
        raise


def _ask(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask. Say --yes.")
    click.confirm("Go on?", abort=True, err=True)


def _roll_back(plan: "Plan", path: Path, settings: Settings, url: str | None, force: bool, done: "Rollback") -> str:
    from api.cli.progress import bar

    if url is not None:
        from api.migration.rollback_online import roll_back_online

        return roll_back_online(plan, path, settings, url, done, force=force, bars=bar)
    from api.migration.offline import roll_back_offline

    return roll_back_offline(plan, path, settings, done, force=force, bars=bar)


def _print(done: "Rollback", as_json: bool) -> None:
    from api.migration.report import json_chunks

    if as_json:
        sys.stdout.writelines(json_chunks(done))
        return
    if done.refused:
        for run_id in done.refused:
            click.echo(f"  {run_id} was added to since its import")
        click.echo(
            f"Nothing was changed: {len(done.refused)} runs were added to. Next: look at them, then say --force."
        )
        return
    was = "is restored" if done.restored else "was to be restored"
    click.echo(f"The v1 file {was}; as it was before, it is kept at {done.safety_copy}.")
    click.echo(
        f"{done.withdrawn} runs of import {done.import_id} are withdrawn. `runlog migrate` can import them again."
    )
