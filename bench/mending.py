"""The world of the benchmark of faults: nodes on which faults come up, and the toil type that mends them.

The world keeps its own books, and trusts no ledger: which fault was mended how often, which effect hit a node that had
no such fault, and how many nodes were in work at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from paydown.events import Event, ImagePushed
from paydown.inventory import Host, Inventory
from paydown.plan import Action, Done, Draft, Hazard, Moot, NotYet, Population, Record, Unverified, Verified
from paydown.toil import Toil, ToilSettings

TOIL = "mend"


class Isolate(Action):
    """Take a node out of service."""

    hazard: Hazard = Hazard.REVERSIBLE


class Mend(Action):
    """Mend one fault of a node."""

    hazard: Hazard = Hazard.DISRUPTIVE


class Return(Action):
    """Give a node back."""

    takes_back = "isolate"
    hazard: Hazard = Hazard.REVERSIBLE


@dataclass
class Node:
    """Its faults that are not mended, and whether it is out of service."""

    faults: set[str] = field(default_factory=set)
    isolated: bool = False


@dataclass
class World:
    """The nodes, and what happened to them: `mended` counts each fault's mendings, `came` is when it came up.

    `inside` says whose call is inside which node at this moment.
    """

    nodes: dict[str, Node]
    came: dict[str, datetime] = field(default_factory=dict)
    verified: dict[str, datetime] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    inside: dict[str, int] = field(default_factory=dict)
    most_inside: int = 0
    site: Any = None
    """What a call has to go through: `enters(toil)` takes its time, and may fail; `leaves(toil)`."""

    def enters(self, name: str) -> None:
        """A call goes into a node."""
        self.inside[name] = self.inside.get(name, 0) + 1
        self.most_inside = max(self.most_inside, len(self.inside))

    def leaves(self, name: str) -> None:
        """A call comes out of a node."""
        self.inside[name] -= 1
        if not self.inside[name]:
            del self.inside[name]


class Mending(Toil[Host]):
    """Takes a node out of service, mends its faults one after the other, and gives it back."""

    name = TOIL
    listens_to = (ImagePushed,)
    does = (Isolate, Mend, Return)
    Settings = ToilSettings
    world: ClassVar[World]

    @classmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[Host]:
        """The node that the event names."""
        return inventory.hosts_named(event.repository) if isinstance(event, ImagePushed) else []

    def plan(self, target: Host) -> Draft | NotYet:
        """All faults that the node has now."""
        node = self.world.nodes[target.uid]
        back = [Return(object=target.uid, precondition="isolated")]
        if not node.faults:
            return Draft.of(back if node.isolated else [])
        isolate = [] if node.isolated else [Isolate(object=target.uid, precondition="in service")]
        mends = [Mend(object=f"{target.uid}/{fault}", precondition=f"has {fault}") for fault in sorted(node.faults)]
        return Draft.of(isolate, mends, back)

    def population(self, target: Host) -> Population | None:  # noqa: ARG002 -- the contract fixes the signature
        """All nodes are one pool."""
        nodes = self.world.nodes
        return Population("nodes", len(nodes), frozenset(name for name, node in nodes.items() if node.isolated))

    def apply(self, action: Action, target: Host) -> Done | Moot | NotYet:
        """Some seconds inside the node."""
        self.world.enters(target.uid)
        try:
            self.world.site.enters(self)
            result = self._effect(action, self.world.nodes[target.uid])
            self.world.site.leaves(self)
        finally:
            self.world.leaves(target.uid)
        return result

    def _effect(self, action: Action, node: Node) -> Done | Moot:
        match action:
            case Isolate() if not node.isolated:
                node.isolated = True
            case Return() if node.isolated:
                node.isolated = False
            case Mend():
                fault = action.object.partition("/")[2]
                if fault not in node.faults:
                    return Moot("mended already")
                # The books count each effect; the ledger must not let one happen where it does not belong.
                self.world.wrong += not node.isolated
                node.faults.discard(fault)
                self.world.mended[fault] = self.world.mended.get(fault, 0) + 1
            case _:
                return Moot("as it should be")
        return Done()

    def verify(self, target: Host, record: Record) -> Verified | Unverified:
        """None of the faults that were mended is there, and the node is in service."""
        node = self.world.nodes[target.uid]
        tried = {step.action.object.partition("/")[2] for step in record.steps if isinstance(step.action, Mend)}
        if node.isolated or tried & node.faults:
            return Unverified("it is not as it should be")
        for fault in tried:
            self.world.verified.setdefault(fault, self.now())
        return Verified({"mended": len(tried)})

    def undo(self, action: Action, target: Host) -> Done | Moot:  # noqa: ARG002 -- the contract fixes the signature
        """Give the node back."""
        node = self.world.nodes[target.uid]
        if not node.isolated:
            return Moot("it is in service")
        node.isolated = False
        return Done()
