"""Who tells us what happened: one file per sender holds its verification and its normalisation.

A sender's file has two functions: `verify`, which makes sure on the raw body that it is really them, and `read`, which
turns the body into typed events. Both are pure: they see nothing but the request. `paydown.sources.webhook` has the
means that they share; `paydown.sources.aws` reads the envelopes of the event bus.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from paydown.sources.webhook import Batch, Request

SENDERS = ("alertmanager", "github", "harbor", "registry", "roundup")
"""The senders of webhooks: the last part of the path under which each delivers, and the name of its file here."""

BUS_SOURCES = {"aws.cloudwatch": "cloudwatch", "aws.ecr": "ecr", "aws.inspector2": "inspector"}
"""What the policy calls the services whose events come over the bus, by the envelope's `source`."""
SCHEDULE = "schedule_"
"""Before the name of a toil type: its schedule, as a source."""


class Sender(Protocol):
    """What the file of a sender offers."""

    def verify(self, request: Request, secrets: Sequence[str]) -> None:
        """Raise Unauthorized unless the request proves that it knows one of the secrets."""

    def read(self, request: Request) -> Batch:
        """What the body says. Raises InvalidEvent when nothing of it can be understood."""


def sender(name: str) -> Sender | None:
    """The sender of this name; None when there is none. Only its own file is imported."""
    if name not in SENDERS:
        return None
    return cast("Sender", import_module(f"{__name__}.{name}"))
