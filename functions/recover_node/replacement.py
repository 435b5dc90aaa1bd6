"""Do the pods that were on the node run elsewhere? Reads the world; decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from functions.recover_node.actions import EvictPod
from paydown.clients.kube import ClusterApi, Owner, Pod
from paydown.plan import Step

GRACE = timedelta(seconds=10)
"""How long past its grace period a pod may be deleted before it counts as stuck: kubelets are not punctual."""


@dataclass(frozen=True)
class Workload:
    """A controller that lost pods here: how many Ready pods it wants, and how many it has elsewhere."""

    namespace: str
    owner: Owner
    wanted: int
    ready: int
    lost: int
    unplaced: str = ""

    @property
    def whole(self) -> bool:
        """Whether it has what it wants."""
        return self.ready >= self.wanted

    def __str__(self) -> str:
        text = f"{self.namespace}/{self.owner.name} has {self.ready} of {self.wanted} pods Ready elsewhere"
        return f"{text} ({self.unplaced})" if self.unplaced else text


@dataclass
class Survey:
    """What was seen.

    `stayed`: pods that should have left, and why they did not. `stuck`: pods of StatefulSets which are being deleted
    for longer than their grace allows; their successors wait for them. `terminating`: all that are being deleted.
    """

    workloads: list[Workload] = field(default_factory=list)
    stayed: dict[str, str] = field(default_factory=dict)
    stuck: list[str] = field(default_factory=list)
    terminating: int = 0
    uncontrolled: int = 0

    @property
    def replaced(self) -> int:
        """How many of the lost pods have a successor."""
        return sum(work.lost for work in self.workloads if work.whole)

    def short(self) -> list[Workload]:
        """The workloads that still have too few pods, except those that cannot have more before a stuck pod goes."""
        blocked = {ref.rsplit("-", 1)[0] for ref in self.stuck}
        return [one for one in self.workloads if not one.whole and f"{one.namespace}/{one.owner.name}" not in blocked]


def survey(api: ClusterApi, node: str, *, ready: bool, steps: Sequence[Step], now: datetime) -> Survey:
    """Look at the node's pods, and at each controller that lost one.

    `ready`: the node is Ready again, so that pods on it count too and may stay.
    """
    seen = Survey()
    lost: Counter[tuple[str, Owner]] = Counter()
    here = {pod.uid: pod for pod in api.pods(node=node)}
    # A run that was stopped in the middle has planned twice: of two steps for one pod, the later counts.
    evictions = {step.action.uid: (step.action, step) for step in steps if isinstance(step.action, EvictPod)}
    for action, step in evictions.values():
        pod = here.get(action.uid)
        if pod is not None and pod.deadline is None and not pod.finished:
            if not ready:
                seen.stayed[pod.ref] = step.why or "it was not evicted"
        elif action.replaced_by is not None:
            lost[action.namespace, action.replaced_by] += 1
        else:
            seen.uncontrolled += action.owner is None
    for pod in () if ready else here.values():
        _terminating(pod, lost, seen, evictions.keys(), now)
    seen.workloads = _workloads(api, lost, None if ready else node)
    return seen


def _terminating(pod: Pod, lost: Counter[tuple[str, Owner]], seen: Survey, evicted: Set[str], now: datetime) -> None:
    """Count a pod that is being deleted, whoever did it: on a dead node the cluster itself does so after a while."""
    if pod.deadline is None or pod.owner is None or pod.owner.kind in ("DaemonSet", "Node"):
        return
    seen.terminating += 1
    if pod.uid not in evicted:
        lost[pod.namespace, pod.owner] += 1
    if pod.owner.kind == "StatefulSet" and pod.deadline + GRACE < now:
        seen.stuck.append(pod.ref)


def _workloads(api: ClusterApi, lost: Counter[tuple[str, Owner]], excluded: str | None) -> list[Workload]:
    ready: Counter[str] = Counter()
    unplaced: dict[str, str] = {}
    uids = {owner.uid for _, owner in lost}
    for namespace in sorted({namespace for namespace, _ in lost}):
        for pod in _living(api.pods(namespace=namespace), uids):
            uid = pod.owner.uid if pod.owner else ""
            ready[uid] += pod.ready and pod.node != excluded
            if pod.unplaced:
                unplaced[uid] = pod.unplaced
    found = []
    for (namespace, owner), count in sorted(lost.items(), key=lambda item: (item[0][0], item[0][1].name)):
        wanted = api.wanted(namespace, owner)
        # A kind that we do not know must at least have as many as it lost.
        need = count if wanted is None else wanted
        found.append(Workload(namespace, owner, need, ready[owner.uid], count, unplaced.get(owner.uid, "")))
    return found


def _living(pods: Iterable[Pod], uids: set[str]) -> Iterable[Pod]:
    return (pod for pod in pods if pod.owner and pod.owner.uid in uids and pod.deadline is None and not pod.finished)
