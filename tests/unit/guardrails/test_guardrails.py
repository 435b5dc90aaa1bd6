"""What the guardrails say as a whole: every documented code, at its boundary; all at once, in the documented order."""

import re
from datetime import timedelta

import pytest

from paydown import guardrails
from paydown.guardrails import RECHECK, Decision, Tally
from paydown.plan import Healer, Population
from tests.unit.guardrails.guards import (
    DESTRUCTIVE,
    DISRUPTIVE,
    NONE,
    NOW,
    REVERSIBLE,
    SECOND,
    TICK,
    Scene,
    ago,
    ended,
    once,
    plan,
    spent,
    working,
)

DOCUMENTED = dict(re.findall(r"^`(\w+)` +(defer|hold|refuse) ", guardrails.__doc__, re.MULTILINE))
"""Code by code, in order: what it calls for."""
OF_FOUR = Population("p", 4)
ANOTHER = frozenset({("touch", "o/9", "p9", "disruptive")})

CASES = {
    # code: (where it is produced, and the nearest where it is not)
    "stopped": (Scene({"stops": ["s"]}), Scene({"stops": []})),
    "suspended": (
        Scene({"toil": Tally("s", recurred=[ago(days=1) + TICK] * 5)}),
        Scene({"toil": Tally("s", recurred=[ago(days=1)] + [ago(days=1) + TICK] * 4)}),
    ),
    "opted_out": (
        Scene({"labels": {"paydown.dev/opt-out": ""}}),
        Scene({"labels": {"paydown.dev/opt-out": "false"}}),
    ),
    "overridden": (
        Scene({"on_target": Tally("s", overridden=("uncordoned", NOW + TICK))}),
        Scene({"on_target": Tally("s", overridden=("uncordoned", NOW))}),
    ),
    "escalated": (
        Scene({"on_target": ended(*[(ago(hours=n), "Failed") for n in (22, 10, 5)])}),
        Scene({"on_target": ended(*[(ago(hours=n), "Failed") for n in (24, 10, 5)])}),
    ),
    "needs_approval": (
        Scene(rules={"mode": "approve"}, made=plan(REVERSIBLE)),
        Scene(rules={"mode": "approve"}, made=plan(NONE)),
    ),
    "above_ceiling": (
        Scene(rules={"ceiling": "reversible"}),
        Scene(rules={"ceiling": "reversible"}, made=plan(REVERSIBLE)),
    ),
    "destructive": (
        Scene(rules={"ceiling": "destructive"}, made=plan(DESTRUCTIVE)),
        Scene(rules={"ceiling": "destructive"}),
    ),
    "changed": (
        Scene({"approved": ANOTHER}, {"mode": "approve"}),
        Scene({"approved": frozenset({plan(DISRUPTIVE).actions[0].identity})}, {"mode": "approve"}),
    ),
    "frozen": (
        Scene(freezes=[once(ago(minutes=59))]),
        Scene(freezes=[once(ago(minutes=60)), once(NOW + SECOND)]),
    ),
    "outside_window": (
        Scene(rules={"windows": [once(ago(minutes=60)), once(NOW + SECOND)]}),
        Scene(rules={"windows": [once(NOW)]}),
    ),
    "storm": (
        Scene({"events": {NOW: 201}}),
        Scene({"events": {NOW: 200}}),
    ),
    "cooling_down": (
        Scene({"on_target": ended((ago(seconds=300) + TICK, "Verified"))}),
        Scene({"on_target": ended((ago(seconds=300), "Verified"))}),
    ),
    "backing_off": (
        Scene({"on_target": ended((ago(hours=1), "Failed"), (ago(seconds=600) + TICK, "Unverified"))}),
        Scene({"on_target": ended((ago(hours=1), "Failed"), (ago(seconds=600), "Unverified"))}),
    ),
    "other_healer": (
        Scene({"healer": Healer("bosh", ago(seconds=1_920) + TICK)}),
        Scene({"healer": Healer("bosh", ago(seconds=1_920))}),
    ),
    "blast_radius": (
        Scene({"population": Population("p", 4, frozenset({"u1"}))}),
        Scene({"population": Population("p", 4, frozenset({"u"}))}),
    ),
    "too_many_at_once": (Scene({"toil": working(5)}), Scene({"toil": working(4)})),
    "over_budget": (
        Scene({"on_target": spent(*[ago(hours=1) + TICK] * 10)}),
        Scene({"on_target": spent(*[ago(hours=1) + TICK] * 9, ago(hours=1))}),
    ),
    "target_busy": (Scene({"lease": ("other", NOW + SECOND)}), Scene({"lease": None})),
}


def test_every_documented_code_has_a_case():
    assert list(CASES) == list(DOCUMENTED)


@pytest.mark.parametrize("code", CASES)
def test_a_code_is_produced_alone_and_calls_for_what_is_documented(code):
    verdict = CASES[code][0].verdict()
    # Nothing changed unless some of it still needs approval.
    assert [finding.code for finding in verdict.findings] == (["needs_approval"] if code == "changed" else []) + [code]
    assert verdict.decision is Decision(DOCUMENTED[code])
    assert {finding.code: finding.decision for finding in verdict.findings}[code] is Decision(DOCUMENTED[code])
    assert all(finding.text for finding in verdict.findings)


@pytest.mark.parametrize("code", CASES)
def test_a_code_is_not_produced_right_beside_its_boundary(code):
    verdict = CASES[code][1].verdict()
    assert code not in [finding.code for finding in verdict.findings]


@pytest.mark.parametrize("code", [code for code, calls in DOCUMENTED.items() if calls == "defer"])
def test_a_deferral_ends_and_lies_in_the_future(code):
    verdict = CASES[code][0].verdict()
    assert verdict.until is not None
    assert verdict.until > NOW


def everything(**more):
    return Scene(
        {
            "labels": {"paydown.dev/opt-out": "true"},
            "stops": ["a", "b"],
            "lease": ("other", NOW + SECOND),
            "approved": ANOTHER,
            "everything": Tally("*", working=working(50).working, spent=[NOW] * 500),
            "toil": Tally("s", working=working(5).working, spent=[NOW] * 100, recurred=[NOW] * 5),
            "on_target": Tally(
                "s",
                ended=ended(*[(ago(seconds=n), "Failed") for n in (30, 20, 10)]).ended,
                overridden=("uncordoned", NOW + SECOND),
                spent=[NOW] * 10,
            ),
            "population": Population("p", 4, frozenset({"u1"})),
            "healer": Healer("karpenter", NOW),
            "events": {NOW: 201},
            **more,
        },
        {"mode": "approve", "ceiling": "none", "windows": [once(NOW + SECOND)]},
        freezes=[once(NOW)],
        made=plan(DISRUPTIVE, DESTRUCTIVE),
    )


def test_all_reasons_are_given_at_once_in_the_documented_order():
    said = everything().codes()
    several = {"stopped": 2, "too_many_at_once": 2, "over_budget": 3}
    # Of a target that was acted on, one of the two is true.
    expected = [code for code in DOCUMENTED if code != "cooling_down" for _ in range(several.get(code, 1))]
    assert said == expected
    assert everything().verdict().decision is Decision.REFUSE


def test_taking_back_meets_only_switches_opt_out_lease_and_what_is_not_reversible():
    scene = everything(undoing=True)
    assert [code for code in scene.codes() if DOCUMENTED[code] != "hold"] == [
        "stopped",
        "stopped",
        "opted_out",
        "target_busy",
    ]
    assert Scene({"undoing": True}, {"mode": "approve", "ceiling": "none"}, made=plan(REVERSIBLE)).codes() == []
    assert "above_ceiling" in Scene({"undoing": True}, {"ceiling": "reversible"}).codes()


@pytest.mark.parametrize(
    ("facts", "rules", "decision"),
    [
        ({}, {}, Decision.ALLOW),
        ({"stops": ["s"]}, {}, Decision.DEFER),
        ({"stops": ["s"]}, {"mode": "approve"}, Decision.HOLD),
        ({"stops": ["s"], "labels": {"paydown.dev/opt-out": ""}}, {"mode": "approve"}, Decision.REFUSE),
    ],
)
def test_the_strictest_counts(facts, rules, decision):
    assert Scene(facts, rules).verdict().decision is decision


def test_a_deferral_lasts_until_the_last_of_its_reasons_gives_way():
    soon = NOW + RECHECK / 2
    assert Scene({"lease": ("r", soon)}).verdict().until == soon
    assert Scene({"lease": ("r", soon), "stops": ["s"]}).verdict().until == NOW + RECHECK
    assert Scene({"lease": ("r", soon)}, {"windows": [once(NOW + SECOND)]}).verdict().until == soon
    assert Scene().verdict().until is None
    assert Scene(rules={"mode": "approve"}).verdict().until is None


def test_a_busy_target_is_looked_at_again_before_its_lease_could_expire():
    assert Scene({"lease": ("r", NOW + timedelta(hours=1))}).verdict().until == NOW + RECHECK


def test_a_policy_that_says_nothing_about_limits_has_all_of_them():
    assert Scene({"population": OF_FOUR, "pool": working(1)}).codes() == ["blast_radius"]
    assert Scene({"everything": working(50)}).codes() == ["too_many_at_once"]
    assert Scene({"everything": spent(*[NOW] * 500)}).codes() == ["over_budget"]
    assert Scene({"toil": spent(*[NOW] * 100)}).codes() == ["over_budget"]


def test_what_only_reads_is_not_held_but_waits_its_turn_like_the_rest():
    assert Scene(rules={"mode": "approve", "ceiling": "none"}, made=plan(NONE)).codes() == []
    assert Scene(rules={"mode": "approve"}, made=plan()).codes() == []
    assert Scene({"toil": working(5)}, made=plan(NONE)).codes() == ["too_many_at_once"]
