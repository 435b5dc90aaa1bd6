"""What happened: the typed facts that trigger toil types.

An event is immutable and has a `key` made from its content, so that a repeat is recognised: the sender's own event or
delivery id, or what identifies the fault. Text that people or machines outside wrote (titles, labels) is hostile: it is
bounded in length here, matched and quoted elsewhere, and never becomes part of a command.

On the bus, ours have the source `paydown`; the detail-type is the class name and the detail is the model as JSON. How
AWS's own envelopes become events is told in `paydown.sources`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from paydown.errors import InvalidEvent

SOURCE = "paydown"
SCHEMA_VERSION = 1

Name = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Text = Annotated[str, StringConstraints(max_length=20_000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+:[0-9a-f]{32,128}$")]
Severity = Literal["unknown", "negligible", "low", "medium", "high", "critical"]
"""Of a finding in an image, from the least to the worst."""


OURSELVES = "paydown"
"""Who takes back what a run left when it ended, if nobody asked for it."""


class Event(BaseModel):
    """A fact with a `key` (a repeat has the same one) and the time `at` which the sender says that it happened.

    `by` is the ARN of the person who sent it by hand; None if a machine did.

    `ongoing` marks a fault that is reported again as long as it lasts: a repeat after a run that did not set it right
    is a new reason to act, where the repeat of an ordinary event is not.
    """

    # Deferred: a function needs one or two of these, and building them all takes a tenth of its cold start.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    ongoing: ClassVar[bool] = False
    foreign_detail_types: ClassVar[tuple[tuple[str, str], ...]] = ()
    """(source, detail-type) of AWS's own envelopes that may become this event."""

    schema_version: int = SCHEMA_VERSION
    key: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    at: AwareDatetime
    by: Name | None = None

    @classmethod
    def detail_type(cls) -> str:
        """The detail-type on the bus: the name of the class."""
        return cls.__name__

    @classmethod
    def from_detail(cls, detail: dict[str, Any]) -> Self:
        """The event in a bus detail. Raises InvalidEvent that names each faulty field."""
        try:
            event = cls.model_validate(detail)
        except ValidationError as error:
            raise InvalidEvent.from_validation(cls.__name__, error) from None
        if event.schema_version > SCHEMA_VERSION:
            raise InvalidEvent(
                cls.__name__, [("schema_version", f"{event.schema_version} is newer than {SCHEMA_VERSION}")]
            )
        return event


class ImagePushed(Event):
    """A tag of a repository now points to `digest`. `registry` is the host (and port) under which images are named."""

    foreign_detail_types = (("aws.ecr", "ECR Image Action"),)

    registry: Name
    repository: Name
    digest: Digest
    tag: Name | None = None


class ImageScanned(Event):
    """A scanner has looked at an image, to the end. `findings` counts what it found, by severity.

    `tags` are those that the sender names, which need not be all that point to the image.
    """

    foreign_detail_types = (("aws.ecr", "ECR Image Scan"), ("aws.inspector2", "Inspector2 Scan"))

    registry: Name
    repository: Name
    digest: Digest
    tags: tuple[Name, ...] = Field((), max_length=100)
    findings: dict[Severity, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)


class DiskPressure(Event):
    """A file system of a host is nearly full. `host` is what the sender calls it: a name, address, or instance id."""

    ongoing: ClassVar[bool] = True
    foreign_detail_types = (("aws.cloudwatch", "CloudWatch Alarm State Change"),)

    host: Name
    mount: Name | None = None


class NodeNotReady(Event):
    """A node of a cluster does not report Ready. `cluster` is the name that the inventory gives it."""

    ongoing: ClassVar[bool] = True

    cluster: Name
    node: Name


class TicketRef(BaseModel):
    """One ticket of one ticket system: the tracker's name in the inventory, and the id there."""

    model_config = ConfigDict(frozen=True)

    tracker: Name
    id: Name


class TicketCreated(Event):
    """A ticket is new, or a person (`actor`) put it into the automation queue. Its text is read from the tracker."""

    ticket: TicketRef
    title: Annotated[str, StringConstraints(max_length=2_000)] = ""
    queue: Name | None = None
    creator: Name | None = None
    actor: Name | None = None


class TicketCommented(Event):
    """A comment on a ticket looks like a decision (`/approve …`). Who wrote what is read from the tracker alone."""

    ticket: TicketRef
    comment: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]


class Sweep(Event):
    """A schedule fired: look at every target. `rule` is the name of the schedule."""

    foreign_detail_types = (("aws.events", "Scheduled Event"),)

    rule: Name


class UndoRequested(Event):
    """What run `run_id` left half-done is to be taken back, as `by` asks for.

    It begins in the ledger alone, never as a message: the row of the run that it causes is the authority.
    """

    run_id: Name
    by: Name
    why: Annotated[str, StringConstraints(max_length=2_000)] = ""

    @property
    def by_a_person(self) -> bool:
        """Whether somebody asked for it; otherwise it began with the end of the run."""
        return self.by != OURSELVES


class RemediationChanged(Event):
    """A run changed its status or ended: what the ledger's publisher tells everybody.

    Its detail-type is `Remediation <status or outcome>`. `reasons` holds (code, explanation) pairs; `actions` counts
    those of the plan, whose worst hazard and fingerprint are named, and `evidence` is what the toil type measured.
    `rule` is the type of the event that caused the run: toil, target and rule are the identity of a finding. `sequence`
    numbers the transitions of a run.
    """

    run_id: Name
    toil: Name
    target: Name
    status: Name
    reasons: tuple[tuple[str, str], ...] = ()
    actions: int = 0
    evidence: dict[str, Any] = Field(default_factory=dict)
    ticket: TicketRef | None = None
    cause: Name
    rule: str = ""
    sequence: int = 0
    plan_number: int = 0
    fingerprint: str = ""
    hazard: str = ""

    @classmethod
    def detail_type_for(cls, status: str) -> str:
        """`Remediation Verified`, `Remediation Held`, ..."""
        return f"Remediation {status}"


EVENTS: dict[str, type[Event]] = {
    event.detail_type(): event
    for event in (ImagePushed, ImageScanned, DiskPressure, NodeNotReady, TicketCreated, TicketCommented, Sweep)
}
"""The events that ingress may put on the bus, or that an operator may send, by detail-type."""


_SEVERITIES: dict[str, Severity] = {
    "none": "negligible",
    "informational": "negligible",
    "negligible": "negligible",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "critical": "critical",
}


def severities_of(counts: Mapping[str, int]) -> dict[Severity, int]:
    """Findings by severity in our words, from those of a scanner; a word that is not known is `unknown`."""
    found: dict[Severity, int] = {}
    for word, count in counts.items():
        severity = _SEVERITIES.get(word.lower(), "unknown")
        found[severity] = found.get(severity, 0) + count
    return found


def utc(text: str) -> datetime:
    """A time of ISO 8601 with an offset or `Z`; nanoseconds are cut, since Go's senders write nine digits."""
    head, dot, tail = text.partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6]}{tail[digits:]}"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("the time has no offset")
    return moment
