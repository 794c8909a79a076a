"""What the commands of the migration share: their options, and how they find the v1 file and the log."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from api.setting_sources import load
from api.settings import DATA_DIR, Settings

if TYPE_CHECKING:
    from api.migration.holdings import Holdings

V1_NAME = "runs.json"

FILE = click.Path(dir_okay=False, path_type=Path)

v1_path_option = click.option(
    "--v1-path", metavar="P", type=FILE, help=f"The v1 file (default {V1_NAME} in the data directory)."
)
data_dir_option = click.option("--data-dir", metavar="DIR", help=f"Where the log is, or will be (default {DATA_DIR}).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
url_option = click.option("--url", metavar="URL", help="Do it through the server that runs there.")


def settings_of(data_dir: str | None) -> Settings:
    """Return the settings of a command."""
    from eventlog.logging import configure

    configure("warning")
    os.umask(0o077)  # as the server: what it writes is its user's alone
    return load({"data_dir": data_dir}, os.environ).settings


def v1_path_of(v1_path: Path | None, settings: Settings) -> Path:
    """Return where the v1 file is, or should be."""
    return (v1_path or settings.data_dir / V1_NAME).absolute()


def require_v1(path: Path) -> None:
    """Refuse to go on without the v1 file."""
    if not path.is_file():
        raise click.UsageError(f"There is no v1 file at {path}. Name it with --v1-path.")


@contextmanager
def v1_faults() -> Iterator[None]:
    """Make an error of usage of a file that is no v1 file."""
    from api.migration.v1_text import V1NotAnObject

    try:
        yield
    except V1NotAnObject as error:
        raise click.UsageError(error.message) from None


@contextmanager
def writing() -> Iterator[None]:
    """Do what writes: SIGTERM ends it as Ctrl-C does, and a corrupt log is a refusal, not a check that failed."""
    from eventlog.errors import LogCorrupt

    before = signal.signal(signal.SIGTERM, _like_ctrl_c)
    try:
        yield
    except LogCorrupt as error:
        raise Refused(error.message) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _like_ctrl_c(_number: int, frame: FrameType | None) -> None:
    told = signal.getsignal(signal.SIGINT)
    if not callable(told):  # where Ctrl-C is ignored, as in the background of a shell
        raise KeyboardInterrupt
    told(signal.SIGINT, frame)


class Refused(click.ClickException):
    """What the log or the machine does not let be done (exit code 3)."""

    exit_code = 3

    def show(self, file: Any = None) -> None:
        """Print it as every error is printed."""
        click.echo(f"runlog: {self.message}", file=file, err=True)


def held_by(settings: Settings) -> "Holdings":
    """Return what the log holds, read without a lock; close it when done."""
    from api.cli.progress import bar
    from api.migration.holdings import Holdings
    from eventlog.verify import segment_bytes

    with bar("Reading the log", segment_bytes(settings.data_dir), "bytes") as on_bytes:
        return Holdings.of(settings.data_dir, on_bytes=on_bytes)


def echo_json(facts: Any) -> None:
    """Print *facts* as JSON."""
    import json

    click.echo(json.dumps(facts))
