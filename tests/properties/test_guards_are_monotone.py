"""Whatever the facts: the guardrails answer, always the same, and one restriction more never makes them milder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paydown.guardrails import Decision, Ending, Facts, Tally, Verdict, evaluate
from paydown.limits import Freeze, TotalBudget, Window
from paydown.plan import Action, Hazard, Healer, Plan, Population
from paydown.policy import Mode, ToilPolicy

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
UIDS = [f"u{n}" for n in range(6)]
RUNS = ["me", *(f"run{n}" for n in range(6))]


class Touch(Action):
    hazard: Hazard = Hazard.DISRUPTIVE


@dataclass(frozen=True)
class Case:
    """All that a decision depends on, beside the time."""

    made: Plan
    facts: Facts
    policy: ToilPolicy
    total: TotalBudget
    freezes: tuple[Freeze, ...] = ()

    def verdict(self) -> Verdict:
        return evaluate(self.made, self.facts, self.policy, NOW, total=self.total, freezes=self.freezes)

    def with_facts(self, **changes: Any) -> Case:
        return replace(self, facts=replace(self.facts, **changes))

    def with_tally(self, name: str, **changes: Any) -> Case:
        return self.with_facts(**{name: replace(getattr(self.facts, name), **changes)})

    def with_policy(self, **changes: Any) -> Case:
        return replace(self, policy=self.policy.model_copy(update=changes))

    def with_limit(self, name: str, **changes: Any) -> Case:
        return self.with_policy(**{name: getattr(self.policy, name).model_copy(update=changes)})


seconds = st.integers(-100, 100_000) | st.sampled_from([0, 60, 300, 600, 3_600, 14_400, 86_400])
times = seconds.map(lambda ago: NOW - timedelta(seconds=ago))
coming = st.integers(0, 100_000).map(lambda later: NOW + timedelta(seconds=later))
small = st.integers(0, 6)
outcomes = st.sampled_from(["Failed", "Unverified", "Verified", "Refused", "Skipped"])
hazards = st.sampled_from(list(Hazard))
actions = st.builds(Touch, object=st.sampled_from(["o/1", "o/2", "o/3"]), precondition=st.just("p"), hazard=hazards)
plans = st.lists(st.lists(actions, min_size=1, max_size=3).map(tuple), max_size=2).map(lambda made: Plan(tuple(made)))
tallies = st.builds(
    Tally,
    scope=st.just("s"),
    working=st.dictionaries(st.sampled_from(RUNS), st.tuples(st.sampled_from(UIDS), times | coming), max_size=5),
    spent=st.lists(times, max_size=6),
    ended=st.lists(st.builds(Ending, times, outcomes, st.sampled_from(RUNS)), max_size=5),
    recurred=st.lists(times, max_size=6),
    overridden=st.none() | st.tuples(st.text(max_size=5), times | coming),
)
populations = st.builds(Population, st.just("p"), st.integers(0, 30), st.frozensets(st.sampled_from(UIDS)))
healers = st.builds(Healer, st.sampled_from(["bosh", "karpenter", "auto_scaling", "unheard_of"]), times)
facts = st.builds(
    Facts,
    labels=st.dictionaries(st.sampled_from(["env", "paydown.dev/opt-out"]), st.sampled_from(["a", "false", "true"])),
    run=st.just("me"),
    target=st.sampled_from(UIDS),
    stops=st.none() | st.lists(st.text(max_size=5), max_size=2),
    lease=st.none() | st.tuples(st.sampled_from(RUNS[1:]), coming),
    approved=st.frozensets(actions.map(lambda action: action.identity), max_size=3),
    everything=tallies,
    toil=tallies,
    pool=st.none() | tallies,
    on_target=tallies,
    population=st.none() | populations,
    healer=st.none() | healers,
    events=st.dictionaries(times, st.integers(0, 200), max_size=5),
    bucket_seconds=st.sampled_from([6, 60, 8_640]),
    resumed_at=st.none() | times,
    ongoing=st.booleans(),
    undoing=st.booleans(),
    paid=st.booleans(),
)
windows = st.builds(
    Window,
    name=st.just("w"),
    start=st.integers(-100, 100).map(lambda minutes: (NOW - timedelta(minutes=minutes)).replace(tzinfo=None)),
    minutes=st.integers(1, 100),
    rrule=st.sampled_from([None, "FREQ=DAILY"]),
)
freezes = windows.map(lambda window: Freeze(**window.model_dump()))
modes = st.sampled_from(list(Mode))
policies = st.fixed_dictionaries(
    {
        "mode": modes,
        "ceiling": hazards,
        "overrides": st.just([])
        | st.tuples(modes, hazards).map(lambda pair: [{"labels": {"env": "a"}, "mode": pair[0], "ceiling": pair[1]}]),
        "windows": st.lists(windows, max_size=2),
        "blast_radius": st.fixed_dictionaries({"count": small, "percent": st.integers(0, 100), "min_healthy": small}),
        "max_concurrent": small,
        "budget": st.fixed_dictionaries({"runs": small, "per_target": small}),
        "storm": st.fixed_dictionaries({"events": st.integers(1, 300)}),
        "escalation": st.fixed_dictionaries({"failures": st.integers(1, 4)}),
        "cool_down_seconds": st.sampled_from([0, 60, 300]),
        "back_off_seconds": st.sampled_from([0, 600, 3_600]),
    }
).map(ToilPolicy.model_validate)
totals = st.builds(TotalBudget, runs=small, concurrent=small)
cases = st.builds(Case, plans, facts, policies, totals, st.lists(freezes, max_size=1).map(tuple))


def over(start: datetime) -> Window:
    return Window(name="over", start=start.replace(tzinfo=None), minutes=1)


def more_of(name: str) -> Callable[[Case], Case]:
    """One more run at work, and one more let in, in a scope."""

    def change(case: Case) -> Case:
        tally = getattr(case.facts, name) or Tally("s")
        working = {**tally.working, "newcomer": ("elsewhere", NOW)}
        return case.with_facts(**{name: replace(tally, working=working, spent=[*tally.spent, NOW])})

    return change


def one_less(limit: str, name: str) -> Callable[[Case], Case]:
    """A limit of the policy, lower by one."""
    return lambda case: case.with_limit(limit, **{name: max(0, getattr(getattr(case.policy, limit), name) - 1)})


def one_failure_more(case: Case) -> Case:
    latest = max([NOW, *(one.at for one in case.facts.on_target.ended)]) + timedelta(seconds=1)
    return case.with_tally("on_target", ended=[*case.facts.on_target.ended, Ending(latest, "Failed", "newcomer")])


def one_member_down(case: Case) -> Case:
    population = case.facts.population
    if population is None:
        return case.with_facts(population=Population("p", 3, frozenset({"newcomer"})))
    return case.with_facts(population=replace(population, unhealthy=population.unhealthy | {"newcomer"}))


def lower_ceiling(case: Case) -> Case:
    overrides = tuple(one.model_copy(update={"ceiling": Hazard.NONE}) for one in case.policy.overrides)
    return case.with_policy(ceiling=Hazard.NONE, overrides=overrides)


def ask_for_everything(case: Case) -> Case:
    overrides = tuple(one.model_copy(update={"mode": Mode.APPROVE}) for one in case.policy.overrides)
    return case.with_policy(mode=Mode.APPROVE, overrides=overrides)


def lose_data(case: Case) -> Case:
    worse = {"hazard": Hazard.DESTRUCTIVE}
    return replace(
        case, made=Plan(tuple(tuple(one.model_copy(update=worse) for one in stage) for stage in case.made.stages))
    )


RESTRICTIONS: dict[str, Callable[[Case], Case]] = {
    "a stop": lambda case: case.with_facts(stops=[*(case.facts.stops or []), "another"]),
    "unreadable switches": lambda case: case.with_facts(stops=None),
    "opting out": lambda case: case.with_facts(labels={**case.facts.labels, "paydown.dev/opt-out": "true"}),
    "a lease": lambda case: case.with_facts(lease=("newcomer", NOW)),
    "a person's hand": lambda case: case.with_tally("on_target", overridden=("why", NOW + timedelta(days=1))),
    "a failure": one_failure_more,
    "a recurrence": lambda case: case.with_tally("toil", recurred=[*case.facts.toil.recurred, NOW]),
    "no approval": lambda case: case.with_facts(approved=frozenset()),
    "a lower ceiling": lower_ceiling,
    "asking for everything": ask_for_everything,
    "worse hazards": lose_data,
    "a freeze": lambda case: replace(case, freezes=(*case.freezes, Freeze(**over(NOW).model_dump()))),
    "closed windows": lambda case: case.with_policy(windows=(over(NOW - timedelta(days=1)),)),
    "more events": lambda case: case.with_facts(events={**case.facts.events, NOW: case.facts.events.get(NOW, 0) + 50}),
    "a lower storm": lambda case: case.with_limit("storm", events=1),
    "a healer": lambda case: case.with_facts(healer=Healer("bosh", NOW)),
    "a longer rest": lambda case: case.with_policy(cool_down_seconds=604_800),
    "a member down": one_member_down,
    "a lower count": one_less("blast_radius", "count"),
    "a lower percentage": one_less("blast_radius", "percent"),
    "more to be healthy": lambda case: case.with_limit(
        "blast_radius", min_healthy=case.policy.blast_radius.min_healthy + 1
    ),
    "more in the toil type": more_of("toil"),
    "more in all": more_of("everything"),
    "more in the pool": more_of("pool"),
    "more on the target": more_of("on_target"),
    "less at once": lambda case: case.with_policy(max_concurrent=max(0, case.policy.max_concurrent - 1)),
    "a lower budget": one_less("budget", "runs"),
    "a lower budget of the target": one_less("budget", "per_target"),
    "a lower budget of all": lambda case: replace(case, total=TotalBudget(runs=0, concurrent=case.total.concurrent)),
    "less at once of all": lambda case: replace(case, total=TotalBudget(runs=case.total.runs, concurrent=0)),
    "not paid": lambda case: case.with_facts(paid=False),
    "not taking back": lambda case: case.with_facts(undoing=False),
}
REPLACED = {"changed", "cooling_down", "backing_off"}
"""What gives way to another code of the same decision."""


@settings(deadline=None)
@given(cases, st.data())
def test_a_restriction_never_makes_a_decision_milder(case, data):
    before = case.verdict()
    name = data.draw(st.sampled_from(sorted(RESTRICTIONS)))
    after = RESTRICTIONS[name](case).verdict()
    assert after.decision.rank >= before.decision.rank
    lost = {finding.code for finding in before.findings} - {finding.code for finding in after.findings}
    assert lost <= REPLACED


@settings(deadline=None)
@given(cases)
def test_the_guards_always_answer_and_always_the_same(case):
    verdict = case.verdict()
    assert verdict == case.verdict()
    assert (verdict.decision is Decision.ALLOW) is (not verdict.findings)
    defers = [one for one in verdict.findings if one.decision is Decision.DEFER]
    assert all((one.until is not None) is (one in defers) for one in verdict.findings)
    assert verdict.until is None if not defers else verdict.until >= NOW


@settings(deadline=None)
@given(cases)
def test_the_order_of_what_was_read_does_not_matter(case):
    def turned(tally: Tally | None) -> Tally | None:
        if tally is None:
            return None
        working = dict(reversed(tally.working.items()))
        return replace(tally, working=working, spent=tally.spent[::-1], recurred=tally.recurred[::-1])

    names = ("everything", "toil", "pool", "on_target")
    facts = {name: turned(getattr(case.facts, name)) for name in names}
    events = dict(reversed(case.facts.events.items()))
    assert case.with_facts(**facts, events=events).verdict() == case.verdict()


@settings(deadline=None)
@given(cases)
def test_nothing_destructive_goes_on_without_an_approval_of_exactly_that(case):
    verdict = case.verdict()
    unapproved = [
        action
        for action in case.made.actions
        if action.hazard is Hazard.DESTRUCTIVE and action.identity not in case.facts.approved
    ]
    if unapproved:
        assert verdict.decision.rank >= Decision.HOLD.rank
