"""Which name stands for which model. An alias names a model, never another alias."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from completionist.chat.profiles import PROFILES, Profile
from completionist.chat.service import Served
from completionist.registry.aliases import Alias
from completionist.registry.model import Model


def served(models: Mapping[str, Model], aliases: Iterable[Alias], complain: Callable[[str], None]) -> dict[str, Served]:
    """Everything that clients can name, models first. What is wrong with an alias is complained of, and what it hides."""
    names = {
        model.name: Served(
            id=model.name, model=model.name, created=model.created, owned_by=model.owned_by, profile=model.profile
        )
        for model in models.values()
    }
    aliases = tuple(aliases)
    others = {alias.name for alias in aliases}
    for alias in aliases:
        model = models.get(alias.model)
        if alias.model in others:
            complain(f"alias {alias.name} stands for {alias.model}, which is an alias itself: it is not served")
        elif model is None:
            complain(f"alias {alias.name} stands for {alias.model}, which is not here: it is not served")
        else:
            if alias.name in models:
                complain(f"alias {alias.name}, which stands for {alias.model}, hides the model of that name")
            names[alias.name] = Served(
                id=alias.name,
                model=model.name,
                created=model.created if alias.created is None else alias.created,
                owned_by=model.owned_by,
                profile=_profile(alias, model),
            )
    return names


def _profile(alias: Alias, model: Model) -> Profile:
    profile = PROFILES[alias.profile] if alias.profile else model.profile
    return profile if alias.max_choices is None else limited(profile, alias.max_choices)


def limited(profile: Profile, max_choices: int) -> Profile:
    """`profile`, with no more choices than the operator lets one request have."""
    return replace(profile, max_choices=min(profile.max_choices, max_choices))
