"""Events: what `kubectl describe` shows under an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.cluster.api import Api, Options
from local.cluster.clock import stamp
from local.cluster.kinds import EVENTS


def record(
    api: Api, item: Mapping[str, Any], kind: str, reason: str, message: str, source: str = "node-controller"
) -> None:
    """Write an Event (kind Normal or Warning) about an object; cluster-wide objects have theirs in `default`."""
    metadata, at = item["metadata"], stamp(api.now())
    namespace = metadata.get("namespace", "default")
    about = {"kind": item["kind"], "apiVersion": item["apiVersion"], "name": metadata["name"], "uid": metadata["uid"]}
    if "namespace" in metadata:
        about["namespace"] = namespace
    body = {
        "metadata": {"name": f"{metadata['name']}.{api.names.suffix(16)}"},
        "involvedObject": about,
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "reportingComponent": source,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
    api.create(EVENTS, namespace, body, Options(source))
