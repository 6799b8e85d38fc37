import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from usenetsyncd.errors import ExitCode, NotFound
from usenetsyncd.model import Compression, Priority, ServerRole, TlsMode
from usenetsyncd.settings import paths
from usenetsyncd.settings.layers import LoadedSettings, load_settings, load_text
from usenetsyncd.settings.report import ConfigurationErrors
from usenetsyncd.settings.schema import LogLevel

Load = Callable[..., LoadedSettings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load with a system and a user file of the test's own."""
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "etc.yaml")

    def loaded(
        system: str = "",
        user: str = "",
        environ: dict[str, str] | None = None,
        overrides: tuple[str, ...] = (),
    ) -> LoadedSettings:
        (tmp_path / "etc.yaml").write_text(system)
        (tmp_path / "usenetsyncd").mkdir(exist_ok=True)
        (tmp_path / "usenetsyncd" / "usenetsyncd.yaml").write_text(user)
        variables = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)} | (environ or {})
        return load_settings(None, overrides, variables, root=False)

    return loaded


def errors_of(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationErrors) as caught:
        call()
    return str(caught.value)


def test_without_any_file_the_packaged_defaults_hold(tmp_path: Path) -> None:
    loaded = load_settings(None, (), {"HOME": str(tmp_path)}, root=False)
    assert loaded.settings.defaults.compression is Compression.ZSTD
    assert loaded.settings.storage.data_dir == f"{tmp_path}/.local/state/usenetsyncd"
    assert loaded.settings.control.socket == f"{tmp_path}/.local/state/usenetsyncd/control.sock"
    assert str(loaded.origin("defaults.settle")) == str(loaded.origin("servers[0].nothing")) == "default"
    assert loaded.warnings == ()


def test_each_layer_is_stronger_than_the_one_below(load: Load, tmp_path: Path) -> None:
    system = "limits: {upload: 1 MB/s, download: 1 MB/s, memory: 100 MiB}\nlog: {level: error}\n"
    user = "limits: {download: 2 MB/s, memory: 200 MiB}\n"
    environ = {"USENETSYNCD_LIMITS__MEMORY": "300 MiB", "USENETSYNCD_LOG__LEVEL": "warning"}
    loaded = load(system, user, environ, ("log.level=debug",))
    limits = loaded.settings.limits
    assert (limits.upload, limits.download, limits.memory) == (1_000_000, 2_000_000, 300 * 1024**2)
    assert loaded.settings.log.level is LogLevel.DEBUG
    assert str(loaded.origin("limits.upload")) == f"{tmp_path}/etc.yaml:1:18"
    assert str(loaded.origin("limits.download")) == f"{tmp_path}/usenetsyncd/usenetsyncd.yaml:1:20"
    assert str(loaded.origin("limits.memory")) == "environment variable USENETSYNCD_LIMITS__MEMORY"
    assert str(loaded.origin("log.level")) == "--set log.level"
    assert str(loaded.origin("limits.schedule")) == "default"
    assert loaded.files == (tmp_path / "etc.yaml", tmp_path / "usenetsyncd" / "usenetsyncd.yaml")


def test_a_list_replaces_the_lower_list_as_a_whole(load: Load) -> None:
    loaded = load("newsgroups: [alt.a, alt.b]\n", "newsgroups: [alt.c]\n")
    assert loaded.settings.newsgroups == ("alt.c",)


def test_a_heading_with_nothing_below_it_changes_nothing(load: Load) -> None:
    loaded = load("limits: {upload: 1 MB/s}\n", "limits:\n#  upload: 2 MB/s\nservers:\nfolders:\n")
    assert loaded.settings.limits.upload == 1_000_000
    assert loaded.settings.servers == ()


def test_a_file_given_by_name_replaces_both_files(tmp_path: Path, load: Load) -> None:
    load("limits: {upload: 1 MB/s}\n", "limits: {upload: 2 MB/s}\n")
    own = tmp_path / "own.yaml"
    own.write_text("limits: {download: 3 MB/s}\n")
    loaded = load_settings(own, (), {"XDG_CONFIG_HOME": str(tmp_path)})
    assert (loaded.settings.limits.upload, loaded.settings.limits.download) == (0, 3_000_000)


def test_a_file_given_by_name_must_exist(tmp_path: Path) -> None:
    assert "cannot be read" in errors_of(lambda: load_settings(tmp_path / "absent.yaml", (), {}))


def test_errors_of_all_layers_are_told_at_once(load: Load, tmp_path: Path) -> None:
    text = errors_of(
        lambda: load(
            "limits: {upload: x}\nlog: {\n",
            "storage: {min_fre: 1 GB}\n",
            {"USENETSYNCD_LIMITS__MEMORY": "lots", "USENETSYNCD_WEB__PORT": "1"},
            ("log.level=loud", "nonsense"),
        )
    )
    assert f"{tmp_path}/etc.yaml:3:1: error: not valid YAML" in text
    assert "storage.min_fre: unknown key; did you mean 'min_free'?" in text
    assert "environment variable USENETSYNCD_LIMITS__MEMORY: error: limits.memory: expected a size" in text
    assert "environment variable USENETSYNCD_WEB__PORT: error: web.port: unknown key" in text
    assert "--set log.level: error: log.level: expected debug, info, warning or error, got 'loud'" in text
    assert "--set nonsense: error: expected key=value" in text


def test_a_configuration_error_ends_with_exit_code_78() -> None:
    with pytest.raises(ConfigurationErrors) as caught:
        load_text("x: 1", environ={})
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert caught.value.count == "1 error"


SERVER = "servers:\n  - {name: main, host: news.example.com, username: a, password: '${credential:main}'}\n"


def test_one_item_of_a_list_can_be_changed_from_outside(load: Load) -> None:
    environ = {"USENETSYNCD_SERVERS__0__CONNECTIONS": "3", "USENETSYNCD_SERVERS__0__CA_FILE": "/etc/hostname"}
    server = load(SERVER, environ=environ, overrides=("servers[0].priority=7",)).settings.server("main")
    assert (server.connections, server.priority, server.ca_file) == (3, 7, "/etc/hostname")
    assert "servers has 1 items" in errors_of(lambda: load(SERVER, overrides=("servers[1].priority=7",)))
    assert "name an item by its number" in errors_of(lambda: load(SERVER, overrides=("servers.main.port=7",)))


def test_a_list_can_be_given_from_outside(load: Load) -> None:
    loaded = load(
        environ={"USENETSYNCD_NEWSGROUPS": "[alt.a, alt.b]"}, overrides=("defaults.ignore=['*.x']",)
    )
    assert loaded.settings.newsgroups == ("alt.a", "alt.b")
    assert loaded.settings.defaults.ignore == ("*.x",)
    text = errors_of(lambda: load(environ={"USENETSYNCD_NEWSGROUPS": "[alt.a"}))
    assert "environment variable USENETSYNCD_NEWSGROUPS: error: not valid YAML" in text


def test_a_value_can_come_from_a_file_named_in_the_environment(load: Load, tmp_path: Path) -> None:
    (tmp_path / "rate").write_text("9 MB/s\n")
    loaded = load(environ={"USENETSYNCD_LIMITS__UPLOAD_FILE": str(tmp_path / "rate")})
    assert loaded.settings.limits.upload == 9_000_000
    both = {"USENETSYNCD_LIMITS__UPLOAD_FILE": str(tmp_path / "rate"), "USENETSYNCD_LIMITS__UPLOAD": "1 MB/s"}
    assert "are both set; keep one" in errors_of(lambda: load(environ=both))
    absent = {"USENETSYNCD_LIMITS__UPLOAD_FILE": "/nonexistent/x"}
    assert "/nonexistent/x cannot be read" in errors_of(lambda: load(environ=absent))


def test_a_password_from_the_environment_stays_there(load: Load) -> None:
    loaded = load(SERVER, environ={"USENETSYNCD_SERVERS__0__PASSWORD": "hunter2"})
    assert str(loaded.settings.servers[0].password) == "${env:USENETSYNCD_SERVERS__0__PASSWORD}"
    loaded = load(SERVER, environ={"USENETSYNCD_SERVERS__0__PASSWORD_FILE": "/run/secrets/pw"})
    assert str(loaded.settings.servers[0].password) == "${file:/run/secrets/pw}"


def test_a_password_given_in_plain_text_is_refused_and_not_repeated(load: Load) -> None:
    plain = SERVER.replace("${credential:main}", "hunter2")
    for call in (
        lambda: load(plain),
        lambda: load(SERVER, overrides=("servers[0].password=hunter2",)),
        lambda: load(
            environ={"USENETSYNCD_SERVERS": "[{name: main, host: h.example, username: a, password: hunter2}]"}
        ),
        lambda: load("notify: [{url: 'tgram://hunter2/1'}]"),
        lambda: load("storage: {catalogue: 'postgresql://u:hunter2@h/d'}"),
        lambda: load("servers: [{name: main, host: h.example, password: [hunter2]}]"),
        lambda: load("servers: hunter2"),
    ):
        assert "hunter2" not in errors_of(call)
    assert "usyncctl credential set main" in errors_of(lambda: load(plain))


def test_the_client_s_own_variable_is_no_setting(load: Load) -> None:
    assert load(environ={"USENETSYNCD_SOCKET": "/run/x.sock"}).settings.control.socket != "/run/x.sock"


@pytest.mark.parametrize(
    ("port", "tls", "expected"),
    [
        (None, None, TlsMode.IMPLICIT),
        (563, None, TlsMode.IMPLICIT),
        (443, None, TlsMode.IMPLICIT),
        (119, None, TlsMode.STARTTLS),
        (119, "implicit", TlsMode.IMPLICIT),
        (8563, "starttls", TlsMode.STARTTLS),
    ],
)
def test_tls_follows_from_the_port(port: int | None, tls: str | None, expected: TlsMode) -> None:
    extra = (f", port: {port}" if port else "") + (f", tls: {tls}" if tls else "")
    loaded = load_text(f"servers: [{{name: m, host: h.example{extra}}}]", environ={})
    assert loaded.settings.servers[0].tls is expected


def test_an_unusual_port_needs_to_say_how_tls_starts() -> None:
    text = errors_of(lambda: load_text("servers: [{name: m, host: h.example, port: 8000}]", "u.yaml", {}))
    assert (
        text
        == "u.yaml:1:44: error: servers[0].tls: port 8000 does not say how TLS starts; give tls: implicit or tls: starttls"
    )


def test_a_server_has_the_documented_defaults() -> None:
    server = load_text("servers: [{name: m, host: H.Example}]", environ={}).settings.servers[0]
    assert (server.host, server.port, server.connections, server.priority) == ("h.example", 563, 8, 1)
    assert server.roles == (ServerRole.POST, ServerRole.READ)


FOLDERS = """
defaults: {settle: 5s, guard: {max_deleted: 40%}}
folders:
  - {id: docs, path: /srv/docs}
  - {id: photos, path: /srv/photos, priority: low, settle: 9s, guard: {max_changed: 10%}, ignore: []}
"""


def test_a_folder_has_the_defaults_except_what_it_sets_itself() -> None:
    loaded = load_text(FOLDERS, "u.yaml", {})
    docs, photos = loaded.settings.folder("docs"), loaded.settings.folder("photos")
    assert (docs.settle, docs.priority, docs.guard.max_deleted, docs.guard.max_changed) == (
        5,
        Priority.NORMAL,
        0.4,
        0.5,
    )
    assert (photos.settle, photos.priority, photos.guard.max_deleted, photos.guard.max_changed) == (
        9,
        Priority.LOW,
        0.4,
        0.1,
    )
    assert docs.ignore == ("*.tmp", "*.part", ".DS_Store")
    assert photos.ignore == ()
    assert str(loaded.origin("folders[0].settle")) == "u.yaml:2:20"
    assert str(loaded.origin("folders[1].settle")) == "u.yaml:5:60"
    assert str(loaded.origin("folders[0].rescan")) == "default"
    with pytest.raises(NotFound):
        loaded.settings.folder("music")


def test_an_error_in_the_defaults_is_told_once_however_many_folders_inherit_it() -> None:
    text = errors_of(lambda: load_text(FOLDERS.replace("settle: 5s", "settle: soon"), "u.yaml", {}))
    assert text.count("\n") == 0
    assert text.startswith("u.yaml:2:20: error: defaults.settle: expected a duration")


def test_newsgroup_rules_take_bare_names_and_conditions() -> None:
    text = "defaults: {newsgroups: [alt.a, {match: '*.iso', groups: [alt.b]}, {larger_than: 100 MB, groups: [alt.c]}]}"
    bare, match, larger = load_text(text, environ={}).settings.defaults.newsgroups
    assert (bare.groups, match.match, larger.larger_than) == (("alt.a",), "*.iso", 100_000_000)


def test_retry_rules_speak_the_reply_table_s_language() -> None:
    text = "retry: {502: {wait: 1m, tries: 3, strategy: linear, rest: 5m}, login_refused: {jitter: 10%}}"
    retry = load_text(text, environ={}).settings.retry
    assert retry["502"].row_fields() == {"base_s": 60.0, "attempts": 3, "strategy": "linear", "rest_s": 300.0}
    assert retry["login_refused"].row_fields() == {"jitter": 0.1}


def test_settings_are_frozen() -> None:
    settings = load_text("log: {components: {news: debug}}", environ={}).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.limits.upload = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.log.components["news"] = LogLevel.ERROR


def test_state_goes_where_the_service_manager_says(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": f"{tmp_path}/state", "RUNTIME_DIRECTORY": f"{tmp_path}/run"}
    settings = load_settings(None, (), environ, root=False).settings
    assert settings.storage.data_dir == f"{tmp_path}/state"
    assert settings.control.socket == f"{tmp_path}/run/control.sock"


def test_a_home_directory_may_be_written_with_a_tilde() -> None:
    settings = load_text("folders: [{id: a, path: ~/Documents}]", environ={}).settings
    assert settings.folders[0].path == os.path.expanduser("~/Documents")


# -- a system's file that is another's ---------------------------------------------------------

NOBODY = 65_534


@pytest.fixture
def denied(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a user who may read their own file, but not the system's."""
    system = short_dir / "etc" / "usenetsyncd.yaml"
    own = short_dir / "home" / "usenetsyncd" / "usenetsyncd.yaml"
    for file, upload in ((system, 1), (own, 2)):
        file.parent.mkdir(parents=True)
        file.write_text(f"limits: {{upload: {upload} MB/s}}\n")
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", system)
    environ = {"XDG_CONFIG_HOME": str(short_dir / "home"), "HOME": str(short_dir / "home")}
    assert load_settings(None, (), environ, root=False).files == (system, own)
    system.parent.chmod(0)
    short_dir.chmod(0o755)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield environ
    finally:
        if is_root:
            os.seteuid(0)
        system.parent.chmod(0o755)


def test_a_users_daemon_leaves_out_what_it_may_not_read_and_says_so(denied: dict[str, str]) -> None:
    loaded = load_settings(None, (), denied, root=False)
    assert loaded.settings.limits.upload == 2_000_000
    assert (loaded.left_out, len(loaded.files)) == ((paths.SYSTEM_CONFIG,), 1)
    (warning,) = loaded.warnings
    assert str(warning) == f"{paths.SYSTEM_CONFIG}: warning: may not be read by this user; it is left out"


def test_the_systems_own_daemon_never_goes_on_without_its_file(denied: dict[str, str]) -> None:
    told = f"{paths.SYSTEM_CONFIG}: error: cannot be read: Permission denied"
    assert errors_of(lambda: load_settings(None, (), denied, root=True)) == told
    service = {**denied, "CONFIGURATION_DIRECTORY": str(paths.SYSTEM_CONFIG.parent)}
    assert errors_of(lambda: load_settings(None, (), service, root=False)) == told


def test_a_file_given_by_name_or_of_ones_own_must_be_readable(denied: dict[str, str]) -> None:
    given = paths.SYSTEM_CONFIG
    assert "Permission denied" in errors_of(lambda: load_settings(given, (), denied, root=False))
    swapped = {"XDG_CONFIG_HOME": str(given.parent.parent / "etc"), "HOME": "/"}
    assert errors_of(lambda: load_settings(None, (), swapped, root=False)).count("Permission denied") == 1
