"""`runlog witness serve`: a witness for other machines' logs, with a memory and a key of its own."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from eventlog.signing import Verifier

DATA_DIR = "witness"


@click.group(epilog="Example: runlog witness serve --origin-key VKEY")
def witness() -> None:
    """Sign what other logs sign, if it continues what was signed before."""


@witness.command(epilog="Example: runlog witness serve --data-dir witness --origin-key VKEY --port 8081")
@click.option(
    "--origin-key",
    "vkeys",
    metavar="VKEY",
    multiple=True,
    required=True,
    help="The key of a log to sign for, as `runlog log info` prints it there.",
)
@click.option("--data-dir", metavar="DIR", default=DATA_DIR, show_default=True, help="Where key and memory are kept.")
@click.option("--host", metavar="H", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8081, show_default=True, help="Port, 0 for any that is free."
)
@click.option("--json", "as_json", is_flag=True, help="Print address and key as JSON.")
def serve(vkeys: tuple[str, ...], data_dir: str, host: str, port: int, as_json: bool) -> int:
    """Serve a C2SP witness (POST /add-checkpoint), best on a machine that the log's operator does not rule.

    The first start makes its key and prints it; who checks the log's evidence needs that key. What is not
    signed by one of the logs, or does not continue what was signed last, is refused. Ctrl-C ends it.
    """
    import asyncio
    from pathlib import Path

    from api.witness.server import run

    logs: dict[str, list[Verifier]] = {}
    for vkey in vkeys:
        verifier = _log_key(vkey)
        logs.setdefault(verifier.name, []).append(verifier)
    return asyncio.run(run(Path(data_dir).absolute(), logs, host, port, as_json=as_json))


def _log_key(vkey: str) -> "Verifier":
    from eventlog.signing import ED25519, KeyRefused, Verifier

    try:
        verifier = Verifier.parse(vkey.strip())
    except KeyRefused as error:
        raise click.BadParameter(error.message, param_hint="--origin-key") from None
    if verifier.kind != ED25519:
        raise click.BadParameter("this is a witness's key; give the log's own", param_hint="--origin-key")
    return verifier
