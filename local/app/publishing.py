"""The policy and the inventory of the local application: templates in `documents/`, filled with what is there today."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.app.clusters import Cluster
from local.app.engine import Engine

DOCUMENTS = Path(__file__).parent / "documents"
MIN_AGE = 15
"""Seconds for which an image must have dangled: short, so that one can watch."""

ANY_DISK = {"disk_high": None, "disk_low": None}
"""No marks: the disk of this machine is seldom full, and alerts are to show something."""


def policy(cluster: str, image_labels: Mapping[str, str]) -> dict[str, Any]:
    """The policy: images go only if they carry all of `image_labels`, so that nobody loses what is their own."""
    if not image_labels:
        raise ValueError("without labels, every dangling image of this machine would be removed")
    document: dict[str, Any] = json.loads((DOCUMENTS / "policy.json").read_text())
    document["toils"]["clean_dangling_images"]["settings"] = {
        "min_age": MIN_AGE,
        "labels": dict(image_labels),
        **ANY_DISK,
    }
    for rule in document["tickets"]["rules"]:
        rule["target"] = rule["target"].replace("/demo/", f"/{cluster}/")
    return document


def inventory(stack: str, cluster: Cluster, engine: Engine | None, tracker_url: str) -> dict[str, Any]:
    """The inventory: this machine as a build host (if it has an engine), the cluster, and Roundup."""
    document: dict[str, Any] = json.loads((DOCUMENTS / "inventory.json").read_text())
    [host], [entry], [tracker] = document["hosts"], document["clusters"], document["trackers"]
    if engine is None:
        document["hosts"] = []
    else:
        host["reach"] = engine.reach
    entry |= {"name": cluster.name, "nodes": list(cluster.nodes), "labels": dict(cluster.labels)}
    entry |= {
        identity + "_secret": f"{stack}/clusters/{entry['uid']}/{identity}" for identity in ("reader", "operator")
    }
    tracker |= {"url": tracker_url, "secret": f"{stack}/trackers/{tracker['uid']}"}
    return document
