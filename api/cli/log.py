"""`runlog log`: the log read as it stands on disk, without a lock, beside a server too."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.cli.log_evidence import check_proof, info, prove, verify
from api.cli.log_reading import export, tail
from api.settings import DATA_DIR

if TYPE_CHECKING:
    from api.migration.holdings import Until


@click.group(epilog="Example: runlog log replay --until 2026-01-05T05:07:16Z --data-dir var")
def log() -> None:
    """Read the log itself."""


for _command in (info, verify, prove, check_proof, export, tail):
    log.add_command(_command)


@log.command(epilog="Example: runlog log replay --until 1041 --run run_0123456789ab --data-dir var")
@click.option(
    "--until", metavar="SEQ|TIME", help="Up to this event, or this RFC 3339 time, inclusive (default the end)."
)
@click.option("--run", "run_id", metavar="ID", help="This run alone.")
@click.option("--data-dir", metavar="DIR", help=f"Where the log is (default {DATA_DIR}).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; it is the same: one run a line.")
def replay(until: str | None, run_id: str | None, data_dir: str | None, as_json: bool) -> int:
    """Print the state of runs as of then: one JSON object a line, in the order in which the runs came.

    Each is what GET /api/rmos/runs/{run_id}?at= gives; a run that was withdrawn by then has
    `withdrawn`, and one that was not there yet is left out. The exit code is 1 if --run was not there.
    """
    import os

    from api.setting_sources import load
    from projections.standing import require_log

    bound = _until(until)
    settings = load({"data_dir": data_dir}, os.environ).settings
    require_log(settings.data_dir)
    return _replay(settings.data_dir, bound, run_id)


def _until(text: str | None) -> "Until":
    from api.migration.holdings import Until
    from eventlog.clock import time_us

    if text is None:
        return Until()
    if text.isascii() and text.isdigit() and len(text) <= 1000:
        return Until(seq=int(text))
    try:
        return Until(time_us=time_us(text))
    except ValueError:
        what = "must be a seq or an RFC 3339 time with an offset, such as 2026-01-05T05:07:16Z"
        raise click.BadParameter(what, param_hint="--until") from None


def _replay(data_dir: Path, until: "Until", run_id: str | None) -> int:
    import sys

    from api.cli.progress import bar
    from api.migration.folding import folded_view
    from api.migration.holdings import Holdings
    from eventlog.verify import segment_bytes
    from projections.run.errors import RunNotFound

    with bar("Reading", segment_bytes(data_dir), "bytes") as on_bytes:
        holdings = Holdings.of(data_dir, until, on_bytes)
    with holdings:
        holdings.check_whole()
        for each, unknown in holdings.unknown():
            if run_id in (None, each):
                raise unknown
        if run_id is not None and holdings.get(run_id) is None:
            click.echo(f"runlog: {RunNotFound(run_id).message}", err=True)
            return 1
        for each in holdings.run_ids() if run_id is None else (run_id,):
            view = folded_view(holdings.stream(each))
            assert view is not None, "a stream without a beginning is an event that is not folded"
            sys.stdout.write(view.decode() + "\n")
    return 0
