"""Guards on what happened before: switches, suspension, opting out, a person's own hand, escalation, recurrence."""

from datetime import timedelta

import pytest

from paydown.guardrails import LINGERING, RECHECK, Ending, Facts, Tally, escalates, recurs
from tests.unit.guardrails.guards import NOW, TICK, Scene, ago, ended, policy


def test_switches_that_cannot_be_read_count_as_on():
    verdict = Scene({"stops": None}).verdict()
    assert [(one.code, one.text, one.until) for one in verdict.findings] == [
        ("stopped", "the switches cannot be read", NOW + RECHECK)
    ]


@pytest.mark.parametrize(
    ("value", "out"), [("true", True), ("", True), ("no", True), ("False", True), ("false", False)]
)
def test_any_value_of_the_label_but_false_opts_out(value, out):
    assert Scene({"labels": {"paydown.dev/opt-out": value}}).codes() == (["opted_out"] if out else [])


@pytest.mark.parametrize(
    ("recurred", "resumed_at", "codes"),
    [
        ([ago(hours=1)] * 5, None, ["suspended"]),
        ([ago(hours=1)] * 4, None, []),
        ([ago(hours=1)] * 5, ago(hours=2), ["suspended"]),
        ([ago(hours=1)] * 5, ago(hours=1), []),
        ([ago(hours=3)] + [ago(hours=1)] * 4, ago(hours=2), []),
        ([ago(hours=25)] * 5, None, []),
        ([ago(hours=25)] * 5, ago(hours=26), []),
    ],
)
def test_recurrences_suspend_until_somebody_resumes_or_they_are_old(recurred, resumed_at, codes):
    assert Scene({"toil": Tally("s", recurred=recurred), "resumed_at": resumed_at}).codes() == codes


FAILED, UNVERIFIED, VERIFIED = "Failed", "Unverified", "Verified"


@pytest.mark.parametrize(
    ("outcomes", "escalated"),
    [
        ([FAILED, FAILED, FAILED], True),
        ([FAILED, UNVERIFIED, FAILED], True),
        ([FAILED, FAILED], False),
        ([FAILED, FAILED, VERIFIED, FAILED], False),
        ([VERIFIED, FAILED, FAILED, FAILED], True),
        ([FAILED, FAILED, FAILED, VERIFIED], False),
        ([FAILED, "Refused", FAILED, FAILED], True),
        ([FAILED, "Rejected", FAILED], False),
    ],
)
def test_failures_in_a_row_escalate(outcomes, escalated):
    on_target = ended(*[(ago(hours=5 - n), outcome) for n, outcome in enumerate(outcomes)])
    assert ("escalated" in Scene({"on_target": on_target}).codes()) is escalated


def test_failures_are_in_a_row_whatever_their_order_in_the_ledger():
    on_target = ended((ago(hours=1), FAILED), (ago(hours=4), VERIFIED), (ago(hours=3), FAILED), (ago(hours=2), FAILED))
    assert "escalated" in Scene({"on_target": on_target}).codes()


def test_escalation_names_the_runs():
    on_target = ended(*[(ago(hours=n), FAILED) for n in (6, 5, 4)])
    (finding,) = Scene({"on_target": on_target}).verdict().findings
    assert finding.text == "3 runs did not heal it: 0, 1, 2"


@pytest.mark.parametrize(
    ("failures", "before", "named"),
    [
        (3, [1, 2], ["1", "0"]),
        (3, [1], None),
        (3, [1, 24], None),
        (3, [1, 23], ["1", "0"]),
        (1, [], []),
        (2, [], None),
    ],
)
def test_the_failure_that_is_one_too_many_escalates(failures, before, named):
    on_target = ended(*[(ago(hours=hours), FAILED) for hours in before])
    said = escalates(on_target, policy(escalation={"failures": failures}), NOW)
    assert (said if said is None else [one.run for one in said]) == named


@pytest.mark.parametrize(
    ("at", "outcome", "ongoing", "run"),
    [
        (ago(hours=4) + TICK, VERIFIED, True, "0"),
        (ago(hours=4), VERIFIED, True, None),
        (ago(hours=1), VERIFIED, False, None),
        (ago(hours=1), UNVERIFIED, True, None),
    ],
)
def test_a_lasting_fault_soon_after_it_was_verified_recurs(at, outcome, ongoing, run):
    said = recurs(Facts({}, on_target=ended((at, outcome)), ongoing=ongoing), policy(), NOW)
    assert (said and said.run) == run


@pytest.mark.parametrize(("event", "run"), [("DiskPressure", "1"), ("ImagePushed", None), ("Sweep", None)])
def test_only_the_fault_that_was_verified_recurs(event, run):
    endings = (
        Ending(ago(hours=3), UNVERIFIED, "0", "DiskPressure"),
        Ending(ago(hours=2), VERIFIED, "1", "DiskPressure"),
        Ending(ago(hours=1), FAILED, "2", "ImagePushed"),
    )
    said = recurs(Facts({}, on_target=Tally("s", ended=endings), ongoing=True, event=event), policy(), NOW)
    assert (said and said.run) == run


def test_a_run_of_a_version_that_did_not_say_by_which_event_counts_for_all():
    past = Tally("s", ended=(Ending(ago(hours=1), VERIFIED, "0", ""),))
    assert recurs(Facts({}, on_target=past, ongoing=True, event="DiskPressure"), policy(), NOW) is not None


def test_what_waited_for_its_turn_recurs_all_the_same():
    past = ended((ago(hours=5), VERIFIED))
    assert recurs(Facts({}, on_target=past, ongoing=True, began=ago(hours=4.5)), policy(), NOW) is not None
    assert recurs(Facts({}, on_target=past, ongoing=True), policy(), NOW) is None


def test_a_target_without_a_past_does_not_recur():
    assert recurs(Facts({}, ongoing=True), policy(), NOW) is None


def test_letting_in_forgets_what_nobody_looks_at_any_more():
    before = Tally(
        "s",
        version=3,
        working={"old": ("a", NOW - LINGERING - TICK), "me": ("u", NOW), "other": ("b", NOW)},
        spent=(ago(hours=1), ago(hours=1) + TICK),
        ended=ended((ago(days=1), FAILED), (ago(days=1) + TICK, FAILED)).ended,
        recurred=(ago(days=1), ago(days=1) + TICK),
    )
    until, hour, day = NOW + timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
    after = before.entered("me", "u", NOW, until, budget=hour, memory=day, pays=True)
    assert after.working == {"other": ("b", NOW), "me": ("u", until)}
    assert after.spent == (ago(hours=1) + TICK, NOW)
    assert [one.run for one in after.ended] == ["1"]
    assert after.recurred == (ago(days=1) + TICK,)
    again = before.entered("me", "u", NOW, until, budget=hour, memory=day, pays=False)
    assert again.spent == (ago(hours=1) + TICK,)


def test_a_recurrence_is_counted():
    assert Tally("s", recurred=(ago(hours=1),)).recurring(NOW).recurred == (ago(hours=1), NOW)
