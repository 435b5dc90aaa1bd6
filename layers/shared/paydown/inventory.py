"""The inventory: the targets that Paydown may act on, and how they relate. Nothing outside it is ever acted on.

A document of plain JSON, checked as a whole against the models of `paydown.targets` and published as an immutable
version. Look-ups take what senders call a thing (a name, an address, an instance id) and return every entry that
answers to it: a caller that needs exactly one uses `find`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from paydown.errors import InvalidDocument, PermanentError
from paydown.targets import (
    Alertmanager,
    Cluster,
    FolderStorage,
    Host,
    Name,
    Node,
    Pattern,
    Promotion,
    Reach,
    Registry,
    Repository,
    S3Storage,
    Source,
    Ssm,
    Tag,
    Target,
    Tcp,
    Ticket,
    Tracker,
    Unix,
)

__all__ = [
    "Alertmanager",
    "Cluster",
    "FolderStorage",
    "Host",
    "Inventory",
    "Name",
    "Node",
    "Pattern",
    "Promotion",
    "Reach",
    "Registry",
    "Repository",
    "S3Storage",
    "Source",
    "Ssm",
    "Tag",
    "Target",
    "Tcp",
    "Ticket",
    "Tracker",
    "Unix",
]


class Inventory(BaseModel):
    """The whole document."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, title="Paydown inventory")

    schema_version: Literal[1] = 1
    hosts: tuple[Host, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    trackers: tuple[Tracker, ...] = ()
    registries: tuple[Registry, ...] = ()
    alertmanagers: tuple[Alertmanager, ...] = ()
    sources: tuple[Source, ...] = ()
    promotions: tuple[Promotion, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Inventory:
        seen: set[str] = set()
        for entry in self.entries():
            for key in (entry.uid, entry.ref):
                if key in seen:
                    raise ValueError(f"{key} stands there twice")
                seen.add(key)
        return self

    @classmethod
    def parse(cls, document: Any) -> Inventory:
        """The inventory in plain JSON data. Raises InvalidDocument with the path of every fault."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InvalidDocument.from_validation("inventory", error) from None

    def entries(self) -> Iterator[Host | Cluster | Tracker | Registry | Alertmanager | Source]:
        """All that is declared."""
        yield from self.hosts
        yield from self.clusters
        yield from self.trackers
        yield from self.registries
        yield from self.alertmanagers
        yield from self.sources

    def hosts_that_build(self, registry: str, repository: str) -> list[Host]:
        """The hosts with a `builds` pattern that matches `registry/repository`."""
        image = f"{registry}/{repository}"
        return [host for host in self.hosts if any(fnmatchcase(image, pattern) for pattern in host.builds)]

    def hosts_named(self, name: str) -> list[Host]:
        """The hosts that answer to a name, an alias, an instance id or an address (its port does not count)."""
        bare = name.rsplit(":", 1)[0] if name.count(":") == 1 else name
        return [host for host in self.hosts if {name, bare} & _names(host)]

    def host(self, name: str) -> Host:
        """The one host that answers to a name. Raises PermanentError."""
        hosts = self.hosts_named(name)
        if len(hosts) != 1:
            raise PermanentError(f"the inventory has {len(hosts)} hosts that answer to {name}, not one")
        return hosts[0]

    def cluster(self, name: str) -> Cluster | None:
        """The cluster that answers to this name, uid or alias."""
        return next((one for one in self.clusters if name in (one.name, one.uid, *one.aliases)), None)

    def node(self, cluster: str, name: str) -> Node | None:
        """The node `name` of a cluster, if the cluster is declared and its `nodes` say that the node is ours."""
        found = self.cluster(cluster)
        if found is None or not any(fnmatchcase(name, pattern) for pattern in found.nodes):
            return None
        return Node(
            uid=f"{found.uid}/node/{name}"[:255],
            name=name,
            account=found.account,
            region=found.region,
            labels=found.labels,
            source=found.source,
            cluster=found,
        )

    def tracker(self, name: str) -> Tracker | None:
        """The ticket system of this name or uid."""
        return next((one for one in self.trackers if name in (one.name, one.uid)), None)

    def registry(self, name: str) -> Registry | None:
        """The registry of this name or uid."""
        return next((one for one in self.registries if name in (one.name, one.uid)), None)

    def repository(self, registry: str, name: str) -> Repository | None:
        """A repository of a declared registry, if the registry's `repositories` say that it is ours."""
        found = self.registry(registry)
        if found is None or not any(fnmatchcase(name, pattern) for pattern in found.repositories):
            return None
        uid = f"{found.uid}/repository/{name}"
        return Repository(
            uid=uid if len(uid) <= 255 else f"{uid[:190]}:{hashlib.sha256(uid.encode()).hexdigest()}",
            name=name,
            account=found.account,
            region=found.region,
            labels=found.labels,
            source=found.source,
            registry=found,
        )

    def tag(self, registry: str, repository: str, tag: str) -> Tag | None:
        """A tag of a repository that is ours."""
        found = self.repository(registry, repository)
        if found is None or not tag:
            return None
        uid = f"{found.uid}:{tag}"
        return Tag(
            uid=uid if len(uid) <= 255 else f"{uid[:190]}:{hashlib.sha256(uid.encode()).hexdigest()}",
            name=f"{repository}:{tag}",
            account=found.account,
            region=found.region,
            labels=found.labels,
            source=found.source,
            repository=found,
        )

    @property
    def promoted_digests(self) -> frozenset[str]:
        """The digests that stages run, and those that they may go back to."""
        return frozenset(digest for one in self.promotions for digest in (one.digest, one.previous) if digest)

    def promoted(self, stage: str, registry: str, repository: str, tag: str) -> Promotion | None:
        """What was promoted to a tag; what people declared before what was discovered."""
        wanted = (stage, registry, repository, tag)
        return next(
            (one for one in self.promotions if (one.stage, one.registry, one.repository, one.tag) == wanted), None
        )

    def alertmanager(self, name: str) -> Alertmanager | None:
        """The Alertmanager of this name or uid."""
        return next((one for one in self.alertmanagers if name in (one.name, one.uid)), None)

    def ticket(self, tracker: str, id: str) -> Ticket | None:
        """A ticket of a declared ticket system."""
        found = self.tracker(tracker)
        if found is None:
            return None
        return Ticket(
            uid=f"{found.uid}/ticket/{id}", name=f"{found.name}/{id}", labels=found.labels, tracker=found, id=id
        )

    def sources_of(self, registry: str, repository: str) -> list[Source]:
        """The git repositories with an `images` pattern that matches `registry/repository`."""
        image = f"{registry}/{repository}"
        return [one for one in self.sources if any(fnmatchcase(image, pattern) for pattern in one.images)]

    def find(self, ref: str) -> Target | None:
        """The one target that a ref names; None when there is none, or more than one.

        A ref is `host/NAME`, `cluster/NAME`, `tracker/NAME`, `registry/NAME`, `alertmanager/NAME`, `node/CLUSTER/NAME`,
        `ticket/TRACKER/ID`, `repository/REGISTRY/NAME` or `tag/REGISTRY/REPOSITORY:TAG`.
        """
        kind, _, name = ref.partition("/")
        within, _, last = name.rpartition("/")  # a tracker may be called `owner/repository`
        declared: dict[str, Callable[[str], Target | None]] = {
            "host": self._host,
            "cluster": self.cluster,
            "tracker": self.tracker,
            "registry": self.registry,
            "alertmanager": self.alertmanager,
        }
        match kind:
            case "node":
                return self.node(within, last)
            case "ticket":
                return self.ticket(within, last)
            case "repository":
                registry, _, repository = name.partition("/")  # a repository's name may have slashes
                return self.repository(registry, repository)
            case "tag":
                registry, _, tagged = name.partition("/")
                repository, _, tag = tagged.rpartition(":")
                return self.tag(registry, repository, tag)
        return declared[kind](name) if kind in declared else None

    def _host(self, name: str) -> Host | None:
        hosts = self.hosts_named(name)
        return hosts[0] if len(hosts) == 1 else None


def _names(host: Host) -> set[str]:
    names = {host.name, host.uid, *host.aliases}
    match host.reach:
        case Ssm(instance_id=instance):
            names.add(instance)
        case Tcp(address=address):
            names.add(address.rsplit(":", 1)[0])
    return names
