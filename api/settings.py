"""Every setting, and where its value came from. Nothing else reads the environment or the settings file.

A value is taken from the highest of: flag, `RUNLOG_<NAME>`, `RMOS_…` (the roots alone),
`<data-dir>/runlog.toml`, the default below. What no setting is named after is refused, so a
misspelt name never leaves a default in force unseen. A relative path in the file starts at the
file's folder, any other at the working directory; from here on every path is absolute.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from attrs import frozen

from eventlog.errors import RunlogError

if TYPE_CHECKING:
    from typed_settings.converters import TSConverter
    from typed_settings.types import LoadedSettings, MergedSettings

FILE_NAME = "runlog.toml"
DATA_DIR = "var"
PREFIX = "RUNLOG_"

_WITNESSES_MAX = 15  # as many lines as every reader of a checkpoint takes, beside the log's own

_UDS_MODES = ("0600", "0660")

KIB, MIB, GIB = 2**10, 2**20, 2**30

# The roots as the rest of RMOS names them; the last one that is set wins.
_RMOS_VARIABLES = {
    "RMOS_RUNS_DIR": "runs_dir",
    "RMOS_RUNS_GOV_DIR": "runs_dir",
    "RMOS_ATTACHMENTS_DIR": "attachments_dir",
}


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


def _no_blank(_: Any, attribute: "attrs.Attribute[Any]", value: str | tuple[str, ...]) -> None:
    for name in [value] if isinstance(value, str) else value:
        if not name or not name.isprintable() or " " in name:
            raise SettingInvalid(attribute.name, f"must be a host name or address, not {name!r}")


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
    allowed_host: tuple[str, ...] = attrs.field(default=(), validator=_no_blank)
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


@frozen
class Row:
    """One line of `--print-config`; *value* is JSON, and masked if it is a secret."""

    name: str
    value: Any
    origin: str


@frozen
class Loaded:
    """The settings, and the origin of each: `default`, the file's path, a variable's name, or a flag."""

    settings: Settings
    origins: Mapping[str, str]

    def describe(self) -> list[Row]:
        """Return every setting in the order of its declaration."""
        fields = attrs.fields(type(self.settings))
        return [Row(f.name, self._shown(f), self.origins.get(f.name, "default")) for f in fields]

    def _shown(self, field: "attrs.Attribute[Any]") -> Any:
        value = getattr(self.settings, field.name)
        if callable(field.repr):
            return field.repr(value)  # what masks a secret in tracebacks masks it here
        return str(value) if isinstance(value, Path) else value


_NAMES = tuple(field.name for field in attrs.fields(Settings))
_VARIABLES = _RMOS_VARIABLES | {f"{PREFIX}{name.upper()}": name for name in _NAMES}


def load(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Loaded:
    """Return the settings of this process.

    *flags* maps setting names to values; None and the empty tuple stand for a flag that was not
    given. A variable that is set to nothing counts as not set.

    Raises:
        SettingUnknown: a key or a `RUNLOG_` variable is misspelt.
        SettingInvalid: a value is of the wrong kind or out of bounds, or the file cannot be read as TOML.

    """
    from typed_settings import SettingsState
    from typed_settings.dict_utils import merge_settings

    converter = _converter()
    options = SettingsState(Settings, [], [], converter, Path()).options
    layers = [*_from_environment(environ), *_from_flags(flags)]
    told = _structure(merge_settings(options, layers), converter)
    data_dir: Path = told.get("data_dir", Path(DATA_DIR)).absolute()
    merged = merge_settings(options, [*_from_file(data_dir / FILE_NAME), *layers])
    origins = {name: loaded.loader_meta.name for name, loaded in merged.items()}
    try:
        return Loaded(Settings(**_structure(merged, converter)), origins)
    except SettingInvalid as error:
        raise attrs.evolve(error, origin=origins.get(error.name, error.origin)) from None


def _from_file(path: Path) -> Iterator["LoadedSettings"]:
    try:
        values = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise SettingInvalid(FILE_NAME, f"cannot be read as TOML: {error}", str(path)) from None
    for key in values:
        if key not in _NAMES:
            raise SettingUnknown(key, str(path), _nearest(key, _NAMES))
    if "data_dir" in values:  # the file is found by it
        raise SettingInvalid("data_dir", "cannot be set in the data directory itself; use --data-dir", str(path))
    yield _layer(values, str(path), path.parent)


def _from_environment(environ: Mapping[str, str]) -> Iterator["LoadedSettings"]:
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in _VARIABLES:
            raise SettingUnknown(variable, "the environment", _nearest(variable, _VARIABLES))
    for variable, name in _VARIABLES.items():
        if environ.get(variable):
            yield _layer({name: environ[variable]}, variable)


def _from_flags(flags: Mapping[str, Any]) -> Iterator["LoadedSettings"]:
    assert flags.keys() <= set(_NAMES), flags.keys() - set(_NAMES)
    for name, value in flags.items():
        if value is not None and value != ():
            yield _layer({name: value}, f"--{name.replace('_', '-')}")


def _layer(values: dict[str, Any], origin: str, folder: Path = Path()) -> "LoadedSettings":
    from typed_settings.types import LoadedSettings, LoaderMeta

    return LoadedSettings(values, LoaderMeta(origin, base_dir=folder.absolute()))


def _nearest(name: str, known: Iterable[str]) -> str:
    by_setting = {each.removeprefix(PREFIX).lower(): each for each in known}
    wanted = name.removeprefix(PREFIX).lower().replace("-", "_")
    return by_setting[get_close_matches(wanted, by_setting, n=1, cutoff=0)[0]]


def _structure(merged: "MergedSettings", converter: "TSConverter") -> dict[str, Any]:
    values = {}
    for name, (value, meta) in merged.items():
        kind: Any = attrs.fields_dict(Settings)[name].type
        try:
            if isinstance(value, dict):
                raise TypeError  # a table's keys would pass for a list
            values[name] = converter.structure(value, kind)
        except (ValueError, TypeError):
            raise SettingInvalid(name, f"must be {_KINDS[kind]}", meta.name) from None
        if kind in (Path, Path | None):
            values[name] = meta.base_dir / values[name]
    return values


def _converter() -> "TSConverter":
    """Make typed-settings strict: by itself it takes 80.9 for 80, True for 1 and 5 for "5"."""
    from typed_settings.converters import TSConverter

    converter = TSConverter(strlist_sep=lambda text: [part.strip() for part in text.split(",")])
    converter.scalar_converters[int] = _only(int, int, str)
    converter.scalar_converters[float] = _only(float, float, int, str)
    converter.scalar_converters[str] = _only(str, str)
    converter.scalar_converters[Path] = _only(_path, str, Path)
    return converter


def _only(make: Callable[[Any], Any], *kinds: type) -> Callable[[Any, type], Any]:
    def hook(value: Any, _: type) -> Any:
        if isinstance(value, bool) or not isinstance(value, kinds):  # a bool is an int
            raise TypeError
        return make(value)

    return hook


def _path(value: str | Path) -> Path:
    if not str(value) or "\0" in str(value):
        raise ValueError  # Path("") would be the working directory
    return Path(value)


_KINDS: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    Path | None: "a path",
    tuple[str, ...]: "a list of texts",
    LogLevel: f"one of {', '.join(LogLevel)}",
}
