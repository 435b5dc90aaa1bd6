"""A cluster in memory with the methods of `ClusterApi`: one node that is ill, and a helper to act on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.recover_node.app import RecoverNode, Settings
from paydown.clients.kube import CORDONED_AT, CORDONED_BY, Blocked, Evicted, Gone, NodeState, Owner, Pod, Refused
from paydown.events import Event, NodeNotReady
from paydown.inventory import Inventory, Node
from paydown.plan import Applied, Done, Draft, Moot, NotYet, Overridden, Plan, Record, Seen, Step, StepState
from paydown.policy import Policy
from paydown.toil import Scene

START = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
INVENTORY = Inventory.parse(
    {
        "clusters": [
            {"uid": "c1", "name": "demo", "reader_secret": "r", "operator_secret": "o", "nodes": ["worker-*"]},
        ]
    }
)
EVENT = NodeNotReady(key="k", at=START, cluster="demo", node="worker-1")
WEB = Owner("ReplicaSet", "web-5d", "rs1")
DB = Owner("StatefulSet", "db", "ss1")
AGENT = Owner("DaemonSet", "agent", "ds1")


def pod(name: str, owner: Owner | None = WEB, **more: Any) -> Pod:
    values: dict[str, Any] = {
        "namespace": "default",
        "name": name,
        "uid": f"uid-{name}",
        "node": "worker-1",
        "phase": "Running",
        "ready": False,
        "deadline": None,
        "mirror": False,
        "empty_dir": False,
        "owner": owner,
    }
    return Pod(**values | more)


ILL = NodeState(
    name="worker-1",
    uid="n1",
    version="1",
    ready=False,
    since=START - timedelta(minutes=15),
    unschedulable=False,
    deleting=False,
    annotations={},
    labels={},
)


@dataclass
class FakeCluster:
    """`blocked` and `refused` hold what an eviction of a pod (by name) answers; `conflicts` the patches that miss.

    `state` is worker-1, `others` are the rest of the nodes.
    """

    state: NodeState | None = ILL
    all_pods: list[Pod] = field(default_factory=list)
    owners: dict[str, int | None] = field(default_factory=dict)
    blocked: dict[str, Blocked] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    conflicts: int = 0
    calls: list[str] = field(default_factory=list)
    before_eviction: Callable[[], None] = lambda: None
    manager: str = "paydown"
    others: list[NodeState] = field(default_factory=list)

    def change(self, **values: Any) -> None:
        assert self.state is not None
        self.state = replace(self.state, version=str(int(self.state.version) + 1), **values)

    def node(self, name: str) -> NodeState | None:
        return self.state if name == "worker-1" else None

    def nodes(self) -> Iterator[NodeState]:
        return iter([*([] if self.state is None else [self.state]), *self.others])

    def pods(self, *, node: str | None = None, namespace: str | None = None) -> Iterator[Pod]:
        return iter([one for one in self.all_pods if node in (None, one.node) and namespace in (None, one.namespace)])

    def cordon(self, node: NodeState, *, by: str, at: datetime) -> bool:
        signed = {**node.annotations, CORDONED_BY: by, CORDONED_AT: at.isoformat()}
        return self._patch("cordon", node, unschedulable=True, annotations=signed, cordon_managers=(self.manager,))

    def uncordon(self, node: NodeState) -> bool:
        kept = {name: value for name, value in node.annotations.items() if name not in (CORDONED_BY, CORDONED_AT)}
        return self._patch("uncordon", node, unschedulable=False, annotations=kept, cordon_managers=())

    def _patch(self, call: str, node: NodeState, **values: Any) -> bool:
        if self.conflicts:
            self.conflicts -= 1
            self.change()
        assert self.state is not None
        if self.state.version != node.version:
            return False
        self.calls.append(call)
        self.change(**values)
        return True

    def evict(self, namespace: str, name: str, uid: str) -> Evicted | Gone | Blocked | Refused:
        self.before_eviction()
        if name in self.blocked:
            return self.blocked[name]
        if name in self.refused:
            return self.refused[name]
        found = next((one for one in self.all_pods if (one.namespace, one.name) == (namespace, name)), None)
        if found is None or found.uid != uid:
            return Gone("the pod is gone" if found is None else "another pod has its name now")
        self.calls.append(f"evict {name}")
        self.all_pods[self.all_pods.index(found)] = replace(found, deadline=START + timedelta(seconds=30))
        return Evicted()

    def wanted(self, namespace: str, owner: Owner) -> int | None:
        return self.owners.get(owner.uid)


@dataclass
class Remediation:
    """A run of the toil type, driven by hand: what the contract does, without a ledger."""

    cluster: FakeCluster
    settings: Settings
    run_id: str
    event: Event = EVENT
    time: datetime = START
    steps: list[Step] = field(default_factory=list)

    @property
    def toil(self) -> RecoverNode:
        scene = Scene(
            run_id=self.run_id,
            event=self.event,
            inventory=INVENTORY,
            policy=Policy(),
            settings=self.settings,
            observing=False,
            now=lambda: self.time,
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
        return RecoverNode(scene)

    @property
    def target(self) -> Node:
        [target] = self.toil.targets(EVENT, INVENTORY)
        return target

    def draft(self) -> Draft:
        draft = self.toil.plan(self.target)
        assert isinstance(draft, Draft)
        return draft

    def apply(self) -> list[Applied]:
        """Plan and apply each action once; a step that cannot be done yet stays planned, an override ends it all."""
        plan = Plan.from_draft(self.draft())
        results: list[Applied] = []
        for number, stage in enumerate(plan.stages):
            for action in stage:
                result = self.toil.apply(action, self.target)
                results.append(result)
                states = {Done: StepState.DONE, Moot: StepState.MOOT, NotYet: StepState.PLANNED}
                state = states.get(type(result), StepState.MOOT)
                why = "" if isinstance(result, Done) else result.why
                self.steps.append(Step(len(self.steps), number, action, state, why=why))
                if isinstance(result, Overridden):
                    return results
        return results

    def verify(self) -> Seen:
        return self.toil.verify(self.target, Record({}, self.steps, START))

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def remediation(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, run_id: str = "r1", **settings: Any
) -> Remediation:
    """A run on the fake cluster."""
    monkeypatch.setattr(RecoverNode, "_api", lambda self, target: cluster)
    return Remediation(cluster, Settings(**settings), run_id)
