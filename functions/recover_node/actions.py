"""The verbs of `recover_node`, and which pods an eviction is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from paydown.clients.kube import NodeState, Owner, Pod
from paydown.plan import Action, Hazard


class Cordon(Action):
    """Make the node unschedulable, and sign it.

    `takes_over` is the signature of an earlier run of ours whose cordon still stands: it is signed anew, so that this
    run may undo it.
    """

    hazard: Hazard = Hazard.REVERSIBLE
    uid: str
    takes_over: str = ""

    @classmethod
    def of(cls, ref: str, node: NodeState) -> Cordon:
        """For a node that nobody cordoned, or one of our own earlier runs."""
        earlier = node.cordoned_by or ""
        state = f"cordoned by {earlier}" if earlier else "schedulable"
        note = f"takes over the cordon of {earlier}" if earlier else ""
        return cls(object=ref, precondition=f"{node.uid} is {state}", uid=node.uid, takes_over=earlier, note=note)


class EvictPod(Action):
    """Evict one pod through the Eviction API, as its budgets allow.

    `signed` is the signature of our cordon under which it is done; empty when the cordon is somebody else's.
    """

    hazard: Hazard = Hazard.DISRUPTIVE
    namespace: str
    name: str
    uid: str
    node_uid: str
    owner: Owner | None = None
    signed: str = ""

    @classmethod
    def of(
        cls, pod: Pod, node: NodeState, hazard: Hazard = Hazard.DISRUPTIVE, note: str = "", signed: str = ""
    ) -> EvictPod:
        """For a pod that runs on the node."""
        return cls(
            object=f"pod/{pod.ref}",
            precondition=f"{pod.uid} is on {node.uid}",
            hazard=hazard,
            note=note,
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid,
            node_uid=node.uid,
            owner=pod.owner,
            signed=signed,
        )

    @property
    def replaced_by(self) -> Owner | None:
        """The controller that must start another pod elsewhere; a DaemonSet never does."""
        return None if self.owner is None or self.owner.kind == "DaemonSet" else self.owner


class Uncordon(Action):
    """Make the node schedulable again once it is Ready: only if the cordon still bears the signature `signed`."""

    takes_back: ClassVar[str] = Cordon.verb()
    hazard: Hazard = Hazard.REVERSIBLE
    uid: str
    signed: str

    @classmethod
    def of(cls, ref: str, node: NodeState, signed: str, by: str = "") -> Uncordon:
        """For a node that an earlier run of ours left cordoned, or that a Cordon of the same plan signs.

        `by` tells the latter without naming the run: plans of two runs for the same world have the same fingerprint.
        """
        return cls(object=ref, precondition=f"{node.uid} is cordoned by {by or signed}", uid=node.uid, signed=signed)


@dataclass
class Choice:
    """The evictions, and how many pods were left alone for which reason."""

    evictions: list[EvictPod] = field(default_factory=list)
    left_alone: Counter[str] = field(default_factory=Counter)


def choose(
    pods: Iterable[Pod], node: NodeState, *, delete_emptydir_data: bool, force: bool, signed: str = ""
) -> Choice:
    """Which pods of a node to evict, by kubectl's filters in kubectl's order; `signed` as in EvictPod.

    Where `kubectl drain` refuses without `--delete-emptydir-data` or `--force`, the eviction is destructive, so that a
    person decides, unless the setting of the same name says that it is fine.
    """
    choice = Choice()
    for pod in pods:
        kind = pod.owner.kind if pod.owner else ""
        if pod.deadline is not None:
            choice.left_alone["terminating"] += 1
        elif kind == "DaemonSet" and not pod.finished:
            choice.left_alone["daemonset"] += 1
        elif pod.mirror:
            choice.left_alone["mirror"] += 1
        else:
            losses = [] if pod.finished else _losses(pod, delete_emptydir_data=delete_emptydir_data, force=force)
            hazard = Hazard.DESTRUCTIVE if losses else Hazard.DISRUPTIVE
            choice.evictions.append(EvictPod.of(pod, node, hazard, "; ".join(losses), signed))
    return choice


def _losses(pod: Pod, *, delete_emptydir_data: bool, force: bool) -> list[str]:
    losses = []
    if pod.empty_dir and not delete_emptydir_data:
        losses.append("its emptyDir data is lost")
    if pod.owner is None and not force:
        losses.append("nothing starts it again")
    return losses
