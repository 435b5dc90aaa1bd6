"""Every minute: what is due is nudged, and nothing else."""

import json
from datetime import timedelta

import pytest

from functions.wake import app
from paydown.errors import PermanentError
from paydown.ledger import Outcome
from tests.unit.toil.lamps import pushed


@pytest.fixture
def sent(monkeypatch, ledger, clock):
    messages = []
    monkeypatch.setattr(app, "_ledger", [ledger])
    monkeypatch.setattr(app, "utc_now", clock)
    monkeypatch.setattr(app, "send_commands", lambda toil, bodies: messages.extend((toil, body) for body in bodies))
    return messages


def begin(ledger, clock, number, toil="clean"):
    seconds = timedelta(seconds=58)
    event = pushed(f"push-{number}")
    return ledger.runs.create(toil, f"t{number}", "host/h", event, clock(), clock() + seconds, seconds).run


def test_what_is_due_is_nudged_in_its_own_queue(sent, ledger, clock):
    runs = [begin(ledger, clock, number, toil) for number, toil in enumerate(["clean", "clean", "recover"])]
    assert app.handler({}) == {"nudged": 0, "overdue_seconds": 0}
    clock.tick(158)
    assert app.handler({}) == {"nudged": 3, "overdue_seconds": 100}
    wanted = [(run.toil, {"paydown": 1, "command": "wake", "run_id": run.id}) for run in runs]
    assert sorted((toil, json.loads(body)["run_id"]) for toil, body in sent) == sorted(
        (toil, body["run_id"]) for toil, body in wanted
    )
    assert all(json.loads(body)["command"] == "wake" for _, body in sent)


def test_an_ended_run_is_left_in_peace(sent, ledger, clock):
    ledger.runs.end(begin(ledger, clock, 1), Outcome.SKIPPED, clock())
    clock.tick(1000)
    assert app.handler({}) == {"nudged": 0, "overdue_seconds": 0}


def test_a_queue_that_is_gone_does_not_keep_the_others_waiting(sent, ledger, clock, monkeypatch):
    begin(ledger, clock, 1, "gone")
    begin(ledger, clock, 2, "clean")
    clock.tick(100)

    def send(toil, bodies):
        if toil == "gone":
            raise PermanentError("no such queue")
        sent.extend((toil, body) for body in bodies)

    monkeypatch.setattr(app, "send_commands", send)
    assert app.handler({})["nudged"] == 1
    assert [toil for toil, _ in sent] == ["clean"]


def test_the_oldest_overdue_run_is_a_metric(sent, ledger, clock, capsys):
    begin(ledger, clock, 1)
    clock.tick(88)
    app.handler({})
    metric = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line)
    assert metric["OverdueSeconds"] == [30.0]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]
