"""Recover a node that does not report Ready: keep new pods off it, move the old ones, and open it again.

It never uncordons what it did not cordon itself, stands back when a person or another healer takes over, and leaves a
node that stays silent cordoned for its replacement. docs/recover-node.md tells operators what it does, whom it makes
way for, and which rights it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import Field

from functions.recover_node import condition
from functions.recover_node.actions import Choice, Cordon, EvictPod, Uncordon, choose
from functions.recover_node.replacement import Survey, survey
from paydown.clients import aws, kube
from paydown.clients.kube import Blocked, ClusterApi, Evicted, NodeState
from paydown.errors import RetryableError
from paydown.events import Event, NodeNotReady, UndoRequested
from paydown.inventory import Inventory, Node
from paydown.plan import (
    Action,
    Applied,
    Done,
    Draft,
    Healer,
    Moot,
    NotYet,
    Overridden,
    Population,
    Record,
    Seen,
    Undone,
    Unverified,
    Verified,
)
from paydown.toil import Pace, Toil, ToilSettings, handler_for

SHORTEST_POLL, LONGEST_POLL = 1.0, 60.0
RECHECK = timedelta(seconds=60)
"""How long another healer that has begun on the node is left alone before we look again."""
CONFLICT_TRIES = 4
GONE: Applied = Moot("the node is gone")
R = TypeVar("R")


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

    def plan(self, target: Node) -> Draft | NotYet | Overridden:
        """Look again; cordon, evict, uncordon."""
        api = self._api(target)
        node = api.node(target.name)
        if node is None:
            return Draft(why="the node is gone")
        left = node.cordoned_by if node.ready and not node.deleting and condition.is_ours(node.cordoned_by) else None
        if left is None and (well := condition.well(node)):
            return Draft(why=well)
        if opted_out := condition.opted_out(node):
            return Draft(why=opted_out, code="opted_out")
        if busy := kube.at_work(node):
            return NotYet(self.now() + RECHECK, busy)
        if left is not None:
            return Draft.of([Uncordon.of(target.ref, node, left)])
        if why := condition.stopped(node) or condition.undone(node):
            return Overridden(why)
        settled = min(node.since, self.now()) + timedelta(seconds=self.settings.settle_seconds)
        if settled > self.now():
            return NotYet(settled, "the node changed its state a moment ago")
        ours = not node.unschedulable or condition.is_ours(node.cordoned_by)
        choice = choose(
            api.pods(node=node.name),
            node,
            delete_emptydir_data=self.settings.delete_emptydir_data,
            force=self.settings.force,
            signed=self._signature if ours else "",
        )
        return self._draft(target.ref, node, choice, ours=ours)

    def population(self, target: Node) -> Population | None:
        """The node's pool: all of its members, also those that are not ours to touch. Whoever cannot take pods is down.

        When most nodes look NotReady at once, the API server or the network is ill rather than they; with so many
        members down, the blast radius lets nothing begin. None once the node is gone: no action finds it any more.
        """
        seen = [(node.name, kube.pool(node.labels), _is_down(node)) for node in self._api(target).nodes()]
        name = next((pool for node, pool, _ in seen if node == target.name), None)
        if name is None:
            return None
        members = [(_uid(target, node), down) for node, pool, down in seen if pool == name]
        unhealthy = frozenset(uid for uid, down in members if down)
        return Population(f"{target.cluster.uid}/{name}", len(members), unhealthy)

    def healer(self, target: Node) -> Healer | None:
        """The native healer that a node which is not Ready shows signs of."""
        node = self._api(target).node(target.name)
        if node is None or node.ready:
            return None
        kind = kube.native_healer(node)
        return None if kind is None else Healer(kind, min(node.since, self.now()))

    def apply(self, action: Action, target: Node) -> Applied:
        """One step; each reads the node first: a person's hand, another healer, or a node that came back stops it."""
        api = self._api(target)
        match action:
            case Cordon():
                return self._change(api, target, lambda node: self._cordon(action, node, api), GONE)
            case EvictPod():
                return self._evict(action, target, api)
            case Uncordon():
                return self._change(api, target, lambda node: self._uncordon(action, node, api), GONE)
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
        if seen.stayed and (leaving := condition.leaving(node)):
            return NotYet(self._again(record.applied_at), f"{leaving}; its pods are still there")
        if seen.stayed:
            stayed = _listed(f"{ref} ({why})" for ref, why in seen.stayed.items())
            return Unverified(f"still on the node: {stayed}", evidence)
        return Verified(evidence, {"pods": seen.replaced})

    def undo(self, action: Action, target: Node) -> Undone:
        """Open a node again if the cordon is still that of the run which is to be undone, and the node is Ready."""
        if not isinstance(action, Cordon):
            return super().undo(action, target)
        api = self._api(target)
        gone: Undone = Done({"node": "gone"})
        return self._change(api, target, lambda node: self._take_back(action, node, api), gone)

    def _api(self, target: Node) -> ClusterApi:
        return kube.connect(target.cluster, observing=self.observing, secrets=aws.secret)

    @property
    def _signature(self) -> str:
        """What this run signs with; in a run that undoes another, what that one signed with."""
        signer = self.event.run_id if isinstance(self.event, UndoRequested) else self.run_id
        return f"{condition.OURS}{signer}"

    def _again(self, since: datetime) -> datetime:
        """When to look again for what began at `since`: seldom, once it has taken long."""
        elapsed = (self.now() - since).total_seconds()
        return self.now() + timedelta(seconds=min(LONGEST_POLL, max(SHORTEST_POLL, elapsed / 4)))

    def _draft(self, ref: str, node: NodeState, choice: Choice, *, ours: bool) -> Draft:
        if not ours and not choice.evictions:
            why = "the node is cordoned by somebody else, and nothing on it needs to move"
            return Draft(why=why, code="left_to_others")
        return Draft.of(
            [Cordon.of(ref, node)] if ours else [],
            choice.evictions,
            [Uncordon.of(ref, node, self._signature, by="this run")] if ours else [],
            node_uid=node.uid,
            not_ready_since=node.since.isoformat(),
            cordoned="by nobody" if not node.unschedulable else f"by {node.cordoned_by or 'somebody else'}",
            left_alone=dict(choice.left_alone),
        )

    def _change(
        self,
        api: ClusterApi,
        target: Node,
        attempt: Callable[[NodeState], R | None],
        gone: R,
    ) -> R:
        """Read the node and try; again with a fresh look when it changed in between (None)."""
        for _ in range(CONFLICT_TRIES):
            node = api.node(target.name)
            if node is None:
                return gone
            if (result := attempt(node)) is not None:
                return result
        raise RetryableError(f"{target.ref} changes too often to be patched", 2.0)

    def _cordon(self, action: Cordon, node: NodeState, api: ClusterApi) -> Applied | None:
        if node.cordoned_by == self._signature:
            return Done()
        if (against := self._against(node, action.uid)) is not None:
            return against
        if node.unschedulable != bool(action.takes_over) or (node.cordoned_by or "") != action.takes_over:
            return self._standing_back(node)
        return Done() if api.cordon(node, by=self._signature, at=self.now()) else None

    def _evict(self, action: EvictPod, target: Node, api: ClusterApi) -> Applied:
        node = api.node(target.name)
        if node is None:
            return GONE
        if (against := self._against(node, action.node_uid)) is not None:
            return against
        if not node.unschedulable or (action.signed and node.cordoned_by != action.signed):
            return self._standing_back(node)
        result = api.evict(action.namespace, action.name, action.uid)
        match result:
            case Evicted():
                return Done()
            case Blocked(seconds, why):
                return NotYet(self.now() + timedelta(seconds=seconds), why)
        return Moot(result.why)

    def _uncordon(self, action: Uncordon, node: NodeState, api: ClusterApi) -> Applied | None:
        if other := condition.another(node, action.uid):
            return Moot(other)
        if opted_out := condition.opted_out(node):
            return Overridden(opted_out)
        if node.ready and not node.unschedulable:
            return Moot("it is schedulable already")
        if node.cordoned_by != action.signed:
            return self._standing_back(node)
        leaving = condition.leaving(node)
        if node.ready and not leaving:
            return self._open(node, api)
        began = node.cordoned_at or self.now() - timedelta(days=1)
        deadline = began + timedelta(seconds=self.settings.wait_ready_seconds)
        if self.now() >= deadline:
            return Moot(f"{leaving or 'still NotReady'}: left cordoned, the machine needs replacement")
        return NotYet(min(self._again(began), deadline), leaving or "the node is not Ready")

    def _take_back(self, action: Cordon, node: NodeState, api: ClusterApi) -> Undone | None:
        """Nothing to take back is as good as taken back; Moot means that a cordon stands."""
        if other := condition.another(node, action.uid):
            return Done({"node": other})
        if not node.unschedulable:
            return Done({"node": "schedulable already"})
        if node.cordoned_by != self._signature:
            return Moot(f"the cordon is not that of {self._signature} any more: left cordoned")
        against = condition.opted_out(node) or condition.leaving(node) or ("" if node.ready else "still NotReady")
        return Moot(f"{against}: left cordoned") if against else self._open(node, api)

    def _against(self, node: NodeState, uid: str) -> Applied | None:
        """What stands against going on with this node as it is now, if anything does."""
        if other := condition.another(node, uid):
            return Moot(other)
        if why := condition.opted_out(node):
            return Overridden(why)
        if well := condition.well(node):
            return Moot(well)
        if why := condition.stopped(node):
            return Overridden(why)
        busy = kube.at_work(node)
        return NotYet(self.now() + RECHECK, busy) if busy else None

    @staticmethod
    def _standing_back(node: NodeState) -> Applied:
        """The cordon is not as we left it: another run of ours took it over, or somebody undid it."""
        if condition.is_ours(node.cordoned_by):
            return Moot("another run of ours took over the cordon")
        return Overridden(condition.changed(node))

    @staticmethod
    def _open(node: NodeState, api: ClusterApi) -> Done | None:
        return Done() if api.uncordon(node) else None

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


def _is_down(node: NodeState) -> bool:
    return not node.in_service or bool(kube.at_work(node))


def _uid(target: Node, name: str) -> str:
    """The uid of another node of the target's cluster, as `Inventory.node` gives it."""
    return f"{target.cluster.uid}/node/{name}"[:255]


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
