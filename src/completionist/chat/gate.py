"""Refuses what the profile of a model does not take, in the words of the family (contract 2.3 step 4, 2.4, 9.3)."""

from __future__ import annotations

from collections.abc import Iterator

from completionist.chat.profiles import Profile
from completionist.errors import (
    ContextLengthExceeded,
    InputTokensExceeded,
    InvalidRequest,
    OutOfRange,
    RequestedTokensExceeded,
    UnsupportedParameter,
    UnsupportedValue,
)
from completionist.types.formats import JSONSchemaResponse
from completionist.types.parts import Part
from completionist.types.refusals import (
    AudioMissing,
    FunctionsWithEffort,
    IncompatibleArgument,
    OnlyDefaultValue,
    OutputTooLong,
    RetentionNotShort,
    SchemaUnsupported,
    TooManyTopLogprobs,
    UnsupportedContent,
)
from completionist.types.request import ChatRequest
from completionist.types.tools import FunctionTool


def check_profile(request: ChatRequest, profile: Profile) -> None:
    """Raise the first refusal, a subclass of `InvalidRequest`."""
    for i, j, part in _parts(request):
        _check_part(profile, i, j, part)
    for field in profile.refused:
        if getattr(request, field) and not (field == "modalities" and "audio" not in (request.modalities or ())):
            raise _refusal(profile, field)
    _check_sound(request, profile)
    _check_choices(request, profile)
    if request.prompt_cache_retention not in (None, *profile.retentions):
        raise RetentionNotShort
    _check_output_limit(request, profile)
    _check_forms(request, profile)
    _check_words(request, profile)
    _check_sampling(request, profile)
    _check_functions(request, profile)


def check_room(request: ChatRequest, profile: Profile, *, prompt_tokens: int, context_tokens: int) -> None:
    """Once the prompt has been counted. Raises `RequestedTokensExceeded`."""
    limit = request.output_limit
    if profile.adds_output_limit and limit is not None and prompt_tokens + limit > context_tokens:
        raise RequestedTokensExceeded(
            prompt_tokens=prompt_tokens, completion_tokens=limit, context_tokens=context_tokens
        )


def reworded(error: ContextLengthExceeded, request: ChatRequest, profile: Profile) -> InvalidRequest:
    """A prompt that is too long, as the family says it."""
    n_prompt, n_context = error.prompt_tokens, error.context_tokens
    limit = request.output_limit
    if profile.counts_input:
        return InputTokensExceeded(prompt_tokens=n_prompt, context_tokens=n_context)
    if profile.adds_output_limit and limit is not None:
        return RequestedTokensExceeded(prompt_tokens=n_prompt, completion_tokens=limit, context_tokens=n_context)
    return error


def _refusal(profile: Profile, field: str) -> InvalidRequest:
    if profile.is_search:
        return IncompatibleArgument(field)
    return UnsupportedParameter(field, "Use 'max_completion_tokens' instead." if field == "max_tokens" else "")


def _parts(request: ChatRequest) -> Iterator[tuple[int, int, Part]]:
    for i, message in enumerate(request.messages):
        if isinstance(message.content, tuple):
            for j, part in enumerate(message.content):
                yield i, j, part


def _check_part(profile: Profile, i: int, j: int, part: Part) -> None:
    takes = {"image_url": profile.sees, "file": profile.reads_files, "input_audio": profile.hears}
    if not takes.get(part.type, True):
        raise UnsupportedContent(part.type, i, j)
    if part.type == "image_url" and part.image_url.detail == "original" and not profile.sees_original:
        raise UnsupportedValue(f"messages[{i}].content[{j}].image_url.detail", "'original'", ("auto", "low", "high"))
    if part.prompt_cache_breakpoint is not None and not profile.has_breakpoints:
        raise UnsupportedParameter(f"messages[{i}].content[{j}].prompt_cache_breakpoint")


def _check_sound(request: ChatRequest, profile: Profile) -> None:
    speaks = "audio" in (request.modalities or ())
    if speaks and "text" not in (request.modalities or ()) and not profile.takes_sound_alone:
        raise UnsupportedValue("modalities", "'audio'", ("text", "text, audio"))
    if profile.must_have_audio and not speaks and all(part.type != "input_audio" for *_, part in _parts(request)):
        raise AudioMissing


def _check_choices(request: ChatRequest, profile: Profile) -> None:
    speaks = "audio" in (request.modalities or ())
    maximum = min(profile.max_choices, profile.max_spoken_choices if speaks else profile.max_choices)
    if request.n is not None and request.n > maximum:
        if profile.is_search:
            raise IncompatibleArgument("n")
        raise OutOfRange("n", request.n, maximum=maximum, decimal=False)


def _check_output_limit(request: ChatRequest, profile: Profile) -> None:
    for field in ("max_completion_tokens", "max_tokens"):
        asked = getattr(request, field)
        if asked is not None and profile.max_output_tokens is not None and asked > profile.max_output_tokens:
            raise OutputTooLong(field, asked=asked, maximum=profile.max_output_tokens)


def _check_forms(request: ChatRequest, profile: Profile) -> None:
    for i, tool in enumerate(request.tools or ()):
        if tool.type == "custom" and not profile.has_custom_tools:
            raise UnsupportedValue(f"tools[{i}].type", "'custom'", ("function",))
    if isinstance(request.response_format, JSONSchemaResponse) and not profile.has_schemas:
        raise SchemaUnsupported


def _check_words(request: ChatRequest, profile: Profile) -> None:
    effort = request.reasoning_effort
    if effort is not None and profile.efforts is not None and effort not in profile.efforts:
        raise UnsupportedValue("reasoning_effort", f"'{effort}'", profile.efforts)
    if request.verbosity not in (None, "medium") and not profile.has_verbosity:
        raise UnsupportedValue("verbosity", f"'{request.verbosity}'", ("medium",))


def _check_sampling(request: ChatRequest, profile: Profile) -> None:
    if request.top_logprobs is not None and request.top_logprobs > profile.max_top_logprobs:
        raise TooManyTopLogprobs(profile.max_top_logprobs)
    if profile.sampling == "free" or (profile.sampling == "without effort" and _effort(request, profile) == "none"):
        return
    for field, default in (("temperature", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        value = getattr(request, field)
        if value is not None and value != default:
            raise OnlyDefaultValue(field, value, default)
    if request.logprobs:
        raise OnlyDefaultValue("logprobs", request.logprobs, default=False)


def _check_functions(request: ChatRequest, profile: Profile) -> None:
    if profile.takes_functions_with_effort or _effort(request, profile) == "none":
        return
    if any(isinstance(tool, FunctionTool) for tool in request.tools or ()):
        raise FunctionsWithEffort(request.model)


def _effort(request: ChatRequest, profile: Profile) -> str:
    return request.reasoning_effort or profile.default_effort
