"""`runlog migrate`: says what it will do, does it, and reports on every record that was not imported."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.settings import DATA_DIR, Settings, load

if TYPE_CHECKING:
    from api.migration.migrate import Report

V1_NAME = "runs.json"

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog="Example: runlog migrate --v1-path old/runs.json --v1-attachments old/attachments --dry-run")
@click.option("--v1-path", metavar="P", type=_FILE, help=f"The v1 file (default {V1_NAME} in the data directory).")
@click.option("--v1-attachments", metavar="DIR", type=_FOLDER, help="Where v1 kept the bytes of its attachments.")
@click.option("--dry-run", is_flag=True, help="Judge every record, and write nothing but the --report.")
@click.option("--no-backup", is_flag=True, help="Keep no copy of the v1 file beside it.")
@click.option("--report", "report_path", metavar="FILE", type=_FILE, help="Write what --json prints to FILE too.")
@click.option("--data-dir", metavar="DIR", help=f"Where the log is, or will be (default {DATA_DIR}).")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def migrate(
    v1_path: Path | None,
    v1_attachments: Path | None,
    dry_run: bool,
    no_backup: bool,
    report_path: Path | None,
    data_dir: str | None,
    as_json: bool,
) -> int:
    """Import the records of a v1 runs.json.

    Each record becomes a run, with all that came with it, or an error that says why not. It is
    safe to do again: what is in the log already is left alone. Stop the server first; a dry run
    works beside it.
    """
    from eventlog.logging import configure

    configure("warning")
    os.umask(0o077)  # as the server: what it writes is its user's alone
    settings = load({"data_dir": data_dir}, os.environ).settings
    path = (v1_path or settings.data_dir / V1_NAME).absolute()
    _check_paths(path, report_path)
    report, stopped = _migrated(path, v1_attachments, settings, dry_run, not no_backup, as_json)
    facts = report.as_json()
    _print(report, facts, as_json)
    if report_path is not None:
        _write(report_path, facts)
    if stopped:
        click.echo(f"runlog: {stopped}", err=True)
    return 0 if report.is_good and not stopped else 1


def _check_paths(path: Path, report_path: Path | None) -> None:
    if not path.is_file():
        raise click.UsageError(f"There is no v1 file at {path}. Name it with --v1-path.")
    if report_path is None:
        return
    if not report_path.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {report_path.absolute().parent} for the --report.")
    if report_path.exists() and report_path.samefile(path):
        raise click.UsageError("The --report would overwrite the v1 file. Give another name.")


def _migrated(
    path: Path, attachments: Path | None, settings: Settings, dry_run: bool, backup: bool, quiet: bool
) -> tuple["Report", str]:
    """Return the report, and what kept the projections from coming to the head ("" for nothing)."""
    from api.migration.migrate import Report
    from api.migration.v1_source import V1Attachments, V1NotAnObject, V1Unreadable, parse_v1

    content = path.read_bytes()
    try:
        records = parse_v1(path, content)
    except V1NotAnObject as error:
        raise click.UsageError(error.message) from None
    except V1Unreadable as error:
        fault = {"run_id": "", "field": "$", "reason": error.message}
        return Report(errors=[fault], dry_run=dry_run), ""
    if not quiet:
        verb = "Would import" if dry_run else "Importing"
        click.echo(f"{verb} the {len(records)} records of {path} into {settings.data_dir}.")
    source = V1Attachments(attachments)
    if dry_run:
        return _rehearsed(records, source, settings), ""
    return _imported(path, content if backup else None, records, source, settings, quiet)


def _rehearsed(records: Mapping[str, Any], attachments: Any, settings: Settings) -> "Report":
    from api.cli.progress import bar
    from api.migration.migrate import known_in, rehearse

    with bar("Reading", len(records), "records") as on_progress:
        return rehearse(records.items(), known_in(settings.data_dir), attachments, on_progress)


def _imported(
    path: Path,
    to_keep: bytes | None,
    records: Mapping[str, Any],
    attachments: Any,
    settings: Settings,
    quiet: bool,
) -> tuple["Report", str]:
    import sqlite3

    from api.cli.progress import bar
    from api.migration.migrate import migrate as migrate_records
    from api.migration.v1_source import keep_backup
    from eventlog.blobs import Blobs
    from eventlog.clock import SystemClock, uuid7
    from eventlog.commit import Limits
    from eventlog.errors import EventLogError
    from projections.offline import catch_up, opened

    clock = SystemClock()
    with opened(settings.data_dir, Limits(segment_bytes_max=settings.segment_bytes_max)) as (loop, log):
        # After the lock: who is refused leaves nothing behind.
        backup = keep_backup(path, to_keep, clock) if to_keep is not None else None
        if backup and not quiet:
            click.echo(f"The v1 file is kept at {backup['path']} (SHA-256 {backup['sha256']}).")
        blobs, import_id = Blobs(settings.attachments_dir), uuid7(clock.now_us())
        with bar("Importing", len(records), "records") as on_progress:
            report = loop.run(migrate_records(records.items(), log, blobs, attachments, import_id, on_progress))
        report.backup = backup
        try:
            with bar("Projecting", 2 * log.end.next_seq, "events") as on_progress:
                catch_up(log, settings.data_dir, settings.runs_dir, on_progress)
        except (OSError, sqlite3.Error, EventLogError) as error:
            # What was imported is durable all the same, and the report must tell of it.
            return report, f"The projections are not at the head: {error} A server brings them there when it starts."
    return report, ""


def _write(path: Path, facts: dict[str, Any]) -> None:
    import json

    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _print(report: "Report", facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps(facts))
        return
    would = "would be imported" if report.dry_run else "imported"
    click.echo(
        f"{report.total} records: {report.imported} {would} ({len(report.notes)} notes), {report.unchanged} "
        f"unchanged, {report.conflicts} in conflict, {report.failed} failed."
    )
    for error in report.errors:
        click.echo(f"  {error['run_id'] or 'the file'}: {error['field']}: {error['reason']}")
    click.echo(_next_step(report))


def _next_step(report: "Report") -> str:
    if not report.is_good:
        return "Next: correct what is listed in a copy of the v1 file, and migrate that copy."
    if report.dry_run:
        return "Nothing was written. Next: the same command without --dry-run."
    return "Next: `runlog serve` shows the runs."
