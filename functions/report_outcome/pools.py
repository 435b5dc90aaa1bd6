"""Whether too much of a pool is still down, as the runs that wait for it tell."""

from __future__ import annotations

from paydown.guardrails import crowded_pool, pool_scope
from paydown.ledger import Ledger, Outcome, Run, Status
from paydown.ledger.findings import Finding, Identity

CROWDED = "blast_radius"
"""The rule of these findings, and the reason that makes them."""
MOST = 20_000
"""Living runs of one shard that are looked at, at the most."""


def is_awaited(ledger: Ledger, identity: Identity) -> bool:
    """Whether a run of the toil type still waits for this pool.

    One that was let in is no end as long as others wait: down and up again in turns must not be told each time.
    """
    alive = (row["id"] for row in ledger.runs.alive(MOST) if row["toil"] == identity.toil)
    return any(run is not None and _waits(run, identity.target) for run in map(ledger.runs.get, alive))


def is_relieved(ledger: Ledger, finding: Finding) -> bool:
    """Whether a finding about a pool is over: nobody waits for it, and the last who did was let in, or found all well.

    Who gave up says nothing of the kind.
    """
    if finding.identity.rule != CROWDED:
        return False
    last = ledger.runs.get(finding.run)
    given_up = last is not None and not (last.executed or _found_all_well(last))
    return not given_up and not is_awaited(ledger, finding.identity)


def _found_all_well(run: Run) -> bool:
    return run.status is Outcome.SKIPPED and any(reason.code == "nothing_to_do" for reason in run.reasons)


def _waits(run: Run, scope: str) -> bool:
    if run.status not in (Status.DEFERRED, Status.HELD):
        return False
    pools = (crowded_pool(reason.text) for reason in run.reasons if reason.code == CROWDED)
    return any(scope in (pool_scope(pool), run.ref) for pool in pools)
