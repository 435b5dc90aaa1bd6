"""The inventory: the targets that Paydown may act on, and how they relate. Nothing outside it is ever acted on.

A document of plain JSON, checked as a whole against these models and published as an immutable version. Each entry has
a
`uid` that stays the same when names change; relations point to uids. Look-ups take what senders call a thing (a name,
an address, an instance id) and return every entry that answers to it: a caller that needs exactly one uses `find`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from paydown.errors import InvalidDocument

Uid = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,254}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255)]
ImageDigest = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+:[0-9a-f]{32,128}$")]


class Entry(BaseModel):
    """What every entry has: a stable uid, a name, where it lives, labels, and who found it when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: Uid
    name: Name
    account: Name | None = None
    region: Name | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    source: Name = "declared"
    last_seen: AwareDatetime | None = None

    @property
    def kind(self) -> str:
        """The entry's kind in lower case: `host`, `cluster`, ..."""
        return type(self).__name__.lower()

    @property
    def ref(self) -> str:
        """How people and commands name it: `host/build-1`."""
        return f"{self.kind}/{self.name}"


class Ssm(BaseModel):
    """Reach a host through SSM Run Command: the cloud's way."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    via: Literal["ssm"]
    instance_id: Annotated[str, StringConstraints(pattern=r"^(i|mi)-[0-9a-f]{8,17}$")]


class Tcp(BaseModel):
    """Reach a host's Docker engine over TCP with mutual TLS; `secret` holds `{"ca", "cert", "key"}` as PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    via: Literal["tcp"]
    address: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}$")]
    secret: Name


class Unix(BaseModel):
    """Reach the Docker engine of this machine over a unix socket: for the local application only."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    via: Literal["unix"]
    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*$")]


Reach = Annotated[Ssm | Tcp | Unix, Field(discriminator="via")]


class Host(Entry):
    """A machine. `builds`: patterns (`*`, `?`) of `registry/repository` which it builds; `aliases`: other names."""

    reach: Reach
    builds: tuple[Pattern, ...] = ()
    aliases: tuple[Name, ...] = ()


class Cluster(Entry):
    """A Kubernetes cluster. Only nodes whose name matches one of `nodes` (patterns with `*` and `?`) are ours to touch.

    `reader_secret` and `operator_secret` name secrets with `{"server", "token", "ca"?}` for reading and for acting: a
    function deployed to observe may read only the first.
    """

    reader_secret: Name
    operator_secret: Name
    nodes: tuple[Pattern, ...] = ()
    aliases: tuple[Name, ...] = ()


class Node(Entry):
    """A node of a cluster: made by `Inventory.node`, not declared, since nodes come and go."""

    cluster: Cluster

    @property
    def ref(self) -> str:
        """How people and commands name it."""
        return f"node/{self.cluster.name}/{self.name}"


class Tracker(Entry):
    """A ticket system. A ticket that a person moves to `queue` is to be automated; `secret` names the credentials."""

    system: Literal["roundup", "github"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    secret: Name
    queue: Name = "automation"


class S3Storage(BaseModel):
    """A registry keeps its content in this bucket, below `prefix` (its `rootdirectory`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    via: Literal["s3"]
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, StringConstraints(max_length=512)] = ""


class FolderStorage(BaseModel):
    """A registry keeps its content in this folder of this machine: for the local application only."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    via: Literal["folder"]
    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*$")]


Storage = Annotated[S3Storage | FolderStorage, Field(discriminator="via")]


class Registry(Entry):
    """A CNCF Distribution registry, called as in the names of its images (`images.example:5000`).

    It is asked at `url` for the tags of those repositories that match `repositories` (patterns with `*` and `?`); one
    without a wildcard needs no right to list all. `secret` names `{"username", "password"}`, if it wants them, and
    `operator_secret` those of somebody who may delete, which a function deployed to observe cannot read. `storage` is
    where it keeps its content: its API does not list what has no tag.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")]
    repositories: tuple[Pattern, ...] = Field(("*",), min_length=1)
    secret: Name | None = None
    operator_secret: Name | None = None
    storage: Storage | None = None


class Repository(Entry):
    """A repository of a registry: made by `Inventory.repository`, not declared, since repositories come and go."""

    registry: Registry

    @property
    def ref(self) -> str:
        """How people and commands name it."""
        return f"repository/{self.registry.name}/{self.name}"


class Tag(Entry):
    """A tag of a repository: made by `Inventory.tag`, not declared. Its name is `REPOSITORY:TAG`."""

    repository: Repository

    @property
    def tag(self) -> str:
        """What stands after the colon."""
        return self.name.rpartition(":")[2]

    @property
    def ref(self) -> str:
        """How people and commands name it."""
        return f"tag/{self.repository.registry.name}/{self.name}"


class Promotion(BaseModel):
    """An image that was promoted: `digest` is what `stage` runs, `previous` what it goes back to. Both are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: Name
    repository: Name
    digest: ImageDigest
    previous: ImageDigest | None = None


class Alertmanager(Entry):
    """An Alertmanager, which is asked at `url` for the alerts that fire and that it sends to `receiver`.

    `cluster` is the cluster of alerts without that label. `secret` names `{"token"}` or `{"username", "password"}` of
    the proxy before it, if there is one.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")]
    receiver: Name = "paydown"
    cluster: Name | None = None
    secret: Name | None = None


class Ticket(Entry):
    """A ticket of a tracker: made by `Inventory.ticket`, not declared."""

    tracker: Tracker
    id: Name

    @property
    def ref(self) -> str:
        """How people and commands name it."""
        return f"ticket/{self.tracker.name}/{self.id}"


Target = Host | Cluster | Node | Tracker | Ticket | Registry | Repository | Tag | Alertmanager


class Inventory(BaseModel):
    """The whole document."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Paydown inventory")

    schema_version: Literal[1] = 1
    hosts: tuple[Host, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    trackers: tuple[Tracker, ...] = ()
    registries: tuple[Registry, ...] = ()
    alertmanagers: tuple[Alertmanager, ...] = ()
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

    def entries(self) -> Iterator[Host | Cluster | Tracker | Registry | Alertmanager]:
        """All that is declared."""
        yield from self.hosts
        yield from self.clusters
        yield from self.trackers
        yield from self.registries
        yield from self.alertmanagers

    def hosts_that_build(self, registry: str, repository: str) -> list[Host]:
        """The hosts with a `builds` pattern that matches `registry/repository`."""
        image = f"{registry}/{repository}"
        return [host for host in self.hosts if any(fnmatchcase(image, pattern) for pattern in host.builds)]

    def hosts_named(self, name: str) -> list[Host]:
        """The hosts that answer to a name, an alias, an instance id or an address (its port does not count)."""
        bare = name.rsplit(":", 1)[0] if name.count(":") == 1 else name
        return [host for host in self.hosts if {name, bare} & _names(host)]

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
