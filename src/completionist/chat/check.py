"""The last step of the order of checks (contract 2.3): what this model and this installation do with legal values.

Nothing is accepted and then ignored: what an installation lacks is refused, with `param` naming it. What some fields do does
not show in the answer: `user` and `safety_identifier` name the end user to the operator, in the access log (2.6), `store`
keeps the answer, if the operator lets it (`chat.service`), and `metadata` is kept with it, so that without `store` there is
nothing to keep it with (2.5). `audio` only says how speech would be made; `modalities` asks for it (2.5).
"""

from __future__ import annotations

from completionist.chat.gate import check_profile
from completionist.chat.moderate import Moderator
from completionist.chat.profiles import OPEN, Profile
from completionist.chat.search import SearchProvider
from completionist.chat.senses import Senses
from completionist.chat.speech import Speaker, is_spoken
from completionist.engine.base import ModelCard
from completionist.errors import InvalidValue, UnsupportedParameter, UnsupportedValue
from completionist.types.messages import Message
from completionist.types.parts import Part
from completionist.types.refusals import InvalidLogitBiasKey, UnsupportedContent
from completionist.types.request import ChatRequest


def check(
    request: ChatRequest,
    card: ModelCard,
    profile: Profile = OPEN,
    *,
    can_think: bool,
    senses: Senses,
    moderator: Moderator | None,
) -> None:
    """Raise the first refusal, a subclass of `InvalidRequest`; otherwise every field of `request` has its effect."""
    check_profile(request, profile)
    for i, message in enumerate(request.messages):
        _check_message(i, message, card, senses)
    _check_token_ids(request, card)
    _check_speech(request, senses.speaker)
    _check_moderation(request, moderator)
    _check_search(request, senses.search)
    if request.prediction is not None and card.memory_kind == "checkpoints_only":
        raise UnsupportedParameter("prediction", "Its memory cannot go back, which verifying needs.")
    if request.reasoning_effort not in (None, "none") and not can_think:
        raise UnsupportedValue("reasoning_effort", f"'{request.reasoning_effort}'", ("none",))


def _check_search(request: ChatRequest, provider: SearchProvider | None) -> None:
    """Sections 8.8 and 13.1."""
    field = "web_search_options"
    if request.web_search_options is None:
        return
    if provider is None:
        raise UnsupportedParameter(field, "No search provider is configured.")
    if provider.missing is not None:
        raise UnsupportedParameter(field, provider.missing)
    if is_spoken(request):
        raise UnsupportedParameter(field, "An answer that is spoken has no text that could cite.")


def _check_message(i: int, message: Message, card: ModelCard, senses: Senses) -> None:
    if isinstance(message.content, tuple):
        for j, part in enumerate(message.content):
            _check_part(i, j, part, card, senses)


def _check_part(i: int, j: int, part: Part, card: ModelCard, senses: Senses) -> None:
    """Few models see or hear: `chat.attached` reads, and listens, for the others."""
    if part.type == "image_url":
        eyes = senses.pictures if card.sight is None else senses.sight
        if eyes.missing is not None:
            raise UnsupportedContent(part.type, i, j, eyes.missing)
        if part.image_url.detail == "original" and not (card.sight and card.sight.takes_any_size):
            raise UnsupportedValue(
                f"messages[{i}].content[{j}].image_url.detail", "'original'", ("auto", "low", "high")
            )
    if part.type == "input_audio":
        ears = senses.listener if card.hearing is None else senses.sound
        if ears.missing is not None:
            raise UnsupportedContent(part.type, i, j, ears.missing)


def _check_speech(request: ChatRequest, speaker: Speaker) -> None:
    """Sections 8.5 and 13.1."""
    if not is_spoken(request) or request.audio is None:
        return
    if speaker.missing is not None:
        raise UnsupportedParameter("modalities", speaker.missing)
    voice = request.audio.voice
    if isinstance(voice, str) and voice not in speaker.voices:  # a project's own is looked up when its turn comes
        raise InvalidValue("audio.voice", voice, speaker.voices)
    if request.audio.format not in speaker.formats:
        raise UnsupportedValue("audio.format", f"'{request.audio.format}'", speaker.formats)


def _check_moderation(request: ChatRequest, moderator: Moderator | None) -> None:
    """Sections 8.10 and 13.1."""
    if request.moderation is None:
        return
    if moderator is None:
        raise UnsupportedParameter("moderation", "No classifier is configured.")
    if moderator.missing is not None:
        raise UnsupportedParameter("moderation", moderator.missing)
    if request.moderation.model not in moderator.names:
        raise InvalidValue("moderation.model", request.moderation.model, moderator.names)


def _check_token_ids(request: ChatRequest, card: ModelCard) -> None:
    for token_id in request.logit_bias or ():
        if token_id >= card.vocabulary_size:
            raise InvalidLogitBiasKey("logit_bias", str(token_id), maximum=card.vocabulary_size - 1)
