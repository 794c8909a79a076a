"""`runlog withdraw`: a run goes out of force, as one more event. What the log has of it stays as it was recorded."""

from typing import TYPE_CHECKING, Any

import click

from api.cli.v1_options import Refused, data_dir_option, echo_json, json_option, settings_of, url_option, writing
from api.settings import Settings

if TYPE_CHECKING:
    from eventlog.event import Recorded
    from eventlog.log import Log


@click.command(epilog='Example: runlog withdraw run_0123456789ab --reason "recorded twice, see run_ba9876543210"')
@click.argument("run_id", metavar="RUN")
@click.option("--reason", metavar="TEXT", required=True, help="Why, in 6 to 500 characters; shown wherever the run is.")
@url_option
@data_dir_option
@json_option
def withdraw(run_id: str, reason: str, url: str | None, data_dir: str | None, as_json: bool) -> int:
    """Take a run out of force, by an event that says why. It cannot be undone.

    Nothing is erased: what was recorded stays in the log, with the reason beside it, and whoever asks
    for it by name still sees it. Stop the server first, or go through it with --url.
    """
    _check(reason)
    if url is not None:
        told, behind = _through(url, run_id, reason), ""
    else:
        with writing():
            told, behind = _offline(settings_of(data_dir), run_id, reason)
    if as_json:
        echo_json({"run_id": run_id, **told})
    else:
        click.echo(f"Run {run_id} is withdrawn since {told['at_utc']} (event {told['seq']}): {told['reason']}")
        click.echo("What was recorded of it stays in the log, and can be read there.")
    if behind:
        click.echo(f"runlog: {behind}", err=True)
    return 1 if behind else 0


def _check(reason: str) -> None:
    from api.http.wire import command_of
    from projections.run.errors import InvalidCommand
    from projections.run.model import Withdraw

    try:
        reason.encode()
        command_of({"reason": reason}, Withdraw)
    except UnicodeEncodeError:
        raise click.BadParameter("must be UTF-8", param_hint="--reason") from None
    except InvalidCommand as error:
        raise click.BadParameter(error.errors[0].message, param_hint="--reason") from None


def _through(url: str, run_id: str, reason: str) -> dict[str, Any]:
    """Withdraw it through the server at *url*; return what its view then says."""
    from api.remote import call

    view = call(url, "POST", "admin", "runs", run_id, "withdraw", body={"reason": reason})
    told: dict[str, Any] = view["withdrawn"]
    return told


def _offline(settings: Settings, run_id: str, reason: str) -> tuple[dict[str, Any], str]:
    """Withdraw it in the data directory; return the same, and what kept the projections from the head ("" for nothing).

    Raises:
        LogMissing, LogDamaged, RunNotFound, RunWithdrawn: nothing was changed.

    """
    from api.cli.progress import bar
    from api.migration.offline import caught_up
    from eventlog.commit import Limits
    from eventlog.errors import LogLocked
    from projections.offline import opened
    from projections.standing import require_log

    require_log(settings.data_dir)
    try:
        with opened(settings.data_dir, Limits(segment_bytes_max=settings.segment_bytes_max)) as (loop, log):
            recorded = loop.run(_withdrawn(log, run_id, reason))
            behind = caught_up(log, settings, bar)
    except LogLocked as error:
        raise Refused(f"{error.message} If it is a server, go through it: say --url and its address.") from None
    return {"reason": reason, "at_utc": recorded.time, "seq": recorded.seq}, behind


async def _withdrawn(log: "Log", run_id: str, reason: str) -> "Recorded":
    """Return the event once it is durable."""
    from api.migration.migrate import CLI
    from api.reading import refuse_withdrawn
    from projections.run import events
    from projections.run.errors import RunNotFound
    from projections.run.fold import fold_stream

    folded = fold_stream(log.read_stream(run_id)) if events.is_run_id(run_id) else None
    if folded is None:
        raise RunNotFound(run_id)
    _, state = folded
    if state.withdrawn is not None:
        refuse_withdrawn(run_id, state.withdrawn)
    draft = log.draft(events.WITHDRAWN, run_id, {"reason": reason}, CLI)
    appended = await log.append([draft], state.revision, CLI)
    return appended.events[0]
