"""What can be asked of a cluster, and done to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paydown.clients.kube.http import LIST_SECONDS, Answer, Http
from paydown.clients.kube.objects import (
    CORDONED_AT,
    CORDONED_BY,
    FIELD_MANAGER,
    NodeState,
    Owner,
    Pod,
    images_of,
    is_name,
)
from paydown.clients.kube.rights import Right
from paydown.errors import PermanentError, RetryableError

PAGE = 500
"""Ten thousand pods in pages of 500 take 85 MB at the peak, in one piece 245 MB, at the same speed."""

NODE_PAGE = 100
"""A node with its images and managed fields is ten times the size of a pod."""

BUDGET_SECONDS = 5.0
"""How long kubectl waits after a budget said no."""

_WORKLOADS = {
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets/{}",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets/{}",
    "ReplicationController": "/api/v1/namespaces/{}/replicationcontrollers/{}",
    "Job": "/apis/batch/v1/namespaces/{}/jobs/{}",
}

POD_TEMPLATES = (
    "/api/v1/pods",
    "/api/v1/replicationcontrollers",
    "/apis/apps/v1/controllerrevisions",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/batch/v1/cronjobs",
    "/apis/batch/v1/jobs",
)
"""What runs images, or would: a workload of no replicas, a schedule between two runs, or what can be rolled back to."""


@dataclass(frozen=True)
class Evicted:
    """The server deletes the pod: gracefully, so it may be there for a while, and for ever on a dead node."""


@dataclass(frozen=True)
class Gone:
    """There is nothing to evict: the pod is gone, or another one has its name now."""

    why: str


@dataclass(frozen=True)
class Blocked:
    """A budget does not allow it now; the server asks for `seconds` of patience."""

    seconds: float
    why: str


@dataclass(frozen=True)
class Refused:
    """The server will never evict this pod."""

    why: str


class ClusterApi:
    """One cluster. Every method may raise RetryableError and PermanentError; those that change something say so."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def node(self, name: str) -> NodeState | None:
        """The node of this name."""
        if not is_name(name):
            return None
        answer = self._http.call("GET", f"/api/v1/nodes/{name}", expected=(404,))
        return None if answer.status == 404 else NodeState.parse(answer.body)

    def nodes(self) -> Iterator[NodeState]:
        """All nodes; read page by page while the caller walks them."""
        return map(NodeState.parse, self._items("/api/v1/nodes", {}, NODE_PAGE))

    def pods(self, *, node: str | None = None, namespace: str | None = None) -> Iterator[Pod]:
        """The pods of a node, of a namespace, or all; read page by page while the caller walks them."""
        for name in (node, namespace):
            if name is not None and not is_name(name):
                raise PermanentError(f"{name[:80]!r} is no name of a node or a namespace")
        path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        query = {"fieldSelector": f"spec.nodeName={node}"} if node else {}
        return map(Pod.parse, self._items(path, query))

    def images(self) -> Iterator[str]:
        """What pods run, workloads would run, and nodes hold, as the API names it; names may come more than once.

        A name may be a tag (`app:1`), a digest (`app@sha256:…`), or an image's id as the node's runtime tells it.
        """
        for path in POD_TEMPLATES:
            for item in self._items(path, {}):
                yield from images_of(item)
        for node in self._items("/api/v1/nodes", {}, NODE_PAGE):
            for image in (node.get("status") or {}).get("images") or ():
                yield from (name for name in image.get("names") or () if isinstance(name, str))

    def may(self, right: Right) -> bool | None:
        """Whether our credentials have a right; None when the server does not tell.

        The server is asked as anybody may ask about themselves, and nothing changes.
        """
        resource, _, subresource = right.resource.partition("/")
        asked = {"group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {name: value for name, value in asked.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._http.call("POST", path, body=body, expected=(403, 404))
        return None if answer.status in (403, 404) else bool((answer.body.get("status") or {}).get("allowed"))

    def cordon(self, node: NodeState, *, by: str, at: datetime) -> bool:
        """Make a node unschedulable and sign it, unless it changed since it was read: then False."""
        return self._mark(node, True, {CORDONED_BY: by, CORDONED_AT: at.isoformat()})

    def uncordon(self, node: NodeState) -> bool:
        """Make a node schedulable and remove our signature, unless it changed since it was read: then False."""
        return self._mark(node, None, {CORDONED_BY: None, CORDONED_AT: None})

    def evict(self, namespace: str, name: str, uid: str) -> Evicted | Gone | Blocked | Refused:
        """Ask for the eviction of exactly this pod (`uid`), as its budgets allow."""
        if not (is_name(namespace) and is_name(name)):
            return Refused(f"{namespace[:80]}/{name[:80]} is no name of a pod")
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        answer = self._http.call("POST", path, body=body, expected=(404, 409, 429, 500))
        return self._evicted(path, answer)

    def wanted(self, namespace: str, owner: Owner) -> int | None:
        """How many Ready pods a controller wants now.

        0 when it is gone or has finished; None when this kind of controller is not known here. A controller that was
        made anew under the old name counts as gone.
        """
        path = _WORKLOADS.get(owner.kind)
        if path is None:
            return None
        answer = self._http.call("GET", path.format(namespace, owner.name), expected=(404,))
        if answer.status == 404 or answer.body["metadata"]["uid"] != owner.uid:
            return 0
        return _job_wants(answer.body) if owner.kind == "Job" else int(answer.body["spec"].get("replicas", 1))

    def _mark(self, node: NodeState, unschedulable: bool | None, annotations: Mapping[str, str | None]) -> bool:
        patch = {
            "metadata": {"resourceVersion": node.version, "annotations": annotations},
            "spec": {"unschedulable": unschedulable},
        }
        answer = self._http.call(
            "PATCH",
            f"/api/v1/nodes/{node.name}",
            query={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type="application/merge-patch+json",
            expected=(404, 409),
        )
        return answer.status not in (404, 409)

    def _items(self, path: str, query: Mapping[str, str], size: int = PAGE) -> Iterator[Mapping[str, Any]]:
        more = ""
        while True:
            page: dict[str, str | int] = {**query, "limit": size, **({"continue": more} if more else {})}
            answer = self._http.call("GET", path, query=page, read_seconds=LIST_SECONDS, expected=(410,))
            if answer.status == 410:
                raise RetryableError(f"the list of {path} expired while it was read", 1.0)
            yield from answer.body.get("items") or ()
            more = (answer.body.get("metadata") or {}).get("continue") or ""
            if not more:
                return

    def _evicted(self, path: str, answer: Answer) -> Evicted | Gone | Blocked | Refused:
        match answer.status:
            case 404:
                return Gone("the pod is gone")
            case 409:
                return Gone("another pod has its name now")
            case 429 if cause := _budget_cause(answer):
                return Blocked(answer.retry_after or BUDGET_SECONDS, str(cause.get("message") or answer.message)[:300])
            # Two budgets over one pod are a 500 without a reason, and will be one for ever.
            case 500 if "more than one PodDisruptionBudget" in answer.message:
                return Refused(answer.message)
            case 429 | 500:
                raise self._http.trouble("POST", path, answer)
        return Evicted()


def _budget_cause(answer: Answer) -> Mapping[str, Any] | None:
    return next((cause for cause in answer.causes if cause.get("reason") == "DisruptionBudget"), None)


def _job_wants(job: Mapping[str, Any]) -> int:
    spec, status = job["spec"], job.get("status") or {}
    ended = any(
        one.get("type") in ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget") and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
    if ended or spec.get("suspend"):
        return 0
    parallel = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is None:
        return parallel
    return max(0, min(parallel, int(completions) - int(status.get("succeeded") or 0)))
