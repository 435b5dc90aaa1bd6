"""Recover a node that does not report Ready: keep new pods off it, move the old ones, and open it again.

It never uncordons what it did not cordon itself, stands back when a person takes over, and leaves a node that stays
silent cordoned for its replacement. docs/recover-node.md tells operators what it does and which rights it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from functions.recover_node.actions import Choice, Cordon, EvictPod, Uncordon, choose
from functions.recover_node.replacement import Survey, survey
from paydown.clients import aws, kube
from paydown.clients.kube import Blocked, ClusterApi, Evicted, NodeState
from paydown.errors import RetryableError
from paydown.events import Event, NodeNotReady
from paydown.inventory import Inventory, Node
from paydown.plan import Action, Applied, Done, Draft, Moot, NotYet, Record, Seen, Unverified, Verified
from paydown.toil import Pace, Toil, ToilSettings, handler_for

SHORTEST_POLL, LONGEST_POLL = 1.0, 60.0
CONFLICT_TRIES = 4


class Settings(ToilSettings):
    """What the policy may say of this toil type.

    `settle_seconds`: a node that changed its state more recently is looked at again before anything is planned.
    `wait_ready_seconds`: how long after the cordon the node may take to come back; then it is left cordoned.
    `delete_emptydir_data` and `force` allow what `kubectl drain` allows by the flags of the same names; otherwise such
    pods wait for a person. `parallel` and `evictions_per_second` bound the evictions.
    """

    settle_seconds: Annotated[int, Field(ge=0, le=3_600)] = 30
    wait_ready_seconds: Annotated[int, Field(ge=0, le=86_400)] = 600
    evictions_per_second: Annotated[float, Field(gt=0, le=100)] = 10.0
    parallel: Annotated[int, Field(ge=1, le=16)] = 8
    delete_emptydir_data: bool = False
    force: bool = False


class RecoverNode(Toil[Node]):
    """One run per alert and node."""

    listens_to = (NodeNotReady,)
    does = (Cordon, EvictPod, Uncordon)
    Settings = Settings

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Node]:
        """The node, if the inventory says that it is ours."""
        found = inventory.node(event.cluster, event.node) if isinstance(event, NodeNotReady) else None
        return [] if found is None else [found]

    def plan(self, target: Node) -> Draft | NotYet:
        """Look again; cordon, evict, uncordon."""
        api = self._api(target)
        node = api.node(target.name)
        if node is None:
            return Draft(why="the node is gone")
        if node.ready and (node.cordoned_by or "").startswith(_OURS) and not node.opted_out:
            return Draft.of([Uncordon.of(target.ref, node, node.cordoned_by or "")])
        if well := self._well(node):
            return Draft(why=well)
        settled = min(node.since, self.now()) + timedelta(seconds=self.settings.settle_seconds)
        if settled > self.now():
            return NotYet(settled, "the node changed its state a moment ago")
        choice = choose(
            api.pods(node=node.name),
            node,
            delete_emptydir_data=self.settings.delete_emptydir_data,
            force=self.settings.force,
        )
        return self._draft(target.ref, node, choice)

    def apply(self, action: Action, target: Node) -> Applied:
        """One step; each reads the node first, so that a person's hand or a node that came back stops it."""
        api = self._api(target)
        match action:
            case Cordon():
                return self._change(api, target, lambda node: self._cordon(action, node, api))
            case EvictPod():
                return self._evict(action, target, api)
            case Uncordon():
                return self._change(api, target, lambda node: self._uncordon(action, node, api))
        raise TypeError(f"{action.verb()} is no action of {type(self).__name__}")

    def pace(self) -> Pace:
        """As the policy says."""
        return Pace(parallel=self.settings.parallel, per_second=self.settings.evictions_per_second)

    def verify(self, target: Node, record: Record) -> Seen:
        """The pods run elsewhere: as many as each controller wants are Ready, not counting those on a silent node."""
        api = self._api(target)
        node = api.node(target.name)
        ready = node is not None and bool(node.ready)
        seen = survey(api, target.name, ready=ready, steps=record.steps, now=self.now())
        evidence = self._evidence(node, record, seen)
        if short := seen.short():
            return NotYet(self._again(record.applied_at), "; ".join(map(str, short[:5])))
        if seen.stuck:
            return Unverified(
                f"{_listed(seen.stuck)}: deleted, but a StatefulSet starts no successor before the node confirms it; "
                "that takes proof that the machine is off, then the node.kubernetes.io/out-of-service taint",
                evidence,
            )
        if seen.stayed and node is None:
            return NotYet(self._again(record.applied_at), "the node is gone, its pods not yet")
        if seen.stayed:
            stayed = _listed(f"{ref} ({why})" for ref, why in seen.stayed.items())
            return Unverified(f"still on the node: {stayed}", evidence)
        return Verified(evidence, {"pods": seen.replaced})

    def undo(self, action: Action, target: Node) -> None:
        """Take back a cordon that is ours, or an uncordon."""
        api = self._api(target)
        if isinstance(action, Cordon):
            self._change(api, target, lambda node: self._open(node, api) if self._is_ours(node) else Moot("not ours"))
        elif isinstance(action, Uncordon):
            self._change(api, target, lambda node: Moot("cordoned") if node.unschedulable else self._close(node, api))
        else:
            super().undo(action, target)

    def _api(self, target: Node) -> ClusterApi:
        return kube.connect(target.cluster, observing=self.observing, secrets=aws.secret)

    @property
    def _signature(self) -> str:
        return f"{_OURS}{self.run_id}"

    def _is_ours(self, node: NodeState) -> bool:
        return node.cordoned_by == self._signature

    @staticmethod
    def _well(node: NodeState) -> str:
        """Why nothing needs to be done, or may be done, to this node; empty when it is ill and ours."""
        if node.ready:
            return "the node is Ready again"
        if node.deleting:
            return "the node is being deleted"
        if node.opted_out:
            return f"a person marked the node with {kube.OPT_OUT}"
        return ""

    def _again(self, since: datetime) -> datetime:
        """When to look again for what began at `since`: seldom, once it has taken long."""
        elapsed = (self.now() - since).total_seconds()
        return self.now() + timedelta(seconds=min(LONGEST_POLL, max(SHORTEST_POLL, elapsed / 4)))

    def _draft(self, ref: str, node: NodeState, choice: Choice) -> Draft:
        ours = not node.unschedulable or (node.cordoned_by or "").startswith(_OURS)
        if not ours and not choice.evictions:
            return Draft(why="the node is cordoned by somebody else, and nothing on it needs to move")
        return Draft.of(
            [Cordon.of(ref, node)] if ours else [],
            choice.evictions,
            [Uncordon.of(ref, node, self._signature, by="this run")] if ours else [],
            node_uid=node.uid,
            not_ready_since=node.since.isoformat(),
            cordoned="by nobody" if not node.unschedulable else f"by {node.cordoned_by or 'somebody else'}",
            left_alone=dict(choice.left_alone),
        )

    def _change(self, api: ClusterApi, target: Node, attempt: Callable[[NodeState], Applied | None]) -> Applied:
        """Read the node and try; again with a fresh look when it changed in between (None)."""
        for _ in range(CONFLICT_TRIES):
            node = api.node(target.name)
            if node is None:
                return Moot("the node is gone")
            if (result := attempt(node)) is not None:
                return result
        raise RetryableError(f"{target.ref} changes too often to be patched", 2.0)

    def _cordon(self, action: Cordon, node: NodeState, api: ClusterApi) -> Applied | None:
        if self._is_ours(node):
            return Done()
        if other := _another(node, action.uid) or self._well(node):
            return Moot(other)
        if (node.cordoned_by or "") != action.takes_over or (node.unschedulable and not action.takes_over):
            return Moot("somebody changed the node's cordon meanwhile")
        return self._close(node, api)

    def _close(self, node: NodeState, api: ClusterApi) -> Applied | None:
        return Done() if api.cordon(node, by=self._signature, at=self.now()) else None

    def _open(self, node: NodeState, api: ClusterApi) -> Applied | None:
        return Done() if api.uncordon(node) else None

    def _uncordon(self, action: Uncordon, node: NodeState, api: ClusterApi) -> Applied | None:
        if other := _another(node, action.uid):
            return Moot(other)
        if not node.unschedulable:
            return Moot("it is schedulable already")
        if node.cordoned_by != action.signed:
            return Moot("somebody else cordoned the node meanwhile: standing back")
        if node.opted_out:
            return Moot(f"a person marked the node with {kube.OPT_OUT}")
        if node.ready:
            return self._open(node, api)
        began = node.cordoned_at or self.now() - timedelta(days=1)
        deadline = began + timedelta(seconds=self.settings.wait_ready_seconds)
        if self.now() >= deadline:
            return Moot("still NotReady: left cordoned, the machine needs replacement")
        return NotYet(min(self._again(began), deadline), "the node is not Ready")

    def _evict(self, action: EvictPod, target: Node, api: ClusterApi) -> Applied:
        node = api.node(target.name)
        if node is None:
            return Moot("the node is gone")
        if other := _another(node, action.node_uid) or self._well(node):
            return Moot(other)
        if not node.unschedulable:
            return Moot("somebody uncordoned the node: standing back")
        result = api.evict(action.namespace, action.name, action.uid)
        match result:
            case Evicted():
                return Done()
            case Blocked(seconds, why):
                return NotYet(self.now() + timedelta(seconds=seconds), why)
        return Moot(result.why)

    def _evidence(self, node: NodeState | None, record: Record, seen: Survey) -> dict[str, Any]:
        evicted = {step.action.uid for step in record.done() if isinstance(step.action, EvictPod)}
        return {
            "evicted": len(evicted),
            "replaced": seen.replaced,
            "uncontrolled": seen.uncontrolled,
            "terminating": seen.terminating,
            "node": _told(node),
            "seconds": round((self.now() - record.applied_at).total_seconds(), 1),
        }


_OURS = "recover_node/"


def _another(node: NodeState, uid: str) -> str:
    return "" if node.uid == uid else "another node has its name now"


def _told(node: NodeState | None) -> str:
    match node:
        case None:
            return "gone"
        case NodeState(ready=True):
            return "Ready, cordoned" if node.unschedulable else "Ready"
        case NodeState(cordoned_by=str()):
            return "NotReady, left cordoned: the machine needs replacement"
    return "NotReady, cordoned by somebody else" if node.unschedulable else "NotReady, schedulable"


def _listed(refs: Iterable[str], most: int = 5) -> str:
    all_of_them = sorted(refs)
    rest = len(all_of_them) - most
    return ", ".join(all_of_them[:most]) + (f" and {rest} more" if rest > 0 else "")


handler = handler_for(RecoverNode)
