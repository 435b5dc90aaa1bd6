"""Guardrails as tables: what they say of a plan."""

from datetime import UTC, datetime, timedelta

import pytest

from paydown.guardrails import RECHECK, Decision, Facts, approved_part, effective_mode, evaluate
from paydown.plan import Action, Hazard, Plan
from paydown.policy import Mode, ToilPolicy

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


class Touch(Action):
    hazard: Hazard = Hazard.DISRUPTIVE


def plan(*hazards):
    return Plan((tuple(Touch(object=f"o/{n}", precondition=f"p{n}", hazard=h) for n, h in enumerate(hazards)),))


def policy(mode="enforce", ceiling="disruptive", **more):
    return ToilPolicy(mode=mode, ceiling=ceiling, **more)


NONE, REVERSIBLE, DISRUPTIVE, DESTRUCTIVE = Hazard


@pytest.mark.parametrize(
    ("name", "made", "facts", "rules", "decision", "codes"),
    [
        ("harmless enough", plan(DISRUPTIVE), {}, policy(), Decision.ALLOW, []),
        ("nothing", plan(), {}, policy(mode="approve", ceiling="none"), Decision.ALLOW, []),
        ("only reads", plan(NONE), {}, policy(mode="approve", ceiling="none"), Decision.ALLOW, []),
        ("above", plan(NONE, DISRUPTIVE), {}, policy(ceiling="reversible"), Decision.HOLD, ["above_ceiling"]),
        ("destructive", plan(DESTRUCTIVE), {}, policy(ceiling="destructive"), Decision.HOLD, ["destructive"]),
        ("both", plan(DESTRUCTIVE), {}, policy(), Decision.HOLD, ["above_ceiling", "destructive"]),
        ("approve", plan(REVERSIBLE), {}, policy(mode="approve"), Decision.HOLD, ["needs_approval"]),
        ("stopped", plan(REVERSIBLE), {"stops": ["s"]}, policy(), Decision.DEFER, ["stopped"]),
        ("unreadable", plan(REVERSIBLE), {"stops": None}, policy(), Decision.DEFER, ["stopped"]),
        ("busy", plan(NONE), {"lease": ("r", NOW)}, policy(), Decision.DEFER, ["target_busy"]),
        (
            "all reasons",
            plan(DESTRUCTIVE),
            {"stops": ["a", "b"], "lease": ("r", NOW)},
            policy(mode="approve"),
            Decision.HOLD,
            ["stopped", "stopped", "needs_approval", "above_ceiling", "destructive", "target_busy"],
        ),
    ],
)
def test_what_the_guards_say(name, made, facts, rules, decision, codes):
    verdict = evaluate(made, Facts(labels={}, **facts), rules, NOW)
    assert verdict.decision is decision
    assert [finding.code for finding in verdict.findings] == codes


def test_a_deferral_lasts_until_the_last_of_its_reasons_gives_way():
    soon = NOW + RECHECK / 2
    assert evaluate(plan(NONE), Facts({}, lease=("r", soon)), policy(), NOW).until == soon
    assert evaluate(plan(NONE), Facts({}, stops=["s"], lease=("r", soon)), policy(), NOW).until == NOW + RECHECK


def test_a_busy_target_is_looked_at_again_before_its_lease_could_expire():
    facts = Facts({}, lease=("r", NOW + timedelta(hours=1)))
    assert evaluate(plan(NONE), facts, policy(), NOW).until == NOW + RECHECK


def test_an_approval_covers_exactly_the_actions_it_names():
    made = plan(DISRUPTIVE, DISRUPTIVE)
    facts = Facts({}, approved=frozenset({made.actions[0].identity}))
    verdict = evaluate(made, facts, policy(ceiling="none"), NOW)
    assert [finding.code for finding in verdict.findings] == ["above_ceiling", "changed"]
    assert approved_part(made, facts, policy(ceiling="none")).actions == made.actions[:1]


def test_an_approval_does_not_cover_the_same_action_with_another_hazard_or_precondition():
    approved = plan(DISRUPTIVE).actions[0]
    facts = Facts({}, approved=frozenset({approved.identity}))
    for change in ({"hazard": DESTRUCTIVE}, {"precondition": "another fact"}, {"object": "o/9"}):
        made = Plan(((approved.model_copy(update=change),),))
        assert approved_part(made, facts, policy(ceiling="none")).actions == ()
        assert evaluate(made, facts, policy(ceiling="none"), NOW).decision is Decision.HOLD


def test_without_an_approval_no_part_goes_on():
    assert approved_part(plan(NONE, DISRUPTIVE), Facts({}), policy(ceiling="none")).actions == ()


def test_overrides_by_label_in_their_order():
    rules = policy(
        overrides=[
            {"labels": {"env": "prod", "tier": "1"}, "mode": "observe"},
            {"labels": {"env": "prod"}, "ceiling": "none"},
        ]
    )
    assert effective_mode(rules, {"env": "prod", "tier": "1"}, observing=False) is Mode.OBSERVE
    assert effective_mode(rules, {"env": "prod"}, observing=False) is Mode.ENFORCE
    assert effective_mode(rules, {"env": "prod"}, observing=True) is Mode.OBSERVE
    assert evaluate(plan(REVERSIBLE), Facts({"env": "prod"}), rules, NOW).decision is Decision.HOLD
    assert evaluate(plan(REVERSIBLE), Facts({"env": "test"}), rules, NOW).decision is Decision.ALLOW
