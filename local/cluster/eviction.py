"""The eviction subresource: a deletion that asks the disruption budgets first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.cluster import deletion, selectors
from local.cluster.api import Api
from local.cluster.clock import stamp
from local.cluster.failures import ApiError, bad_request, forbidden, success, too_many_requests
from local.cluster.kinds import BUDGETS, PODS
from local.cluster.store import Object

_MOST_UNCONFIRMED = 2000


def evict(api: Api, namespace: str, name: str, body: Mapping[str, Any], dry_run: bool = False) -> Object:
    """Evict a pod, or raise ApiError: 429 from the budget, 500 for two budgets, 409 for another uid, 404."""
    given = (body.get("metadata") or {}).get("name") or name
    if given != name:
        raise bad_request("name in URL does not match name in Eviction object")
    how = body.get("deleteOptions") or {}
    rehearsal = dry_run or bool(how.get("dryRun"))
    with api.store.lock:
        pod = api.get(PODS, namespace, name)
        budgets = [] if _needs_no_budget(pod) else _budgets_of(api, pod)
        if len(budgets) > 1:
            # A real server sends no reason with this one.
            raise ApiError(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        asks = bool(budgets) and not _may_go_unhealthy(pod, budgets[0])
        if asks:
            _check(budgets[0])
        deletion.check_preconditions(PODS, pod, how)
        if asks and not rehearsal:
            _take(api, budgets[0], name)
        deletion.mark_or_remove(api, PODS, pod, how, dry_run=rehearsal)
    return success(201)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod's Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _needs_no_budget(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed", "Pending"} or (
        "deletionTimestamp" in pod["metadata"]
    )


def _budgets_of(api: Api, pod: Object) -> list[Object]:
    labels = pod["metadata"].get("labels")
    return [
        budget
        for budget in api.store.all(BUDGETS, pod["metadata"]["namespace"])
        if selectors.matches(selectors.from_object(budget["spec"].get("selector")), labels)
    ]


def _may_go_unhealthy(pod: Object, budget: Object) -> bool:
    """A pod that does not serve anyway costs nothing, if the policy says so or the budget is met without it."""
    if is_ready(pod):
        return False
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status", {})
    return _processed(budget) and 0 < status.get("desiredHealthy", 0) <= status.get("currentHealthy", 0)


def _processed(budget: Object) -> bool:
    seen: int = budget.get("status", {}).get("observedGeneration", 0)
    return seen >= int(budget["metadata"]["generation"])


def _check(budget: Object) -> None:
    name, status = budget["metadata"]["name"], budget.get("status", {})
    if not _processed(budget):
        raise too_many_requests(f"The disruption budget {name} is still being processed by the server.", seconds=10)
    if len(status.get("disruptedPods") or {}) > _MOST_UNCONFIRMED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise forbidden("poddisruptionbudgets", name, why, "policy")
    if status["disruptionsAllowed"] > 0:
        return
    failed = [held for held in status.get("conditions") or [] if held.get("reason") == "SyncFailed"]
    if failed:
        why = f"it failed sync: {failed[0].get('message', '')}"
        raise too_many_requests(f"The disruption budget {name} does not allow evicting pods currently because {why}")
    healthy, desired = status["currentHealthy"], status["desiredHealthy"]
    raise too_many_requests(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")


def _take(api: Api, budget: Object, pod: str) -> None:
    """Book the disruption until the budget controller has seen it."""
    status = budget["status"]
    disrupted = {**(status.get("disruptedPods") or {}), pod: stamp(api.now())}
    left = status["disruptionsAllowed"] - 1
    api.set_status(BUDGETS, budget, {"disruptionsAllowed": left, "disruptedPods": disrupted}, "kube-apiserver")
