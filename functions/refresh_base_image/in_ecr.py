"""What is different for a base in Amazon ECR: its logins last for twelve hours.

Over a socket a token of the function's own role goes along, for this one push or pull. A host behind SSM must be able
to log in by itself, as nothing secret travels there.
"""

from __future__ import annotations

from collections.abc import Mapping

from paydown.clients import aws
from paydown.clients.registry import credentials_of
from paydown.inventory import Host, Repository, Ssm

REJECTED = (
    "no basic auth credentials",
    "authorization token has expired",
    "authentication required",
    "error getting credentials",
)
"""What an engine says that is not logged in, that was once, or whose credential helper does not work."""


def login(target: Repository, host: Host) -> Mapping[str, Mapping[str, str]] | None:
    """What goes along with a push or a pull; None if the host has a login of its own."""
    if target.registry.system != "ecr" or isinstance(host.reach, Ssm):
        return None
    return {target.registry.name: credentials_of(target.registry, aws.secret, operator=True)}


def explained(why: str, target: Repository, host: Host) -> str:
    """Why a push or pull failed; if the host could not log in, that first."""
    if target.registry.system != "ecr" or not isinstance(host.reach, Ssm) or not any(one in why for one in REJECTED):
        return why
    return (
        f"{host.name} is not logged in to {target.registry.name}: its instance role needs the right to push, and root's"
        f" docker command ECR's credential helper: {why}"
    )
