"""The world of hosts, nodes and tickets: what is done to it lasts.

An evicted pod runs elsewhere, a removed image is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from functions.clean_dangling_images import app as clean_app
from functions.recover_node.app import RecoverNode
from functions.triage_ticket import app as triage_app
from paydown.clients.docker import Fate, Removal
from paydown.clients.kube import Evicted
from paydown.ledger import Ledger
from tests.unit.functions.clean_dangling_images.test_clean_dangling_images_app import FakeHost, image
from tests.unit.functions.recover_node.fake_cluster import ILL, FakeCluster, pod
from tests.unit.functions.triage_ticket.test_triage_ticket import about
from tests.unit.ledgers import Clock

REACH = {"via": "ssm", "instance_id": "i-0123456789abcdef0"}
TITLES = {"1": "Disk full on build-1", "2": "Node worker-1 NotReady"}


class Cluster(FakeCluster):
    """Evicted pods run on worker-2; once all are gone, worker-1 comes back."""

    def __init__(self) -> None:
        super().__init__(all_pods=[pod("web-1"), pod("web-2")], owners={"rs1": 2})
        self.others = [replace(ILL, name="worker-2", uid="n2", ready=True)]

    def evict(self, namespace: str, name: str, uid: str) -> Any:
        answer = super().evict(namespace, name, uid)
        if isinstance(answer, Evicted):
            (gone,) = [one for one in self.all_pods if one.name == name]
            self.all_pods.remove(gone)
            self.all_pods.append(replace(pod(f"{name}-b"), node="worker-2", ready=True))
            if not list(self.pods(node="worker-1")):
                self.change(ready=True)
        return answer


class Images(FakeHost):
    """A removed image is gone, and is told as gone when somebody removes it again."""

    def remove_images(self, ids: Sequence[str]) -> list[Removal]:
        there = {one.id for one in self.dangling}
        self.asked.append([id for id in ids if id in there])
        self.dangling = [one for one in self.dangling if one.id not in ids]
        return [Removal(id, Fate.REMOVED, freed=7) if id in there else Removal(id, Fate.ABSENT) for id in ids]


class Machines:
    """A build host with dangling images, a node that is ill, and the tickets about both."""

    inventory: ClassVar[Any] = {
        "hosts": [{"uid": "h1", "name": "build-1", "builds": ["127.0.0.1:5000/demo/*"], "reach": REACH}],
        "clusters": [
            {"uid": "c1", "name": "demo", "reader_secret": "r", "operator_secret": "o", "nodes": ["worker-*"]}
        ],
        "trackers": [
            {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"}
        ],
    }
    settings: ClassVar[Any] = {
        "recover_node": {"parallel": 1, "evictions_per_second": 100},
        "clean_dangling_images": {"min_age": 0},
        "triage_ticket": {},
    }
    rules: ClassVar[Any] = [
        {
            "name": "disk",
            "toil": "clean_dangling_images",
            "target": "host/{target}",
            "title": r"full on (?P<target>\S+)",
        },
        {"name": "node", "toil": "recover_node", "target": "node/demo/{target}", "title": r"Node (?P<target>\S+)"},
    ]

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ledger: Ledger, clock: Clock) -> None:
        self.cluster, self.host = Cluster(), Images([image(number, 9000) for number in (1, 2, 3)])
        self.host.clock = clock()
        monkeypatch.setattr(RecoverNode, "_api", lambda *_: self.cluster)
        monkeypatch.setattr(clean_app, "open_host", lambda *_, **__: self.host)
        monkeypatch.setattr(triage_app, "open_tracker", lambda *_: self)

    def read(self, ticket_id: str, messages: int = 0) -> Any:
        """A ticket."""
        return replace(about(TITLES[ticket_id]), id=ticket_id)

    def effects(self) -> Iterable[tuple[object, str]]:
        yield from ((self.cluster, name) for name in ("cordon", "uncordon", "evict"))
        yield self.host, "remove_images"

    def summary(self) -> dict[str, Any]:
        return {
            "node": replace(self.cluster.state, version="", annotations={}) if self.cluster.state else None,
            "calls": Counter(self.cluster.calls),
            "pods": sorted((one.name, one.node) for one in self.cluster.all_pods),
            "images": [one.id for one in self.host.dangling],
            "removed": Counter(id for asked in self.host.asked for id in asked),
        }
