"""The machines behind the nodes: whether their kubelet runs is a fact outside the API, as with real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from local.cluster.clock import Names
from local.cluster.failures import bad_request, not_found


@dataclass
class Machine:
    """One machine. Its kubelet registers the Node with these labels and taints when it starts and finds none."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    provider_id: str = ""
    address: str = ""
    static_pods: list[dict[str, Any]] = field(default_factory=list)
    running: bool = True
    registered: bool = False
    stopped_at: float = 0.0
    machine_id: str = ""
    boot_id: str = ""


class Machines:
    """The machines by name. Changed only under the store's lock."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._machines: dict[str, Machine] = {}

    def __iter__(self) -> Any:
        return iter(list(self._machines.values()))

    def get(self, name: str) -> Machine | None:
        """The machine of this name, or None for a Node that only a client made."""
        return self._machines.get(name)

    def add(self, machine: Machine) -> Machine:
        """Add a machine, giving it the ids and the address that it lacks."""
        machine.machine_id = machine.machine_id or self._names.uid().replace("-", "")
        machine.boot_id = machine.boot_id or self._names.uid()
        machine.address = machine.address or f"10.0.0.{10 + len(self._machines)}"
        self._machines[machine.name] = machine
        return machine

    def switch(self, name: str, wish: Mapping[str, Any], now: float, *, is_node: bool) -> Machine:
        """Stop, start (`{"running": bool}`) or reboot (`{"rebooted": true}`) a kubelet. Raises ApiError 400, 404.

        A Node that a client made gets a machine with its first start.
        """
        running, rebooted = wish.get("running", True), wish.get("rebooted", False)
        if not isinstance(running, bool) or not isinstance(rebooted, bool) or set(wish) - {"running", "rebooted"}:
            raise bad_request('expected {"running": true or false} and optionally {"rebooted": true}')
        machine = self._machines.get(name)
        if machine is None:
            if not is_node:
                raise not_found("nodes", name)
            machine = self.add(Machine(name, running=False))
        if rebooted:
            machine.boot_id = self._names.uid()
        if machine.running and not running:
            machine.stopped_at = now
        if running and (rebooted or not machine.running):
            machine.registered = False
        machine.running = running
        return machine

    def remove(self, name: str) -> None:
        """Forget a machine for good, as when its instance is terminated. Raises ApiError 404."""
        if self._machines.pop(name, None) is None:
            raise not_found("nodes", name)

    def clear(self) -> None:
        """Forget every machine."""
        self._machines.clear()

    def dump(self) -> list[dict[str, Any]]:
        """JSON-ready data; `load` is the way back."""
        return [asdict(machine) for machine in self._machines.values()]

    def load(self, data: list[dict[str, Any]]) -> None:
        """Replace the machines by what `dump` gave."""
        self._machines = {entry["name"]: Machine(**entry) for entry in data}
