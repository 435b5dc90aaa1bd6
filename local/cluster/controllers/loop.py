"""The one thread that runs every controller."""

from __future__ import annotations

import threading
from collections.abc import Callable

from local.cluster.controllers import budgets, cleanup, kubelet, nodes, replicas, scheduler, sets
from local.cluster.controllers.common import INSTANT, Context

_ORDER: tuple[Callable[[Context], None], ...] = (
    kubelet.run,
    nodes.run,
    cleanup.run,
    replicas.run,
    sets.run,
    scheduler.run,
    budgets.run,
)
# Changes that come in a burst are handled together, and a steady stream of them leaves the lock to others.
_PAUSE_SECONDS = 0.01
_MOST_PASSES = 200


class Loop:
    """Runs the controllers until `stop`; `on_end` is called when the thread ends, for whatever reason."""

    def __init__(self, context: Context, on_end: Callable[[], None] = lambda: None) -> None:
        self._context = context
        self._on_end = on_end
        self._stopped = threading.Event()
        self._poked = False
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let the thread end after its present pass."""
        self._stopped.set()
        self.poke()

    def poke(self) -> None:
        """Look again at once: something outside the API has changed."""
        with self._context.api.store.changed:
            self._poked = True
            self._context.api.store.changed.notify_all()

    def settle(self) -> None:
        """Bring the cluster to rest at once, without any delays."""
        context = Context(self._context.api, self._context.machines, INSTANT)
        for _ in range(_MOST_PASSES):
            before = context.api.store.revision
            self._pass(context)
            if context.api.store.revision == before:
                return
        raise RuntimeError("the controllers do not come to rest: they undo each other's changes")

    @staticmethod
    def _pass(context: Context) -> None:
        context.now = context.api.now()
        context.timers.begin()
        for controller in _ORDER:
            with context.api.store.lock:
                controller(context)

    def _run(self) -> None:
        store = self._context.api.store
        try:
            while not self._stopped.is_set():
                with store.lock:
                    before, self._poked = store.revision, False
                self._pass(self._context)
                with store.changed:
                    if store.revision == before and not self._poked:
                        due = self._context.timers.next
                        store.changed.wait(None if due is None else max(0.0, due - self._context.api.now()))
                self._stopped.wait(_PAUSE_SECONDS)
        finally:
            self._on_end()
