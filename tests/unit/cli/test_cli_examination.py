"""How the doctor looks: checks beside each other, within their time, and from where the functions stand."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from cli.diagnosis import reach
from cli.diagnosis.examination import Check, State, examine, fine
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Registry
from paydown.ledger.sources_seen import Sources


@pytest.fixture
def sources(ledger):
    return Sources(ledger.table, ledger.table._client)


@pytest.mark.parametrize(
    ("from_here", "by_functions", "minutes", "kind"),
    [
        (None, None, 0, "fine"),
        (None, "", 5, "fine"),
        ("no answer", None, 0, "fault"),
        ("no answer", "", 5, "fine"),  # the functions reach it, which is what counts
        ("no answer", "", 90, "fault"),
        ("no answer", "no answer either", 5, "fault"),
        (None, "its secret is wrong", 5, "fault"),
        (None, "its secret was wrong", 90, "fine"),
    ],
)
def test_what_counts_is_whether_the_functions_reach_it(
    from_here, by_functions, minutes, kind, sources, clock, monkeypatch
):
    def ask(session, system):
        if from_here:
            raise RetryableError(from_here)

    monkeypatch.setattr(reach, "_ask", ask)
    if by_functions is not None:
        sources.move_cursor("registry", "r", {"asked": clock().isoformat(), "trouble": by_functions})
    clock.tick(60 * minutes)
    session = SimpleNamespace(connection=SimpleNamespace(sources=sources, parameters={}), now=clock)
    registry = Registry(uid="r", name="images", url="http://127.0.0.1:1")
    (finding,) = reach._system(session, registry)
    assert finding.state == kind
    assert "from here" in finding.text
    assert by_functions is None or "by the functions at 2026-11-22 03:00:00Z" in finding.text


def check(name, look):
    return Check("test", name, look)


def test_a_check_that_hangs_is_unknown_and_keeps_nobody():
    over = threading.Event()

    def hangs():
        over.wait(60)
        yield fine("test", "slow", "late")

    began = time.monotonic()
    quick = [check(str(number), lambda number=number: [fine("test", str(number), "well")]) for number in range(5)]
    found = examine([check("slow", hangs), *quick], seconds=2, at_once=2)  # the quick ones have no longer either
    assert time.monotonic() - began < 30
    over.set()
    assert [(one.subject, one.state) for one in found] == [
        ("slow", State.UNKNOWN),
        *((str(number), State.FINE) for number in range(5)),
    ]
    assert found[0].text == "no answer within 2 s"


def test_what_a_check_found_before_it_failed_is_kept():
    def fails():
        yield fine("test", "first", "well")
        raise PermanentError("the second")

    found = examine([check("both", fails)])
    assert [(one.subject, one.state, one.text) for one in found] == [
        ("first", State.FINE, "well"),
        ("both", State.UNKNOWN, "the second"),
    ]


def test_checks_run_beside_each_other():
    meeting = threading.Barrier(8, timeout=15)

    def waits():
        meeting.wait()  # raises unless all eight are in it at the same time
        return [fine("test", "one", "well")]

    assert [one.state for one in examine([check("one", waits)] * 8)] == [State.FINE] * 8
