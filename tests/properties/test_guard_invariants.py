"""Whatever an adversary does, the guards hold; and each invariant, broken on purpose, is seen to break.

`docs/proofs.md` tells the invariants and the mutants. PAYDOWN_EXAMPLES=5000 looks longer, and at other examples each
time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.guard_machine import Guards
from tests.properties.mutants import MUTANTS, Mutant
from tests.properties.witness import Broken

WANTED = os.environ.get("PAYDOWN_EXAMPLES")
STEPS = 15
EXAMPLES = 3_000
"""Of a mutant: until it is found, mostly among the first hundred, not always among the first 600. Which ones they are
depends on the constants of the modules that are loaded, so on the tests that ran before."""
COMMON = {
    "stateful_step_count": STEPS,
    "deadline": None,
    "database": None,
    "derandomize": WANTED is None,
    "report_multiple_bugs": False,
    "suppress_health_check": list(HealthCheck),
}


def test_whatever_an_adversary_does_the_guards_hold() -> None:
    looking = settings(max_examples=int(WANTED or 150), print_blob=True, **COMMON)
    run_state_machine_as_test(Guards, settings=looking)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_guard_that_is_taken_out_is_missed(mutant: Mutant) -> None:
    class Focused(Guards):
        focus = mutant.under

    looking = settings(max_examples=EXAMPLES, phases=[Phase.generate], **COMMON)
    with mutant.patch, pytest.raises(Broken) as seen:
        run_state_machine_as_test(Focused, settings=looking)
    assert seen.value.name in mutant.tells
