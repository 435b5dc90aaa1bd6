"""The same random repository in each system that runs registries: CNCF Distribution, Amazon ECR and Harbor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from hypothesis import strategies as st

from functions.clean_registry import holdings
from paydown.clients import aws
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.clients.web import NotThere
from paydown.inventory import FolderStorage, Registry, Repository
from tests.harbor_standin import KNOWN, Harbor

NAME = "team/app"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
OLD, YOUNG = 30, 1
"""Days since a push."""


@dataclass(frozen=True)
class Pushed:
    """A manifest that was pushed, its tags, how many days ago, and to what it is attached by further tags."""

    manifest: Manifest
    tags: tuple[str, ...]
    days: float
    about: tuple[str, ...] = ()

    @property
    def attached(self) -> tuple[str, ...]:
        """The tags that say to what it is attached: a list of referrers, or as cosign makes them."""
        kind = "" if self.manifest.is_index else ".sig"
        return tuple(one.replace(":", "-", 1) + kind for one in self.about)


@dataclass
class Content:
    """What was pushed, by digest, and what is used somewhere: digests of manifests or configurations."""

    pushed: dict[str, Pushed] = field(default_factory=dict)
    used: frozenset[str] = frozenset()


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Images and indexes, some attached to others, some tagged, some young; some of what they name is not there."""
    found = Content()
    configurations = []
    for number in range(draw(st.integers(1, 9))):
        others = [*found.pushed, digest(7)]
        subject = draw(st.none() | st.sampled_from(others)) if draw(st.booleans()) else None
        document: dict[str, Any] = {"schemaVersion": 2, "annotations": {"number": str(number)}}
        if subject:
            document["subject"] = described(subject, OCI_MANIFEST)
        if draw(st.booleans()) and found.pushed:
            # Nobody attaches an index to what it lists itself; Harbor would list neither.
            listable = st.sampled_from([one for one in others if one != subject])
            children = draw(st.lists(listable, max_size=3, unique=True))
            document["manifests"] = [described(child, kind(found, child)) for child in children]
            manifest = Manifest.made(document, OCI_INDEX)
        else:
            configuration = digest(1_000 + draw(st.integers(0, 4)))
            configurations.append(configuration)
            layers = draw(st.lists(st.integers(0, 9), max_size=3, unique=True))
            document["config"] = described(configuration, "application/vnd.oci.image.config.v1+json")
            document["layers"] = [described(digest(2_000 + layer), "application/octet-stream") for layer in layers]
            manifest = Manifest.made(document, OCI_MANIFEST)
        tags = tuple(f"t{number}-{tag}" for tag in range(draw(st.sampled_from([0, 0, 0, 1, 2]))))
        days = draw(st.sampled_from([OLD, OLD, OLD, YOUNG])) - number / 1_000
        kept = [one.about for one in found.pushed.values() if one.manifest.is_index == manifest.is_index]
        free = [one for one in others if one not in {about for some in kept for about in some}]
        about = draw(st.lists(st.sampled_from(free), max_size=2, unique=True)) if free and draw(st.booleans()) else []
        found.pushed[manifest.digest] = Pushed(manifest, tags, days, tuple(about))
    found.used = frozenset(draw(st.sets(st.sampled_from([*found.pushed, *configurations, digest(9)]), max_size=2)))
    return found


def described(of: str, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": of, "size": 100}


def kind(content: Content, of: str) -> str:
    return content.pushed[of].manifest.media_type if of in content.pushed else OCI_MANIFEST


class Place(Protocol):
    """A registry that runs somewhere."""

    target: Repository
    attaches_by_tag: bool

    def fill(self, content: Content) -> None:
        """Let it hold this and nothing else."""

    def left(self) -> set[str]:
        """The digests that it still holds, by its own books."""


class Distribution:
    """Storage in a folder, and an API that answers from it."""

    attaches_by_tag = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        storage = FolderStorage(via="folder", path=str(folder))
        registry = Registry(uid="d", name="d.example", url="https://d.example", repositories=(NAME,), storage=storage)
        self.target = Repository(uid="r", name=NAME, registry=registry)
        self._held: dict[str, Pushed] = {}

    def fill(self, content: Content) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        self._held = dict(content.pushed)
        for it, pushed in content.pushed.items():
            link = self._link(it)
            link.parent.mkdir(parents=True)
            link.touch()
            at = (datetime.now(UTC) - timedelta(days=pushed.days)).timestamp()
            os.utime(link, (at, at))

    def left(self) -> set[str]:
        return set(self._held)

    def tags(self, repository: str) -> list[str]:
        return sorted(tag for pushed in self._held.values() for tag in (*pushed.tags, *pushed.attached))

    def digest(self, repository: str, reference: str) -> str | None:
        held = self._held.items()
        return next((it for it, one in held if reference in (it, *one.tags, *one.attached)), None)

    def manifest(self, repository: str, reference: str) -> Manifest:
        if reference not in self._held:
            raise NotThere("404")
        return self._held[reference].manifest

    def delete_manifest(self, repository: str, of: str) -> None:
        if of not in self._held:
            raise NotThere("404")
        del self._held[of]
        self._link(of).unlink()

    def _link(self, of: str) -> Path:
        base = self._folder / "docker/registry/v2/repositories" / NAME / "_manifests/revisions/sha256"
        return base / of.partition(":")[2] / "link"


class Ecr:
    """moto's. It deletes whatever it is told to, also what a manifest list refers to."""

    attaches_by_tag = True

    def __init__(self) -> None:
        from moto.ecr.models import ecr_backends

        registry = Registry(uid="e", name=ECR, system="ecr", url=f"https://{ECR}", repositories=(NAME,))
        self.target = Repository(uid="r", name=NAME, registry=registry)
        self._client = aws.client("ecr")
        self._client.create_repository(registryId=ECR[:12], repositoryName=NAME)
        self._kept = ecr_backends["123456789012"]["eu-central-1"].repositories[NAME]

    def fill(self, content: Content) -> None:
        self._kept.images.clear()
        for it, pushed in content.pushed.items():
            for tag in (*pushed.tags, *pushed.attached) or (None,):
                self._client.put_image(
                    registryId=ECR[:12],
                    repositoryName=NAME,
                    imageManifest=pushed.manifest.raw.decode(),
                    imageManifestMediaType=pushed.manifest.media_type,
                    imageDigest=it,
                    **({"imageTag": tag} if tag else {}),
                )
            at = datetime.now(UTC) - timedelta(days=pushed.days)
            self._kept.images[-1].image_pushed_at = at.timestamp()

    def left(self) -> set[str]:
        return {image.image_digest for image in self._kept.images}


class OnHarbor:
    """Our stand-in, over the wire. Harbor itself turns tags of what is attached into accessories: there are none."""

    attaches_by_tag = False

    def __init__(self, harbor: Harbor) -> None:
        self._harbor = harbor
        registry = Registry(
            uid="h", name="h.example", system="harbor", url=harbor.url, repositories=(NAME,), secret="harbor"
        )
        self.target = Repository(uid="r", name=NAME, registry=registry)

    def fill(self, content: Content) -> None:
        self._harbor.artifacts.clear()
        for it, pushed in content.pushed.items():
            manifest, age = pushed.manifest, timedelta(days=pushed.days)
            self._harbor.put(manifest.raw, manifest.media_type, it, tags=pushed.tags, age=age)

    def left(self) -> set[str]:
        return set(self._harbor.artifacts)


@contextmanager
def place(system: str, folder: Path) -> Iterator[Place]:
    """A registry of this system, as the function finds it."""
    with ExitStack() as stack:
        match system:
            case "distribution":
                found: Place = Distribution(folder)
                stack.enter_context(patch.object(holdings, "open_registry", lambda *_, **__: found))
            case "ecr":
                from moto import mock_aws

                stack.enter_context(mock_aws())
                aws.forget()
                stack.callback(aws.forget)
                found = Ecr()
            case _:
                harbor = Harbor(NAME)
                stack.callback(harbor.close)
                stack.enter_context(patch.object(aws, "secret", lambda name: KNOWN))
                found = OnHarbor(harbor)
        yield found
