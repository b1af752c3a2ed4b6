"""Precedence of settings, and how a wrong one is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from completionist.cli.configure import SettingsRefused, config_file, known_keys, read_settings
from tests.cli.conftest import Cli, one_line


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file of the developer's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.toml", 'model = "from-file"\n[server]\nport = 1001\nhost = "127.0.0.9"\n')
    assert read_settings({}).server.port == 8000
    assert read_settings({}, file).server.port == 1001
    monkeypatch.setenv("COMPLETIONIST_SERVER__PORT", "1002")
    assert read_settings({}, file).server.port == 1002
    mixed = read_settings({"server.port": 1003, "server.host": None}, file)
    assert (mixed.server.port, mixed.server.host, mixed.model) == (1003, "127.0.0.9", "from-file")


def test_the_first_settings_file_found_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_file(None) is None
    users = write(tmp_path / "config" / "completionist" / "config.toml", "")
    assert config_file(None) == users
    write(tmp_path / "completionist.toml", "")
    assert config_file(None) == Path("completionist.toml")
    monkeypatch.setenv("COMPLETIONIST_CONFIG", "named.toml")
    assert config_file(None) == Path("named.toml")
    assert config_file(Path("given.toml")) == Path("given.toml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "unknown setting 'prot'"),
        ("[server]\nprot = 1", "unknown setting 'server.prot': did you mean 'server.port'?"),
        ("[server]\nport = 70000", "setting 'server.port': input should be less than or equal to 65535, not 70000"),
        ("[engine]\nstreams = 'many'", "setting 'engine.streams'"),
        ('[served.a]\nmodel = "a"', "an alias stands for a model, not for another alias: a → a"),
        ('[served.a]\nmodel = "b"\n[served.b]\nmodel = "a"', "not for another alias: a → b → a"),
        ('[served.a]\nmodel = "b"\n[served.b]\nmodel = "c"', "not for another alias: a → b → c"),
        ('[served.a]\nmodel = "b"\ndialect = "plain"', "setting 'served.a': dialect is said of a model"),
        ("[models]\nkeep_alive_s = -1", "setting 'models.keep_alive_s"),
        ("port = = 1", "is no valid TOML"),
        ("model = 1\n[server]\nport = 'x'", "(and 1 more)"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_named(tmp_path: Path, text: str, named: str) -> None:
    file = write(tmp_path / "wrong.toml", text)
    with pytest.raises(SettingsRefused) as refused:
        read_settings({}, file)
    assert named in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("variable", ["COMPLETIONIST_SERVER__PROT", "COMPLETIONIST_SERVR__PORT", "COMPLETIONIST_PORT"])
def test_an_unknown_variable_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsRefused, match="unknown setting"):
        read_settings({})


def test_lists_and_sections_in_the_environment_are_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.toml", '[served.a]\nmodel = "m"\n[server]\nhost = "127.0.0.9"\n')
    monkeypatch.setenv("COMPLETIONIST_SERVED", '{"b": {"model": "n"}}')
    monkeypatch.setenv("COMPLETIONIST_SERVED__C__MODEL", "o")
    monkeypatch.setenv("COMPLETIONIST_SERVER", '{"port": 1, "allowed_hosts": ["x"]}')
    monkeypatch.setenv("COMPLETIONIST_SERVER__PORT", "2")
    monkeypatch.setenv("COMPLETIONIST_ENGINE__CACHE_BYTES", "7")
    settings = read_settings({"server.host": "127.0.0.8"}, file)
    assert {name: said.model for name, said in settings.served.items()} == {"a": "m", "b": "n", "c": "o"}
    assert (settings.server.port, settings.server.host, settings.server.allowed_hosts) == (2, "127.0.0.8", ("x",))
    assert settings.engine.cache_bytes == 7
    monkeypatch.setenv("COMPLETIONIST_SERVER__ALLOWED_HOSTS", "x")
    with pytest.raises(SettingsRefused, match=r"COMPLETIONIST_SERVER__ALLOWED_HOSTS: lists .* as JSON"):
        read_settings({})


def test_a_key_in_place_of_its_digest_is_not_repeated(tmp_path: Path) -> None:
    file = write(tmp_path / "keys.toml", '[[keys]]\nsha256 = "sk-secret"\nproject = "a"\n')
    with pytest.raises(SettingsRefused) as refused:
        read_settings({}, file)
    assert "keys.0.sha256" in str(refused.value)
    assert "sk-secret" not in str(refused.value)


def test_every_key_is_known() -> None:
    keys = known_keys()
    assert {"model", "server.port", "engine.context_tokens", "models.cache_dir", "keys"} <= set(keys)
    assert "server" not in keys


def test_a_refused_setting_ends_the_command_in_one_line(quick: Cli, tmp_path: Path) -> None:
    missing = quick("list", "--config", "nowhere.toml")
    assert missing.returncode == 2
    assert one_line(missing) == "completionist: cannot read the settings file nowhere.toml: No such file or directory"
    write(tmp_path / "completionist.toml", "[engine]\nstreem = 1\n")
    unknown = quick("list")
    assert unknown.returncode == 2
    assert "unknown setting 'engine.streem': did you mean 'engine.streams'?" in one_line(unknown)
