"""Which manifests of a repository nothing refers to: decided from facts alone.

A manifest is kept for what it is (tagged, in use, young) or for what refers to it. Everything else may go, the one that
refers before the one that is referred to, so that what remains is whole at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Node:
    """A manifest or an index.

    `children` are the digests of the manifests that it lists, `subject` that of the one to which it is attached, and
    `config` that of its configuration, which Docker takes for the image's id. `blobs` are the sizes of the blobs that
    it names, in bytes; `size` is its own. `tagged_for` are the digests to which it is attached by a tag made of them:
    its content need not name these.
    """

    digest: str
    children: tuple[str, ...] = ()
    subject: str | None = None
    config: str | None = None
    blobs: Mapping[str, int] = field(default_factory=dict)
    size: int = 0
    tagged_for: tuple[str, ...] = ()


def kept(
    nodes: Mapping[str, Node], *, tagged: Set[str], used: Set[str], young: Set[str], cascades: bool = False
) -> set[str]:
    """The digests that stay.

    Those that are tagged, in use (by digest, or by the digest of their configuration) or young; what something young is
    attached to by a tag; an index that lists one in use, since whoever pulled it may have asked for the index; then
    whatever these refer to, and what is attached to them, or to something in use that is not here. `cascades`: deleting
    an index takes along what has no tag and no other index, so one that lists something like that which stays, stays
    too.
    """
    running = {one.digest for one in nodes.values() if one.digest in used or one.config in used}
    parents: dict[str, set[str]] = {}
    attached: dict[str, set[str]] = {}
    for one in nodes.values():
        for child in one.children:
            parents.setdefault(child, set()).add(one.digest)
        for subject in (*one.tagged_for, *((one.subject,) if one.subject else ())):
            attached.setdefault(subject, set()).add(one.digest)
    roots = _reached(running | (used & parents.keys()), lambda digest: parents.get(digest, ()))
    roots |= (tagged | young | running) & nodes.keys()
    roots |= {subject for digest in young & nodes.keys() for subject in nodes[digest].tagged_for}
    roots |= used & attached.keys()

    def following(digest: str) -> Iterable[str]:
        one = nodes.get(digest)
        yield from attached.get(digest, ())
        if one is not None:
            yield from one.children
            if one.subject:
                yield one.subject

    stay = _reached(roots, following) & nodes.keys()
    while cascades:
        bare = (digest for digest in stay - tagged if not parents.get(digest, set()) & stay)
        more = {parent for digest in bare for parent in parents.get(digest, ())}
        if not more:
            break
        stay = _reached(stay | more, following) & nodes.keys()
    return stay


def taken(nodes: Mapping[str, Node], going: Set[str], gone: Set[str]) -> set[str]:
    """Of those that go, the ones that only manifests which are `gone` list, themselves or through each other."""
    parents: dict[str, set[str]] = {}
    for one in nodes.values():
        for child in one.children:
            parents.setdefault(child, set()).add(one.digest)
    found: set[str] = set()
    waiting = [child for digest in gone for child in nodes[digest].children]
    while waiting:
        digest = waiting.pop()
        if digest in going and digest not in found and parents[digest] <= gone | found:
            found.add(digest)
            waiting += nodes[digest].children
    return found - gone


def below(nodes: Mapping[str, Node], going: Set[str], digest: str) -> set[str]:
    """This one and what it lists of those that go, through any number of indexes."""
    return _reached([digest], lambda it: [child for child in nodes[it].children if child in going])


def stages(nodes: Mapping[str, Node], going: Set[str]) -> list[list[str]]:
    """Those that go, in the order in which they may: whatever refers to another of them stands in an earlier stage."""
    left = set(going)
    referred = dict.fromkeys(left, 0)
    for digest in left:
        for child in _refers(nodes[digest]) & left:
            referred[child] += 1
    found: list[list[str]] = []
    while left:
        # Digests cannot refer to each other in a circle; if they seem to, all that is left goes at once.
        free = sorted(digest for digest in left if not referred[digest]) or sorted(left)
        found.append(free)
        left -= set(free)
        for digest in free:
            for child in _refers(nodes[digest]) & left:
                referred[child] -= 1
    return found


def freed(nodes: Mapping[str, Node], going: Set[str]) -> dict[str, int]:
    """The blobs, with their sizes in bytes, that only those name that go; their own content counts as a blob."""
    held = {blob for digest, one in nodes.items() if digest not in going for blob in (*one.blobs, digest)}
    gone: dict[str, int] = {}
    for digest in going:
        gone |= {digest: nodes[digest].size, **nodes[digest].blobs}
    return {blob: size for blob, size in gone.items() if blob not in held}


def _refers(one: Node) -> set[str]:
    return {*one.children, *one.tagged_for, *((one.subject,) if one.subject else ())} - {one.digest}


def _reached(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        digest = waiting.pop()
        if digest not in seen:
            seen.add(digest)
            waiting += following(digest)
    return seen
