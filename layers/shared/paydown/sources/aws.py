"""EventBridge envelopes: ours on the bus, and AWS's own that say something to act on.

The shapes are those of the EventBridge user's guide: every envelope has `source`, `detail-type` and `detail`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from paydown.errors import InvalidEvent
from paydown.events import EVENTS, SOURCE, Event, Name


class _Envelope(BaseModel):
    source: Name
    detail_type: Name = Field(alias="detail-type")
    detail: dict[str, Any]


def from_envelope(envelope: dict[str, Any]) -> Event | None:
    """The event that an EventBridge envelope tells of; None when there is nothing to act on, as of an alarm that ended.

    Raises InvalidEvent, which names the detail-type, for an envelope that is none of ours or lacks a field.
    """
    try:
        head = _Envelope.model_validate(envelope)
    except ValidationError as error:
        raise InvalidEvent.from_validation("EventBridge envelope", error) from None
    what = head.detail_type[:128]
    if head.source == SOURCE and head.detail_type in EVENTS:
        return EVENTS[head.detail_type].from_detail(head.detail)
    from paydown.sources import aws_own, ecr

    try:
        match head.source, head.detail_type:
            case "aws.cloudwatch", "CloudWatch Alarm State Change":
                return aws_own.disk_pressure(aws_own.Alarm.model_validate(envelope))
            case "aws.events", "Scheduled Event":
                return aws_own.sweep(aws_own.Scheduled.model_validate(envelope))
            case "aws.ecr", "ECR Image Action":
                return ecr.image_pushed(ecr.ImageAction.model_validate(envelope))
            case "aws.ecr", "ECR Image Scan":
                return ecr.image_scanned(ecr.ImageScan.model_validate(envelope))
            case "aws.inspector2", "Inspector2 Scan":
                return ecr.first_scanned(ecr.InspectorScan.model_validate(envelope))
    except ValidationError as error:
        raise InvalidEvent.from_validation(what, error) from None
    raise InvalidEvent(what, [("detail-type", f"{what!r} of {head.source[:128]!r} is no event that Paydown acts on")])
