"""How much work a grammar may make, the same where it is tried and where it is used.

Measured on two cores with 49,000 tokens: the worst masks of ambiguous rules took 150 ms at 2,000 items in a row, 10 ms at
500. An object needs four items for each of its optional properties, so schemas have the larger number; they are not
ambiguous. `.*a.{300}` needs a million units of fuel in its worst steps (20 ms), and fails with fewer.
"""

from __future__ import annotations

from llguidance import LLParserLimits

from completionist.engine.base import GrammarSpec


def parser_limits(spec: GrammarSpec) -> LLParserLimits:
    return LLParserLimits(
        max_items_in_row=500 if spec.has_client_rules else 2_000,
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=1_000_000,
        step_max_items=10_000 if spec.has_client_rules else 50_000,
        max_lexer_states=250_000,
        verbose_errors=False,
    )
