"""A build host and the repository that it pushes to, in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from paydown.clients.base_contents import Candidate, Contents, Entry, Recipe
from paydown.clients.docker_hosts.logins import Login
from paydown.clients.registry_content import DOCKER_MANIFEST, Manifest, digest_of
from paydown.clients.web import NotThere

OWNERS = {"/x": frozenset({"bash"})}
OLD, NEW = {"bash/amd64": "5.2"}, {"bash/amd64": "5.3"}


@dataclass
class FakeRegistry:
    """One repository: manifests by digest, tags, and blobs."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    pointed: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def tags(self, repository: str) -> list[str]:
        return sorted(self.pointed)

    def digest(self, repository: str, reference: str) -> str | None:
        return reference if reference in self.manifests else self.pointed.get(reference)

    def manifest(self, repository: str, reference: str) -> Manifest:
        found = self.manifests.get(self.pointed.get(reference, reference))
        if found is None:
            raise NotThere(reference)
        return found

    def blob(self, repository: str, digest: str, limit: int) -> bytes:
        return self.blobs[digest]

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> str:
        self.manifests[manifest.digest] = manifest
        self.pointed[reference] = manifest.digest
        return manifest.digest

    def delete_manifest(self, repository: str, digest: str) -> None:
        if digest not in self.manifests:
            raise NotThere(digest)
        del self.manifests[digest]
        self.pointed = {tag: one for tag, one in self.pointed.items() if one != digest}

    def push(self, tag: str, diff_id: str, created: str = "2026-07-01T03:00:00Z") -> str:
        """As the engine pushes it; the id of the image."""
        content = json.dumps({"created": created, "rootfs": {"diff_ids": [diff_id]}}).encode()
        config = digest_of(content)
        self.blobs[config] = content
        layer = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": diff_id, "size": 9}
        named = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": config, "size": len(content)}
        document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": named, "layers": [layer]}
        self.put_manifest("", tag, Manifest.made(document, DOCKER_MANIFEST))
        return config


@dataclass
class FakeHost:
    """A build host on which things take one look."""

    registry: FakeRegistry
    available: dict[str, str] = field(default_factory=lambda: dict(NEW))
    built: Contents = field(default_factory=lambda: Contents(dict(NEW), {"/x": Entry("f", 0o755, "0:0", "2")}, OWNERS))
    last: Contents = field(default_factory=lambda: Contents(dict(OLD), {"/x": Entry("f", 0o755, "0:0", "1")}, OWNERS))
    candidate: Candidate = field(default_factory=Candidate)
    asked: list[str] = field(default_factory=list)
    diff_id: str = "sha256:" + "d" * 64
    logins: list[Login | None] = field(default_factory=list)

    def packages(self, recipe: Recipe) -> dict[str, str]:
        return self.available

    def read(self, key: str) -> Candidate:
        return self.candidate

    def build(self, key: str, run_id: str, recipe: Recipe) -> None:
        self.asked.append("build")
        self.candidate = Candidate(running=True)

    def finish(self) -> None:
        other = FakeRegistry()
        self.candidate = Candidate(diff_id=self.diff_id, image=other.push("x", self.diff_id))

    def contents(self, image: str) -> Contents | Candidate:
        return self.built if image.startswith("paydown-base:") else self.last

    def unpack(self, image: str, run_id: str, login: Login | None = None) -> None:
        self.asked.append(f"unpack {image}")
        self.logins.append(login)

    def push(self, key: str, run_id: str, name: str, login: Login | None = None) -> None:
        self.logins.append(login)
        self.asked.append(f"push {name}")
        self.registry.push(name.rpartition(":")[2], self.diff_id)

    def forget(self, key: str) -> bool:
        self.asked.append("forget")
        return not self.candidate.running
