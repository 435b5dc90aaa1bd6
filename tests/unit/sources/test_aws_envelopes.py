from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from paydown.errors import InvalidEvent
from paydown.events import (
    EVENTS,
    DiskPressure,
    ImagePushed,
    ImageScanned,
    NodeNotReady,
    Sweep,
    TicketCommented,
    TicketCreated,
    TicketRef,
)
from paydown.sources.aws import from_envelope

AT = datetime(2026, 11, 22, 14, 46, 57, tzinfo=UTC)
DIGEST = "sha256:" + "9a" * 32

OURS = [
    ImagePushed(key="registry:1", at=AT, registry="images.example", repository="app", digest=DIGEST, tag="latest"),
    ImageScanned(key="harbor:1", at=AT, registry="i.example", repository="app", digest=DIGEST, findings={"high": 2}),
    DiskPressure(key="alertmanager:f:1", at=AT, host="build-1", mount="/var"),
    NodeNotReady(key="alertmanager:f:2", at=AT, cluster="demo", node="worker-1"),
    TicketCreated(key="github:1", at=AT, ticket=TicketRef(tracker="acme/shop", id="7"), title="Disk \u2603 full"),
    TicketCommented(key="github:2", at=AT, ticket=TicketRef(tracker="acme/shop", id="7"), comment="31"),
    Sweep(key="schedule:1", at=AT, rule="nightly"),
]


def envelope(source: str, detail_type: str, detail: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": detail_type,
        "source": source,
        "account": "123456789012",
        "time": "2026-11-22T14:47:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    } | more


def alarm(
    value: str = "ALARM",
    metric: str = "disk_used_percent",
    stamp: str = "2026-11-22T14:46:57.985+0000",
    **dimensions: str,
) -> dict[str, Any]:
    detail = {
        "alarmName": "build hosts: disk",
        "state": {"value": value, "reason": "Threshold Crossed", "reasonData": '{"a": 1}', "timestamp": stamp},
        "previousState": {"value": "OK", "timestamp": "2026-11-21T14:46:57.985+0000"},
        "configuration": {
            "description": "the disks",
            "metrics": [
                {
                    "id": "m1",
                    "metricStat": {
                        "metric": {"namespace": "CWAgent", "name": metric, "dimensions": dimensions},
                        "period": 300,
                        "stat": "Average",
                    },
                    "returnData": True,
                }
            ],
        },
    }
    return envelope("aws.cloudwatch", "CloudWatch Alarm State Change", detail)


def scheduled(rule: str = "rule/nightly", **more: Any) -> dict[str, Any]:
    return envelope("aws.events", "Scheduled Event", {}, resources=[f"arn:aws:events:eu-central-1:1:{rule}"], **more)


@pytest.mark.parametrize("event", OURS, ids=lambda event: type(event).__name__)
def test_each_event_of_ours_comes_back_from_its_envelope(event):
    assert from_envelope(envelope("paydown", event.detail_type(), event.model_dump(mode="json"))) == event


def test_all_the_events_of_the_bus_are_tried_above():
    assert {type(event) for event in OURS} == set(EVENTS.values())


def test_a_fault_in_our_own_event_is_named():
    detail = next(one for one in OURS if isinstance(one, NodeNotReady)).model_dump(mode="json")
    del detail["node"]
    with pytest.raises(InvalidEvent) as caught:
        from_envelope(envelope("paydown", "NodeNotReady", detail))
    assert [path for path, _ in caught.value.faults] == ["node"]


def test_a_cloudwatch_disk_alarm_names_host_and_mount():
    event = from_envelope(alarm(InstanceId="i-0123456789abcdef0", path="/var/lib/docker", device="nvme0n1p1"))
    assert event == DiskPressure(
        key="cloudwatch:123456789012:eu-central-1:build hosts: disk:2026-11-22T14:46:57.985000+00:00",
        at=datetime(2026, 11, 22, 14, 46, 57, 985_000, tzinfo=UTC),
        host="i-0123456789abcdef0",
        mount="/var/lib/docker",
    )


@pytest.mark.parametrize(
    ("dimensions", "host"),
    [
        ({"InstanceId": "i-0123456789abcdef0", "host": "ip-10-0-0-5"}, "i-0123456789abcdef0"),
        ({"host": "ip-10-0-0-5"}, "ip-10-0-0-5"),
        ({"NodeName": "worker-1", "ClusterName": "demo"}, "worker-1"),
    ],
)
def test_the_host_of_an_alarm(dimensions, host):
    assert from_envelope(alarm(**dimensions)).host == host


def test_a_repeated_alarm_has_the_same_key_and_a_later_one_another():
    first, again = alarm(host="h"), alarm(host="h")
    again["id"] = "redelivered"
    later = alarm(host="h", stamp="2026-11-22T15:46:57.985+0000")
    assert from_envelope(first).key == from_envelope(again).key != from_envelope(later).key


@pytest.mark.parametrize("value", ["OK", "INSUFFICIENT_DATA"])
def test_an_alarm_that_is_over_says_nothing(value):
    assert from_envelope(alarm(value, host="h")) is None


@pytest.mark.parametrize("metric", ["CPUUtilization", "DiskReadOps", "DiskWriteBytes"])
def test_an_alarm_about_something_else_is_no_disk_pressure(metric):
    assert from_envelope(alarm(metric=metric, InstanceId="i-0123456789abcdef0")) is None


def test_a_composite_alarm_says_nothing():
    composite = alarm()
    composite["detail"]["configuration"] = {"alarmRule": "ALARM(a) OR ALARM(b)"}
    assert from_envelope(composite) is None


def test_a_disk_alarm_over_a_whole_group_names_what_is_missing():
    with pytest.raises(InvalidEvent, match=r"detail\.configuration\.metrics: .*InstanceId"):
        from_envelope(alarm(AutoScalingGroupName="builders"))


def test_metric_math_over_two_hosts_is_refused_and_over_two_mounts_has_no_mount():
    both = alarm(host="a", path="/")
    metrics = both["detail"]["configuration"]["metrics"]
    metrics.append(alarm(host="a", path="/var")["detail"]["configuration"]["metrics"][0])
    metrics.append({"id": "e1", "expression": "MAX(METRICS())", "returnData": True})
    assert (from_envelope(both).host, from_envelope(both).mount) == ("a", None)
    metrics.append(alarm(host="b")["detail"]["configuration"]["metrics"][0])
    with pytest.raises(InvalidEvent, match="one host"):
        from_envelope(both)


def test_an_alarm_without_its_state_names_the_path():
    broken = alarm(host="h")
    del broken["detail"]["state"]["timestamp"]
    with pytest.raises(InvalidEvent) as caught:
        from_envelope(broken)
    assert [path for path, _ in caught.value.faults] == ["detail.state.timestamp"]


@pytest.mark.parametrize("rule", ["rule/nightly", "rule/a-bus/nightly"])
def test_a_schedule_is_a_sweep(rule):
    event = from_envelope(scheduled(rule))
    assert event == Sweep(
        key="schedule:c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        at=datetime(2026, 11, 22, 14, 47, tzinfo=UTC),
        rule="nightly",
    )


def test_a_schedule_without_its_rule_names_the_field():
    with pytest.raises(InvalidEvent, match="resources"):
        from_envelope(scheduled() | {"resources": []})


@pytest.mark.parametrize(
    ("source", "detail_type"),
    [
        ("aws.ec2", "EC2 Instance State-change Notification"),
        ("paydown", "Remediation Verified"),
        ("somebody", "NodeNotReady"),
        ("paydown", "CloudWatch Alarm State Change"),
    ],
)
def test_what_is_none_of_ours_is_refused_by_name(source, detail_type):
    with pytest.raises(InvalidEvent) as caught:
        from_envelope(envelope(source, detail_type, {}))
    assert detail_type in str(caught.value)
    assert source in str(caught.value)


@pytest.mark.parametrize(
    ("broken", "paths"),
    [
        ({}, {"source", "detail-type", "detail"}),
        ([], {""}),
        ({"source": "paydown", "detail-type": "Sweep", "detail": "text"}, {"detail"}),
    ],
)
def test_what_is_no_envelope_names_its_faults(broken, paths):
    with pytest.raises(InvalidEvent) as caught:
        from_envelope(broken)
    assert {path for path, _ in caught.value.faults} == paths


def test_a_refusal_never_repeats_the_values():
    with pytest.raises(InvalidEvent) as caught:
        from_envelope(envelope("paydown", "NodeNotReady", {"key": {"s3cret": 1}, "at": "s3cret", "node": ["s3cret"]}))
    assert "s3cret" not in str(caught.value)
