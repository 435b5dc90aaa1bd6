"""What stands against touching a node as it is now: it is well, it is another one, a person or a healer took over."""

from __future__ import annotations

from paydown.clients import kube
from paydown.clients.kube import NodeState

OURS = "recover_node/"
"""How the signature of a cordon of this toil type begins; the rest is the run's id."""


def another(node: NodeState, uid: str) -> str:
    """Whether the node that was meant is gone, in words."""
    return "" if node.uid == uid else "another node has its name now"


def well(node: NodeState) -> str:
    """Why nothing needs to be done to it any more; empty when it is ill."""
    if node.ready:
        return "the node is Ready again"
    return "the node is being deleted" if node.deleting else ""


def leaving(node: NodeState | None) -> str:
    """Whether somebody else is taking the node away, in words."""
    if node is None:
        return "the node is gone"
    return "the node is being deleted" if node.deleting else kube.at_work(node)


def opted_out(node: NodeState) -> str:
    """Whether a person wants it to be left alone, in words."""
    return f"a person marked the node with {kube.OPT_OUT}" if node.opted_out else ""


def stopped(node: NodeState) -> str:
    """Whether somebody stopped its machine, in words: one that failed by itself is not stopped but gone or impaired."""
    return f"somebody stopped the machine (taint {kube.STOPPED})" if node.stopped else ""


def is_ours(signature: str | None) -> bool:
    """Whether a signature is that of a run of this toil type."""
    return (signature or "").startswith(OURS)


def undone(node: NodeState) -> str:
    """How somebody undid a cordon of ours that was for the present fault; empty if nobody did.

    Our own uncordon removes the signature, other people's leaves it behind. A node that has been Ready since then has a
    new fault, and what was done about the old one no longer matters.
    """
    signed, at = node.annotations.get(kube.CORDONED_BY, ""), node.cordoned_at
    if not is_ours(signed) or node.cordoned_by == signed or at is None or at < node.since:
        return ""
    return f"{changed(node)}, which run {signed.removeprefix(OURS)} had cordoned"


def changed(node: NodeState) -> str:
    """What somebody else did to the cordon, in words, with what the API knows of them."""
    if not node.unschedulable:
        return "somebody uncordoned the node"
    by = f" ({', '.join(node.cordon_managers)})" if node.cordon_managers else ""
    return f"somebody else{by} cordoned the node"
