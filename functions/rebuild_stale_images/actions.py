"""What a run does to one image: its build is begun, and then seen to its end."""

from __future__ import annotations

from paydown.plan import Action, Hazard


class Rebuild(Action):
    """The image `object` (`registry/repository:tag`) is `digest` now, and stands on the image `base`.

    `base` is empty if only a layer of its own is too old. `waits`: the base, which is `base_digest` now, is rebuilt by
    the same plan.
    """

    hazard: Hazard = Hazard.DISRUPTIVE  # the tag moves on, and the same Dockerfile need not give the same
    digest: str
    base: str = ""
    base_digest: str = ""
    waits: bool = False
    frozen: bool = False


class StartBuild(Rebuild):
    """Begin with a build without cache."""


class FinishBuild(Rebuild):
    """See the build to its end: it is pushed, and stands on the base as that is now."""
