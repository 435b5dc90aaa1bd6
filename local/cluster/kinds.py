"""The resources that the stand-in serves: what discovery lists, and what each can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True)
class Resource:
    """One resource in one version; `fields` are the paths that a field selector may name."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    fields: frozenset[str] = COMMON_FIELDS
    generation: bool = False
    custom: bool = False
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def base(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in the store, whatever the version."""
        return self.group, self.plural


def _resource(
    path: str, kind: str, short: str = "", sub: str = "", fields: str = "", cluster: bool = False, all_: bool = False
) -> Resource:
    group, _, rest = path.rpartition("/")
    group, _, version = group.rpartition("/")
    subresources = frozenset(sub.split())
    return Resource(
        group=group,
        version=version,
        plural=rest,
        kind=kind,
        namespaced=not cluster,
        short_names=tuple(short.split()),
        subresources=subresources,
        fields=COMMON_FIELDS | frozenset(fields.split()),
        generation="status" in subresources and kind not in {"Node", "Namespace", "PersistentVolume", "Service"},
        categories=("all",) if all_ else (),
    )


POD_FIELDS = (
    "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork "
    "status.phase status.podIP status.nominatedNodeName"
)
EVENT_FIELDS = (
    "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid involvedObject.apiVersion "
    "involvedObject.resourceVersion involvedObject.fieldPath reason reportingComponent source type"
)

BUILT_IN: tuple[Resource, ...] = (
    _resource("v1/pods", "Pod", "po", "status eviction binding log", POD_FIELDS, all_=True),
    _resource("v1/nodes", "Node", "no", "status", "spec.unschedulable", cluster=True),
    _resource("v1/namespaces", "Namespace", "ns", "status", "status.phase", cluster=True),
    _resource("v1/services", "Service", "svc", "status", "spec.clusterIP spec.type", all_=True),
    _resource("v1/endpoints", "Endpoints", "ep"),
    _resource("v1/configmaps", "ConfigMap", "cm"),
    _resource("v1/secrets", "Secret", "", "", "type"),
    _resource("v1/serviceaccounts", "ServiceAccount", "sa"),
    _resource("v1/events", "Event", "ev", "", EVENT_FIELDS),
    _resource("v1/persistentvolumes", "PersistentVolume", "pv", "status", cluster=True),
    _resource("v1/persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "status"),
    _resource("v1/replicationcontrollers", "ReplicationController", "rc", "status scale", "status.replicas", all_=True),
    _resource("v1/limitranges", "LimitRange", "limits"),
    _resource("v1/resourcequotas", "ResourceQuota", "quota", "status"),
    _resource("apps/v1/deployments", "Deployment", "deploy", "status scale", all_=True),
    _resource("apps/v1/replicasets", "ReplicaSet", "rs", "status scale", "status.replicas", all_=True),
    _resource("apps/v1/statefulsets", "StatefulSet", "sts", "status scale", all_=True),
    _resource("apps/v1/daemonsets", "DaemonSet", "ds", "status", all_=True),
    _resource("apps/v1/controllerrevisions", "ControllerRevision"),
    _resource("batch/v1/jobs", "Job", "", "status", "status.successful", all_=True),
    _resource("batch/v1/cronjobs", "CronJob", "cj", "status", all_=True),
    _resource("policy/v1/poddisruptionbudgets", "PodDisruptionBudget", "pdb", "status"),
    _resource("coordination.k8s.io/v1/leases", "Lease"),
    _resource("autoscaling/v2/horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", "status", all_=True),
    _resource("networking.k8s.io/v1/ingresses", "Ingress", "ing", "status"),
    _resource("networking.k8s.io/v1/networkpolicies", "NetworkPolicy", "netpol"),
    _resource("discovery.k8s.io/v1/endpointslices", "EndpointSlice"),
    _resource("storage.k8s.io/v1/storageclasses", "StorageClass", "sc", cluster=True),
    _resource("storage.k8s.io/v1/volumeattachments", "VolumeAttachment", "", "status", cluster=True),
    _resource("scheduling.k8s.io/v1/priorityclasses", "PriorityClass", "pc", cluster=True),
    _resource("rbac.authorization.k8s.io/v1/roles", "Role"),
    _resource("rbac.authorization.k8s.io/v1/rolebindings", "RoleBinding"),
    _resource("rbac.authorization.k8s.io/v1/clusterroles", "ClusterRole", cluster=True),
    _resource("rbac.authorization.k8s.io/v1/clusterrolebindings", "ClusterRoleBinding", cluster=True),
    _resource(
        "apiextensions.k8s.io/v1/customresourcedefinitions",
        "CustomResourceDefinition",
        "crd crds",
        "status",
        cluster=True,
    ),
)

# What the code names by itself.
PODS, NODES, NAMESPACES = BUILT_IN[0], BUILT_IN[1], BUILT_IN[2]
_BY_KIND = {resource.kind: resource for resource in BUILT_IN}
SERVICE_ACCOUNTS = _BY_KIND["ServiceAccount"]
EVENTS = _BY_KIND["Event"]
DEPLOYMENTS = _BY_KIND["Deployment"]
REPLICA_SETS = _BY_KIND["ReplicaSet"]
STATEFUL_SETS = _BY_KIND["StatefulSet"]
DAEMON_SETS = _BY_KIND["DaemonSet"]
REPLICATION_CONTROLLERS = _BY_KIND["ReplicationController"]
BUDGETS = _BY_KIND["PodDisruptionBudget"]
LEASES = _BY_KIND["Lease"]
DEFINITIONS = _BY_KIND["CustomResourceDefinition"]


def defined(definition: Mapping[str, Any]) -> Iterator[Resource]:
    """The resources that a CustomResourceDefinition adds: one for each version that it serves."""
    spec = definition["spec"]
    for version in spec.get("versions", []):
        if version.get("served", True):
            yield Resource(
                group=spec["group"],
                version=version["name"],
                plural=spec["names"]["plural"],
                kind=spec["names"]["kind"],
                namespaced=spec.get("scope") == "Namespaced",
                short_names=tuple(spec["names"].get("shortNames", ())),
                subresources=frozenset(version.get("subresources", {}).keys() & {"status"}),
                generation=True,
                custom=True,
            )


def find(group: str, version: str, plural: str, definitions: Iterable[Mapping[str, Any]]) -> Resource | None:
    """The resource at a path, or None; built-in ones first."""
    for resource in served(definitions):
        if (resource.group, resource.version, resource.plural) == (group, version, plural):
            return resource
    return None


def of_kind(api_version: str, kind: str, definitions: Iterable[Mapping[str, Any]]) -> Resource | None:
    """The resource of an object's `apiVersion` and `kind`, or None."""
    for resource in served(definitions):
        if (resource.api_version, resource.kind) == (api_version, kind):
            return resource
    return None


def served(definitions: Iterable[Mapping[str, Any]]) -> Iterator[Resource]:
    """Every resource: the built-in ones, then those of the definitions."""
    yield from BUILT_IN
    for definition in definitions:
        yield from defined(definition)
