"""`runlog backup` and `runlog restore`: a copy that was verified where it lies, and back again."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli.v1_options import data_dir_option, echo_json, json_option, settings_of, writing

if TYPE_CHECKING:
    from api.backup.manifest import Manifest


@click.command(epilog="Example: runlog backup /mnt/backup/runlog --data-dir var")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--without-secrets", is_flag=True, help="Leave out the signing key and the API keys.")
@data_dir_option
@json_option
def backup(folder: Path, without_secrets: bool, data_dir: str | None, as_json: bool) -> int:
    """Bring the backup in DIR to where the log stands now; a server may run meanwhile.

    What is there already and has not changed is not copied again. The copy is verified where it lies; if it is
    not good (exit code 1), what was in DIR before is there as it was.
    """
    from api.backup.backup import back_up
    from api.cli.progress import bar
    from eventlog.clock import SystemClock

    with writing(), _told(as_json):
        done = back_up(settings_of(data_dir), folder, with_secrets=not without_secrets, clock=SystemClock(), bars=bar)
    if as_json:
        counts = ("copied_files", "copied_bytes", "kept_files", "attachments", "unsigned")
        echo_json({"ok": True, **_facts(done.manifest), **{name: getattr(done, name) for name in counts}})
        return 0
    click.echo(
        f"{folder} has all {done.manifest.size} signed events and {done.attachments} attachments, and was verified: "
        f"{done.copied_files} files copied ({done.copied_bytes} bytes), {done.kept_files} kept as they were."
    )
    if done.unsigned:
        click.echo(f"{done.unsigned} events above the checkpoint are not in it: no server runs that would sign them.")
    if without_secrets:
        click.echo("Without secrets/ it does not open as a log: keep secrets/signing.key elsewhere.")
    return 0


@click.command(epilog="Example: runlog restore /mnt/backup/runlog --data-dir var")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--known-checkpoint",
    "known",
    metavar="FILE|URL",
    multiple=True,
    help="A checkpoint of this log that is known elsewhere; an older backup is refused.",
)
@data_dir_option
@json_option
def restore(folder: Path, known: tuple[str, ...], data_dir: str | None, as_json: bool) -> int:
    """Put the backup in DIR back into an empty data directory; it is verified first.

    The next `runlog serve` makes what is derived anew, and asks its witnesses first whether they know a
    newer log than this one.
    """
    from api.backup.restore import restore as restore_into
    from api.cli.progress import bar
    from eventlog.clock import SystemClock

    target = settings_of(data_dir).data_dir
    with writing(), _told(as_json):
        manifest = restore_into(folder, target, known, lambda: settings_of(data_dir), clock=SystemClock(), bars=bar)
    if as_json:
        echo_json({"ok": True, **_facts(manifest), "data_dir": str(target)})
        return 0
    click.echo(f"{target} has the log of {manifest.taken} again, {manifest.size} events.")
    if not manifest.has_secrets:
        click.echo(f"The backup is without secrets: put the log's key at {target / 'secrets' / 'signing.key'} (0600).")
    click.echo(f"Next: `runlog serve --data-dir {shlex.quote(str(target))}`.")
    return 0


@contextmanager
def _told(as_json: bool) -> Iterator[None]:
    """Print what is not good as JSON too."""
    from api.backup.errors import BackupBad

    try:
        yield
    except BackupBad as error:
        if as_json:
            echo_json({"ok": False, **error.facts})
        raise


def _facts(manifest: "Manifest") -> dict[str, Any]:
    return {
        "log_id": manifest.log_id,
        "origin": manifest.origin,
        "size": manifest.size,
        "root": manifest.root,
        "taken": manifest.taken,
        "secrets": manifest.has_secrets,
    }
