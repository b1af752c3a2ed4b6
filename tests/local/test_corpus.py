"""Chat templates in the manner of each family that people serve, and the real ones that are here: as Jinja2 renders them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from completionist.local.agreement import Agreement, agreement, isolated_agreement
from completionist.local.markers import template_kind
from completionist.models.gguf import read_facts
from completionist.models.installed import installed
from completionist.settings import ModelSettings

CORPUS = {path.stem: path for path in sorted((Path(__file__).parent / "corpus").glob("*.jinja"))}
DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"


@cache
def compared(family: str) -> Agreement:
    return agreement(CORPUS[family].read_text())


@pytest.mark.parametrize("family", CORPUS)
def test_a_family_is_rendered_to_the_character_or_refused(family: str) -> None:
    found = compared(family)
    assert found.unusable is None
    assert found.differences == ()
    assert found.refusals == ()
    assert found.n_equal > found.n_trials / 3


def test_the_corpus_reaches_what_templates_do() -> None:
    """Its forms are many; its roles, tools and switches make a difference."""
    assert len(CORPUS) >= 20
    assert len({template_kind(path.read_text()) for path in CORPUS.values()}) >= 14
    assert sum("tools" in path.read_text() for path in CORPUS.values()) >= 12
    assert sum(compared(family).n_refused > 0 for family in CORPUS) >= 8


def test_the_published_rate_is_the_measured_one() -> None:
    found = [compared(family) for family in CORPUS]
    n_trials, n_equal = sum(one.n_trials for one in found), sum(one.n_equal for one in found)
    n_refused = sum(one.n_refused for one in found)
    said = (
        f"{len(found)} templates, {n_trials:,} renderings: {n_equal:,} equal to the character, {n_refused:,} refused by both, "
        f"{n_trials - n_equal - n_refused:,} otherwise"
    )
    assert said in " ".join(DOCUMENT.read_text().split())


@pytest.mark.model
def test_the_templates_of_models_that_are_here() -> None:
    templates = {
        model.name: read_facts(model.path).text("tokenizer.chat_template") for model in installed(ModelSettings())
    }
    assert templates
    for name, source in templates.items():
        if source is not None:
            found = agreement(source)
            assert found.is_sound, (name, found.differences[:3])
            assert found.n_equal > 0


def test_what_differs_is_told_apart_from_what_is_refused() -> None:
    """The comparison can fail."""
    said, long = "{{ messages[0].content }}", "{% if messages | length > 2 %}"
    assert agreement(said).n_equal == agreement(said).n_trials
    assert agreement(f"{said}{{{{ ''.__class__ }}}}").unusable == "it names __class__"
    fickle = agreement(f"{said}{long}{{{{ 2.0 | tojson }}}}{{% endif %}}")
    assert not fickle.is_sound
    assert (fickle.differences[0].ours, fickle.differences[0].jinja) == ("Hello!2", "Hello!2.0")
    assert fickle.n_equal + len(fickle.differences) == fickle.n_trials
    refused = agreement(f"{said}{long}{{{{ 'x' | int }}}}{{% endif %}}")
    assert refused.is_sound
    assert "invalid float literal" in refused.refusals[0].ours


def test_a_hostile_template_is_compared_in_a_process_that_may_die() -> None:
    found = isolated_agreement(
        "{{ messages[0].content }}{% if messages | length > 2 %}{{ 'a' * 3000000000 }}{% endif %}"
    )
    assert found.unusable or found.n_refused
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    assert isolated_agreement(endless).unusable
