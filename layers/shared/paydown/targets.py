"""The kinds of targets that Paydown may act on, and what relates to them: hosts, clusters, registries, and so on.

Each entry has a `uid` that stays the same when names change; relations point to uids. What is declared of them makes up
the inventory (`paydown.inventory`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Uid = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,254}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255)]
ImageDigest = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+:[0-9a-f]{32,128}$")]


class Entry(BaseModel):
    """What every entry has: a stable uid, a name, where it lives, labels, and who found it when."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    via: Literal["ssm"]
    instance_id: Annotated[str, StringConstraints(pattern=r"^(i|mi)-[0-9a-f]{8,17}$")]


class Tcp(BaseModel):
    """Reach a host's Docker engine over TCP with mutual TLS; `secret` holds `{"ca", "cert", "key"}` as PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    via: Literal["tcp"]
    address: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}$")]
    secret: Name


class Unix(BaseModel):
    """Reach the Docker engine of this machine over a unix socket: for the local application only."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
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

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    via: Literal["s3"]
    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, StringConstraints(max_length=512)] = ""


class FolderStorage(BaseModel):
    """A registry keeps its content in this folder of this machine: for the local application only."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    via: Literal["folder"]
    path: Annotated[str, StringConstraints(pattern=r"^/[^\x00]*$")]


Storage = Annotated[S3Storage | FolderStorage, Field(discriminator="via")]


class Registry(Entry):
    """A registry, called as in the names of its images (`images.example:5000`, `ACCOUNT.dkr.ecr.REGION.amazonaws.com`).

    `system` is what runs it: CNCF Distribution or anything that speaks its API, Amazon ECR, or Harbor.

    It is asked at `url` for the tags of those repositories that match `repositories` (patterns with `*` and `?`); one
    without a wildcard needs no right to list all. `secret` names `{"username", "password"}`, if it wants them, and
    `operator_secret` those of somebody who may delete, which a function deployed to observe cannot read. `storage` is
    where a CNCF Distribution registry keeps its content: its API does not list what has no tag. ECR takes no secret:
    the function's role counts.

    `bases` are those of its repositories, named without wildcards, that hold base images of one's own.
    """

    system: Literal["distribution", "ecr", "harbor"] = "distribution"
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")]
    repositories: tuple[Pattern, ...] = Field(("*",), min_length=1)
    bases: tuple[Name, ...] = ()
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
    """An image that was promoted: `digest` is what `stage` runs, `previous` what it goes back to. Both are kept.

    What `promote_image` did is merged in from the ledger: there `registry` (its name) and `tag` are set, `last_seen` is
    when the tag was seen to point to `digest` (None while it is being moved), and `withdrawn` is what was taken back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    stage: Name
    repository: Name
    digest: ImageDigest
    previous: ImageDigest | None = None
    registry: Name | None = None
    tag: Name | None = None
    withdrawn: ImageDigest | None = None
    source: Name = "declared"
    last_seen: AwareDatetime | None = None


class Source(Entry):
    """A git repository from which images are built, read over HTTPS at `url`.

    `images`: patterns (`*`, `?`) of the `registry/repository` that are built from it, with the file `dockerfile` and
    the folder `context`. `secret` names `{"username", "password"}` (a token), if it wants them. `tracker` names the
    ticket system that has its pull requests.
    """

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")]
    images: tuple[Pattern, ...] = Field(min_length=1)
    dockerfile: Annotated[str, StringConstraints(pattern=r"^[^/\x00][^\x00]{0,254}$")] = "Dockerfile"
    context: Annotated[str, StringConstraints(pattern=r"^[^/\x00][^\x00]{0,254}$")] = "."
    secret: Name | None = None
    tracker: Name | None = None


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
