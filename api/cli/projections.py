"""`runlog projections`: how far each is, whether the files are right, folding one anew, and going on after a stop."""

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from api.cli.shown import shown
from api.setting_sources import load
from api.settings import DATA_DIR, Settings

if TYPE_CHECKING:
    from projections.check import Report

ALL = "all"
_POLL_S = 0.2

_data_dir = click.option("--data-dir", metavar="DIR", help=f"Where everything is kept (default {DATA_DIR}).")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_url = click.option("--url", metavar="URL", help="Ask the running server there, whatever --data-dir says.")


@click.group(epilog="Example: runlog projections list --data-dir var")
def projections() -> None:
    """List, rebuild, check or retry what is derived from the log."""


@projections.command("list", epilog="Example: runlog projections list --url http://127.0.0.1:8080")
@_data_dir
@_url
@_json
def list_(data_dir: str | None, url: str | None, as_json: bool) -> int:
    """Show how far each projection has come.

    Without --url it reads the data directory, also beside a running server; how far a rebuild is only
    the server knows, so --url shows that too.
    """
    listed = _stored(data_dir) if url is None else _listed(url)
    if as_json:
        _echo_json({"projections": listed})
        return 0
    click.echo(f"{'name':<10}{'version':>8}{'position':>12}{'head':>12}  state")
    for one in listed:
        click.echo(f"{one['name']:<10}{one['version']:>8}{one['position']:>12}{one['head']:>12}  {one['state']}")
    for one in listed:
        if error := one["error"]:
            kind = f" ({error['type']})" if error["type"] else ""
            click.echo(shown(f"{one['name']}: event {error['seq']}{kind}: {error['message']}"))
    return 0


@projections.command(epilog="Example: runlog projections rebuild catalog --url http://127.0.0.1:8080")
@click.argument("name", metavar="NAME|all")
@_data_dir
@_url
@_json
def rebuild(name: str, data_dir: str | None, url: str | None, as_json: bool) -> int:
    """Fold a projection anew from the first event: in a running server (--url), or without one.

    The old state stays until the new one has reached the head, and a server goes on serving it. The
    files converge in place: a file that others changed goes to the quarantine, and the right one is written.
    """
    from projections.known import NAMES

    names = _chosen(name, NAMES)
    rebuilt = []
    if url is not None:
        for each in names:
            rebuilt.append(_rebuild_there(url, each, is_quiet=as_json))
    else:
        rebuilt = _rebuild_here(names, data_dir, is_quiet=as_json)
    if as_json:
        _echo_json({"rebuilt": rebuilt})
    return 0


@projections.command(epilog="Example: runlog projections retry catalog --url http://127.0.0.1:8080")
@click.argument("name", metavar="NAME|all")
@click.option("--url", metavar="URL", required=True, help="The running server.")
@click.option("--data-dir", metavar="DIR", expose_value=False, help="Not needed: the server at --url knows its own.")
@_json
def retry(name: str, url: str, as_json: bool) -> int:
    """Let a projection that stopped at an event go on, once the cause is mended."""
    from api.remote import call
    from projections.known import NAMES

    ended = []
    for each in _chosen(name, NAMES):
        call(url, "POST", "admin", "projections", each, "retry")
        ended.append(_followed(url, each, is_quiet=as_json))
        if not as_json:
            click.echo(f"{each} is running, at event {ended[-1]['position']}.")
    if as_json:
        _echo_json({"projections": ended})
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


def _listed(url: str) -> list[dict[str, Any]]:
    from api.remote import call

    found: list[dict[str, Any]] = call(url, "GET", "admin", "projections")["projections"]
    return found


def _stored(data_dir: str | None) -> list[dict[str, Any]]:
    from attrs import asdict

    from projections.standing import standings

    settings = _settings(data_dir)
    return [asdict(one) for one in standings(settings.data_dir, settings.runs_dir)]


def _rebuild_here(names: tuple[str, ...], data_dir: str | None, *, is_quiet: bool) -> list[dict[str, Any]]:
    from api.cli.progress import bar
    from projections.offline import locked, opened
    from projections.offline import rebuild as fold_anew
    from projections.projection import ProjectionFailed
    from projections.standing import require_log

    settings = _settings(data_dir)
    require_log(settings.data_dir)
    rebuilt: list[dict[str, Any]] = []
    failed: list[ProjectionFailed] = []
    with opened(settings.data_dir) as (_, log), locked(settings.data_dir):
        for each in names:
            if not is_quiet:
                click.echo(f"Rebuilding {each} from {log.end.next_seq} events.")
            try:
                with bar(each, log.end.next_seq, "events") as on_progress:
                    quarantined = fold_anew(each, log, settings.data_dir, settings.runs_dir, on_progress)
            except ProjectionFailed as failure:  # the others get their chance
                failed.append(failure)
                continue
            rebuilt.append({"name": each, "position": log.head, "quarantined": quarantined})
            if not is_quiet:
                click.echo(_rebuilt_in_words(each, quarantined, settings))
    if failed:
        raise failed[0]
    return rebuilt


def _rebuild_there(url: str, name: str, *, is_quiet: bool) -> dict[str, Any]:
    from api.remote import call

    begun = call(url, "POST", "admin", "projections", name, "rebuild")
    if not is_quiet:
        click.echo(f"Rebuilding {name} from {begun['head'] + 1} events; the server goes on.")
    ended = _followed(url, name, is_quiet=is_quiet)
    if not is_quiet:
        click.echo(f"Done: {name} is at event {ended['position']}.")
    return {"name": name, "position": ended["position"]}


def _followed(url: str, name: str, *, is_quiet: bool) -> dict[str, Any]:
    """Show a projection's way to the head; return what is told of it there.

    Raises:
        ProjectionFailed: it stopped at an event.

    """
    from api.cli.progress import bar
    from projections.projection import ProjectionFailed

    one = next(each for each in _listed(url) if each["name"] == name)
    with bar(name, one["head"] + 1, "events") as on_progress:
        while one["state"] == "rebuilding":
            on_progress(one["position"] + 1)
            time.sleep(_POLL_S)
            one = next(each for each in _listed(url) if each["name"] == name)
    if error := one["error"]:
        raise ProjectionFailed(name, error["seq"], error["type"], error["message"])
    return one


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
            click.echo(shown(f"{what}  {path}"))
    counts = ", ".join(f"{len(paths)} {what}" for what, paths in listed.items())
    click.echo(f"{report.files} files in {settings.runs_dir}: {counts}.")
    if report.missing or report.changed:
        click.echo("Next: repair them with `runlog projections rebuild files`, with --url if a server runs.")
    if report.foreign:
        click.echo("Foreign files are none of Runlog's: move them elsewhere.")


def _echo_json(facts: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(facts))
