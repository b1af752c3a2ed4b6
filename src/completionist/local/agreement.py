"""Whether a chat template is rendered here as Jinja2 renders it, conversation by conversation."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys

import msgspec

from completionist.local.oracle import NotRendered, Oracle, OracleMissing
from completionist.local.template import ChatTemplate, TemplateFault, TemplateRefusal
from completionist.local.trials import Trial, trials

_SHOWN_CHARACTERS = 60
_COMMAND = (sys.executable, "-P", "-m", "completionist.local.agreement")
_DEADLINE_S = 20.0
_MEMORY_BYTES = 1 << 30


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that Jinja2 renders otherwise; for a refusal of one of the two its reason stands in place of text."""

    trial: str
    ours: str
    jinja: str


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Of all conversations."""

    n_trials: int
    n_equal: int = 0
    """Rendered alike, to the character."""
    n_refused: int = 0
    """Refused by both."""
    refusals: tuple[Difference, ...] = ()
    """Refused here, with a reason, and rendered by Jinja2."""
    differences: tuple[Difference, ...] = ()
    """Rendered here, and not alike."""
    unusable: str | None = None
    """Why the template is refused as a whole."""

    @property
    def is_sound(self) -> bool:
        """Nothing is rendered here that Jinja2 does not render alike."""
        return not self.differences


def agreement(source: str, *, bos_text: str = "<s>", eos_text: str = "</s>") -> Agreement:
    """Render all trials in both ways. Raises `OracleMissing`. It blocks, and a hostile template makes it long or large: see
    `isolated_agreement`."""
    known = trials()
    try:
        ours = ChatTemplate(source, bos_text=bos_text, eos_text=eos_text)
    except TemplateFault as fault:
        return Agreement(n_trials=len(known), unusable=str(fault))
    try:
        oracle = Oracle(source, bos_text=bos_text, eos_text=eos_text)
    except NotRendered as refusal:
        return Agreement(
            n_trials=len(known), differences=(Difference(trial="compiling", ours="compiles", jinja=str(refusal)),)
        )
    return _counted([_compare(ours, oracle, trial) for trial in known])


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    trial: str
    ours: str
    jinja: str
    is_ours_rendered: bool
    is_jinja_rendered: bool


def isolated_agreement(source: str) -> Agreement:
    """The same in a process of its own, with a limit and a deadline: Jinja2's sandbox bounds neither time nor memory. Raises
    `OracleMissing`."""
    if importlib.util.find_spec("jinja2") is None:
        raise OracleMissing
    try:
        done = subprocess.run(_COMMAND, input=source.encode(), capture_output=True, check=True, timeout=_DEADLINE_S)  # noqa: S603 - our own interpreter and module
        return msgspec.json.decode(done.stdout, type=Agreement)
    except (subprocess.SubprocessError, msgspec.DecodeError):
        return Agreement(n_trials=len(trials()), unusable="it took more time or memory than any template needs")


def main() -> None:
    """Of the template on standard input, as JSON."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, resource.RLIM_INFINITY))
    found = agreement(sys.stdin.buffer.read().decode())
    sys.stdout.buffer.write(msgspec.json.encode(found))


def _compare(ours: ChatTemplate, oracle: Oracle, trial: Trial) -> _Outcome:
    is_jinja_rendered = is_ours_rendered = True
    try:
        expected = oracle.render(trial)
    except NotRendered as refusal:
        expected, is_jinja_rendered = str(refusal), False
    try:
        rendered = ours.render(list(trial.messages), tools=list(trial.tools), switches=trial.switches)
    except (TemplateRefusal, TemplateFault) as refusal:
        rendered, is_ours_rendered = str(refusal), False
    return _Outcome(
        trial=trial.name,
        ours=rendered,
        jinja=expected,
        is_ours_rendered=is_ours_rendered,
        is_jinja_rendered=is_jinja_rendered,
    )


def _counted(outcomes: list[_Outcome]) -> Agreement:
    rendered = [one for one in outcomes if one.is_ours_rendered]
    refused = [one for one in outcomes if not one.is_ours_rendered]
    return Agreement(
        n_trials=len(outcomes),
        n_equal=sum(one.is_jinja_rendered and one.ours == one.jinja for one in rendered),
        n_refused=sum(not one.is_jinja_rendered for one in refused),
        refusals=tuple(
            Difference(trial=one.trial, ours=one.ours, jinja="renders it") for one in refused if one.is_jinja_rendered
        ),
        differences=tuple(_difference(one) for one in rendered if not one.is_jinja_rendered or one.ours != one.jinja),
    )


def _difference(outcome: _Outcome) -> Difference:
    """Cut to where the two part."""
    if not outcome.is_jinja_rendered:
        return Difference(trial=outcome.trial, ours="renders it", jinja=outcome.jinja)
    pairs = enumerate(zip(outcome.ours, outcome.jinja, strict=False))
    apart = next((i for i, (ours, jinja) in pairs if ours != jinja), min(len(outcome.ours), len(outcome.jinja)))
    start = max(0, apart - _SHOWN_CHARACTERS // 2)
    return Difference(
        trial=outcome.trial,
        ours=outcome.ours[start : start + _SHOWN_CHARACTERS],
        jinja=outcome.jinja[start : start + _SHOWN_CHARACTERS],
    )


if __name__ == "__main__":
    main()
