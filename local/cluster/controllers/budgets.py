"""The disruption controller: how many pods of each budget may be disrupted now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.cluster import kinds, selectors
from local.cluster.clock import seconds_of, stamp
from local.cluster.controllers.common import Context, condition, is_ready, share
from local.cluster.kinds import BUDGETS, PODS
from local.cluster.store import Object

_UNCONFIRMED_SECONDS = 120.0
_SCALED = (kinds.REPLICA_SETS, kinds.STATEFUL_SETS, kinds.DEPLOYMENTS, kinds.REPLICATION_CONTROLLERS)


def run(context: Context) -> None:
    """Process every budget that is due."""
    store = context.api.store
    for budget in store.all(BUDGETS):
        metadata, status = budget["metadata"], budget.get("status", {})
        fresh = status.get("observedGeneration", 0) < metadata["generation"]
        key = ("budget", metadata["uid"], metadata["generation"])
        if fresh and not context.timers.ripe(key, context.settings.budget, context.now):
            continue
        requirements = selectors.from_object(budget["spec"].get("selector"))
        pods = [
            pod
            for pod in store.all(PODS, metadata["namespace"])
            if selectors.matches(requirements, pod["metadata"].get("labels"))
        ]
        context.api.set_status(BUDGETS, budget, _status(context, budget, pods), "kube-controller-manager")


def _status(context: Context, budget: Object, pods: list[Object]) -> dict[str, Any]:
    old, at = budget.get("status", {}), stamp(context.now)
    generation = budget["metadata"]["generation"]
    try:
        expected, desired = needed(budget["spec"], pods, {pod["metadata"]["uid"]: _scale(context, pod) for pod in pods})
    except LookupError as error:
        conditions = condition(old, "DisruptionAllowed", "False", "SyncFailed", str(error.args[0]), at)
        return {"disruptionsAllowed": 0, "observedGeneration": generation, "conditions": conditions}
    disrupted = _unconfirmed(context, old.get("disruptedPods") or {}, pods)
    healthy = sum(
        is_ready(pod) and "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["name"] not in disrupted
        for pod in pods
    )
    allowed = max(0, healthy - desired) if expected > 0 else 0
    word = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "disruptedPods": disrupted,
        "observedGeneration": generation,
        "conditions": condition(old, "DisruptionAllowed", *word, "", at),
    }


def needed(
    spec: Mapping[str, Any], pods: list[Object], scales: Mapping[str, tuple[str, int] | None]
) -> tuple[int, int]:
    """(expected pods, healthy pods that must stay). `scales` gives each pod's uid its controller's uid and replicas.

    Raises LookupError for a pod without a controller, where the budget needs to know the scale.
    """
    minimum, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if isinstance(minimum, int):
        return len(pods), minimum
    if minimum is None and most is None:
        return len(pods), 0
    controllers: dict[str, int] = {}
    for pod in pods:
        scale = scales[pod["metadata"]["uid"]]
        if scale is None:
            raise LookupError(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        controllers[scale[0]] = scale[1]
    expected = sum(controllers.values())
    if most is not None:
        return expected, max(0, expected - share(most, expected, up=True))
    return expected, share(str(minimum), expected, up=True)


def _scale(context: Context, pod: Object) -> tuple[str, int] | None:
    """The uid and the wanted replicas of the top controller of a pod that has a scale."""
    found: tuple[str, int] | None = None
    item: Mapping[str, Any] | None = pod
    while item is not None:
        owner = next((held for held in item["metadata"].get("ownerReferences") or [] if held.get("controller")), None)
        item = None
        for resource in _SCALED:
            if owner and resource.kind == owner["kind"]:
                item = context.api.store.get(resource, pod["metadata"]["namespace"], owner["name"])
        if item is not None:
            found = item["metadata"]["uid"], item["spec"].get("replicas", 1)
    return found


def _unconfirmed(context: Context, disrupted: Mapping[str, str], pods: list[Object]) -> dict[str, str]:
    """The evictions whose effect cannot be seen yet; forgotten after two minutes."""
    running = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    return {
        name: at
        for name, at in disrupted.items()
        if name in running and not context.timers.reached(seconds_of(at) + _UNCONFIRMED_SECONDS, context.now)
    }
