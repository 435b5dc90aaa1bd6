from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from paydown.errors import InvalidEvent
from paydown.events import DiskPressure, NodeNotReady
from paydown.sources.alertmanager import read, verify
from paydown.sources.webhook import Request, Unauthorized
from tests.fixtures import payload

FIRING = "alertmanager-kubenodenotready-firing"
GREW = "alertmanager-kubenodenotready-group-grew"
RESOLVED = "alertmanager-kubenodenotready-one-resolved"


def said(body, **query):
    return read(Request(json.dumps(body).encode(), query=query))


def alert(name="NodeFilesystemAlmostOutOfSpace", **labels):
    return {
        "status": "firing",
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": "2026-11-22T14:51:23.177587109Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "f1a835c2aa220be4",
    }


def group(*alerts, **more):
    return {"version": "4", "status": "firing", "alerts": list(alerts), "truncatedAlerts": 0} | more


def fields(batch):
    return [field for field, _ in batch.faults]


def test_each_alert_of_a_group_is_an_event():
    first, second = said(payload(FIRING)).events
    assert first == NodeNotReady(
        key="alertmanager:f1a835c2aa220be4:2026-11-22T14:51:23.177+00:00",
        at=datetime(2026, 11, 22, 14, 51, 23, 177_587, tzinfo=UTC),
        cluster="demo",
        node="worker-1",
    )
    assert (second.cluster, second.node) == ("demo", "worker-2")


def test_a_group_that_grew_repeats_its_keys_and_adds_one():
    before = {event.key for event in said(payload(FIRING)).events}
    after = {event.key for event in said(payload(GREW)).events}
    assert before < after
    assert len(after) == 3


def test_a_resolved_alert_is_no_event_though_its_group_fires():
    batch = said(payload(RESOLVED))
    assert {event.node for event in batch.events} == {"worker-2", "worker-3"}
    assert batch.ignored == 1


def test_the_same_fault_later_is_another_event():
    again = alert(instance="h") | {"startsAt": "2026-11-23T14:51:23.177587109Z"}
    first, second = said(group(alert(instance="h"), again)).events
    assert first.key != second.key


@pytest.mark.parametrize("name", ["KubeNodeNotReady", "KubeNodeUnreachable", "KubernetesNodeNotReady"])
def test_the_alerts_about_nodes(name):
    (event,) = said(group(alert(name, cluster="c", node="n"))).events
    assert isinstance(event, NodeNotReady)


@pytest.mark.parametrize(
    "name",
    [
        "NodeFilesystemSpaceFillingUp",
        "NodeFilesystemAlmostOutOfSpace",
        "NodeFilesystemFilesFillingUp",
        "NodeFilesystemAlmostOutOfFiles",
        "HostOutOfDiskSpace",
        "HostDiskWillFillIn24Hours",
        "HostOutOfInodes",
    ],
)
def test_the_alerts_about_disks(name):
    (event,) = said(group(alert(name, instance="build-1:9100", mountpoint="/var"))).events
    assert event == DiskPressure(key=event.key, at=event.at, host="build-1", mount="/var")


@pytest.mark.parametrize(
    ("labels", "host"),
    [
        ({"instance": "build-1:9100"}, "build-1"),
        ({"instance": "10.0.0.5:9100"}, "10.0.0.5"),
        ({"instance": "build-1"}, "build-1"),
        ({"instance": "[fe80::1]:9100"}, "fe80::1"),
        ({"instance": "fe80::1"}, "fe80::1"),
        ({"instance": "10.0.0.5:9100", "node": "build-1"}, "build-1"),
        ({"instance": "10.0.0.5:9100", "node": "n", "nodename": "build-1"}, "build-1"),
    ],
)
def test_the_host_of_an_alert(labels, host):
    assert said(group(alert(**labels))).events[0].host == host


@pytest.mark.parametrize("labels", [{}, {"instance": ":9100"}])
def test_a_disk_alert_without_a_host_names_what_is_missing(labels):
    assert fields(said(group(alert(**labels)))) == ["alerts.0.labels.instance"]


def test_a_nodes_disk_pressure_is_one_and_its_memory_pressure_is_none():
    disk = alert("KubeNodePressure", condition="DiskPressure", node="n", instance="10.0.0.9:8443")
    memory = alert("KubeNodePressure", condition="MemoryPressure", node="n")
    batch = said(group(disk, memory))
    assert [event.host for event in batch.events] == ["n"]
    assert batch.ignored == 1


def test_an_alert_of_ones_own_may_say_what_it_is():
    batch = said(
        group(
            alert("Ours", paydown_event="DiskPressure", instance="h"),
            alert("Ours", paydown_event="NodeNotReady", cluster="c", node="n"),
        )
    )
    assert [type(event) for event in batch.events] == [DiskPressure, NodeNotReady]
    assert fields(said(group(alert("Ours", paydown_event="Sweep")))) == ["alerts.0.labels.paydown_event"]


@pytest.mark.parametrize("name", ["Watchdog", "KubeNodeReadinessFlapping", "NodeClockSkewDetected"])
def test_an_alert_that_paydown_does_not_know_is_ignored(name):
    batch = said(group(alert(name)))
    assert (batch.events, batch.ignored, batch.faults) == ((), 1, ())


def test_the_cluster_may_stand_in_the_address_and_the_label_comes_first():
    nodes = group(alert("KubeNodeNotReady", node="n"), alert("KubeNodeNotReady", node="m", cluster="own"))
    assert fields(said(nodes)) == ["alerts.0.labels.cluster"]
    assert [event.cluster for event in said(nodes, cluster="given").events] == ["given", "own"]


@pytest.mark.parametrize(
    ("missing", "path"),
    [
        ("node", "alerts.0.labels.node"),
        ("startsAt", "alerts.0.startsAt"),
        ("fingerprint", "alerts.0.fingerprint"),
        ("status", "alerts.0.status"),
        ("labels", "alerts.0.labels"),
        ("alertname", "alerts.0.labels.alertname"),
    ],
)
def test_what_is_missing_is_named_and_the_other_alerts_are_kept(missing, path):
    body = payload(FIRING)
    first = body["alerts"][0]
    (first if missing in first else first["labels"]).pop(missing)
    batch = said(body)
    assert fields(batch) == [path]
    assert [event.node for event in batch.events] == ["worker-2"]


def test_what_is_resolved_or_unknown_need_not_be_complete():
    resolved = {"status": "resolved", "labels": {"alertname": "KubeNodeNotReady"}}
    unknown = {"status": "firing", "labels": {"alertname": "Watchdog"}}
    batch = said(group(resolved, unknown))
    assert (batch.ignored, batch.faults) == (2, ())


@pytest.mark.parametrize("version", ["5", "1", 4, None])
def test_another_version_is_refused_by_name(version):
    with pytest.raises(InvalidEvent) as caught:
        said(group(version=version))
    assert [field for field, _ in caught.value.faults] == ["version"]


def test_a_body_without_version_and_alerts_names_both():
    with pytest.raises(InvalidEvent) as caught:
        said({})
    assert {field for field, _ in caught.value.faults} == {"version", "alerts"}


def test_alerts_that_were_left_out_are_a_fault_beside_those_that_came():
    batch = said(group(alert(instance="h"), truncatedAlerts=3))
    assert len(batch.events) == 1
    assert fields(batch) == ["truncatedAlerts"]


def test_the_values_of_a_faulty_body_are_not_repeated():
    bad = alert("KubeNodeNotReady", cluster={"s3cret": 1}, node=["s3cret"]) | {
        "startsAt": "s3cret",
        "fingerprint": "s3-cret",
    }
    batch = said(group(bad))
    assert len(batch.faults) == 4
    assert "cret" not in str(batch)


def test_alertmanager_proves_itself_by_a_bearer_token():
    verify(Request(b"", {"authorization": ["Bearer s"]}), ["s"])
    with pytest.raises(Unauthorized):
        verify(Request(b"", {"authorization": ["Bearer t"]}), ["s"])


@pytest.mark.parametrize("started", ["2026-11-22T14:51:23.177587109Z", "2026-11-22T14:51:23.177Z"])
@pytest.mark.parametrize("offset", [0, 2])
def test_the_key_is_the_same_from_the_webhook_and_from_the_api(started, offset):
    """The API tells milliseconds only, and either may write the time with the offset of its own machine."""
    local = started if offset == 0 else started.replace("T14", "T16").replace("Z", "+02:00")
    (event,) = said(group(alert(instance="build-1") | {"startsAt": local})).events
    assert event.key == "alertmanager:f1a835c2aa220be4:2026-11-22T14:51:23.177+00:00"


def test_a_time_that_utc_cannot_tell_is_the_senders_fault():
    batch = said(group(alert(instance="build-1") | {"startsAt": "0001-01-01T00:00:00+14:00"}))
    assert (batch.events, fields(batch)) == ((), ["alerts.0.startsAt"])


def test_the_alert_that_always_fires_is_no_event_and_no_fault():
    batch = said(group(alert("Watchdog", severity="none")))
    assert (batch.events, batch.ignored, batch.faults) == ((), 1, ())
