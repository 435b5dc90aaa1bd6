"""A repository of a registry in memory, with what the toil type asks of `Holdings` and of a survey."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.clean_registry.graph import Node
from functions.clean_registry.survey import Survey, attached_by_tag
from paydown.clients.registry_storage import Revision
from paydown.errors import PaydownError
from paydown.inventory import Inventory, Repository

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@dataclass
class FakeRegistry:
    """A repository of images, each with a layer of its own, of which 0 is `latest`; the others are 30 days old."""

    count: int = 3
    fails: dict[str, PaydownError] = field(default_factory=dict)
    uses: frozenset[str] = frozenset()
    asked: int = 0
    deleted: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=lambda: {"latest": digest(0)})
    since: dict[str, datetime] = field(default_factory=dict)
    left: str = ""
    at_once: int = 1
    cascades: bool = False
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    moves: dict[str, str] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()
    unread: PaydownError | None = None

    def survey(self, target: Repository, holdings: Any) -> Survey:
        there = [digest(number) for number in range(self.count) if digest(number) not in self.deleted]
        nodes = {one: self.node(one) for one in there}
        moments = {one: NOW - timedelta(days=30) for one in there} | self.since
        listed = {one: Revision(one, at, at, size=1_000) for one, at in moments.items()}
        return Survey(nodes, dict(self.tags), listed, self.cascades, attached_by_tag(self.tags, nodes), self.dead)

    def node(self, one: str) -> Node:
        if one in self.indexes:
            return Node(one, children=self.indexes[one], size=10)
        return Node(one, blobs={f"layer of {one}": 1_000}, size=10)

    def in_use(self, inventory: Inventory, run_id: str) -> frozenset[str]:
        self.asked += 1
        return self.uses

    def left_to(self) -> str:
        return self.left

    def present(self, digests: set[str]) -> set[str]:
        return digests - set(self.deleted)

    def delete(self, digests: list[str]) -> dict[str, PaydownError | None]:
        """With the tags that point there, as registries do; `moves` are made by others at the last moment."""
        self.calls.append(list(digests))
        self.tags |= self.moves
        self.deleted += [one for one in digests if one not in self.fails]
        if self.cascades:
            self.deleted += [child for one in digests for child in self.indexes.get(one, ())]
        self.tags = {tag: one for tag, one in self.tags.items() if one not in self.deleted}
        return {one: self.fails.get(one) for one in digests}

    def tag_names(self) -> set[str]:
        if self.unread:
            raise self.unread
        return {*self.tags, *self.dead}
