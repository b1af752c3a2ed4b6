"""Aliases: an application keeps the name it knows, and a local model answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openai
import pytest

from completionist.registry.aliases import FILE_NAME, Alias, AliasFile, AliasRefused, check
from completionist.settings import ServedSettings, Settings, StoreSettings
from completionist.store.sql.place import data_directory
from tests.conftest import Serve
from tests.registry.seconds import Second, loaded, those_here
from tests.support.ask import ask, ask_streamed
from tests.support.server import MODEL, SETTINGS, eventually

Clients = Callable[..., openai.OpenAI]

ALIASES = {
    "gpt-4o-mini": ServedSettings(model=MODEL),
    "o3": ServedSettings(model=MODEL, profile="o3", max_choices=2),
    "gone": ServedSettings(model="nobody"),
    "chained": ServedSettings(model="o3"),
    "second": ServedSettings(model=MODEL),
}


def with_aliases(**more: object) -> Settings:
    return SETTINGS.model_copy(update={"served": ALIASES, **more})


@pytest.fixture
def alias_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AliasFile:
    """Of this test alone."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return AliasFile(data_directory() / FILE_NAME)


def test_the_answer_has_the_name_of_the_request_and_the_log_has_both(serve: Serve, client_of: Clients) -> None:
    server = serve(settings=with_aliases())
    client = client_of(server)
    answer = ask(client, model="gpt-4o-mini")
    assert answer.model == "gpt-4o-mini"
    assert {chunk.model for chunk in ask_streamed(client, model="gpt-4o-mini")} == {"gpt-4o-mini"}
    assert answer.system_fingerprint == ask(client).system_fingerprint
    assert answer._request_id is not None
    line = server.access_line(answer._request_id)
    assert (line["model"], line["served_model"]) == ("gpt-4o-mini", MODEL)
    counted = {(of.model, of.served_model) for of in server.services.ledger._sums}  # what is written seconds later
    assert counted == {("gpt-4o-mini", MODEL), (MODEL, MODEL)}


def test_both_names_are_listed_and_what_is_wrong_is_said_once(serve: Serve, client_of: Clients) -> None:
    server = serve(settings=with_aliases(), others=those_here(Second()))
    client = client_of(server)
    listed = {model.id: model.owned_by for model in client.models.list()}
    assert listed == dict.fromkeys([MODEL, "second", "gpt-4o-mini", "o3"], "tests")
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    server.look_again()
    with pytest.raises(openai.NotFoundError):
        ask(client, model="gone")
    said = [line["event"] for line in server.log_lines(level="warning")]
    assert said.count("alias gone stands for nobody, which is not here: it is not served") == 1
    assert said.count("alias chained stands for o3, which is an alias itself: it is not served") == 1
    assert said.count(f"alias second, which stands for {MODEL}, hides the model of that name") == 1
    assert ask(client, model="second").model == "second"
    assert list(loaded(server)) == [MODEL]  # the alias answered


def test_an_alias_has_a_profile_of_its_own(serve: Serve, client_of: Clients) -> None:
    client = client_of(serve(settings=with_aliases()))
    with pytest.raises(openai.BadRequestError, match="'max_tokens' is not supported with this model"):
        ask(client, model="o3", max_tokens=5)
    with pytest.raises(openai.BadRequestError, match="integer"):
        ask(client, model="o3", n=3)
    assert len(ask(client, model="gpt-4o-mini", max_tokens=5, n=3).choices) == 3


def test_stored_completions_keep_the_name_and_are_found_by_it(serve: Serve, client_of: Clients, tmp_path: Path) -> None:
    store = StoreSettings(url=f"sqlite:///{tmp_path / 'x.db'}")
    client = client_of(serve(settings=with_aliases(store=store)))
    ids = {name: ask(client, model=name, store=True).id for name in ("gpt-4o-mini", MODEL)}
    for name, id_ in ids.items():
        assert [(one.id, one.model) for one in client.chat.completions.list(model=name)] == [(id_, name)]


def test_aliases_change_while_the_server_runs(alias_file: AliasFile, serve: Serve, client_of: Clients) -> None:
    server = serve(others=those_here(Second()))
    client = client_of(server)
    for model in ("second", MODEL):
        with alias_file.changing() as aliases:
            aliases["gpt-4o"] = Alias(name="gpt-4o", model=model)
        server.look_again()
        answer = ask(client, model="gpt-4o")
        assert answer._request_id is not None
        assert server.access_line(answer._request_id)["served_model"] == model
    data_directory().joinpath(FILE_NAME).write_text("{")  # what it said before holds
    server.look_again()
    assert ask(client, model="gpt-4o").model == "gpt-4o"
    (line,) = server.log_lines(level="error")
    assert line["event"].startswith("cannot read the aliases in ")
    data_directory().joinpath(FILE_NAME).unlink()
    server.look_again()
    with pytest.raises(openai.NotFoundError):
        ask(client, model="gpt-4o")


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("a", "a", "a cannot stand for itself"),
        ("a", "known", "known is an alias itself: let a stand for m"),
        ("m", "other", "m is the model behind the alias known"),
        ("other", "m", "other is a model that is here: with --hide"),
        ("", "m", "1 to 256 printable characters"),
        ("a\nb", "m", "1 to 256 printable characters"),
        (" a", "m", "1 to 256 printable characters"),
    ],
)
def test_what_cannot_be_an_alias(name: str, model: str, said: str) -> None:
    others = {"known": Alias(name="known", model="m")}
    with pytest.raises(AliasRefused, match=said):
        check(Alias(name=name, model=model), others, {"m", "other"}, may_hide=False)


def test_a_look_holds_for_a_second(alias_file: AliasFile, serve: Serve, client_of: Clients) -> None:
    """Nothing but asking makes a server look."""
    client = client_of(serve())
    ask(client)
    with alias_file.changing() as aliases:
        aliases["soon"] = Alias(name="soon", model=MODEL)
    eventually(lambda: "soon" in [model.id for model in client.models.list()])
