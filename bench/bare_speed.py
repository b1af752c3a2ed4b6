"""How fast the bare loop is on this machine: the numbers behind all ratios."""

from __future__ import annotations

from bench.bare_process import BareProcess, bare_process
from bench.harness import Sample, Session
from bench.prompts import program, varied
from bench.results import counted

TITLE = "Bare loop"
_CELLS = 512


def measure(session: Session) -> None:
    with bare_process(session.options) as bare:
        for n_sequences in session.pick((1, 4, 16, 32), (1, 4)):
            _speed(session, bare, n_sequences)
        _check_steady(session, bare)


def _speed(session: Session, bare: BareProcess, n_sequences: int) -> None:
    bare.open(n_sequences, _CELLS)
    prompts = [bare.prompt(program(10 + sequence)) for sequence in range(n_sequences)]
    n_tokens = session.pick(max(16, 96 // n_sequences), 8)

    def run(temperature: float) -> Sample:
        done = bare.generate(prompts, n_tokens, temperature=temperature)
        n_prompt_tokens = sum(map(len, prompts))
        return {"decode": done.tokens_per_s, "prefill": n_prompt_tokens / done.prefill_s}

    pairs = session.pairs(lambda: run(1), lambda: run(0))
    session.value(f"decode, {counted(n_sequences, 'sequence')}, greedy", "tok/s", [b["decode"] for _, b in pairs])
    session.ratio(f"decode, {counted(n_sequences, 'sequence')}, temperature 1, top_p 0.95 / greedy", pairs, "decode")
    if n_sequences == 1:
        session.value(f"prefill, {len(prompts[0])} tokens", "tok/s", [b["prefill"] for _, b in pairs])


def _check_steady(session: Session, bare: BareProcess) -> None:
    """Greedy output must not depend on how often it is asked for, or no comparison with it means anything."""
    bare.open(1, _CELLS)
    prompt = bare.prompt(varied(1))
    answers = {bare.generate([prompt], 16).tokens for _ in range(3)}
    session.note(f"the same prompt three times: {len(answers)} greedy answer(s)")
