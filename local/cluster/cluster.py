"""The whole cluster, put together: objects, machines, controllers, state file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.cluster import seed as seeds
from local.cluster.admin import Admin
from local.cluster.api import Api
from local.cluster.clock import Names
from local.cluster.controllers.common import Context, Settings
from local.cluster.controllers.loop import Loop
from local.cluster.machines import Machines
from local.cluster.router import Router
from local.cluster.store import write_json

_SAVE_SECONDS = 1.0
_STATE_VERSION = 1


class Cluster:
    """A cluster in this process. It goes on from its state file if that exists, and otherwise starts from the seed."""

    def __init__(
        self,
        seed: Mapping[str, Any] | None = None,
        *,
        state: Path | None = None,
        settings: Settings | None = None,
        controllers: bool = True,
        token: str = "",
        random_seed: int | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._seed = seed or {}
        self._state = state
        self._saved = -1
        self._stopped = threading.Event()
        names = Names(random_seed)
        self.api = Api(names=names)
        self.machines = Machines(names)
        self.loop = Loop(Context(self.api, self.machines, settings or Settings()), on_end)
        self._controllers = controllers
        admin = Admin(self.api, self.machines, self.reset, self.loop.poke)
        self.router = Router(self.api, admin, token, self._stopped.is_set)
        if state and state.exists():
            self._load(state)
        else:
            self._lay_out()

    def start(self) -> None:
        """Start what acts by itself."""
        if self._controllers:
            self.loop.start()
        if self._state:
            threading.Thread(target=self._keep_saving, name="state", daemon=True).start()

    def stop(self) -> None:
        """Stop, and save."""
        self._stopped.set()
        self.loop.stop()
        self.save()

    def reset(self) -> None:
        """Back to the seed; watches from before must list again."""
        with self.api.store.lock:
            self.api.store.clear()
            self.machines.clear()
            self.api.create_system_namespaces()
            self._lay_out()

    def save(self) -> None:
        """Write the state file, if there is one."""
        if self._state is None:
            return
        with self.api.store.lock:
            data = {"version": _STATE_VERSION, "store": self.api.store.dump(), "machines": self.machines.dump()}
            self._saved = self.api.store.revision
        write_json(self._state, data)

    def _lay_out(self) -> None:
        seeds.lay_out(self._seed, self.api, self.machines)
        if self._controllers:
            self.loop.settle()

    def _load(self, path: Path) -> None:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            version = data["version"]
            if version == _STATE_VERSION:
                self.api.store.load(data["store"])
                self.machines.load(data["machines"])
        except (ValueError, KeyError, TypeError) as error:
            why = f"{path} is no state of a stand-in cluster ({error}); delete it to start anew"
            raise seeds.SeedError(why) from error
        if version != _STATE_VERSION:
            raise seeds.SeedError(
                f"{path} is a state of version {version}, not {_STATE_VERSION}; delete it to start anew"
            )

    def _keep_saving(self) -> None:
        while not self._stopped.wait(_SAVE_SECONDS):
            if self.api.store.revision != self._saved:
                self.save()
