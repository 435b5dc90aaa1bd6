"""`paydown runs`."""

import pytest

from paydown.ledger import Table
from paydown.plan import Hazard
from tests.unit.toil.lamps import pushed


@pytest.fixture
def several(plant, world, clock):
    """A verified run, a held one two hours later, and one that joined nothing: skipped, another hour later."""
    verified = plant.look(pushed("push-1"))
    clock.tick(7_200)
    world.burning |= {"gas"}
    world.hazards["gas"] = Hazard.DESTRUCTIVE
    held = plant.look(pushed("push-2"), "host/room-2")
    clock.tick(3_600)
    world.burning.clear()
    skipped = plant.look(pushed("push-3"))
    return {"verified": verified, "held": held, "skipped": skipped}


FILTERS = [
    ([], ["skipped", "held", "verified"]),
    (["--limit", "2"], ["skipped", "held"]),
    (["--status", "held"], ["held"]),
    (["--status", "Alive"], ["held"]),
    (["--status", "ended"], ["skipped", "verified"]),
    (["--status", "ended", "--limit", "1"], ["skipped"]),
    (["--status", "held", "--status", "VERIFIED"], ["held", "verified"]),
    (["--target", "host/room-2"], ["held"]),
    (["--target", "room-1"], ["skipped", "verified"]),
    (["--target", "host/*"], ["skipped", "held", "verified"]),
    (["--toil", "switch_off_lamps"], ["skipped", "held", "verified"]),
    (["--toil", "recover_node"], []),
    (["--since", "2h"], ["skipped", "held"]),
    (["--since", "30m"], ["skipped"]),
    (["--since", "2026-11-22T04:59:59Z"], ["skipped", "held"]),
    (["--since", "2026-11-22T06:00+00:00"], ["skipped"]),
]


def test_filters(paydown, several):
    """One test for all of them, since they only read."""
    names = {run.id: name for name, run in several.items()}
    for argv, expected in FILTERS:
        since = [] if "--since" in argv else ["--since", "12h"]  # reads fewer days
        found = paydown("runs", "--json", *argv, *since).data["runs"]
        assert [names[run["id"]] for run in found] == expected, argv


def test_a_run_as_data(paydown, several):
    run = paydown("runs", "--json", "--status", "held").data["runs"][0]
    held = several["held"]
    assert run == {
        "id": held.id,
        "toil": "switch_off_lamps",
        "target": {"ref": "host/room-2", "uid": "room-2"},
        "status": "Held",
        "ended": False,
        "event": {"type": "ImagePushed", "key": "push-2"},
        "created": "2026-11-22T05:00:00+00:00",
        "updated": "2026-11-22T05:00:00+00:00",
        "due": "2026-11-23T05:00:00+00:00",
        "mode": "enforce",
        "hazard": "destructive",
        "actions": 1,
        "policy_version": 1,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in held.reasons],
        "evidence": {},
    }
    assert [reason["code"] for reason in run["reasons"]] == ["above_ceiling", "destructive"]


def test_the_table_in_plain_text(paydown, several):
    head, *rows = paydown("runs").out.splitlines()
    assert head.split() == ["RUN", "BEGUN", "TOIL", "TARGET", "STATUS", "TOOK", "WHY"]
    assert [row.split()[0] for row in rows] == [several[name].id[:12] for name in ("skipped", "held", "verified")]
    assert rows[1].endswith("Held      -     above_ceiling, destructive")


def test_no_runs_is_an_answer(paydown, plant):
    assert paydown("runs", "--json").data == {"runs": []}


def test_runs_of_earlier_days_are_found(paydown, plant, clock):
    run = plant.look()
    clock.tick(29 * 86_400)
    assert [one["id"] for one in paydown("runs", "--json").data["runs"]] == [run.id]
    assert paydown("runs", "--json", "--since", "28d").data["runs"] == []
    clock.tick(40 * 86_400)
    assert paydown("runs", "--json").data["runs"] == []
    assert [one["id"] for one in paydown("runs", "--json", "--since", "70d").data["runs"]] == [run.id]


def test_the_time_of_an_outcome_is_when_the_run_ended(paydown, plant, world, clock):
    plant.publish(mode="approve")
    held = plant.look(pushed("push-1"))
    clock.tick(5 * 3_600)
    plant.ledger.approvals.decide(held, held.fingerprint, approved=True, by="ann", why="", now=clock())
    plant.wake(plant.ledger.runs.get(held.id))

    def found(*argv):
        return [run["id"] for run in paydown("runs", "--json", "--since", "1h", *argv).data["runs"]]

    assert found("--status", "verified") == [held.id]
    assert found("--status", "verified", "--target", "host/room-1") == [held.id]
    assert found("--status", "verified", "--target", "host/*") == [held.id]
    assert found("--status", "failed") == found() == found("--status", "ended") == []


@pytest.mark.parametrize(
    ("argv", "subjects"),
    [
        (["--toil", "switch_off_lamps"], {"TOIL#switch_off_lamps"}),
        (["--target", "host/room-1", "--toil", "switch_off_lamps"], {"TARGET"}),
        (["--status", "verified", "--toil", "switch_off_lamps"], {"OUTCOME#Verified"}),
        (["--status", "held"], {"DUE"}),
        ([], {"ALL"}),
    ],
)
def test_the_index_that_leaves_out_the_most_is_read(argv, subjects, paydown, several, monkeypatch):
    asked = set()
    query = Table.query_index

    def noted(self, index, condition, values, **more):
        asked.update(str(value).rpartition("#")[0] for value in values.values() if "#" in str(value))
        return query(self, index, condition, values, **more)

    monkeypatch.setattr(Table, "query_index", noted)
    assert paydown("runs", "--since", "12h", *argv).code == 0
    assert asked - {"ALL", "DAY"} == subjects - {"ALL"}
