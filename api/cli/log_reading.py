"""`runlog log export | tail`: events taken out of the log as it was signed, beside a server too."""

import time
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click
from attrs import frozen

from api.cli.log_evidence import data_dir_option, echo_json, json_option, opened, settings_of
from eventlog.errors import RunlogError

if TYPE_CHECKING:
    from eventlog.event import Recorded

_POLL_S = 0.2
_LINES = 10
_DAY = click.DateTime(["%Y-%m-%d"])


@frozen
class NothingToExport(RunlogError):
    """No signed event is in the range (exit code 3)."""

    code: ClassVar[str] = "NOTHING_TO_EXPORT"
    first: str
    last: str

    @property
    def message(self) -> str:
        return f"No signed event was recorded from {self.first} to {self.last} (UTC), so nothing was written. Give other days."


@click.command(epilog="Example: runlog log export --run run_0123456789ab -o evidence.zip")
@click.option("--run", "run_id", metavar="ID", help="All events of this run.")
@click.option("--from", "first", metavar="DATE", type=_DAY, help="All events from this UTC day (YYYY-MM-DD)...")
@click.option("--to", "last", metavar="DATE", type=_DAY, help="...to this one, inclusive.")
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The zip file to write.",
)
@data_dir_option
@json_option
def export(
    run_id: str | None, first: datetime | None, last: datetime | None, target: Path, data_dir: str | None, as_json: bool
) -> int:
    """Pack events with their proofs, attachments, and a verify.py that checks it all without Runlog.

    Works beside a server too. What is not signed yet (less than a second old) is not in it.
    """
    from contextlib import closing

    from api.cli.progress import bar
    from api.evidence.export import export as export_events
    from projections.run.errors import RunNotFound
    from projections.run.events import is_run_id

    if (run_id is None) == (first is None or last is None) or (run_id is not None and (first or last)):
        raise click.UsageError("Give either --run, or both --from and --to.")
    if first and last and first > last:
        raise click.UsageError(f"--from {first:%Y-%m-%d} lies after --to {last:%Y-%m-%d}. Give the earlier day first.")
    if not target.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {target.absolute().parent} for the --output.")
    if target.exists() and not target.is_file():  # the finished zip takes its place: a device would be lost
        raise click.UsageError(f"{target} is there and is no file. Give the --output another name.")
    settings = settings_of(data_dir)
    with closing(opened(settings)) as archive:
        if run_id is not None:
            found = iter(archive.stream(run_id) if is_run_id(run_id) else ())
        else:
            assert first is not None
            assert last is not None
            found = archive.events(days=(_number(first), _number(last)))
        with bar("Exporting", archive.checkpoint.size, "events") as on_progress:
            count = export_events(archive, found, settings.attachments_dir, target, on_progress)
        vkey = archive.identity.vkey
    if not count:
        raise RunNotFound(run_id) if run_id is not None else NothingToExport(f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}")
    if as_json:
        echo_json({"events": count, "file": str(target), "key": vkey})
        return 0
    click.echo(f"{target} has {count} {'event' if count == 1 else 'events'}.")
    click.echo(f"Next: unzip it, and run `python3 -I verify.py --key '{vkey}'` there.")
    return 0


@click.command(epilog="Example: runlog log tail -f --data-dir var")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes; Ctrl-C ends it.")
@click.option("-n", "--lines", type=click.IntRange(0), default=_LINES, help=f"How many events (default {_LINES}).")
@data_dir_option
@json_option
def tail(follow: bool, lines: int, data_dir: str | None, as_json: bool) -> int:
    """Print the newest signed events, oldest first; with -f go on with what comes."""
    from contextlib import closing, suppress

    with closing(opened(settings_of(data_dir))) as archive, suppress(KeyboardInterrupt):  # a person ended it
        at = max(0, archive.checkpoint.size - lines)
        while True:
            if at < archive.checkpoint.size:
                for recorded in archive.events(first=at):
                    click.echo(_line(recorded, as_json))
                at = archive.checkpoint.size
            if not follow:
                return 0
            time.sleep(_POLL_S)
            archive.refresh()
    return 0


def _line(recorded: "Recorded", as_json: bool) -> str:
    if as_json:
        return f'{{"seq":{recorded.seq},"hash":"{recorded.hash}","event":{recorded.bytes.decode()}}}'
    return f"{recorded.seq}  {recorded.time}  {recorded.stream}  {recorded.type}  {recorded.event['actor']}"


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
