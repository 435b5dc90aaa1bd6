"""The simulation of an alert storm: its steps come from the real code, and it obeys the limits that it is about."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from bench.requests import size
from bench.steps import TOIL, record
from bench.storm import CASES, DEFAULT, RESULT, WIDE, Assumptions, Case, Storm, table

SMALL = Assumptions(events=600, targets=60, spread_s=60.0)


@pytest.fixture(scope="module")
def steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_DEFAULT_REGION")  # nobody has to set one for the benchmark
        return record()


def storm(steps, case, given=SMALL):
    return Storm(case, steps, given).run()


def test_the_steps_are_those_of_the_code(steps):
    assert set(steps) == {"full", "defer", "join", "not_due", "wake_defer", "wake_full", "wake_skip"}
    admission = next(one for one in steps["full"] if ("TALLY#*", "TALLY") in one.locks)
    assert admission.operation == "TransactWriteItems"
    assert {f"write:TALLY#toil/{TOIL}", "write:LEASE#{target}", "write:RUN#{target}"} <= set(admission.units)
    assert not [one for one in steps["defer"] if ("TALLY#*", "TALLY") in one.locks], "a storm warms no tally"
    assert any(one.failed for one in steps["join"]), "the run that it would have begun is open already"


def test_every_event_is_decided_and_every_run_ends(steps):
    found = storm(steps, Case("large", "default", DEFAULT))
    assert found.runs + found.joined == SMALL.events
    assert SMALL.spread_s - 5 < found.decided_s <= found.ended_s


def test_a_storm_never_has_more_targets_in_work_than_the_policy_allows(steps):
    assert storm(steps, Case("large", "default", DEFAULT)).at_work <= DEFAULT.max_concurrent
    wide = WIDE.model_copy(update={"max_concurrent": 3})
    assert storm(steps, Case("large", "three", wide)).at_work == 3


def test_it_is_repeatable_and_its_seed_matters(steps):
    case = Case("small", "default", DEFAULT)
    first = storm(steps, case)
    assert storm(steps, case) == first
    assert storm(steps, case, dataclasses.replace(SMALL, seed=8)) != first


def test_too_many_workers_are_throttled_by_the_tallies(steps):
    crowd = storm(steps, Case("crowd", "widest", WIDE, 1_000), dataclasses.replace(SMALL, events=3_000, targets=3_000))
    assert crowd.throttled > 0
    assert crowd.hottest == "write:TALLY#*"


def test_the_size_of_an_item_is_that_of_its_names_and_values():
    item = {"pk": {"S": "abc"}, "n": {"N": "123"}, "l": {"L": [{"S": "x"}]}, "gone": {"NULL": True}}
    assert size(item) == (2 + 3) + (1 + 3) + (1 + 3 + 1 + 1) + (4 + 1)


def test_the_page_says_what_was_simulated():
    kept = json.loads(RESULT.read_text())
    page = (Path(__file__).resolve().parents[3] / "docs/scale.md").read_text()
    assert "\n".join(table(kept)) in page, "make bench NAME=storm, and copy its tables"
    assert kept["assumptions"] == dataclasses.asdict(Assumptions())
    assert [one["scale"] for one in kept["outcomes"]] == [case.scale for case in CASES]


def test_the_recorded_units_are_still_those_of_the_code(steps):
    """A write that grew makes the pages of cost and scale wrong."""
    kept = json.loads(RESULT.read_text())["steps"]
    for step, requests in steps.items():
        units = [(name[0], amount) for one in requests for name, amount in one.units.items()]
        now = [sum(amount for kind, amount in units if kind == wanted) for wanted in "wr"]
        then = [kept[step]["write_units"], kept[step]["read_units"]]
        assert len(requests) == kept[step]["requests"]
        assert now == pytest.approx(then, rel=0.15, abs=2), step
