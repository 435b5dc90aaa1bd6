"""Registries: tags that point elsewhere than anybody told.

The key of the webhook is the registry's event id, which no list of tags tells. So what ingress and earlier passes told
of each tag is known (`paydown.ledger.sources_seen`), only what differs is told, and the key of that is made from the
tag, its digest and the time of what was known: the same for a pass that is repeated, another one when the tag comes
back to the same digest later. A webhook that arrives after all makes a second event; its run finds nothing to do.

The first pass over a registry, or over other repositories than before, only learns: nobody knows what is new.

Amazon ECR has no webhooks to lose: AWS puts its events on the bus itself, and nobody notes there what was told. It is
asked only whether it answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from functions.reconcile_sources.desk import Desk, State, digest_of
from paydown.clients.registry import RegistryApi
from paydown.events import ImagePushed
from paydown.inventory import Registry
from paydown.ledger.sources_seen import KEPT, Telling, Told, sender_of

AT_ONCE = 4
"""Requests to one registry at the same time."""
CHUNK = 40
"""Tags that are looked at before it is asked whether there is time for more."""


def registry(entry: Registry, state: State, desk: Desk, api: RegistryApi) -> int:
    """Go on where the last pass ended, as far as time allows. Returns how many tags nobody had told of."""
    if entry.system == "ecr":
        api.ping()
        return 0
    scope = digest_of(entry.name, entry.url, *entry.repositories)
    if state.get("scope") != scope:
        state.update(scope=scope, learning=True, after="", within="", tag="")
    found = 0
    for repository in api.repositories(entry.repositories, state["after"]):
        for tags in _chunks(_left(state, repository, api.tags(repository))):
            if desk.time_is_up:
                return found
            found += _told(entry, repository, tags, desk, api, learning=state["learning"])
            state.update(within=repository, tag=tags[-1])
        if desk.time_is_up:
            return found
        state.update(after=repository, within="", tag="")
    state.update(learning=False, after="", within="", tag="")
    return found


def _left(state: State, repository: str, tags: Sequence[str]) -> list[str]:
    """The tags of a repository that an interrupted pass has left over."""
    return [tag for tag in tags if state["within"] != repository or tag > state["tag"]]


def _chunks(tags: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(tags), CHUNK):
        yield tags[first : first + CHUNK]


def _told(
    entry: Registry, repository: str, tags: Sequence[str], desk: Desk, api: RegistryApi, *, learning: bool
) -> int:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        digests = list(threads.map(lambda tag: api.digest(repository, tag), tags))
    subjects = {tag: f"{entry.name}/{repository}:{tag}" for tag in tags}
    known = desk.sources.told(sender_of(entry), subjects.values())
    untold: list[ImagePushed] = []
    tellings: list[Telling] = []
    for tag, digest in zip(tags, digests, strict=True):
        if digest is None:
            continue
        before = known.get(subjects[tag])
        if before is not None and before.value == digest:
            tellings += [Telling(before.subject, digest, before.at)] if _ages(before, desk) else []
            continue
        tellings.append(Telling(subjects[tag], digest, desk.now.isoformat()))
        if before is not None or not learning:
            untold.append(_event(entry, repository, tag, digest, before, desk))
    desk.publish(untold)
    desk.sources.tell(sender_of(entry), tellings, desk.now)
    return len(untold)


def _event(entry: Registry, repository: str, tag: str, digest: str, before: Told | None, desk: Desk) -> ImagePushed:
    since = before.at if before else ""
    return ImagePushed(
        key=f"{sender_of(entry)}:found:{digest_of(entry.name, repository, tag, digest, since)}",
        at=desk.now,
        registry=entry.name,
        repository=repository,
        digest=digest,
        tag=tag,
    )


def _ages(known: Told, desk: Desk) -> bool:
    """Whether the ledger would forget it within the second half of the time for which it is kept."""
    return known.expires < (desk.now + KEPT / 2).timestamp()
