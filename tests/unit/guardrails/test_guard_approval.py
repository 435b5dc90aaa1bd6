"""Who must be asked, and what an approval covers."""

import pytest

from paydown.guardrails import Decision, Facts, approved_part, effective_mode
from paydown.plan import Plan
from paydown.policy import Mode
from tests.unit.guardrails.guards import DESTRUCTIVE, DISRUPTIVE, NONE, REVERSIBLE, Scene, plan, policy


@pytest.mark.parametrize(
    ("mode", "ceiling", "made", "codes"),
    [
        ("enforce", "disruptive", plan(DISRUPTIVE), []),
        ("enforce", "disruptive", plan(), []),
        ("approve", "none", plan(), []),
        ("approve", "none", plan(NONE), []),
        ("enforce", "none", plan(REVERSIBLE), ["above_ceiling"]),
        ("enforce", "reversible", plan(NONE, DISRUPTIVE), ["above_ceiling"]),
        ("enforce", "destructive", plan(DESTRUCTIVE), ["destructive"]),
        ("enforce", "disruptive", plan(DESTRUCTIVE), ["above_ceiling", "destructive"]),
        ("approve", "destructive", plan(REVERSIBLE), ["needs_approval"]),
        ("approve", "reversible", plan(DISRUPTIVE), ["needs_approval", "above_ceiling"]),
        ("approve", "none", plan(DESTRUCTIVE), ["needs_approval", "above_ceiling", "destructive"]),
        ("observe", "disruptive", plan(DISRUPTIVE), []),
        ("observe", "reversible", plan(DISRUPTIVE), ["above_ceiling"]),
    ],
)
def test_what_calls_for_a_person(mode, ceiling, made, codes):
    scene = Scene(rules={"mode": mode, "ceiling": ceiling}, made=made)
    assert scene.codes() == codes
    assert scene.verdict().decision is (Decision.HOLD if codes else Decision.ALLOW)


def test_an_approval_covers_exactly_the_actions_it_names():
    made = plan(DISRUPTIVE, DISRUPTIVE)
    approved = frozenset({made.actions[0].identity})
    assert Scene({"approved": approved}, {"ceiling": "none"}, made=made).codes() == ["above_ceiling", "changed"]
    assert approved_part(made, Facts({}, approved=approved), policy(ceiling="none")).actions == made.actions[:1]


def test_an_approval_covers_what_is_destructive_too():
    made = plan(DESTRUCTIVE, REVERSIBLE)
    approved = frozenset(action.identity for action in made.actions)
    assert Scene({"approved": approved}, {"mode": "approve", "ceiling": "none"}, made=made).codes() == []


@pytest.mark.parametrize("change", [{"hazard": DESTRUCTIVE}, {"precondition": "another fact"}, {"object": "o/9"}])
def test_an_approval_does_not_cover_an_action_that_has_changed(change):
    approved = plan(DISRUPTIVE).actions[0]
    facts = {"approved": frozenset({approved.identity})}
    made = Plan(((approved.model_copy(update=change),),))
    assert approved_part(made, Facts({}, **facts), policy(ceiling="none")).actions == ()
    assert Scene(facts, {"ceiling": "none"}, made=made).verdict().decision is Decision.HOLD


def test_an_approval_covers_an_action_whose_explanation_has_changed():
    approved = plan(DISRUPTIVE).actions[0]
    made = Plan(((approved.model_copy(update={"note": "3 GB more"}),),))
    assert Scene({"approved": frozenset({approved.identity})}, {"mode": "approve"}, made=made).codes() == []


def test_without_an_approval_no_part_goes_on():
    assert approved_part(plan(NONE, DISRUPTIVE), Facts({}), policy(ceiling="none")).actions == ()


def test_the_explanation_names_a_few_actions_and_counts_the_rest():
    (finding,) = Scene(rules={"mode": "approve"}, made=plan(*[DISRUPTIVE] * 5)).verdict().findings
    assert finding.text == "mode approve: touch o/0, touch o/1, touch o/2 and 2 more"


def test_overrides_by_label_in_their_order():
    overrides = [
        {"labels": {"env": "prod", "tier": "1"}, "mode": "observe"},
        {"labels": {"env": "prod"}, "ceiling": "none"},
    ]
    rules = policy(overrides=overrides)
    assert effective_mode(rules, {"env": "prod", "tier": "1"}, observing=False) is Mode.OBSERVE
    assert effective_mode(rules, {"env": "prod"}, observing=False) is Mode.ENFORCE
    assert effective_mode(rules, {"env": "prod"}, observing=True) is Mode.OBSERVE
    assert Scene({"labels": {"env": "prod"}}, {"overrides": overrides}).codes() == ["above_ceiling"]
    assert Scene({"labels": {"env": "test"}}, {"overrides": overrides}).codes() == []


def test_an_action_may_want_a_person_whatever_mode_and_ceiling_say():
    (action,) = plan(REVERSIBLE).actions
    made = Plan(((action.model_copy(update={"asks": True}),),))
    assert Scene(made=made).codes() == ["needs_approval"]
    assert Scene({"approved": frozenset({action.identity})}, made=made).codes() == []
    assert Scene({"undoing": True}, made=made).codes() == []
