"""What families of hosted models take, as a table (contract 2.4). `chat.gate` refuses the rest.

A local model runs under `OPEN`: whatever is documented for any family, as far as engine and installation deliver it
(contract 13.1). An operator may put another profile on a model, to test an application against the refusals of a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from completionist.settings import ProfileName

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults are those of `OPEN`: nothing is refused."""

    name: ProfileName
    unknown: frozenset[str] = frozenset()
    """Fields that are no fields of such a model."""
    refused: tuple[str, ...] = ()
    """Fields that are never taken, in the order of checks; one that asks for nothing (0, false) passes."""
    is_search: bool = False
    """Refuses with the words of search models."""
    efforts: tuple[Effort, ...] | None = None
    """Values of `reasoning_effort`; None: not for the profile to say."""
    default_effort: Effort = "none"
    sampling: Literal["free", "default only", "without effort"] = "free"
    """Whether `temperature`, `top_p`, and unless `refused` penalties and `logprobs`, take other values than the default."""
    max_top_logprobs: int = 20
    has_verbosity: bool = True
    """Else `medium` alone is taken."""
    max_choices: int = 128
    max_spoken_choices: int = 128
    """With audio output."""
    max_output_tokens: int | None = None
    adds_output_limit: bool = False
    """What is asked of output has to fit into the context beside the prompt."""
    has_schemas: bool = True
    """`response_format` may be a schema."""
    has_custom_tools: bool = True
    takes_functions_with_effort: bool = True
    must_have_audio: bool = False
    """Input or output has to be sound."""
    takes_sound_alone: bool = True
    """`modalities` may be `["audio"]`."""
    sees: bool = True
    sees_original: bool = True
    """Images in `detail` `original`."""
    reads_files: bool = True
    hears: bool = True
    has_breakpoints: bool = True
    counts_input: bool = False
    """Says of a prompt that is too long that its input tokens are."""
    retentions: tuple[Literal["in_memory", "24h"], ...] = ("in_memory", "24h")


OPEN = Profile(name="open")

_SOUND = ("modalities", "audio")
_WEB = "web_search_options"
_OLD_CACHE = "prompt_cache_options"
_REASONING_REFUSES = ("max_tokens", "logit_bias", "prediction", _WEB)
_LIKELIHOODS = ("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")

_GPT_4 = Profile(
    name="gpt-4",
    refused=(*_SOUND, _OLD_CACHE, "reasoning_effort", "prediction", _WEB),
    has_verbosity=False,
    sees=False,
    sees_original=False,
    reads_files=False,
    has_breakpoints=False,
    hears=False,
    takes_sound_alone=False,
    adds_output_limit=True,
    has_schemas=False,
    has_custom_tools=False,
)
_GPT_4O = replace(
    _GPT_4,
    name="gpt-4o",
    refused=(*_SOUND, _OLD_CACHE, "reasoning_effort", _WEB),
    sees=True,
    reads_files=True,
    max_output_tokens=16_384,
    has_schemas=True,
)
_O1 = Profile(
    name="o1",
    refused=(*_SOUND, *_LIKELIHOODS, _OLD_CACHE, *_REASONING_REFUSES),
    efforts=("low", "medium", "high"),
    default_effort="medium",
    sampling="default only",
    has_verbosity=False,
    max_choices=8,
    max_output_tokens=100_000,
    has_custom_tools=False,
    sees_original=False,
    has_breakpoints=False,
    hears=False,
    takes_sound_alone=False,
)
_O3 = replace(
    _O1,
    name="o3",
    refused=(*_SOUND, *_LIKELIHOODS, _OLD_CACHE, "max_tokens", "logit_bias", "stop", "prediction", _WEB),
)
_GPT_5 = replace(
    _O3,
    name="gpt-5",
    efforts=("minimal", "low", "medium", "high"),
    has_verbosity=True,
    max_output_tokens=128_000,
    counts_input=True,
    has_custom_tools=True,
)
_GPT_5_1 = replace(
    _GPT_5,
    name="gpt-5.1",
    refused=(*_SOUND, _OLD_CACHE, "max_tokens", "logit_bias", "stop", "prediction", _WEB),
    efforts=("none", "low", "medium", "high"),
    default_effort="none",
    sampling="without effort",
)
_GPT_5_2 = replace(_GPT_5_1, name="gpt-5.2", efforts=("none", "low", "medium", "high", "xhigh"))
_GPT_5_4 = replace(_GPT_5_2, name="gpt-5.4", sees_original=True)
_GPT_5_5 = replace(_GPT_5_4, name="gpt-5.5", default_effort="medium", retentions=("24h",))
_GPT_5_6 = replace(
    _GPT_5_5,
    name="gpt-5.6",
    unknown=frozenset({*_SOUND, _WEB}),
    refused=("max_tokens", "logit_bias", "stop", "prediction"),
    max_top_logprobs=5,
    takes_functions_with_effort=False,
    has_breakpoints=True,
)
_AUDIO = Profile(
    name="gpt-audio",
    refused=(_OLD_CACHE, "reasoning_effort", "prediction", _WEB),
    has_verbosity=False,
    max_spoken_choices=1,
    max_output_tokens=16_384,
    has_custom_tools=False,
    must_have_audio=True,
    takes_sound_alone=False,
    sees=False,
    sees_original=False,
    reads_files=False,
    has_breakpoints=False,
)
_SEARCH = Profile(
    name="search",
    refused=(
        "functions", "tools", *_SOUND, "temperature", "top_p", *_LIKELIHOODS, _OLD_CACHE, "prompt_cache_key",
        "prompt_cache_retention", "reasoning_effort", "logit_bias", "prediction",
    ),
    is_search=True,
    has_verbosity=False,
    max_choices=1,
    sees_original=False,
    reads_files=False,
    has_breakpoints=False,
    hears=False,
    takes_sound_alone=False,
)  # fmt: skip

PROFILES: Mapping[ProfileName, Profile] = {
    profile.name: profile
    for profile in (
        OPEN,
        replace(_GPT_4, name="gpt-3.5", max_output_tokens=4_096),
        _GPT_4,
        replace(_GPT_4, name="gpt-4-turbo", sees=True),
        _GPT_4O,
        replace(_GPT_4O, name="gpt-4.1", max_output_tokens=32_768),
        _O1,
        _O3,
        replace(_O1, name="o3-mini", sees=False, reads_files=False),
        replace(_O3, name="o4-mini"),
        _GPT_5,
        _GPT_5_1,
        _GPT_5_2,
        _GPT_5_4,
        _GPT_5_5,
        _GPT_5_6,
        _AUDIO,
        _SEARCH,
    )
}
