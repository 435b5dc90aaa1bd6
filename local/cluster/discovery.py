"""What the server says about itself: versions, groups, resources, and the little OpenAPI that kubectl asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from local.cluster.failures import no_such_path
from local.cluster.kinds import VERBS, Resource

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2+stand-in",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_SUBRESOURCES: dict[str, tuple[tuple[str, str, str] | None, list[str]]] = {
    "status": (None, ["get", "patch", "update"]),
    "scale": (("autoscaling", "v1", "Scale"), ["get", "patch", "update"]),
    "eviction": (("policy", "v1", "Eviction"), ["create"]),
    "binding": (("", "v1", "Binding"), ["create"]),
    "log": (None, ["get"]),
}


def describe(path: str, resources: Iterable[Resource]) -> dict[str, Any]:
    """The answer to a discovery path. Raises ApiError 404."""
    served = list(resources)
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(name, served) for name in _groups(served)],
        }
    if path == "/openapi/v3":
        return {"paths": {base.strip("/"): {"serverRelativeURL": f"/openapi/v3{base}"} for base in _bases(served)}}
    if path.startswith("/openapi/v3/"):
        return _openapi(path.removeprefix("/openapi/v3"), served)
    if path in _bases(served):
        listed = [row for resource in served if resource.base == path for row in _rows(resource)]
        group_version = path.removeprefix("/apis/").removeprefix("/api/")
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}
    name = path.removeprefix("/apis/")
    if name in _groups(served):
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, served)}
    raise no_such_path()


def _bases(served: list[Resource]) -> list[str]:
    return list(dict.fromkeys(resource.base for resource in served))


def _groups(served: list[Resource]) -> list[str]:
    return list(dict.fromkeys(resource.group for resource in served if resource.group))


def _group(name: str, served: list[Resource]) -> dict[str, Any]:
    versions = list(dict.fromkeys(resource.version for resource in served if resource.group == name))
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _rows(resource: Resource) -> Iterable[dict[str, Any]]:
    row: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(VERBS),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    yield row
    for name in sorted(resource.subresources):
        kind, verbs = _SUBRESOURCES[name]
        row = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind[2] if kind else resource.kind,
            "verbs": verbs,
        }
        yield {**row, "group": kind[0], "version": kind[1]} if kind else row


def _openapi(base: str, served: list[Resource]) -> dict[str, Any]:
    """Just enough for kubectl to leave validation to the server: each resource's patch, and that it takes a dry run."""
    resources = [resource for resource in served if resource.base == base]
    if not resources:
        raise no_such_path()
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    paths = {}
    for resource in resources:
        place = f"{base}/namespaces/{{namespace}}" if resource.namespaced else base
        kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        patch = {"parameters": parameters, "responses": {}, "x-kubernetes-group-version-kind": kind}
        paths[f"{place}/{resource.plural}/{{name}}"] = {"patch": {**patch, "x-kubernetes-action": "patch"}}
    info = {"title": "Kubernetes stand-in", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
