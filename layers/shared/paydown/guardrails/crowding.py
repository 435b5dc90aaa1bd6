"""Guards on how much happens at once: the blast radius in the pool, concurrency, and budgets."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from paydown.guardrails.facts import Facts, Tally
from paydown.guardrails.verdict import Decision, Finding
from paydown.limits import TotalBudget
from paydown.policy import ToilPolicy

RECHECK = timedelta(seconds=60)
"""How long a run waits before it looks again, where nothing tells when the reason will have passed."""
LONGEST_RECHECK = timedelta(seconds=300)
"""The same for a run that has waited its turn for long."""
_MAY_BE_DOWN = " may be down at once"
_POOL = re.compile(rf"\d+ of the \d+ members of (.+){_MAY_BE_DOWN}, ")


def patience(run: str, waited: timedelta) -> timedelta:
    """How long a run that waits its turn leaves before it looks again: the longer, the longer it has waited.

    In a storm thousands wait for few places, and looking costs as much as working. A place that gets free does not
    stay so for long, since those who wait look at different moments: each has a share of its own, by its id.
    """
    share = 0.5 + zlib.crc32(run.encode()) / 2**33
    return max(RECHECK, min(LONGEST_RECHECK, waited / 2) * share)


def crowded_pool(text: str) -> str:
    """The pool that the text of a `blast_radius` is about; empty if it names none, as another version's may."""
    found = _POOL.match(text)
    return found[1] if found else ""


def crowding(facts: Facts, policy: ToilPolicy, total: TotalBudget, now: datetime) -> Iterator[Finding]:
    """What is too much at once. A run that has been let in before has paid, but needs its place again."""
    yield from _blast_radius(facts, policy, now)
    at_work = len(facts.toil.others(facts.run, now))
    if at_work >= policy.max_concurrent:
        text = f"the policy allows {policy.max_concurrent} runs of this toil type at once"
        yield Finding("too_many_at_once", text, Decision.DEFER, now + patience(facts.run, facts.waited))
    if len(facts.everything.others(facts.run, now)) >= total.concurrent:
        text = f"the policy allows {total.concurrent} runs of all toil types at once"
        yield Finding("too_many_at_once", text, Decision.DEFER, now + patience(facts.run, facts.waited))
    if not facts.paid:
        budget = policy.budget
        yield from _budget(facts.toil, "of this toil type", budget.runs, budget.window_seconds, now)
        yield from _budget(facts.on_target, "on this target", budget.per_target, budget.window_seconds, now)
        yield from _budget(facts.everything, "of all toil types", total.runs, total.window_seconds, now)


def _blast_radius(facts: Facts, policy: ToilPolicy, now: datetime) -> Iterator[Finding]:
    population = facts.population
    if population is None:
        return
    under_remediation = set(facts.pool.others(facts.run, now).values()) if facts.pool else set()
    down = population.unhealthy | under_remediation | {facts.target}
    limit = policy.blast_radius.limit(population.total)
    if len(down) > limit:
        text = (
            f"{limit} of the {population.total} members of {population.pool}{_MAY_BE_DOWN}, "
            "this target included, and more would be"
        )
        yield Finding("blast_radius", text, Decision.DEFER, now + patience(facts.run, facts.waited))


def _budget(tally: Tally, whose: str, runs: int, seconds: int, now: datetime) -> Iterator[Finding]:
    spent = tally.spent_within(now, seconds)
    if len(spent) >= runs:
        # Free when so many have left the span that one more fits; a budget of 0 never is.
        until = spent[len(spent) - runs] + timedelta(seconds=seconds) if runs else now + RECHECK
        text = f"the policy allows {runs} runs {whose} within {seconds} s"
        yield Finding("over_budget", text, Decision.DEFER, until)
