"""`runlog keys`: who may come in. Works beside a running server, whose next request sees what was done."""

import os
from pathlib import Path
from typing import Any

import click

from api.access.roles import Role
from api.setting_sources import load
from api.settings import DATA_DIR

_data_dir = click.option("--data-dir", metavar="DIR", help=f"Where everything is kept (default {DATA_DIR}).")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(epilog="Example: runlog keys add line-1 --role producer --data-dir var")
def keys() -> None:
    """Add, list or revoke the API keys of a server."""


@keys.command(epilog="Example: runlog keys add line-1 --role producer --data-dir var")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="producer: records and reads runs; auditor: reads everything; operator: may do everything.",
)
@_data_dir
@_json
def add(name: str, role: str, data_dir: str | None, as_json: bool) -> int:
    """Make a key and print it, once: only the SHA-256 of its secret is kept.

    NAME is who the log says that it was. As soon as there is one key, a server asks everybody for one.
    """
    from api.access.keys import NAME_RULE, is_name
    from api.access.store import add_key

    if not is_name(name):
        raise click.UsageError(f"{name!r} is no name for a key. Take {NAME_RULE}, and not `anonymous` or `cli`.")
    token = add_key(_folder(data_dir), name, Role(role))
    if as_json:
        _echo_json({"name": name, "role": role, "key": token})
        return 0
    click.echo(token)
    click.echo(f"Keep it: it is not shown again. Send it as `Authorization: Bearer {name}.…`.", err=True)
    return 0


@keys.command("list", epilog="Example: runlog keys list --data-dir var")
@_data_dir
@_json
def list_(data_dir: str | None, as_json: bool) -> int:
    """Show every key's name, role and age; never its secret."""
    from api.access.store import read_keys

    found = read_keys(_folder(data_dir))
    listed = list(found.by_name.values()) if found else []
    if as_json:
        rows = [{"name": key.name, "role": key.role.value, "created_at_utc": key.created_at_utc} for key in listed]
        _echo_json({"keys": rows, "asked_for": found is not None})
        return 0
    for key in listed:
        click.echo(f"{key.name:<24} {key.role.value:<10} since {key.created_at_utc}")
    if not listed:
        click.echo(
            _NONE_LEFT if found else "There is no key: a server listens on this machine alone, and asks for none."
        )
    return 0


@keys.command(epilog="Example: runlog keys revoke line-1 --data-dir var")
@click.argument("name")
@_data_dir
@_json
def revoke(name: str, data_dir: str | None, as_json: bool) -> int:
    """Take a key away, for good and at once: also from who is signed in with it."""
    from api.access.store import revoke_key

    left = revoke_key(_folder(data_dir), name).by_name
    if as_json:
        _echo_json({"revoked": name, "left": len(left)})
        return 0
    click.echo(f"{name} is revoked; {len(left)} left.")
    if not left:
        click.echo(_NONE_LEFT)
    return 0


_NONE_LEFT = "No key is left, so a server lets nobody in. Add one with `runlog keys add`."


def _folder(data_dir: str | None) -> Path:
    return load({"data_dir": data_dir}, os.environ).settings.data_dir


def _echo_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2))
