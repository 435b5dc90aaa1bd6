"""A repository as it is now: what its registry keeps, where its tags point, what refers to what, and who runs it.

What cannot be asked raises, so nothing is removed on a guess.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from sys import intern
from threading import Lock
from typing import Any

from functions.clean_registry.graph import Node, kept
from functions.clean_registry.holdings import Holdings
from paydown.clients import aws, kube
from paydown.clients.docker import open_host
from paydown.clients.registry_content import DIGEST, IMAGES, INDEXES, Manifest
from paydown.clients.registry_storage import Revision
from paydown.errors import PermanentError
from paydown.inventory import Cluster, Host, Inventory, Repository

AT_ONCE = 8
"""Questions to hosts and clusters at the same time."""
READ_AT_ONCE = 200
"""Manifests in memory at the same time: what is kept of one is a tenth of it."""
REMEMBERED = 20_000
"""Manifests that are remembered: their content is what their digest says, for ever."""

_OF_A_DIGEST = re.compile(r"sha256-([0-9a-f]{64})(\.sig|\.att|\.sbom)?")
_ANY_DIGEST = re.compile(DIGEST.pattern)
_remembered: OrderedDict[str, Node] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True)
class Survey:
    """`revisions` are the manifests that the registry lists, by digest; `tags` the digest of each tag.

    `cascades`: deleting an index takes along what only it listed. `attachments`: of those tags that only say to which
    digest something is attached, that digest. `dead`: the tags that the registry lists, and that lead nowhere.
    """

    nodes: Mapping[str, Node]
    tags: Mapping[str, str]
    revisions: Mapping[str, Revision]
    cascades: bool = False
    attachments: Mapping[str, str] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()

    def young(self, oldest: datetime) -> set[str]:
        """What showed life after `oldest`, or is so new that the registry's list does not have it."""
        return {
            digest for digest in self.nodes if digest not in self.revisions or self.revisions[digest].since > oldest
        }

    def told_bytes(self) -> int:
        """What the registry says that all of it takes; a layer counts with each image. 0 where it says nothing."""
        return sum(one.size for one in self.revisions.values())

    def loose(self, oldest: datetime, used: frozenset[str]) -> set[str]:
        """What nothing refers to, and nobody uses, since `oldest`."""
        tagged = {digest for tag, digest in self.tags.items() if tag not in self.attachments}
        stay = kept(self.nodes, tagged=tagged, used=used, young=self.young(oldest), cascades=self.cascades)
        return self.nodes.keys() - stay

    def missing(self) -> set[str]:
        """The manifests that a tagged index lists, itself or by another index, and that are not there."""
        lost: set[str] = set()
        seen: set[str] = set()
        waiting = list(self.tags.values())
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            if digest in self.nodes:
                waiting += self.nodes[digest].children
            else:
                lost.add(digest)
        return lost


def survey(target: Repository, holdings: Holdings) -> Survey:
    """Read the repository. The tags come last: a tag that is put on while this reads is seen with all that it names."""
    listed = {one.digest: one for one in holdings.revisions()}
    nodes = _read(holdings, listed)
    tags = holdings.tags()
    if tags and not listed:
        raise PermanentError(f"{target.ref} has tags, and what lists its manifests holds nothing of it")
    new = set(tags.values()) - nodes.keys()
    while new:
        found = _read(holdings, new)
        nodes |= found
        new = {child for one in found.values() for child in one.children} - nodes.keys()
    attachments = attached_by_tag(tags, nodes) if holdings.attaches_by_tag else {}
    subjects: dict[str, list[str]] = {}
    for tag, subject in attachments.items():
        subjects.setdefault(tags[tag], []).append(subject)
    for digest in subjects.keys() & nodes.keys():
        nodes[digest] = replace(nodes[digest], tagged_for=tuple(subjects[digest]))
    return Survey(nodes, tags, listed, holdings.cascades, attachments, holdings.dead)


def attached_by_tag(tags: Mapping[str, str], nodes: Mapping[str, Node]) -> dict[str, str]:
    """The tags that only say to which digest something is attached, with that digest.

    `sha256-HEX` for the list of referrers, where the registry has no such API (OCI distribution 1.1), and cosign's
    `sha256-HEX.sig`, `.att` and `.sbom`. One that points to that very digest is a tag as any other (mirrors make such),
    and so are all of a repository that holds nothing else: cosign can keep the signatures of others in one apart.
    """
    found: dict[str, str] = {}
    for tag, digest in tags.items():
        form = _OF_A_DIGEST.fullmatch(tag)
        if form is None or digest not in nodes:
            continue
        subject = f"sha256:{form[1]}"
        is_list = nodes[digest].config is None
        if subject != digest and (form[2] or is_list):
            found[tag] = subject
    apart = found.keys() == tags.keys()
    return {tag: subject for tag, subject in found.items() if subject in nodes or not apart}


def in_use(inventory: Inventory, run_id: str) -> frozenset[str]:
    """The digests of images and of configurations that a cluster or a Docker host of the inventory uses.

    Those of promotions are among them. Wherever an image is said to come from, its digest counts.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        clusters = threads.map(_of_cluster, inventory.clusters)
        hosts = threads.map(lambda host: _of_host(host, run_id), inventory.hosts)
        return inventory.promoted_digests.union(*clusters, *hosts)


def node_of(manifest: Manifest) -> Node:
    """What a manifest refers to. Raises PermanentError for one of a kind or shape that is not known."""
    document = manifest.document
    if manifest.media_type not in INDEXES | IMAGES:
        raise PermanentError(f"{manifest.digest} is of a kind that is not known: {manifest.media_type[:100]!r}")
    children: list[str] = []
    blobs: dict[str, int] = {}
    for one in _descriptors(manifest, "manifests"):
        # Build caches list layers where an index has manifests.
        if one.get("mediaType") in INDEXES | IMAGES:
            children.append(intern(one["digest"]))
        else:
            blobs[intern(one["digest"])] = _size(one)
    for one in _descriptors(manifest, "layers"):
        blobs[intern(one["digest"])] = _size(one)
    config = document.get("config")
    if isinstance(config, dict):
        blobs[intern(_digest(manifest, config))] = _size(config)
    subject = document.get("subject")
    return Node(
        digest=intern(manifest.digest),
        children=tuple(children),
        subject=intern(_digest(manifest, subject)) if isinstance(subject, dict) else None,
        config=intern(config["digest"]) if isinstance(config, dict) else None,
        blobs=blobs,
        size=len(manifest.raw),
    )


def digests_in(names: Iterable[str]) -> Iterator[str]:
    """The digests in names of images (`app@sha256:…`, `docker-pullable://…`, or an id alone)."""
    for name in names:
        yield from (found[0] for found in _ANY_DIGEST.finditer(name))


def _read(holdings: Holdings, digests: Collection[str]) -> dict[str, Node]:
    """What these manifests refer to; those that are gone are left out."""
    with _lock:
        found = {digest: _remembered[digest] for digest in digests if digest in _remembered}
        for digest in found:
            _remembered.move_to_end(digest)
    left = sorted(set(digests) - found.keys())
    for first in range(0, len(left), READ_AT_ONCE):
        fresh = {one.digest: one for one in map(node_of, holdings.manifests(left[first : first + READ_AT_ONCE]))}
        with _lock:
            _remembered.update(fresh)
            while len(_remembered) > REMEMBERED:
                _remembered.popitem(last=False)
        found |= fresh
    for digest in found.keys() & holdings.subjects.keys():
        found[digest] = replace(found[digest], subject=found[digest].subject or holdings.subjects[digest])
    return found


def _of_cluster(cluster: Cluster) -> set[str]:
    # Always as the reader: nothing is changed in a cluster, whatever is done to the registry.
    return set(digests_in(kube.connect(cluster, observing=True, secrets=aws.secret).images()))


def _of_host(host: Host, run_id: str) -> set[str]:
    listing = open_host(host, observing=True, mark=f"paydown run {run_id}").list_images()
    names = (name for image in listing.dangling if image.id in listing.used for name in image.digests)
    return {*listing.used, *digests_in(names)}


def _descriptors(manifest: Manifest, field: str) -> Iterator[Mapping[str, Any]]:
    listed = manifest.document.get(field)
    if listed is None:  # how Go writes an empty list
        return
    if not isinstance(listed, list):
        raise PermanentError(f"{manifest.digest}: {field} is no list")
    for one in listed:
        _digest(manifest, one)
        yield one


def _digest(manifest: Manifest, descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise PermanentError(f"{manifest.digest} refers to something that has no digest")
    return digest


def _size(descriptor: Mapping[str, Any]) -> int:
    size = descriptor.get("size")
    return size if isinstance(size, int) and size > 0 else 0


def oldest(now: datetime, min_age: int) -> datetime:
    """What showed life later than this is young; `min_age` is in seconds."""
    return now - timedelta(seconds=min_age)
