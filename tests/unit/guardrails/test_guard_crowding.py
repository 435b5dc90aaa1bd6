"""Guards on how much happens at once: blast radius, concurrency, budgets."""

from datetime import timedelta

import pytest

from paydown.guardrails import LINGERING, LONGEST_RECHECK, RECHECK, Tally, patience
from paydown.plan import Population
from tests.unit.guardrails.guards import NOW, SECOND, TICK, Scene, ago, spent, working


def pool(total: int, *unhealthy: str, at_work: Tally | None = None, **more):
    return {"population": Population("workers", total, frozenset(unhealthy)), "pool": at_work, **more}


@pytest.mark.parametrize(
    ("facts", "rules", "fits"),
    [
        (pool(3), {}, True),
        (pool(3, "u"), {}, True),
        (pool(3, "u1"), {}, False),
        (pool(3, "u", "u1"), {}, False),
        (pool(3, at_work=working(1)), {}, False),
        (pool(2), {}, True),
        (pool(1), {}, False),
        (pool(1), {"min_healthy": 0}, True),
        (pool(10, "u1"), {}, True),
        (pool(10, "u1", "u2"), {}, False),
        (pool(10, "u", "u2"), {}, True),
        (pool(9, "u1"), {}, False),
        (pool(10, at_work=working(1)), {}, True),
        (pool(10, at_work=working(2)), {}, False),
        (pool(10, "u0", at_work=working(1)), {}, True),
        (pool(10, "u5", at_work=working(1)), {}, False),
        (pool(1_000, *(f"u{n}" for n in range(4))), {}, True),
        (pool(1_000, *(f"u{n}" for n in range(5))), {}, False),
        (pool(1_000), {"count": 0}, False),
        (pool(1_000), {"percent": 0}, False),
        (pool(0), {"min_healthy": 0}, False),
        (pool(0), {}, False),
    ],
)
def test_the_blast_radius_counts_unhealthy_members_and_those_at_work_once(facts, rules, fits):
    assert Scene(facts, {"blast_radius": rules}).codes() == ([] if fits else ["blast_radius"])


def test_the_target_counts_once_though_it_is_unhealthy_and_at_work():
    at_work = Tally("pool/workers", working={"me": ("u", NOW), "other": ("u", NOW)})
    assert Scene(pool(3, "u", at_work=at_work)).codes() == []


def test_who_harms_no_pool_has_no_blast_radius():
    assert Scene({"population": None}, {"blast_radius": {"count": 0}}).codes() == []


def test_the_explanation_gives_the_numbers():
    (finding,) = Scene(pool(3, "u1")).verdict().findings
    assert finding.text.startswith("1 of the 3 members of workers may be down at once")
    assert finding.until == NOW + RECHECK


def test_who_has_waited_long_looks_less_often_and_not_when_the_others_do():
    hours = timedelta(hours=3)
    full = {"toil": working(3), "lease": ("other", NOW + hours), "waited": hours}
    untils = [Scene({**full, "run": f"run-{number}"}, {"max_concurrent": 3}).verdict().until for number in range(50)]
    assert len(set(untils)) == 50
    assert min(untils) >= NOW + LONGEST_RECHECK / 2
    assert max(untils) <= NOW + LONGEST_RECHECK
    assert patience("run", timedelta(minutes=2)) == RECHECK, "at first each minute"
    assert patience("run", timedelta(minutes=2)) <= patience("run", timedelta(minutes=5)) < patience("run", hours)


@pytest.mark.parametrize("scope", ["toil", "everything"])
@pytest.mark.parametrize("most", [0, 1, 3])
def test_as_many_at_once_as_allowed_and_no_more(scope, most):
    rules, total = ({"max_concurrent": most}, {}) if scope == "toil" else ({}, {"concurrent": most})
    full = Scene({scope: working(most)}, rules, total)
    assert full.codes() == ["too_many_at_once"]
    assert full.verdict().until == NOW + RECHECK
    if most:
        assert Scene({scope: working(most - 1)}, rules, total).codes() == []


@pytest.mark.parametrize("scope", ["toil", "everything"])
def test_a_runs_own_place_and_places_that_are_over_do_not_count(scope):
    rules, total = {"max_concurrent": 1}, {"concurrent": 1}
    assert Scene({scope: Tally("s", working={"me": ("u", NOW)})}, rules, total).codes() == []
    assert Scene({scope: working(1, NOW)}, rules, total).codes() == ["too_many_at_once"]
    over = NOW - LINGERING
    assert Scene({scope: working(1, over)}, rules, total).codes() == ["too_many_at_once"], "it may have left a mess"
    assert Scene({scope: working(9, over - TICK)}, rules, total).codes() == []
    assert Scene(pool(10, at_work=working(9, over - TICK))).codes() == []
    assert Scene(pool(3, at_work=Tally("p", working={"me": ("elsewhere", NOW)}))).codes() == []


BUDGETS = {
    "toil": ({"budget": {"runs": 2, "window_seconds": 60}}, {}),
    "on_target": ({"budget": {"per_target": 2, "window_seconds": 60}}, {}),
    "everything": ({}, {"runs": 2, "window_seconds": 60}),
}


@pytest.mark.parametrize("scope", BUDGETS)
@pytest.mark.parametrize(
    ("seconds_ago", "free_in"),
    [
        ([], None),
        ([0], None),
        ([0, 0], 60),
        ([59, 0], 1),
        ([60, 0], None),
        ([0, 59], 1),
        ([59, 20, 0], 40),
        ([59, 58, 57, 1], 3),
    ],
)
def test_a_budget_is_free_when_so_many_have_left_that_one_more_fits(scope, seconds_ago, free_in):
    rules, total = BUDGETS[scope]
    scene = Scene({scope: spent(*[ago(seconds=seconds) for seconds in seconds_ago])}, rules, total)
    if free_in is None:
        assert scene.codes() == []
        return
    until = NOW + free_in * SECOND
    assert (scene.codes(), scene.verdict().until) == (["over_budget"], until)
    assert scene.codes(until - TICK) == ["over_budget"]
    assert scene.codes(until) == []


@pytest.mark.parametrize(
    ("rules", "total"),
    [({"budget": {"runs": 0}}, {}), ({"budget": {"per_target": 0}}, {}), ({}, {"runs": 0})],
)
def test_a_budget_of_zero_is_never_free(rules, total):
    for now in (NOW, NOW + timedelta(days=365)):
        assert Scene({}, rules, total).codes(now) == ["over_budget"]
        assert Scene({}, rules, total).verdict(now).until == now + RECHECK


def test_a_retry_pays_once_but_needs_its_place():
    facts = {"paid": True, "toil": Tally("s", working=working(5).working, spent=[NOW] * 100)}
    assert Scene(facts).codes() == ["too_many_at_once"]
    assert Scene(facts | {"paid": False}).codes() == ["too_many_at_once", "over_budget"]
    assert Scene({"paid": True, "on_target": spent(*[NOW] * 10), "everything": spent(*[NOW] * 500)}).codes() == []
