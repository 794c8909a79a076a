"""`runlog status` and `verify`: where the migration stands, and whether the log serves what v1 has. Nothing is written."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli.shown import shown
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
    from api.migration.holdings import Damage, Holdings
    from api.migration.status import Status
    from api.migration.v1_text import V1Record, V1Unreadable
    from api.migration.verify import Comparison

_NEXT_OF_STATUS = {
    "EMPTY": "Next: name the v1 file with --v1-path, or record runs with `runlog serve`.",
    "V1_ONLY": "Next: `runlog migrate --dry-run` tells what an import would do.",
    "PARTIAL": "Next: `runlog migrate` imports the rest; it lists what it cannot.",
    "MIGRATED": "Next: `runlog verify` compares every field.",
    "LOG_ONLY": "Next: nothing; there is no v1 record here.",
}

_MEND_LOG = "`runlog log verify` shows how far the damage goes; restore what it lists from a backup."
# how a path begins that was tampered with, and what to do about it; the last one is of the dated files
_STEPS = {
    "log": _MEND_LOG,
    "attachments/": "upload the same bytes to their run again, or restore them from a backup.",
    "": "`runlog projections rebuild files` puts the dated files right; beside a server say --url.",
}


@click.command(epilog="Example: runlog status --v1-path old/runs.json --data-dir var")
@v1_path_option
@data_dir_option
@json_option
def status(v1_path: Path | None, data_dir: str | None, as_json: bool) -> int:
    """Show where the migration stands, also beside a running server.

    EMPTY: nothing anywhere. V1_ONLY: no record of v1 is in the log. PARTIAL: some are.
    MIGRATED: all are, with the same content. LOG_ONLY: there are runs, if only withdrawn ones, and
    no v1 record. The exit code is 1 if the text of v1 or the log cannot be read to its end.
    """
    import attrs

    from api.migration.status import status_of
    from api.migration.v1_text import V1Unreadable

    settings = settings_of(data_dir)
    path = v1_path_of(v1_path, settings)
    unread: list[V1Unreadable] = []
    with held_by(settings) as holdings, _records(path) as records:
        found = status_of(_readable(records, unread), holdings)
    faults = [f"{error.message} What stands before it was judged." for error in unread]
    if holdings.damage:
        faults.append(f"The log is damaged, so this is not sure: {_in_words(holdings.damage[0])}. {_MEND_LOG}")
    for fault in faults:
        click.echo(f"runlog: {fault}", err=True)
    if as_json:
        echo_json(attrs.asdict(found))
    else:
        click.echo(_status_in_words(found, path, settings.data_dir))
        if not faults:
            click.echo(_NEXT_OF_STATUS[found.status])
    return 1 if faults else 0


def _in_words(damage: "Damage") -> str:
    where = f"/{damage.segment}, byte {damage.offset}" if damage.segment else ", where no segment is left"
    return f"log/segments{where}: {damage.reason}"


def _status_in_words(found: "Status", path: Path, data_dir: Path) -> str:
    if not found.v1:
        counts = f"no record in {path}, {found.imported} imported runs in the log of {data_dir}"
    else:
        counts = f"{found.v1} records in {path}, {found.imported} of them in the log of {data_dir}, {found.missing} not"
    return f"{found.status}: {counts}, {found.withdrawn} withdrawn."


@click.command(epilog="Example: runlog verify --v1-path old/runs.json --data-dir var")
@v1_path_option
@data_dir_option
@json_option
def verify(v1_path: Path | None, data_dir: str | None, as_json: bool) -> int:
    """Compare every field of every v1 record with what the API serves, also beside a running server.

    It checks every hash, the attachments' bytes, and the dated files, and names each difference.
    The exit code is 1 if there is any. Where the catalog is not at the head it goes by the log alone.
    """
    from contextlib import closing

    from api.cli.progress import bar
    from api.migration.served import Served
    from api.migration.v1_text import V1Unreadable, records_of
    from api.migration.verify import Comparison, compare, list_unknown

    settings = settings_of(data_dir)
    path = v1_path_of(v1_path, settings)
    require_v1(path)
    if not as_json:
        click.echo(f"Comparing {path} with the log of {settings.data_dir}.")
    found, unread = Comparison(), list[V1Unreadable]()
    with held_by(settings) as holdings:
        served = Served.of(settings.data_dir, settings.runs_dir, holdings)
        if served is None and not as_json:
            click.echo("There is no catalog, or it is not at the head: what is served is taken from the log alone.")
        with (
            closing(served) if served else nullcontext(),
            v1_faults(),
            bar("Comparing", path.stat().st_size, "bytes") as on_bytes,
        ):
            records = _readable(records_of(path, on_bytes), unread)
            compare(records, holdings, served, settings.attachments_dir, found)
        list_unknown(holdings, found)
        for error in unread:
            found.different.append({"run_id": "", "field": "$", "v1": error.message, "here": None})
        _find_tampering(settings, holdings, found)
    _print_comparison(found, as_json)
    for error in unread:
        click.echo(f"runlog: {error.message}", err=True)
    return 0 if found.is_good else 1


def _find_tampering(settings: Settings, holdings: "Holdings", found: "Comparison") -> None:
    """List the lines of the log, and the files of the tree, that are not what was written."""
    from functools import partial

    from api.cli.progress import bar
    from eventlog.errors import EventLogError
    from projections.standing import LogMissing, check_files

    for damage in holdings.damage:
        found.tampered.append(_in_words(damage))
    try:
        tree = check_files(settings.data_dir, settings.runs_dir, partial(bar, "Reading", unit="events"))
    except LogMissing:
        return
    except EventLogError as error:  # then what belongs into the tree is not known
        click.echo(f"runlog: the dated files were not compared: {error}", err=True)
        return
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # an event is not what its type says
        found.tampered.append(f"log: an event does not say which dated file it gives ({type(error).__name__}: {error})")
        return
    missing = tree.missing
    if missing and _is_not_projected(settings, tree.files):
        click.echo(f"runlog: {len(missing)} dated files are not written yet; `runlog serve` writes them.", err=True)
        missing = []
    for path in (*tree.changed, *missing, *tree.foreign):
        found.tampered.append(path)


def _is_not_projected(settings: Settings, files: int) -> bool:
    """Tell whether the tree lacks files because nobody wrote them yet: an import was interrupted before it came to them.

    A tree whose position is merely lost gets no such excuse.
    """
    from api.migration.import_record import imports
    from projections.files import Files
    from projections.standing import standings

    saved = next(one.position for one in standings(settings.data_dir, settings.runs_dir) if one.name == Files.name)
    return saved < 0 and (files == 0 or any(one.state == "running" for one in imports(settings.data_dir)))


def _print_comparison(found: "Comparison", as_json: bool) -> None:
    from api.migration.report import json_chunks

    if as_json:
        sys.stdout.writelines(json_chunks(found))
        return
    for run_id in found.missing:
        click.echo(shown(f"missing  {run_id}"))
    for one in found.different:
        place = f"{one['run_id'] or 'the file'}: {one['field']}"
        click.echo(shown(f"differs  {place}: v1 {_short(one['v1'])}, here {_short(one['here'])}"))
    for path in found.tampered:
        click.echo(shown(f"tampered  {path}"))
    differing = len({one["run_id"] for one in found.different})
    click.echo(
        f"{found.total} records: {found.same} the same, {len(found.missing)} missing, {differing} different; "
        f"{len(found.tampered)} files tampered with."
    )
    for step in next_steps(found.tampered, any_missing=bool(found.missing)):
        click.echo(f"Next: {step}")


def next_steps(tampered: Iterable[str], *, any_missing: bool) -> list[str]:
    """Return what there is to do about what is missing or was tampered with, once for each kind."""
    kinds = {next(kind for kind in _STEPS if path.startswith(kind)) for path in tampered}
    steps = [step for kind, step in _STEPS.items() if kind in kinds]
    if any_missing and "log" not in kinds:  # what seems missing may be what is damaged, and no import begins there
        steps.insert(0, "`runlog migrate` imports what is missing, and says why it cannot.")
    return steps


def _short(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _readable(records: Iterable["V1Record"], unread: list["V1Unreadable"]) -> Iterator["V1Record"]:
    """Give *records* as far as the text goes; why it ends before its end is put into *unread*."""
    from api.migration.v1_text import V1Unreadable

    try:
        yield from records
    except V1Unreadable as error:
        unread.append(error)


@contextmanager
def _records(path: Path) -> Iterator[Any]:
    from api.cli.progress import bar
    from api.migration.v1_text import records_of

    if not path.exists():
        yield ()
        return
    with v1_faults(), bar("Reading", path.stat().st_size, "bytes") as on_bytes:
        yield records_of(path, on_bytes)
