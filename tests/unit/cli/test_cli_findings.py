"""`paydown findings` and `paydown snooze`."""

from datetime import timedelta

import pytest

from paydown.ledger.findings import Findings, Identity, Sighting, order_of

WORKER = Identity("recover_node", "node/demo/worker-1", "NodeNotReady")
HOST = Identity("clean_dangling_images", "host/build\x1b[31m", "DiskPressure")


@pytest.fixture
def two(ledger, clock):
    """A finding that was seen twice, and a later one with a ticket; a third is over."""
    findings = Findings(ledger.table)

    def see(identity, label, *tickets):
        at = clock.tick(60)
        order = order_of(at, 3, "a" * 32)
        findings.see(Sighting(identity, order, at, label, "a" * 32, "text", asked=tickets), at)

    see(WORKER, "Held")
    see(WORKER, "Failed")
    see(HOST, "Unverified", "helpdesk/7")
    gone = Identity("recover_node", "node/demo/worker-2", "NodeNotReady")
    see(gone, "Failed")
    findings.close(gone, order_of(clock.tick(60), 4, "b" * 32), "verified", clock())
    return findings


def test_the_open_ones_are_listed(paydown, two):
    head, *rows = paydown("findings").out.splitlines()
    assert head.split()[:4] == ["FINDING", "TOIL", "TARGET", "RULE"]
    assert [row.split()[0] for row in rows] == [HOST.id, WORKER.id]
    assert "\x1b" not in rows[0]
    assert rows[0].split()[-2:] == ["helpdesk/7", "-"]


def test_findings_as_data(paydown, two):
    (found,) = paydown("findings", "--json", "--toil", "recover_node").data["findings"]
    assert found == {
        "id": WORKER.id,
        "toil": "recover_node",
        "target": "node/demo/worker-1",
        "rule": "NodeNotReady",
        "open": True,
        "what": "Failed",
        "run": "a" * 32,
        "count": 2,
        "counts": {"Held": 1, "Failed": 1},
        "since": "2026-11-22T03:01:00+00:00",
        "last": "2026-11-22T03:02:00+00:00",
        "tickets": [],
        "snoozed": None,
    }


def test_a_finding_is_quiet_until_then(paydown, two, clock):
    answer = paydown("snooze", WORKER.id[:6], "--for", "7d", "--why", "known", "--by", "ann")
    assert answer.out.startswith("snoozed until 2026-11-29 03:05:00Z: ")
    known = {one["id"]: one["snoozed"] for one in paydown("findings", "--json").data["findings"]}
    assert known[WORKER.id] == {"until": "2026-11-29T03:05:00+00:00", "by": "ann", "why": "known"}
    assert known[HOST.id] is None
    found = two.get(WORKER)
    assert found.is_snoozed(clock() + timedelta(days=6))
    assert not found.is_snoozed(clock() + timedelta(days=8))


def test_it_speaks_again(paydown, two, clock):
    paydown("snooze", WORKER.id, "--for", "12h", "--by", "ann")
    assert paydown("snooze", WORKER.id, "--off", "--by", "ann").out.startswith("not snoozed any more")
    assert not two.get(WORKER).is_snoozed(clock())


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["snooze", "0000000000000000", "--for", "7d"], 4, "there is no finding"),
        (["snooze", "0000", "--for", "7d"], 4, "there is no open finding"),
        (["snooze", "xyz", "--for", "7d"], 2, "not the beginning"),
        (["snooze", WORKER.id], 2, "--off"),
        (["snooze", WORKER.id, "--for", "7d", "--off"], 2, "--off"),
        (["snooze", WORKER.id, "--for", "7w"], 2, "at most a year"),
        (["snooze", WORKER.id, "--for", "400d"], 2, "at most a year"),
        (["snooze", WORKER.id, "--for", "0d"], 2, "at most a year"),
    ],
)
def test_mistakes_are_told(paydown, two, argv, code, said):
    answer = paydown(*argv)
    assert (answer.code, said in answer.err) == (code, True), answer.err
    assert two.get(WORKER).snoozed_until is None
