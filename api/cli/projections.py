"""`runlog projections`: how far each is, whether the files are right, and folding one anew."""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from api.settings import DATA_DIR, Settings, load

if TYPE_CHECKING:
    from projections.check import Report

ALL = "all"

_data_dir = click.option("--data-dir", metavar="DIR", help=f"Where everything is kept (default {DATA_DIR}).")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(epilog="Example: runlog projections list --data-dir var")
def projections() -> None:
    """List, rebuild or check what is derived from the log."""


@projections.command("list", epilog="Example: runlog projections list --data-dir var --json")
@_data_dir
@_json
def list_(data_dir: str | None, as_json: bool) -> int:
    """Show how far each projection has come, also beside a running server.

    Where a projection stopped at an event that it could not fold, only the server's /readyz says why.
    """
    from attrs import asdict

    from projections.standing import standings

    settings = _settings(data_dir)
    found = standings(settings.data_dir, settings.runs_dir)
    if as_json:
        _echo_json({"projections": [asdict(one) for one in found]})
        return 0
    click.echo(f"{'name':<10}{'version':>8}{'position':>12}{'head':>12}  state")
    for one in found:
        click.echo(f"{one.name:<10}{one.version:>8}{one.position:>12}{one.head:>12}  {one.state}")
    return 0


@projections.command(epilog="Example: runlog projections rebuild catalog --data-dir var")
@click.argument("name", metavar="NAME|all")
@_data_dir
@_json
def rebuild(name: str, data_dir: str | None, as_json: bool) -> int:
    """Fold a projection anew from the first event; stop the server first.

    The old state stays until the new one has reached the head. The files converge in place: a file
    that others changed goes to the quarantine, and the right one is written.
    """
    from api.cli.progress import bar
    from projections.offline import locked, opened
    from projections.offline import rebuild as fold_anew
    from projections.standing import NAMES, require_log

    names = _chosen(name, NAMES)
    settings = _settings(data_dir)
    require_log(settings.data_dir)
    rebuilt = []
    with opened(settings.data_dir) as (_, log), locked(settings.data_dir):
        for each in names:
            if not as_json:
                click.echo(f"Rebuilding {each} from {log.end.next_seq} events.")
            with bar(each, log.end.next_seq, "events") as on_progress:
                quarantined = fold_anew(each, log, settings.data_dir, settings.runs_dir, on_progress)
            rebuilt.append({"name": each, "position": log.head, "quarantined": quarantined})
            if not as_json:
                click.echo(_rebuilt_in_words(each, quarantined, settings))
    if as_json:
        _echo_json({"rebuilt": rebuilt})
    return 0


@projections.command(epilog="Example: runlog projections check files --data-dir var")
@click.argument("name", metavar="files|all")
@_data_dir
@_json
def check(name: str, data_dir: str | None, as_json: bool) -> int:
    """Compare the whole files tree with the log, also beside a running server.

    Every file that is missing, changed or foreign is listed; the exit code is 1 if there is any.
    """
    from attrs import asdict

    from api.cli.progress import bar
    from projections.standing import check_files

    _chosen(name, ("files",))
    settings = _settings(data_dir)
    report = check_files(settings.data_dir, settings.runs_dir, partial(bar, "Reading", unit="events"))
    if as_json:
        _echo_json(asdict(report))
    else:
        _print_check(report, settings)
    return 0 if report.is_good else 1


def _settings(data_dir: str | None) -> Settings:
    from eventlog.logging import configure

    configure("warning")
    os.umask(0o077)  # as the server: what it writes is its user's alone
    return load({"data_dir": data_dir}, os.environ).settings


def _chosen(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if name == ALL:
        return names
    if name not in names:
        raise click.BadParameter(f"{name!r} is none of {', '.join((*names, ALL))}.", param_hint="NAME")
    return (name,)


def _rebuilt_in_words(name: str, quarantined: int, settings: Settings) -> str:
    if not quarantined:
        return f"Done: {name} is at the head."
    return (
        f"Done: {name} is at the head. {quarantined} files were not as Runlog wrote them; they are kept in "
        f"{settings.data_dir / 'quarantine'}."
    )


def _print_check(report: "Report", settings: Settings) -> None:
    listed = {"missing": report.missing, "changed": report.changed, "foreign": report.foreign}
    for what, paths in listed.items():
        for path in paths:
            click.echo(f"{what}  {path}")
    counts = ", ".join(f"{len(paths)} {what}" for what, paths in listed.items())
    click.echo(f"{report.files} files in {settings.runs_dir}: {counts}.")
    if report.missing or report.changed:
        click.echo("Next: stop the server, and repair them with `runlog projections rebuild files`.")
    if report.foreign:
        click.echo("Foreign files are none of Runlog's: move them elsewhere.")


def _echo_json(facts: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(facts))
