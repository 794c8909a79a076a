"""The command `runlog`: where subcommands are found, and where every error becomes one line and an exit code.

`runlog --help` imports no subcommand; each is imported when it is called.
A subcommand returns its exit code, or None for 0.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType, SimpleNamespace

import click

DONE, CHECK_FAILED, USAGE, REFUSED = 0, 1, 2, 3
BUG = 70  # EX_SOFTWARE: a crash must not read as "the check failed"
INTERRUPTED = 130

# name -> where its command is, and what `runlog --help` says of it
_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "serve": ("api.cli.serve:serve", "Serve the log over HTTP."),
        "keys": ("api.cli.keys:keys", "Add, list or revoke the API keys of a server."),
        "status": ("api.cli.inspection:status", "Show where the migration from v1 stands."),
        "migrate": ("api.cli.migration:migrate", "Import the records of a v1 runs.json."),
        "verify": ("api.cli.inspection:verify", "Compare every v1 record with what the log serves."),
        "rollback": ("api.cli.rollback:rollback", "Take an import back: restore v1, withdraw its runs."),
        "log": ("api.cli.log:log", "Read, verify, prove and export the log itself."),
        "withdraw": ("api.cli.withdraw:withdraw", "Take a run out of force, with a reason."),
        "backup": ("api.cli.backup:backup", "Copy the log and all that belongs to it, beside a server too."),
        "restore": ("api.cli.backup:restore", "Put a backup back into an empty data directory."),
        "demo": ("api.cli.demo:demo", "Make a data directory with a few hundred plausible runs."),
        "witness": ("api.cli.witness:witness", "Be a witness: sign what other logs sign."),
        "projections": (
            "api.cli.projections:projections",
            "List, rebuild, check or retry what is derived from the log.",
        ),
    }
)

_USAGE_CODES = frozenset({"SETTING_UNKNOWN", "SETTING_INVALID"})
_CHECK_CODES = frozenset({"LOG_CORRUPT", "BACKUP_BAD"})


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"runlog {version()} (commit {commit()})")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 the check failed, 2 usage, 3 refused.\n\nExample: runlog serve --data-dir var --open",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print version and commit, and exit.",
)
@click.pass_obj
def cli(told: SimpleNamespace, debug: bool) -> None:
    """Runlog: an append-only, tamper-evident audit store for manufacturing runs."""
    told.debug = debug


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (default: this process's) and return its exit code."""
    told = SimpleNamespace(debug=False)
    try:
        return cli.main(argv, prog_name="runlog", standalone_mode=False, obj=told) or DONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # what click makes of a KeyboardInterrupt
        return INTERRUPTED
    except Exception as error:
        if told.debug:
            import traceback

            traceback.print_exception(error)
        from api.cli.shown import shown

        click.echo(f"runlog: {shown(_in_one_line(error))}", err=True)
        return exit_code(error)


def exit_code(error: Exception) -> int:
    """Return what a process that ends in *error* exits with."""
    from eventlog.errors import RunlogError

    if isinstance(error, OSError) or _is_of_the_machine(error):
        return REFUSED
    if not isinstance(error, RunlogError):
        return BUG
    if error.code in _USAGE_CODES:
        return USAGE
    return CHECK_FAILED if error.code in _CHECK_CODES else REFUSED


def _is_of_the_machine(error: Exception) -> bool:
    """Tell whether it is a full disk, a lock or a mode that SQLite reports: nothing that a change of code mends."""
    import sqlite3

    return isinstance(error, sqlite3.OperationalError) and (error.sqlite_errorcode & 0xFF) in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
    )


def _in_one_line(error: Exception) -> str:
    if _is_of_the_machine(error):
        return f"{error}. Make space, or see that the data directory can be written to; then run it again."
    if exit_code(error) == BUG:
        what = f"{type(error).__name__}: {error}"
        return f"this is a bug ({' '.join(what.split())}). Run it again with `runlog --debug …` to see where."
    if isinstance(error, PermissionError):
        return (
            f"{error}. In a data directory everything must be the server's user's own: `chown` what is not, and run "
            "commands there as that user, with `sudo -u`."
        )
    return " ".join(str(error).split())


def version() -> str:
    """Return the installed version."""
    from importlib import metadata

    return metadata.version("runlog")


def commit() -> str:
    """Return the git commit of this code: of its checkout, or the one that it was built from; else `unknown`."""
    import subprocess
    from pathlib import Path

    checkout = Path(__file__).resolve().parents[2]
    if (checkout / ".git").exists():
        try:
            asked = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return "unknown"
    noted = checkout / "api" / "commit"  # by setup.py
    return noted.read_text().strip() if noted.exists() else "unknown"


if __name__ == "__main__":
    sys.exit(main())
