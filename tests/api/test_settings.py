"""Settings: where each value comes from, and what is refused."""

import json
from pathlib import Path

import attrs
import pytest

from api.setting_sources import Loaded, load
from api.settings import LogLevel, SettingInvalid, Settings, SettingsError, SettingUnknown
from eventlog.errors import RunlogError

NAMES = [field.name for field in attrs.fields(Settings)]
WITNESS = "w.example/1+b0eac0aa+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
NUMBERS = [field.name for field in attrs.fields(Settings) if field.type in (int, float)]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def with_file(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> Loaded:
    (folder / "runlog.toml").write_text(text)
    return load({"data_dir": str(folder), **flags}, environ or {})


def origin_of(loaded: Loaded, name: str) -> str:
    return {row.name: row.origin for row in loaded.describe()}[name]


def test_without_a_word_every_setting_has_its_default_and_says_so():
    loaded = load({}, {})
    assert loaded.settings == Settings()
    assert [row.name for row in loaded.describe()] == NAMES
    assert {row.origin for row in loaded.describe()} == {"default"}


def test_the_defaults_are_those_of_the_documentation():
    settings = Settings()
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8080, Path.cwd() / "var")
    assert (settings.open, settings.allow_anonymous, settings.allowed_host) == (False, False, ())
    assert (settings.batch_events_max, settings.batch_bytes_max) == (4096, 8 * 1024 * 1024)
    assert (settings.body_bytes_max, settings.attachment_bytes_max) == (4 * 1024 * 1024, 256 * 1024 * 1024)
    assert (settings.segment_bytes_max, settings.connections_max) == (1024**3, 1000)
    assert (settings.idle_timeout_s, settings.shutdown_timeout_s, settings.log_level) == (30, 10, LogLevel.INFO)


def test_a_variable_overrides_the_file_and_a_flag_overrides_both(data_dir):
    text = "port = 1001\nidle_timeout_s = 1\nconnections_max = 11\n"
    environ = {"RUNLOG_PORT": "1002", "RUNLOG_IDLE_TIMEOUT_S": "2"}
    loaded = with_file(data_dir, text, environ, port=1003)
    settings = loaded.settings
    assert (settings.port, settings.idle_timeout_s, settings.connections_max) == (1003, 2.0, 11)
    assert origin_of(loaded, "port") == "--port"
    assert origin_of(loaded, "idle_timeout_s") == "RUNLOG_IDLE_TIMEOUT_S"
    assert origin_of(loaded, "connections_max") == str(data_dir / "runlog.toml")
    assert origin_of(loaded, "data_dir") == "--data-dir"


def test_a_flag_that_was_not_given_and_an_empty_variable_say_nothing(data_dir):
    text = 'open = true\nport = 1001\nallowed_host = ["a.example"]\n'
    settings = with_file(data_dir, text, {"RUNLOG_PORT": ""}, open=None, allowed_host=()).settings
    assert (settings.open, settings.port, settings.allowed_host) == (True, 1001, ("a.example",))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_variable(name):
    special = {"log_level": "debug", "open": "true", "allow_anonymous": "true", "cors_origin": "https://a.example"}
    special["uds_mode"] = "0660"
    special["witness"] = f"https://w.example {WITNESS}"
    given = special.get(name, "2000")
    loaded = load({}, {f"RUNLOG_{name.upper()}": given})
    assert origin_of(loaded, name) == f"RUNLOG_{name.upper()}"
    assert getattr(loaded.settings, name) != getattr(Settings(), name) or name == "freshness_timeout_ms"


def test_a_list_in_a_variable_is_separated_by_commas_so_that_ipv6_addresses_stay_whole():
    settings = load({}, {"RUNLOG_ALLOWED_HOST": "runlog.example, fd00::1"}).settings
    assert settings.allowed_host == ("runlog.example", "fd00::1")


@pytest.mark.parametrize("name", ["[fd00::1]", "fd00::1", "FD00:0:0::1"])
def test_an_address_is_allowed_in_the_form_in_which_clients_send_it(name):
    assert load({"allowed_host": (name,)}, {}).settings.allowed_host == ("fd00::1",)


@pytest.mark.parametrize(
    "name",
    [
        "foo.example:8080",
        "[fd00::1]:80",
        "https://bar.example",
        "*",
        "*.example",
        "a.example/",
        "[a.example]",
        "müll.ch",
    ],
)
def test_a_host_that_no_request_could_name_is_refused_from_everywhere(data_dir, name):
    environ = {"RUNLOG_ALLOWED_HOST": f"a.example,{name}"}
    for read, origin in (
        (lambda: load({"allowed_host": (name,)}, {}), "--allowed-host"),
        (lambda: load({}, environ), "RUNLOG_ALLOWED_HOST"),
        (lambda: with_file(data_dir, f"allowed_host = [{json.dumps(name)}]"), str(data_dir / "runlog.toml")),
    ):
        with pytest.raises(SettingInvalid, match=r"must be a bare name or address such as rmos\.example") as caught:
            read()
        assert (caught.value.name, caught.value.origin) == ("allowed_host", origin)


def test_a_file_that_is_not_there_is_no_error_and_no_folder_is_made(tmp_path):
    load({"data_dir": str(tmp_path / "not" / "there")}, {})
    assert list(tmp_path.iterdir()) == []


# --- folders


def test_the_roots_lie_in_the_data_directory_unless_told_otherwise(data_dir):
    settings = load({"data_dir": str(data_dir)}, {}).settings
    assert (settings.runs_dir, settings.attachments_dir) == (data_dir / "runs", data_dir / "attachments")


@pytest.mark.parametrize(
    ("environ", "origin"),
    [
        ({"RMOS_RUNS_DIR": "/b"}, "RMOS_RUNS_DIR"),
        ({"RMOS_RUNS_GOV_DIR": "/a", "RMOS_RUNS_DIR": "/b"}, "RMOS_RUNS_GOV_DIR"),
        ({"RMOS_RUNS_GOV_DIR": "", "RMOS_RUNS_DIR": "/b"}, "RMOS_RUNS_DIR"),
        ({"RUNLOG_RUNS_DIR": "/c", "RMOS_RUNS_GOV_DIR": "/a"}, "RUNLOG_RUNS_DIR"),
    ],
)
def test_the_runs_root_is_the_one_that_the_rest_of_rmos_names(environ, origin):
    loaded = load({}, environ)
    assert loaded.settings.runs_dir == Path(environ[origin])
    assert origin_of(loaded, "runs_dir") == origin


def test_the_attachments_root_is_the_one_that_the_rest_of_rmos_names():
    assert load({}, {"RMOS_ATTACHMENTS_DIR": "/a"}).settings.attachments_dir == Path("/a")


def test_every_path_is_absolute_whatever_the_working_directory_becomes(data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = with_file(data_dir, 'attachments_dir = "blobs"', {"RMOS_RUNS_DIR": "runs"}, data_dir="data")
    monkeypatch.chdir("/")
    settings = loaded.settings
    assert settings.data_dir == data_dir
    assert settings.runs_dir == tmp_path / "runs"
    assert settings.attachments_dir == data_dir / "blobs"  # a path in the file starts at the file


@pytest.mark.parametrize("name", ["runs_dir", "attachments_dir"])
@pytest.mark.parametrize(
    "place", [".", "log", "log/segments", "secrets", "imports/x", "quarantine", "link", "runs/../log"]
)
def test_a_root_in_which_other_things_are_kept_is_refused(data_dir, name, place):
    (data_dir / "link").symlink_to(data_dir / "log")
    with pytest.raises(SettingInvalid, match="must be a folder of its own") as caught:
        with_file(data_dir, f'{name} = "{place}"')
    assert (caught.value.name, caught.value.origin) == (name, str(data_dir / "runlog.toml"))


@pytest.mark.parametrize(
    ("roots", "blamed"),
    [
        ({"attachments_dir": "runs"}, "attachments_dir"),
        ({"attachments_dir": "runs/blobs"}, "attachments_dir"),
        ({"runs_dir": "attachments"}, "runs_dir"),
        ({"runs_dir": "attachments/x"}, "runs_dir"),
        ({"runs_dir": "/a", "attachments_dir": "/a"}, "runs_dir"),
        ({"runs_dir": "/a/b/../c", "attachments_dir": "/a"}, "runs_dir"),
    ],
)
def test_roots_that_lie_in_each_other_are_refused(data_dir, roots, blamed):
    with pytest.raises(SettingInvalid, match="must be a folder of its own") as caught:
        with_file(data_dir, "\n".join(f'{name} = "{place}"' for name, place in roots.items()))
    assert caught.value.name == blamed


@pytest.mark.parametrize(
    "roots",
    [
        {"runs_dir": "dated", "attachments_dir": "blobs"},
        {"runs_dir": "/a/runs", "attachments_dir": "/a/run_attachments"},
        {"attachments_dir": "../attachments"},
        {"runs_dir": "logs"},
    ],
)
def test_roots_may_lie_elsewhere(data_dir, roots):
    with_file(data_dir, "\n".join(f'{name} = "{place}"' for name, place in roots.items()))


def test_the_data_directory_cannot_move_itself(data_dir):
    with pytest.raises(SettingInvalid, match="--data-dir"):
        with_file(data_dir, 'data_dir = "elsewhere"')


# --- what is refused


def test_a_data_directory_that_is_a_file_is_said_to_be_one(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingInvalid, match=f"data_dir .from --data-dir. must be a folder, and {file} is a file"):
        load({"data_dir": str(file)}, {})


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("RUNLOG_PROT", "RUNLOG_PORT"),
        ("RUNLOG_DATADIR", "RUNLOG_DATA_DIR"),
        ("RUNLOG_port", "RUNLOG_PORT"),
        ("RUNLOG_SEGMENT_BYTES", "RUNLOG_SEGMENT_BYTES_MAX"),
        ("RUNLOG_", "RUNLOG_"),  # even the bare prefix
    ],
)
def test_a_misspelt_variable_is_refused_and_the_nearest_named(variable, nearest):
    with pytest.raises(SettingUnknown) as caught:
        load({}, {variable: "1"})
    assert variable in caught.value.message
    assert caught.value.nearest.startswith(nearest)


@pytest.mark.parametrize(("key", "nearest"), [("prot", "port"), ("data-dir", "data_dir"), ("[server]\nport", "")])
def test_a_misspelt_key_is_refused_and_the_nearest_named(data_dir, key, nearest):
    with pytest.raises(SettingUnknown) as caught:
        with_file(data_dir, f"{key} = 1")
    assert str(data_dir / "runlog.toml") in caught.value.message
    assert caught.value.nearest.startswith(nearest)
    assert isinstance(caught.value, SettingsError)
    assert isinstance(caught.value, RunlogError)


def test_variables_of_others_are_none_of_our_business():
    assert load({}, {"RUNLOGGER": "1", "RMOS_OTHER": "1", "runlog_port": "1"}).settings == Settings()


@pytest.mark.parametrize(
    "line",
    [
        'port = "http"',
        "port = 80.5",
        "port = true",
        "port = [1]",
        "port = -1",
        "port = 65536",
        "host = 5",
        'host = ""',
        'host = "a b"',
        'open = "perhaps"',
        "open = 2",
        'allowed_host = ["a", 5]',
        "allowed_host = 5",
        "allowed_host.a = 5",
        'allowed_host = [""]',
        "runs_dir = 5",
        'runs_dir = ""',
        r'runs_dir = "a\u0000b"',
        "idle_timeout_s = nan",
        "idle_timeout_s = inf",
        "idle_timeout_s = 0",
        "batch_events_max = 0",
        'log_level = "loud"',
        "log_level = 10",
    ],
)
def test_a_value_of_the_wrong_kind_or_out_of_bounds_is_refused_by_name_and_place(data_dir, line):
    with pytest.raises(SettingInvalid) as caught:
        with_file(data_dir, line)
    assert caught.value.name == line.split(" ")[0].split(".")[0]
    assert caught.value.origin == str(data_dir / "runlog.toml")
    assert caught.value.name in caught.value.message


def test_a_bad_variable_is_refused_under_the_name_of_the_variable():
    with pytest.raises(SettingInvalid, match=r"RUNLOG_LOG_LEVEL.*debug, info, warning, error"):
        load({}, {"RUNLOG_LOG_LEVEL": "INFO"})
    with pytest.raises(SettingInvalid, match=r"RUNLOG_PORT.*0 to 65535, not 70000"):
        load({}, {"RUNLOG_PORT": "70000"})


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_bounded(name):
    for value in (-1, 2**63):
        with pytest.raises(SettingInvalid) as caught:
            Settings(**{name: value})
        assert caught.value.name == name


@pytest.mark.parametrize("content", [b"port = ", b"\xff", b"port = 1\nport = 2"])
def test_a_file_that_is_not_toml_is_refused(data_dir, content):
    (data_dir / "runlog.toml").write_bytes(content)
    with pytest.raises(SettingInvalid, match=r"runlog\.toml.*TOML"):
        load({"data_dir": str(data_dir)}, {})


def test_a_file_that_cannot_be_read_is_refused_and_not_taken_for_absent(data_dir):
    (data_dir / "runlog.toml").mkdir()
    with pytest.raises(SettingInvalid, match=r"runlog\.toml"):
        load({"data_dir": str(data_dir)}, {})


# --- what is shown


def test_what_is_shown_is_json_and_hides_a_secret_as_tracebacks_do():
    @attrs.frozen(kw_only=True)
    class WithSecret(Settings):
        password: str = attrs.field(default="hunter2", repr=lambda _: "***")

    rows = Loaded(WithSecret(allowed_host=("a",)), {"password": "RUNLOG_PASSWORD"}).describe()
    shown = {row.name: row.value for row in rows}
    assert json.loads(json.dumps(shown)) == shown | {"allowed_host": ["a"], "cors_origin": [], "witness": []}
    assert shown["password"] == "***"
    assert shown["log_level"] == "info"
    assert rows[-1].origin == "RUNLOG_PASSWORD"
