"""AWS's own envelopes that say something to act on: CloudWatch alarms about disks, and schedules.

Apart from `paydown.sources.aws`, since every function reads our own envelopes and few ever see one of these.
"""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field

from paydown.errors import InvalidEvent
from paydown.events import DiskPressure, Name, Sweep

DISK_METRICS = frozenset(
    {
        "disk_used_percent",
        "disk_used",
        "disk_free",
        "disk_inodes_free",
        "disk_inodes_used",
        "LogicalDisk % Free Space",
        "LogicalDisk Free Megabytes",
        "DiskSpaceUtilization",
        "DiskSpaceAvailable",
        "node_filesystem_utilization",
    }
)
"""Metrics of the CloudWatch agent, its forerunner, and Container Insights that tell how full a file system is."""

HOST_DIMENSIONS = ("InstanceId", "host", "NodeName")
MOUNT_DIMENSIONS = ("path", "MountPath")


class _Metric(BaseModel):
    name: str = ""
    dimensions: dict[str, str] = Field(default_factory=dict)


class _MetricStat(BaseModel):
    metric: _Metric


class _Query(BaseModel):
    stat: _MetricStat | None = Field(None, alias="metricStat")


class _Configuration(BaseModel):
    metrics: list[_Query] = Field(default_factory=list)


class _State(BaseModel):
    value: str
    timestamp: AwareDatetime


class _AlarmDetail(BaseModel):
    alarm: str = Field(alias="alarmName", min_length=1, max_length=255)
    state: _State
    configuration: _Configuration = _Configuration()


class Alarm(BaseModel):
    """CloudWatch's `CloudWatch Alarm State Change`."""

    account: str = Field("", max_length=64)
    region: str = Field("", max_length=64)
    detail: _AlarmDetail


class Scheduled(BaseModel):
    """EventBridge's `Scheduled Event`."""

    id: str = Field(min_length=1, max_length=255)
    time: AwareDatetime
    resources: list[Name] = Field(min_length=1)


def disk_pressure(alarm: Alarm) -> DiskPressure | None:
    """The pressure that an alarm tells of; None when it is about something else, or over. Raises InvalidEvent."""
    detail = alarm.detail
    if detail.state.value != "ALARM":
        return None
    metrics = [query.stat.metric for query in detail.configuration.metrics if query.stat]
    disks = [metric for metric in metrics if metric.name in DISK_METRICS]
    if not disks:
        return None
    places = {(_first(disk, HOST_DIMENSIONS), _first(disk, MOUNT_DIMENSIONS)) for disk in disks}
    hosts = {host for host, _ in places}
    host = hosts.pop()
    if host is None or hosts:
        names = ", ".join(HOST_DIMENSIONS)
        raise InvalidEvent(
            "CloudWatch Alarm State Change",
            [("detail.configuration.metrics", f"the dimensions must name one host, in one of {names}")],
        )
    mounts = {mount for _, mount in places}
    return DiskPressure(
        key=f"cloudwatch:{alarm.account}:{alarm.region}:{detail.alarm}:{detail.state.timestamp.isoformat()}",
        at=detail.state.timestamp,
        host=host,
        mount=mounts.pop() if len(mounts) == 1 else None,
    )


def _first(metric: _Metric, names: tuple[str, ...]) -> str | None:
    return next((metric.dimensions[name] for name in names if metric.dimensions.get(name)), None)


def sweep(scheduled: Scheduled) -> Sweep:
    """The schedule that fired, by the name of its rule."""
    rule = scheduled.resources[0].rsplit("/", 1)[-1]
    return Sweep(key=f"schedule:{scheduled.id}", at=scheduled.time, rule=rule)
