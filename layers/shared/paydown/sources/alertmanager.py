"""Alertmanager's webhook, version 4: nodes that are not ready, and file systems that are nearly full.

Captured from 0.25. The whole group is sent again each time that it changes, and its status says nothing about its
alerts, so each alert is read by its own status. An alert that is resolved is no event: kubernetes-mixin resolves
KubeNodeNotReady as soon as somebody cordons the node, which heals nothing.

The key is what identifies the fault: the alert's fingerprint (a hash of its labels) and when it started, to the
millisecond, which is all that Alertmanager's API tells: a reconcile that asks there makes the same key. Alertmanager
has no delivery id, and repeats an alert for as long as it fires.

`Watchdog`, the alert that always fires, is no event; the request that brings it shows that its sender is alive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from paydown.errors import InvalidEvent
from paydown.events import DiskPressure, Event, Name, NodeNotReady
from paydown.sources.webhook import Batch, Request, parse, read_each, verify_bearer

WHAT = "Alertmanager webhook"

NODE_ALERTS = frozenset({"KubeNodeNotReady", "KubeNodeUnreachable", "KubernetesNodeNotReady"})
"""The rules of kubernetes-mixin, and of the awesome-prometheus-alerts collection."""

DISK_ALERTS = frozenset(
    {
        "NodeFilesystemSpaceFillingUp",
        "NodeFilesystemAlmostOutOfSpace",
        "NodeFilesystemFilesFillingUp",
        "NodeFilesystemAlmostOutOfFiles",
        "HostOutOfDiskSpace",
        "HostDiskWillFillIn24Hours",
        "HostOutOfInodes",
    }
)
"""The rules of node-exporter's mixin, and of the awesome-prometheus-alerts collection."""

PRESSURE_ALERT = "KubeNodePressure"
"""kubernetes-mixin's rule for three conditions of a node, of which DiskPressure is one."""


class _Body(BaseModel):
    version: Literal["4"]
    alerts: list[Any]
    left_out: int = Field(0, alias="truncatedAlerts", ge=0)


class _Kind(BaseModel):
    name: str = Field(alias="alertname")
    ours: Literal["NodeNotReady", "DiskPressure"] | None = Field(None, alias="paydown_event")
    condition: Any = None


class _Head(BaseModel):
    status: str
    labels: _Kind


class _Firing(BaseModel):
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,128}$")]

    @property
    def key(self) -> str:
        try:
            started = self.starts_at.astimezone(UTC).isoformat(timespec="milliseconds")
        except OverflowError:
            raise InvalidEvent(WHAT, [("startsAt", "is no time within the years 1 to 9999")]) from None
        return f"alertmanager:{self.fingerprint}:{started}"


class _NodeLabels(BaseModel):
    node: Name
    cluster: Name | None = None


class _NodeAlert(_Firing):
    labels: _NodeLabels


class _DiskLabels(BaseModel):
    nodename: Name | None = None
    node: Name | None = None
    instance: Name | None = None
    mountpoint: Name | None = None


class _DiskAlert(_Firing):
    labels: _DiskLabels


def verify(request: Request, secrets: Sequence[str]) -> None:
    """By `Authorization: Bearer SECRET`, from the receiver's `http_config`. Raises Unauthorized."""
    verify_bearer(request, secrets)


def read(request: Request) -> Batch:
    """One event for each alert that fires and that Paydown knows by its name, or by its label `paydown_event`.

    Alerts of a cluster need a label `cluster`, or `?cluster=NAME` in the receiver's address.
    """
    body = parse(_Body, request.document(), WHAT)
    batch = read_alerts(body.alerts, request.query.get("cluster"))
    if body.left_out:
        fault = ("truncatedAlerts", "Alertmanager left alerts out: raise max_alerts of the receiver")
        return Batch(batch.events, batch.ignored, (*batch.faults, fault))
    return batch


def read_alerts(alerts: Sequence[Any], cluster: str | None) -> Batch:
    """The events of alerts, each with `status`, `labels`, `startsAt` and `fingerprint`. Raises TooLarge.

    `cluster` is the cluster of those without that label.
    """
    return read_each(alerts, "alerts", lambda alert: _read(alert, cluster))


def _read(alert: Any, cluster: str | None) -> Event | None:
    head = parse(_Head, alert, WHAT)
    if head.status != "firing":
        return None
    match _kind(head.labels):
        case "NodeNotReady":
            return _node_not_ready(parse(_NodeAlert, alert, WHAT), cluster)
        case "DiskPressure":
            return _disk_pressure(parse(_DiskAlert, alert, WHAT))
    return None


def _kind(labels: _Kind) -> Literal["NodeNotReady", "DiskPressure"] | None:
    if labels.ours:
        return labels.ours
    if labels.name in NODE_ALERTS:
        return "NodeNotReady"
    if labels.name in DISK_ALERTS or (labels.name == PRESSURE_ALERT and labels.condition == "DiskPressure"):
        return "DiskPressure"
    return None


def _node_not_ready(alert: _NodeAlert, configured: str | None) -> NodeNotReady:
    cluster = alert.labels.cluster or configured
    if not cluster:
        raise InvalidEvent(WHAT, [("labels.cluster", "Field required, here or as ?cluster= in the receiver's address")])
    return NodeNotReady(key=alert.key, at=alert.starts_at, cluster=cluster, node=alert.labels.node)


def _disk_pressure(alert: _DiskAlert) -> DiskPressure:
    labels = alert.labels
    # In a cluster, `instance` may be the exporter's own address, so the names that mean the machine come first.
    host = labels.nodename or labels.node or (_without_port(labels.instance) if labels.instance else None)
    if not host:
        raise InvalidEvent(WHAT, [("labels.instance", "Field required, or one of labels.nodename and labels.node")])
    return DiskPressure(key=alert.key, at=alert.starts_at, host=host, mount=labels.mountpoint)


def _without_port(instance: str) -> str:
    """`build-1` of `build-1:9100`, and `::1` of `[::1]:9100`; an IPv6 address without brackets has no port."""
    if bracketed := re.fullmatch(r"\[([^\]]+)\](:\d+)?", instance):
        return bracketed[1]
    host, colon, port = instance.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else instance
