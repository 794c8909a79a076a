"""Where the settings come from, and where each value came from. Nothing else reads the environment or the settings file.

A value is taken from the highest of: flag, `RUNLOG_<NAME>`, `RMOS_…` (the roots alone),
`<data-dir>/runlog.toml`, the default. What no setting is named after is refused, so a misspelt name
never leaves a default in force unseen. A relative path in the file starts at the file's folder, any
other at the working directory.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from api.settings import DATA_DIR, LogLevel, SettingInvalid, Settings, SettingUnknown

if TYPE_CHECKING:
    from typed_settings.converters import TSConverter
    from typed_settings.types import LoadedSettings, MergedSettings

FILE_NAME = "runlog.toml"
PREFIX = "RUNLOG_"

# The roots as the rest of RMOS names them; the last one that is set wins.
_RMOS_VARIABLES = {
    "RMOS_RUNS_DIR": "runs_dir",
    "RMOS_RUNS_GOV_DIR": "runs_dir",
    "RMOS_ATTACHMENTS_DIR": "attachments_dir",
}


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
    asked = merge_settings(options, layers)
    told = _structure(asked, converter)
    data_dir: Path = told.get("data_dir", Path(DATA_DIR)).absolute()
    if data_dir.is_file():
        origin = asked["data_dir"].loader_meta.name if "data_dir" in asked else "default"
        raise SettingInvalid("data_dir", f"must be a folder, and {data_dir} is a file", origin)
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
