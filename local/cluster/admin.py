"""The stand-in's own paths, for what happens outside the API: kubelets that stop, machines that return.

GET    /_standin/nodes                  the machines
POST   /_standin/nodes/<name>/kubelet   {"running": true|false, "rebooted": true}: stop, start or reboot
DELETE /_standin/nodes/<name>           the machine is gone for good; its Node object stays
POST   /_standin/reset                  back to the seed
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from local.cluster.api import Api
from local.cluster.failures import bad_request, no_such_path
from local.cluster.kinds import NODES
from local.cluster.machines import Machines


@dataclass
class Admin:
    """Answers the paths above; `poke` tells the controllers that something outside the API changed."""

    api: Api
    machines: Machines
    reset: Callable[[], None]
    poke: Callable[[], None]

    def handle(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """The answer as JSON-ready data. Raises ApiError 400, 404."""
        parts = path.strip("/").split("/")[1:]
        if not isinstance(body, dict):
            raise bad_request("expected a JSON object")
        with self.api.store.lock:
            if (method, parts) == ("GET", ["nodes"]):
                return {"nodes": [asdict(machine) for machine in self.machines]}
            if (method, parts) == ("POST", ["reset"]):
                self.reset()
                return {"reset": True}
            if method == "POST" and len(parts) == 3 and parts[0] == "nodes" and parts[2] == "kubelet":
                is_node = self.api.store.get(NODES, "", parts[1]) is not None
                machine = self.machines.switch(parts[1], body, self.api.now(), is_node=is_node)
            elif method == "DELETE" and len(parts) == 2 and parts[0] == "nodes":
                self.machines.remove(parts[1])
                self.poke()
                return {"removed": parts[1]}
            else:
                raise no_such_path()
        self.poke()
        return asdict(machine)
