"""`runlog status` and `verify`: where the migration stands, and whether the log serves what v1 has. Nothing is written."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli.v1_options import (
    data_dir_option,
    echo_json,
    held_by,
    json_option,
    require_v1,
    settings_of,
    v1_faults,
    v1_path_of,
    v1_path_option,
)
from api.settings import Settings

if TYPE_CHECKING:
    from api.migration.holdings import Holdings
    from api.migration.verify import Comparison

_NEXT_OF_STATUS = {
    "EMPTY": "Next: name the v1 file with --v1-path, or record runs with `runlog serve`.",
    "V1_ONLY": "Next: `runlog migrate --dry-run` tells what an import would do.",
    "PARTIAL": "Next: `runlog migrate` imports the rest; it lists what it cannot.",
    "MIGRATED": "Next: `runlog verify` compares every field.",
    "LOG_ONLY": "Next: nothing; there is no v1 record here.",
}


@click.command(epilog="Example: runlog status --v1-path old/runs.json --data-dir var")
@v1_path_option
@data_dir_option
@json_option
def status(v1_path: Path | None, data_dir: str | None, as_json: bool) -> int:
    """Show where the migration stands, also beside a running server.

    EMPTY: nothing anywhere. V1_ONLY: no record of v1 is in the log. PARTIAL: some are.
    MIGRATED: all are, with the same content. LOG_ONLY: there are runs, and no v1 record.
    """
    import attrs

    from api.migration.status import status_of
    from api.migration.v1_text import V1Unreadable

    settings = settings_of(data_dir)
    path = v1_path_of(v1_path, settings)
    with held_by(settings) as holdings:
        try:
            with _records(path) as records:
                found = status_of(records, holdings)
        except V1Unreadable as error:
            click.echo(f"runlog: {error.message}", err=True)
            return 1
    if as_json:
        echo_json(attrs.asdict(found))
        return 0
    click.echo(f"{found.status}: {found.v1} records in {path}, {found.imported} of them in the log of")
    click.echo(f"{settings.data_dir}, {found.missing} not, {found.withdrawn} withdrawn.")
    click.echo(_NEXT_OF_STATUS[found.status])
    return 0


@click.command(epilog="Example: runlog verify --v1-path old/runs.json --data-dir var")
@v1_path_option
@data_dir_option
@json_option
def verify(v1_path: Path | None, data_dir: str | None, as_json: bool) -> int:
    """Compare every field of every v1 record with what the log serves, also beside a running server.

    It checks every hash, the attachments' bytes, and the dated files, and names each difference.
    The exit code is 1 if there is any.
    """
    from api.cli.progress import bar
    from api.migration.v1_text import V1Unreadable, records_of
    from api.migration.verify import Comparison, compare

    settings = settings_of(data_dir)
    path = v1_path_of(v1_path, settings)
    require_v1(path)
    if not as_json:
        click.echo(f"Comparing {path} with the log of {settings.data_dir}.")
    found, unread = Comparison(), ""
    with held_by(settings) as holdings:
        try:
            with v1_faults(), bar("Comparing", path.stat().st_size, "bytes") as on_bytes:
                compare(records_of(path, on_bytes), holdings, settings.attachments_dir, found)
        except V1Unreadable as error:
            unread = error.message
        _find_tampering(settings, holdings, found)
    _print_comparison(found, as_json)
    if unread:
        click.echo(f"runlog: {unread}", err=True)
    return 0 if found.is_good and not unread else 1


def _find_tampering(settings: Settings, holdings: "Holdings", found: "Comparison") -> None:
    """List the lines of the log, and the files of the tree, that are not what was written."""
    from functools import partial

    from api.cli.progress import bar
    from eventlog.errors import LogCorrupt, LogDamaged
    from projections.standing import LogMissing, check_files

    for damage in holdings.damage:
        found.tampered.append(f"log/segments/{damage.segment}, byte {damage.offset}: {damage.reason}")
    try:
        tree = check_files(settings.data_dir, settings.runs_dir, partial(bar, "Reading", unit="events"))
    except LogMissing:
        return
    except (LogCorrupt, LogDamaged) as error:  # then what belongs into the tree is not known
        click.echo(f"runlog: the dated files were not compared: {error}", err=True)
        return
    for path in (*tree.changed, *tree.missing, *tree.foreign):
        found.tampered.append(path)


def _print_comparison(found: "Comparison", as_json: bool) -> None:
    from api.migration.report import json_chunks

    if as_json:
        sys.stdout.writelines(json_chunks(found))
        return
    for run_id in found.missing:
        click.echo(f"missing  {run_id}")
    for one in found.different:
        click.echo(f"differs  {one['run_id']}: {one['field']}: v1 {_short(one['v1'])}, here {_short(one['here'])}")
    for path in found.tampered:
        click.echo(f"tampered  {path}")
    differing = found.total - found.same - len(found.missing)
    click.echo(
        f"{found.total} records: {found.same} the same, {len(found.missing)} missing, {differing} different; "
        f"{len(found.tampered)} files tampered with."
    )
    if found.missing:
        click.echo("Next: `runlog migrate` imports what is missing, and says why it cannot.")
    if found.tampered:
        click.echo("Next: stop the server, and put the files right with `runlog projections rebuild files`.")


def _short(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


@contextmanager
def _records(path: Path) -> Iterator[Any]:
    from api.cli.progress import bar
    from api.migration.v1_text import records_of

    if not path.exists():
        yield ()
        return
    with v1_faults(), bar("Reading", path.stat().st_size, "bytes") as on_bytes:
        yield records_of(path, on_bytes)
