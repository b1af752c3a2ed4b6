"""`ps`, `stop` and `alias`, against a server that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from completionist.models.catalog import catalog
from completionist.settings import DEFAULT_MODEL, ServedSettings
from tests.cli.conftest import Cli, one_line
from tests.conftest import Serve
from tests.http.test_keys import KEY, KEYED
from tests.registry.seconds import Second, those_here
from tests.support import raw
from tests.support.ask import ask
from tests.support.server import MODEL, SETTINGS

Clients = Callable[..., openai.OpenAI]


def test_ps_and_stop(cli: Cli, serve: Serve, client_of: Clients) -> None:
    second = Second(keep_alive_s=3600)
    aliased = SETTINGS.model_copy(update={"served": {"gpt-4o": ServedSettings(model="second")}})
    server = serve(settings=aliased, others=those_here(second))
    ask(client_of(server), model="gpt-4o")
    first, row = cli("ps", "--url", server.url).stdout.splitlines()
    assert re.fullmatch(rf"{MODEL}  loaded, 64 streams of 8,192 tokens, 0 requests, for \d+ s, stays", first)
    assert re.fullmatch(r"second    loaded, .*, \d+ min left, also gpt-4o", row)
    rows = json.loads(cli("ps", "--json", "--url", server.url).stdout)
    assert [(one["name"], one["aliases"], one["is_kept"]) for one in rows] == [
        (MODEL, [], True),
        ("second", ["gpt-4o"], False),
    ]
    assert cli("stop", "gpt-4o", "--url", server.url).stdout == "second is unloaded\n"
    assert cli("stop", "second", "--url", server.url).stdout == "second was not loaded\n"
    refused = cli("stop", "nobody/x", "--url", server.url)
    assert refused.returncode == 1
    assert "The model `nobody/x` does not exist" in one_line(refused)


def test_no_server(quick: Cli) -> None:
    refused = quick("ps", "--url", "http://127.0.0.1:9")
    assert refused.returncode == 1
    assert "no server answers at 127.0.0.1:9" in one_line(refused)


def test_looking_after_models_takes_a_key_where_there_are_keys(cli: Cli, serve: Serve) -> None:
    server = serve(settings=KEYED)
    assert raw.send(server.port, raw.request("GET", "/admin/models")).status == 401
    assert raw.send(server.port, raw.request("DELETE", f"/admin/models/{MODEL}")).status == 401
    assert one_line(cli("ps", "--url", server.url)).startswith("completionist: You didn't provide an API key.")
    assert "Missing scopes: admin." in one_line(cli("ps", "--url", server.url, API_KEY=KEY))
    assert cli("ps", "--url", server.url, API_KEY="admin").returncode == 0


def test_aliases_are_set_listed_and_removed(quick: Cli, tmp_path: Path) -> None:
    entry = catalog()[DEFAULT_MODEL]
    file = tmp_path / "cache" / "models" / entry.name / entry.file
    file.parent.mkdir(parents=True)
    file.touch()
    here = {"COMPLETIONIST_MODELS__CACHE_DIR": str(tmp_path / "cache")}
    assert quick("alias", "list", **here).stdout == "no alias is set\n"
    done = quick("alias", "set", "gpt-4o-mini", DEFAULT_MODEL, "--profile", "gpt-4o", **here)
    assert (done.returncode, done.stdout) == (0, f"gpt-4o-mini stands for {DEFAULT_MODEL}\n")
    assert quick("alias", "list", **here).stdout == f"gpt-4o-mini → {DEFAULT_MODEL}  (profile gpt-4o)\n"
    (row,) = json.loads(quick("alias", "list", "--json", **here).stdout)
    assert row == {
        "name": "gpt-4o-mini", "model": DEFAULT_MODEL, "profile": "gpt-4o",
        "is_configured": False, "hides_model": False, "is_served": True,
    }  # fmt: skip
    shown = quick("show", "gpt-4o-mini", **here)
    assert str(file) in one_line(shown), "an alias is known to commands that read a model"
    for arguments, said in (
        (("set", "x", "gpt-4o-mini"), "gpt-4o-mini is an alias itself"),
        (("set", "x", "qwen2.5-coder-0.5b-instruct"), "is not here yet: completionist pull"),
        (("set", "x", DEFAULT_MODEL, "--profile", "gpt-9"), "no profile gpt-9"),
        (("rm", "y"), "there is no alias y"),
    ):
        refused = quick("alias", *arguments, **here)
        assert refused.returncode in {1, 2}
        assert said in one_line(refused)
    assert quick("alias", "rm", "gpt-4o-mini", **here).stdout == "gpt-4o-mini stands for nothing any more\n"
    assert quick("alias", "list", **here).stdout == "no alias is set\n"


@pytest.mark.parametrize("command", [("set", "a", "b"), ("rm", "a")])
def test_what_the_settings_say_is_changed_there(quick: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "completionist.toml").write_text('[served.a]\nmodel = "m"\n')
    refused = quick("alias", *command)
    assert refused.returncode == 2
    assert "a is set in the settings" in one_line(refused)
