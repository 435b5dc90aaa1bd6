"""The benchmark of faults counts what goes wrong: nothing in the core as it is, and what a broken one does."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from bench.faults import Rates, Simulation, simulate
from paydown.ledger import Runs

ROUGH = Rates(duplicates=0.3, late=0.2, crashes=0.2, freezes=0.1, refusals=0.2, unreachable=0.2)


def few(**changes: object) -> Simulation:
    given = {"events": 80, "nodes": 10, "at_once": 3, "seconds": 1200.0, "rates": ROUGH, "seed": 2, **changes}
    return Simulation(**given)  # type: ignore[arg-type]  # as in the line above


@pytest.mark.parametrize("seconds", [0.0, 1200.0], ids=["at-once", "spread"])
def test_nothing_is_lost_done_twice_or_done_wrong(seconds: float) -> None:
    figures = simulate(few(seconds=seconds))
    assert [figures[f"{name}_rate"] for name in ("lost", "duplicate_action", "wrong_action")] == [0, 0, 0]
    assert figures["events"] == 80
    assert figures["unexpected_errors"] == 0
    assert 1 < figures["most_nodes_in_work"] <= 3
    assert figures["crashed"] > 5
    assert figures["froze"] > 2
    assert 0 < figures["p50_s"] <= figures["p99_s"]


def test_it_counts_what_a_core_without_leases_does_wrong() -> None:
    with patch.object(Runs, "_leasing", lambda self, *_: self.table.check("LEASE#-", "-", "attribute_not_exists(pk)")):
        assert simulate(few())["wrong_action_rate"] > 0
