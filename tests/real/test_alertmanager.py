"""A real Alertmanager sends its webhooks over the wire to ingress."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import alertmanager
from local.alertmanager import Alertmanager
from paydown.events import DiskPressure, NodeNotReady
from tests.fixtures.ingress import SECRET
from tests.real.ingress_server import Front, front_door
from tests.servers import need


@pytest.fixture
def front() -> Iterator[Front]:
    with front_door() as front:
        yield front


@pytest.fixture
def manager(front: Front, tmp_path: Path) -> Iterator[Alertmanager]:
    with start(front, tmp_path) as running:
        yield running


def start(front: Front, folder: Path, token: str = SECRET, query: str = "") -> Alertmanager:
    need(alertmanager.program(), "Alertmanager is not installed (apt-get install prometheus-alertmanager)")
    # A group waits long enough that alerts which come together are told together.
    return Alertmanager(folder, front.url("alertmanager", query), token, wait="1s")


def node(name: str, **labels: str) -> dict[str, str]:
    return {"alertname": "KubeNodeNotReady", "cluster": "demo", "node": name, "severity": "warning", **labels}


def names(front: Front) -> set[str]:
    return {event.node for event in front.events if isinstance(event, NodeNotReady)}


def test_each_alert_of_a_group_becomes_an_event(front: Front, manager: Alertmanager) -> None:
    manager.send([node("worker-1"), node("worker-2")])
    front.until(lambda: names(front) == {"worker-1", "worker-2"})
    assert front.statuses == [202]
    assert {event.cluster for event in front.events} == {"demo"}
    assert front.received[0].headers["User-Agent"].startswith("Alertmanager/")


def test_a_group_that_grows_repeats_its_keys(front: Front, manager: Alertmanager) -> None:
    manager.send([node("worker-1")])
    front.until(lambda: names(front) == {"worker-1"})
    manager.send([node("worker-2")])
    front.until(lambda: names(front) == {"worker-1", "worker-2"})
    keys = {(event.node, event.key) for event in front.events}
    assert len(front.events) == 3
    assert len(keys) == 2


def test_a_resolved_alert_is_no_event_and_the_next_one_has_another_key(front: Front, manager: Alertmanager) -> None:
    manager.send([node("worker-1"), node("worker-2")])
    front.until(lambda: len(front.events) == 2)
    manager.resolve([node("worker-1")])
    front.until(lambda: len(front.received) == 2)
    assert front.received[1].answer["ignored"] == 1
    assert [event.node for event in front.events[2:]] == ["worker-2"]
    first = next(event.key for event in front.events if event.node == "worker-1")
    manager.send([node("worker-1")])
    front.until(lambda: any(event.node == "worker-1" for event in front.events[2:]))
    assert first not in [event.key for event in front.events[2:]]


def test_a_full_file_system_becomes_disk_pressure(front: Front, manager: Alertmanager) -> None:
    manager.send([{"alertname": "NodeFilesystemAlmostOutOfSpace", "instance": "build-1:9100", "mountpoint": "/var"}])
    front.until(lambda: front.events)
    (event,) = front.events
    assert isinstance(event, DiskPressure)
    assert (event.host, event.mount) == ("build-1", "/var")


def test_an_alert_that_is_not_for_us_is_accepted(front: Front, manager: Alertmanager) -> None:
    manager.send([{"alertname": "Watchdog", "severity": "none"}])
    front.until(lambda: front.received)
    assert front.received[0].answer == {"events": [], "ignored": 1}


def test_the_cluster_may_stand_in_the_address(front: Front, tmp_path: Path) -> None:
    with start(front, tmp_path, query="?cluster=prod") as manager:
        manager.send([{"alertname": "KubeNodeNotReady", "node": "worker-1"}])
        front.until(lambda: front.events)
    assert front.events[0].cluster == "prod"


def test_a_wrong_token_puts_nothing_on_the_bus(front: Front, tmp_path: Path) -> None:
    with start(front, tmp_path, token="wrong") as manager:
        manager.send([node("worker-1")])
        front.until(lambda: front.received)
    assert set(front.statuses) == {401}
    assert front.events == []


def test_while_the_bus_is_down_alertmanager_repeats_until_it_is_back(front: Front, manager: Alertmanager) -> None:
    front.ingress.bus.refusals = [1] * 6
    manager.send([node("worker-1")])
    front.until(lambda: front.events)
    assert front.statuses == [503, 503, 202]


def test_a_bad_alert_costs_none_beside_it_and_is_sent_again_until_it_is_mended(
    front: Front, manager: Alertmanager
) -> None:
    bad = {"alertname": "KubeNodeNotReady", "cluster": "demo"}
    manager.send([node("worker-1"), bad])
    front.until(lambda: len(front.received) >= 2)
    assert set(front.statuses) == {400}
    assert len({event.key for event in front.events}) == 1
    (fault,) = front.received[0].answer["error"]["fields"]
    assert fault["field"] in ("alerts.0.labels.node", "alerts.1.labels.node")
    manager.resolve([bad])
    front.until(lambda: front.statuses[-1] == 202)
    assert front.received[-1].answer["events"] == [front.events[0].key]
