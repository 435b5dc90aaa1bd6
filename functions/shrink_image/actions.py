"""What `shrink_image` does, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable

from functions.shrink_image.report import LIMIT
from paydown.plan import Action, Hazard, Step
from paydown.tickets import plain

NEVER = "an image is never replaced"


class OfferImage(Action):
    """Run a smaller image beside its original, and put its tag on it if nothing tells them apart.

    `object` is its name, as `registry/repository:tag`; `digest` the original's; `image_id` and `manifest` are the
    digests of its own configuration and manifest; `host` is the uid of the Docker host.
    """

    hazard: Hazard = Hazard.REVERSIBLE
    tag: str
    digest: str
    image_id: str
    manifest: str
    host: str


class PublishProposal(Action):
    """Say what would be smaller. `object` is the original's name, `text` for people, `dockerfile` the proposal."""

    hazard: Hazard = Hazard.NONE
    digest: str
    text: str
    dockerfile: str
    saves_bytes: int


def offered(step: Step) -> bool:
    """Whether a trial that ended left the tag on the smaller image."""
    return step.evidence.get("offered") is not False and NEVER not in step.why


def result(steps: Iterable[Step]) -> str:
    """What came of a trial, in words; empty if there was none."""
    for step in steps:
        if not isinstance(step.action, OfferImage) or not step.state.ended:
            continue
        if offered(step):
            said = f"Run beside the original, nothing told it apart: it is offered as {step.action.object}."
            return plain(" ".join([said, *map(str, step.evidence.get("alive") or ())]))
        return plain(f"It is not offered as {step.action.object}: {step.evidence.get('why') or step.why}.")
    return ""


def ticket_text(action: PublishProposal, tried: str) -> str:
    """What the ticket says: what was found, what came of the trial, and the Dockerfile if there is room for it."""
    told = f"{action.text}\n\n{tried}" if tried else action.text
    text = f"{told}\n\nProposed Dockerfile:\n\n{action.dockerfile}" if action.dockerfile else told
    return plain(f"{text if len(text) <= LIMIT else told}\n\nThe image: {action.digest}.")
