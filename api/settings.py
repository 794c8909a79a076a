"""Every setting: its name, its default, and what it may be. `setting_sources` reads them from the outside.

What is out of bounds never becomes a `Settings`. From here on every path is absolute.
"""

import os
import re
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar

import attrs
from attrs import frozen

from eventlog.errors import RunlogError

DATA_DIR = "var"

_WITNESSES_MAX = 15  # as many lines as every reader of a checkpoint takes, beside the log's own

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")

_OWN_FOLDERS = ("log", "secrets", "imports", "quarantine")
"""What lies in the data directory beside the roots."""

_UDS_MODES = ("0600", "0660")

KIB, MIB, GIB = 2**10, 2**20, 2**30


class LogLevel(StrEnum):
    """The least severe line that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SettingsError(RunlogError):
    """The settings cannot be used as they are; nothing was opened or changed."""


@frozen
class SettingUnknown(SettingsError):
    """A key of the file or a `RUNLOG_` variable that no setting has."""

    code: ClassVar[str] = "SETTING_UNKNOWN"
    name: str
    origin: str
    nearest: str

    @property
    def message(self) -> str:
        return (
            f"There is no setting {self.name} (found in {self.origin}); the nearest is {self.nearest}. "
            "Correct the name, or remove it."
        )


@frozen
class SettingInvalid(SettingsError):
    """A value is of the wrong kind or out of bounds, or the settings file is not TOML."""

    code: ClassVar[str] = "SETTING_INVALID"
    name: str
    reason: str
    origin: str = "code"

    @property
    def message(self) -> str:
        return f"{self.name} (from {self.origin}) {self.reason}. Correct it, or remove it to get the default."


def _within(low: float, high: float) -> Callable[[Any, "attrs.Attribute[Any]", Any], None]:
    def check(_: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
        if not low <= value <= high:
            raise SettingInvalid(attribute.name, f"must be from {low} to {high}, not {value}")

    return check


def _no_blank(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value or not value.isprintable() or " " in value:
        raise SettingInvalid(attribute.name, f"must be a host name or address, not {value!r}")


def _as_compared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return host names as they are, and addresses in the one form that clients send, without brackets."""
    return tuple(_address(name) or name for name in names)


def _address(name: str) -> str | None:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return str(ip_address(bare))
    except ValueError:
        return None


def _hosts(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for name in value:
        if not _HOST_NAME.fullmatch(name) and not _address(name):
            reason = "must be a bare name or address such as rmos.example or fd00::1, without scheme, port or wildcard"
            raise SettingInvalid(attribute.name, f"{reason}, not {name!r}")


def _origins(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    for origin in value:
        scheme, found, host = origin.partition("://")
        if not found or scheme not in ("http", "https") or not host.isprintable() or not host or set(host) & set("/ *"):
            raise SettingInvalid(attribute.name, f"must be an origin such as https://rmos.example:8443, not {origin!r}")


def _witnesses(_: Any, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    if not value:
        return
    from api.witness.known import Witness

    names = set()
    for each in value:
        try:
            names.add(Witness.parse(each).name)
        except ValueError as error:
            raise SettingInvalid(attribute.name, f"must be an address and a key, like `URL VKEY`: {error}") from None
    if len(names) < len(value) or len(names) > _WITNESSES_MAX:
        raise SettingInvalid(attribute.name, f"must name at most {_WITNESSES_MAX} witnesses, and none twice")


def _absolute(path: Path) -> Path:
    return path.absolute()


def _absolute_if_any(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _check_roots(data_dir: Path, runs_dir: Path, attachments_dir: Path) -> None:
    """Refuse roots that lie in each other, or in a folder with other content: what one keeps there, another takes for damage."""
    data, runs, attachments = (Path(os.path.realpath(path)) for path in (data_dir, runs_dir, attachments_dir))
    others = [Path(os.path.realpath(data / name)) for name in _OWN_FOLDERS]
    for name, root in (("runs_dir", runs), ("attachments_dir", attachments)):
        if root == data or any(root.is_relative_to(other) for other in others):
            raise SettingInvalid(name, f"must be a folder of its own, and Runlog keeps other things in {root}")
    if runs.is_relative_to(attachments) or attachments.is_relative_to(runs):
        name = "attachments_dir" if runs == data / "runs" else "runs_dir"
        reason = f"must be a folder of its own: the files of runs would be in {runs}, and attachments in {attachments}"
        raise SettingInvalid(name, reason)


def _mode(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if value not in _UDS_MODES:
        raise SettingInvalid(attribute.name, f"must be {' or '.join(_UDS_MODES)}")


def _key(_: Any, attribute: "attrs.Attribute[Any]", value: str) -> None:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingInvalid(attribute.name, "must be a key as `runlog keys add` printed it")


def _masked(secret: str) -> str:
    return "***" if secret else ""


def _below_data(name: str) -> Any:
    return attrs.field(default=attrs.Factory(lambda self: self.data_dir / name, takes_self=True), converter=_absolute)


def _number(default: Any, low: float, high: float) -> Any:
    return attrs.field(default=default, validator=_within(low, high))


@frozen(kw_only=True)
class Settings:
    """What a running Runlog may be told. Bytes, seconds and milliseconds as the names end."""

    # Where it listens, and who may ask; port 0 takes any that is free.
    host: str = attrs.field(default="127.0.0.1", validator=_no_blank)
    port: int = _number(8080, 0, 65_535)
    uds: Path | None = attrs.field(default=None, converter=_absolute_if_any)
    uds_mode: str = attrs.field(default="0600", validator=_mode)
    tls_cert: Path | None = attrs.field(default=None, converter=_absolute_if_any)
    tls_key: Path | None = attrs.field(default=None, converter=_absolute_if_any)
    open: bool = False
    allow_anonymous: bool = False
    allowed_host: tuple[str, ...] = attrs.field(default=(), converter=_as_compared, validator=_hosts)
    cors_origin: tuple[str, ...] = attrs.field(default=(), validator=_origins)

    # What this process shows to a server that it asks (`--url`).
    api_key: str = attrs.field(default="", repr=_masked, validator=_key)

    # Who else signs what the log signs: `URL VKEY` of each.
    witness: tuple[str, ...] = attrs.field(default=(), validator=_witnesses)

    # Where it keeps things.
    data_dir: Path = attrs.field(default=Path(DATA_DIR), converter=_absolute)
    runs_dir: Path = _below_data("runs")
    attachments_dir: Path = _below_data("attachments")

    # The log: when a segment is full, what one commit takes, what may wait for it.
    segment_bytes_max: int = _number(GIB, KIB, 64 * GIB)
    batch_events_max: int = _number(4096, 1, 65_536)
    batch_bytes_max: int = _number(8 * MIB, KIB, 64 * MIB)
    queue_events_max: int = _number(16_384, 1, 1_048_576)
    queue_bytes_max: int = _number(64 * MIB, KIB, 4 * GIB)

    # What one client may take.
    body_bytes_max: int = _number(4 * MIB, KIB, 64 * MIB)
    post_batch_bytes_max: int = _number(64 * MIB, KIB, 4 * GIB)
    post_batch_lines_max: int = _number(50_000, 1, 1_000_000)
    attachment_bytes_max: int = _number(256 * MIB, KIB, 64 * GIB)
    rate_limit_per_second: float = _number(0, 0, 1_000_000)
    rate_burst: int = _number(100, 1, 1_000_000)
    connections_max: int = _number(1000, 1, 65_536)
    idle_timeout_s: float = _number(30, 0.01, 3600)
    listener_stall_timeout_s: float = _number(10, 0.01, 3600)
    heartbeat_interval_s: float = _number(15, 0.01, 3600)
    shutdown_timeout_s: float = _number(10, 0, 3600)

    # How far reads may wait for the projections, and when `/readyz` turns red.
    freshness_timeout_ms: int = _number(2000, 1, 60_000)
    projection_lag_max_s: float = _number(10, 0.01, 3600)
    disk_free_bytes_min: int = _number(64 * MIB, 0, 1024 * GIB)

    log_level: LogLevel = LogLevel.INFO

    def __attrs_post_init__(self) -> None:
        _check_roots(self.data_dir, self.runs_dir, self.attachments_dir)
