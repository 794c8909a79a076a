"""`runlog migrate`: says what it will do, does it, and reports on every record that was not imported."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli.shown import shown
from api.cli.v1_options import (
    FILE,
    data_dir_option,
    held_by,
    json_option,
    require_v1,
    settings_of,
    url_option,
    v1_faults,
    v1_path_of,
    v1_path_option,
    writing,
)
from api.settings import Settings

if TYPE_CHECKING:
    from api.migration.report import Report

_GOES_ON = "It was interrupted: what is reported is durable. Next: the same command goes on from there."
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog="Example: runlog migrate --v1-path old/runs.json --v1-attachments old/attachments --dry-run")
@v1_path_option
@click.option("--v1-attachments", metavar="DIR", type=_FOLDER, help="Where v1 kept the bytes of its attachments.")
@click.option("--dry-run", is_flag=True, help="Judge every record, and write nothing but the --report; not with --url.")
@click.option("--no-backup", is_flag=True, help="Keep no copy of the v1 file; then it cannot be rolled back.")
@click.option("--report", "report_path", metavar="FILE", type=FILE, help="Write what --json prints to FILE too.")
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="How many records are written at once (at most 4096).",
)
@url_option
@data_dir_option
@json_option
def migrate(
    v1_path: Path | None,
    v1_attachments: Path | None,
    dry_run: bool,
    no_backup: bool,
    report_path: Path | None,
    batch_size: int,
    url: str | None,
    data_dir: str | None,
    as_json: bool,
) -> int:
    """Import the records of a v1 runs.json.

    Each record becomes a run, with all that came with it, or an error that says why not. It is
    safe to do again: what is in the log already is left alone, and what was interrupted goes on.
    Stop the server first, or go through it with --url; a dry run works beside it.
    """
    from api.migration.migrate import BATCH_SIZE_MAX
    from api.migration.report import Report
    from api.migration.v1_source import V1Attachments
    from api.migration.v1_text import V1Unreadable, check_is_object

    batch_size = min(batch_size, BATCH_SIZE_MAX)
    if dry_run and url is not None:
        raise click.UsageError(
            "A dry run goes through no server: it reads the data directory, beside a running server too. Leave out "
            "--url, and name the server's data directory with --data-dir, on its machine."
        )
    settings = settings_of(data_dir)
    path = v1_path_of(v1_path, settings)
    require_v1(path)
    _check_report(path, report_path)
    say = (lambda _text: None) if as_json else click.echo
    report = Report(dry_run=dry_run)
    stopped = ""
    with closing(report), writing():
        try:
            with v1_faults(), _told_of(report, report_path, as_json):
                check_is_object(path)
                say(f"{'Would import' if dry_run else 'Importing'} {path} into {url or settings.data_dir}.")
                source = V1Attachments(v1_attachments)
                if dry_run:
                    _rehearse(path, source, settings, report)
                elif url is not None:
                    stopped = _migrate_online(path, source, settings, url, report, batch_size, not no_backup, say)
                else:
                    stopped = _migrate(path, source, settings, report, batch_size, not no_backup, say)
        except V1Unreadable as error:
            report.end(error.message)
        _tell(report, report_path, as_json)
        if stopped:
            click.echo(f"runlog: {stopped}", err=True)
        return 0 if report.is_good and not stopped else 1


def _rehearse(path: Path, attachments: Any, settings: Settings, report: "Report") -> None:
    from api.cli.progress import bar
    from api.migration.migrate import rehearse
    from api.migration.v1_text import records_of

    with held_by(settings) as holdings:
        holdings.check_whole()
        with bar("Judging", path.stat().st_size, "bytes") as on_bytes:
            rehearse(records_of(path, on_bytes), holdings, attachments, report)


def _migrate(
    path: Path,
    attachments: Any,
    settings: Settings,
    report: "Report",
    batch_size: int,
    with_backup: bool,
    say: Callable[[str], None],
) -> str:
    from api.cli.progress import bar
    from api.migration.offline import migrate_offline

    return migrate_offline(
        path, attachments, settings, report, with_backup=with_backup, batch_size=batch_size, bars=bar, say=say
    )


def _migrate_online(
    path: Path,
    attachments: Any,
    settings: Settings,
    url: str,
    report: "Report",
    batch_size: int,
    with_backup: bool,
    say: Callable[[str], None],
) -> str:
    from api.cli.progress import bar
    from api.migration.online import migrate_online

    return migrate_online(
        path, attachments, settings, url, report, with_backup=with_backup, batch_size=batch_size, bars=bar, say=say
    )


@contextmanager
def _told_of(report: "Report", report_path: Path | None, as_json: bool) -> Iterator[None]:
    """Report on what was done, too, if it is interrupted after it began."""
    from eventlog.errors import RunlogError

    try:
        yield
    except (RunlogError, OSError, KeyboardInterrupt):
        # A server that ended may have begun without our having heard of it; the backup comes first.
        if report.import_id is not None or report.backup is not None:
            _tell(report, report_path, as_json, is_interrupted=True)
        raise


def _tell(report: "Report", report_path: Path | None, as_json: bool, *, is_interrupted: bool = False) -> None:
    _print(report, as_json, is_interrupted=is_interrupted)
    if is_interrupted and as_json:
        click.echo(f"runlog: {_GOES_ON}", err=True)
    if report_path is not None:
        _write(report_path, report)


def _check_report(path: Path, report_path: Path | None) -> None:
    if report_path is None:
        return
    if not report_path.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {report_path.absolute().parent} for the --report.")
    if report_path.exists() and report_path.samefile(path):
        raise click.UsageError("The --report would overwrite the v1 file. Give another name.")


def _write(path: Path, report: "Report") -> None:
    from api.migration.report import json_chunks

    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_chunks(report))


def _print(report: "Report", as_json: bool, *, is_interrupted: bool) -> None:
    from api.migration.report import json_chunks

    if as_json:
        sys.stdout.writelines(json_chunks(report))
        return
    would = "would be imported" if report.dry_run else "imported"
    click.echo(
        f"{report.total} records: {report.imported} {would} ({len(report.notes)} notes), {report.unchanged} "
        f"unchanged, {report.conflicts} in conflict, {report.failed} failed."
    )
    for error in report.errors:
        click.echo(shown(f"  {error['run_id'] or 'the file'}: {error['field']}: {error['reason']}"))
    click.echo(_GOES_ON if is_interrupted else _next_step(report))


def _next_step(report: "Report") -> str:
    if not report.is_good:
        return "Next: correct what is listed in a copy of the v1 file, and migrate that copy."
    if report.dry_run:
        return "Nothing was written. Next: the same command without --dry-run."
    return "Next: `runlog verify` compares every field, `runlog serve` shows the runs."
