"""What the adversary chooses from: faults, policies and traps."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from tests.properties.adversary import Trap
from tests.properties.machines import POOLS, PURGE, REVIVE

toils = st.sampled_from([REVIVE, PURGE])
names = st.sampled_from(sorted(POOLS))
index = st.integers(0, 7)
traps = st.one_of(
    st.none(),
    st.none(),
    st.builds(
        Trap,
        st.sampled_from(["transact", "lease", "apply", "get_all", "get", "query"]),
        st.sampled_from(["before", "after"]),
        st.sampled_from([1, 1, 2, 2, 3, 4, 5, 6, 7]),
        st.sampled_from(["freeze", "freeze", "crash", "error"]),
    ),
)
policies = st.sampled_from(
    [
        {},
        {"max_concurrent": 1},
        {"max_concurrent": 2},
        {"concurrent": 1},
        {"concurrent": 2},
        {"blast_radius": {"count": 1, "min_healthy": 0}},
        {"blast_radius": {"count": 2, "percent": 67, "min_healthy": 0}},
        {"budget": {"runs": 1, "window_seconds": 600}},
        {"budget": {"runs": 3, "per_target": 1, "window_seconds": 600}},
        {"runs": 2},
        {"mode": "approve"},
        {"mode": "observe"},
        {"ceiling": "reversible"},
        {"max_concurrent": 0},
        {"blast_radius": {"count": 1, "min_healthy": 0}, "max_concurrent": 3},
        {"blast_radius": {"count": 4, "percent": 67, "min_healthy": 1}},
    ]
)
"""One limit each, the others being wide: what breaks is not covered up by another."""
LIMITS = {
    "lease_seconds": 60,
    "hold_seconds": 900,
    "defer_seconds": 1800,
    "wait_seconds": 600,
    "max_attempts": 3,
    "cool_down_seconds": 30,
    "back_off_seconds": 120,
    "override_seconds": 60,
    "storm": {"events": 100_000},
}
LENIENT = {"mode": "enforce", "ceiling": "disruptive", "blast_radius": {"count": 4, "percent": 100, "min_healthy": 0}}
TOTAL = {"runs": 50, "concurrent": 20, "window_seconds": 600}


def random_trap(chance: random.Random) -> Trap | None:
    """A trap at a place that matters; one in three is none."""
    operation = chance.choice(["transact", "transact", "lease", "lease", "apply", "get_all"])
    effect = chance.choice(["freeze", "freeze", "crash", "error"])
    count = chance.choice([1, 2, 3, 3, 4, 5, 6, 8, 10]) if operation == "transact" else chance.choice([1, 1, 2, 3])
    trap = Trap(operation, chance.choice(["before", "after"]), count, effect)
    return trap if chance.random() < 0.65 else None
