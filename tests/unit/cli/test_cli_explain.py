"""`paydown explain`: the story of a run, and finding the run by the beginning of its id."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from cli import explain as command
from cli.advice import ADVICE
from cli.exits import NotFoundError
from cli.lookup import find_run, short
from paydown.errors import PermanentError
from paydown.ledger.run import run_id
from paydown.plan import Draft, Hazard
from tests.unit.toil.lamps import pushed

PROJECT = Path(__file__).resolve().parents[3]


def test_a_verified_run(paydown, plant):
    run = plant.look()
    story = paydown("explain", run.id, "--json").data
    assert (story["id"], story["status"], story["evidence"]) == (run.id, "Verified", {"dark": 2})
    assert story["event"]["detail"]["repository"] == "rooms/one"
    assert story["before"] == {"burning": 2}
    assert story["fingerprint"] == run.fingerprint
    (plan,) = story["plans"]
    assert (plan["number"], plan["executed"]) == (1, True)
    (stage,) = plan["stages"]
    assert [(step["verb"], step["object"], step["hazard"], step["state"]) for step in stage] == [
        ("switch_off", "lamp/desk", "disruptive", "done"),
        ("switch_off", "lamp/hall", "disruptive", "done"),
    ]
    assert stage[0]["precondition"] == "burning desk"
    assert stage[0]["evidence"] == {"lamp": "desk"}
    assert [one["status"] for one in story["transitions"]] == ["Planned", "Applying", "Verifying", "Verified"]


def test_stages_stay_apart(paydown, plant, world):
    world.burning |= {"late-night"}
    stages = paydown("explain", plant.look().id, "--json").data["plans"][0]["stages"]
    assert [[step["object"] for step in stage] for stage in stages] == [["lamp/desk", "lamp/hall"], ["lamp/late-night"]]


def test_a_held_run_tells_what_to_do_and_which_plan_waits(paydown, plant, world):
    world.hazards["hall"] = Hazard.DESTRUCTIVE
    answer = paydown("explain", plant.look().id)
    assert re.search(r"^status +Held$", answer.out, re.MULTILINE)
    assert re.search(r"^due +2026-11-23 03:00:00Z \(in 1 d\)$", answer.out, re.MULTILINE)
    assert "destructive: can lose data: switch_off lamp/hall\n  → Somebody must decide" in answer.out
    assert "Plan 1: 2 action(s), not begun" in answer.out
    assert re.search(r"^1 +switch_off +lamp/hall +destructive +burning hall +planned", answer.out, re.MULTILINE)


def test_a_decision_is_part_of_the_story(paydown, plant, world, clock):
    world.hazards["hall"] = Hazard.DESTRUCTIVE
    held = plant.look()
    plant.ledger.approvals.decide(held, held.fingerprint, approved=True, by="ann", why="it is day", now=clock())
    run = plant.wake(held)
    assert paydown("explain", run.id, "--json").data["approval"]["by"] == "ann"
    assert "plan 1: approved by ann at 2026-11-22T03:00:00+00:00: it is day" in paydown("explain", run.id).out


def test_a_failed_action_says_why(paydown, plant, world):
    world.apply_raises = [PermanentError("the fuse is gone")]
    answer = paydown("explain", plant.look().id)
    assert "permanent: the fuse is gone" in answer.out
    assert re.search(r"switch_off +lamp/desk .* failed +the fuse is gone", answer.out)


def test_a_run_without_a_plan(paydown, plant, world):
    world.burning.clear()
    answer = paydown("explain", plant.look().id)
    assert "nothing_to_do: nothing to do" in answer.out
    assert "Plan " not in answer.out


def test_long_plans_are_cut_unless_all_is_asked_for(paydown, plant, world):
    world.burning |= {f"lamp-{number:03}" for number in range(45)}
    run = plant.look()
    cut = paydown("explain", run.id).out
    assert cut.count("switch_off") - 1 == command.SHOWN_ACTIONS  # the toil type has it in its name, too
    assert "… and 7 more: --all" in cut
    assert paydown("explain", run.id, "--all").out.count("lamp/") == 47
    assert len(paydown("explain", run.id, "--json").data["plans"][0]["stages"][0]) == 47


def test_the_beginning_of_an_id_is_enough(paydown, plant, clock):
    run = plant.look()
    for text in (run.id, run.id[:12], run.id[:4], run.id[:8].upper()):
        assert paydown("explain", text, "--json").data["id"] == run.id
    clock.tick(32 * 86_400)
    assert paydown("explain", run.id, "--json").data["id"] == run.id
    assert "of the last 31 days" in paydown("explain", run.id[:12]).err


def test_an_old_run_that_is_alive_is_found_by_the_beginning_of_its_id(plant, world, clock, ledger):
    plant.publish(hold_seconds=2_592_000)
    world.hazards["hall"] = Hazard.DESTRUCTIVE
    run = plant.look()
    assert find_run(ledger, run.id[:12], clock.tick(40 * 86_400)).id == run.id


def test_two_runs_with_the_same_beginning(plant, clock, ledger):
    keys, first = {}, None
    for number in range(10_000):  # two of some hundred keys share four digits; the target and toil type are fixed
        key = f"push-{number}"
        beginning = run_id(key, "room-1", "switch_off_lamps")[:4]
        if beginning in keys:
            first = keys[beginning]
            break
        keys[beginning] = key
    runs = [plant.look(pushed(one)) for one in (first, key)]
    with pytest.raises(NotFoundError, match=f"2 runs begin with {beginning}"):
        find_run(ledger, beginning, clock())
    assert find_run(ledger, runs[0].id[:20], clock()).id == runs[0].id


@pytest.mark.parametrize(
    ("id", "shown"), [("0123456789abcdef" * 2, "0123456789ab"), ("0123456789abcdef" * 2 + "-3", "0123456789ab-3")]
)
def test_the_short_form_of_an_id(id, shown):
    assert short(id) == shown


def test_a_later_attempt_is_found_by_its_number(plant, ledger, clock, monkeypatch, world):
    monkeypatch.setattr(type(pushed()), "ongoing", True)
    world.apply_raises = [PermanentError("the fuse is gone")]
    first = plant.look()
    clock.tick(400)
    second = plant.look()
    assert second.id == f"{first.id}-2"
    for run in (first, second):
        assert find_run(ledger, short(run.id), clock()).id == run.id
        assert find_run(ledger, run.id, clock()).id == run.id


def test_every_reason_that_the_code_gives_has_its_advice():
    rooms = ("layers/shared/paydown", "functions", "cli")
    sources = [source for room in rooms for source in PROJECT.glob(f"{room}/**/*.py")]
    pattern = re.compile(r"""(?:Reason|Finding|self\._book)\(\s*(?:event,\s*)?"([a-z_]+)",""")
    codes = {code for source in sources for code in pattern.findall(source.read_text())}
    codes |= set(get_args(get_type_hints(Draft)["code"]))
    assert {"above_ceiling", "retry", "target_unknown", "joined"} <= codes
    assert codes - set(ADVICE) == set()
    assert set(ADVICE) - codes == set()
