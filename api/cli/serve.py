"""`runlog serve`: the settings of a server, shown or acted on. It never listens beyond this machine unasked."""

import os
import shlex
from typing import Any, ClassVar

import attrs
import click
from attrs import frozen

from api.setting_sources import Loaded, load
from api.settings import SettingInvalid, Settings
from eventlog.errors import RunlogError

_DEFAULT = {field.name: field.default for field in attrs.fields(Settings)}


@frozen
class KeysMissing(RunlogError):
    """Asked to listen beyond loopback, where anyone could write and read (exit code 3)."""

    code: ClassVar[str] = "KEYS_MISSING"
    host: str

    data_dir: str

    @property
    def message(self) -> str:
        return (
            f"Refused to listen on {self.host}: it is not a loopback address, and there is no key to ask for. Make one "
            f"with `runlog keys add NAME --role operator --data-dir {shlex.quote(self.data_dir)}`; or listen on 127.0.0.1; or let "
            "everyone who reaches it write and read, with --allow-anonymous."
        )


@click.command(epilog="Example: runlog serve --data-dir var --port 8080 --open")
@click.option("--host", metavar="H", help=f"Address to listen on (default {_DEFAULT['host']}).")
@click.option("--port", type=int, help=f"Port to listen on, 0 for any that is free (default {_DEFAULT['port']}).")
@click.option("--data-dir", metavar="DIR", help=f"Where everything is kept (default {_DEFAULT['data_dir']}).")
@click.option("--open", "open_", is_flag=True, help="Open the overview, /rmos, in a browser.")
@click.option("--allow-anonymous", is_flag=True, help="Listen beyond this machine though there is no API key.")
@click.option("--allowed-host", metavar="H", multiple=True, help="A further name that requests may use in `Host`.")
@click.option("--tls-cert", metavar="F", help="Serve HTTPS with this certificate (PEM, with its chain).")
@click.option("--tls-key", metavar="F", help="The certificate's private key (PEM, without a passphrase).")
@click.option("--uds", metavar="P", help="Listen on a Unix socket at this path, and on no port.")
@click.option(
    "--witness",
    nargs=2,
    metavar="URL VKEY",
    multiple=True,
    help="Ask the witness at URL, whose key is VKEY, to sign each checkpoint too.",
)
@click.option("--print-config", is_flag=True, help="Print every setting and where it came from, and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --print-config: print JSON.")
def serve(
    print_config: bool,
    as_json: bool,
    open_: bool,
    allow_anonymous: bool,
    witness: tuple[tuple[str, str], ...],
    **given: Any,
) -> int:
    """Serve the log over HTTP.

    Settings come from runlog.toml in the data directory, then from RUNLOG_... variables, then
    from these options. Ctrl-C ends it: what is in flight is finished first.
    """
    if as_json and not print_config:
        raise click.UsageError("--json goes with --print-config.")
    # A flag that is absent says nothing, so that the file and the environment can.
    switches = {"open": open_ or None, "allow_anonymous": allow_anonymous or None}
    witnesses = tuple(f"{url} {vkey}" for url, vkey in witness)
    loaded = load(given | switches | {"witness": witnesses}, os.environ)
    if print_config:
        _print_config(loaded, as_json)
        return 0
    settings = loaded.settings
    _check_tls(loaded)
    _check_keys(settings)

    from api.http.serve import run

    return run(settings)


def _check_tls(loaded: Loaded) -> None:
    told = {name: getattr(loaded.settings, name) for name in ("tls_cert", "tls_key")}
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if told[name] is not None and told[other] is None:
            raise SettingInvalid(name, f"goes with {other}, which is not set", loaded.origins[name])


def _check_keys(settings: Settings) -> None:
    """Refuse to listen where strangers are, if nobody could be told from them.

    Raises:
        KeysMissing: there is no key to ask for.
        KeysDamaged: there may have been, but they cannot be read.

    """
    from api.access.store import read_keys

    keys = read_keys(settings.data_dir)
    is_local = settings.uds is not None or _is_loopback(settings.host)
    if not is_local and not settings.allow_anonymous and (keys is None or not keys.by_name):
        raise KeysMissing(settings.host, str(settings.data_dir))


def _print_config(loaded: Loaded, as_json: bool) -> None:
    rows = loaded.describe()
    if as_json:
        import json

        click.echo(json.dumps({"settings": [attrs.asdict(row) for row in rows]}, indent=2))
        return
    shown = [(row.name, _in_words(row.value), row.origin) for row in rows]
    widths = [max(len(line[column]) for line in shown) for column in (0, 1)]
    for name, value, origin in shown:
        click.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, tuple) else str("" if value is None else value)


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
