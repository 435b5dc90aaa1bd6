"""The steps of refreshing a base image: built, checked, pushed by its date, and made `current`."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from paydown.plan import Action, Hazard

Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class BuildBase(Action):
    """Bootstrap a candidate on the build host. `object` is the repository, `key` what the recipe and packages make."""

    hazard: Hazard = Hazard.REVERSIBLE
    key: Key


class CheckBase(Action):
    """Compare the candidate with the last base. Nothing goes on if there is anything unexpected in it."""

    hazard: Hazard = Hazard.NONE
    key: Key


class PushBase(Action):
    """Push the candidate by its date. `object` is the name."""

    hazard: Hazard = Hazard.REVERSIBLE
    key: Key


class TagBase(Action):
    """Make what was pushed as `dated` the `current` base. `object` is the name; `previous` the digest that it had.

    `packages` are the versions by `name/architecture`, which its annotations tell.
    """

    hazard: Hazard = Hazard.REVERSIBLE
    key: Key
    dated: str
    previous: str = ""
    packages: dict[str, str]


class ListStrays(Action):
    """Say which images of a registry stand on no base of one's own."""

    hazard: Hazard = Hazard.NONE
    images: tuple[str, ...]
