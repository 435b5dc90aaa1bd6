"""`paydown send EVENT.json`: an event as a sender would have it put on the bus, to try what becomes of it.

It carries the name of who sends it (`by`), whatever the file says: who asks for a destructive plan cannot approve it.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from cli.exits import FINE, UsageError
from cli.queues import send_to_toil
from cli.reading import read_document
from cli.session import Session
from cli.toils import NAME
from paydown.clients.bus import publish
from paydown.errors import InvalidEvent
from paydown.events import SOURCE, Event
from paydown.sources.aws import from_envelope


def run(session: Session) -> int:
    """Send it. What is sent carries no authority: the policy, the guardrails and the switches decide as always."""
    args = session.args
    envelope = read_document(args.file, "event")
    if args.fresh and isinstance(envelope, dict):
        envelope = _fresh(envelope, session)
    event = _event(envelope)
    if args.toil is None and envelope["source"] != SOURCE:
        raise UsageError(f"only AWS may put events of {envelope['source']} on the bus: name a queue with --toil NAME")
    if args.toil is not None and not NAME.match(args.toil):
        raise UsageError(f"--toil {args.toil!r} is no name of a toil type")
    event = event.model_copy(update={"by": session.connection.sender_arn})
    if args.toil:
        _to_queue(session, args.toil, event)
    else:
        publish([event], session.connection.client("events"))
    where = f"the queue of {args.toil}" if args.toil else "the bus"
    session.out.data(
        {"sent_to": "queue" if args.toil else "bus", "toil": args.toil, "type": event.detail_type(), "key": event.key}
    )
    session.out.line(f"sent to {where}: {event.detail_type()} {event.key}")
    return FINE


def _event(envelope: Any) -> Event:
    """The event that the envelope tells of. Raises InvalidEvent."""
    if not isinstance(envelope, dict):
        raise InvalidEvent("event", [("", "must be a JSON object: an EventBridge envelope")])
    if "httpMethod" in envelope:
        raise InvalidEvent("event", [("", "this is a webhook's request, for functions/ingress: see docs/senders.md")])
    event = from_envelope(envelope)
    if event is None:
        raise InvalidEvent("event", [("detail", "it says nothing to act on, such as an alarm that is over")])
    return event


def _to_queue(session: Session, toil: str, event: Event) -> None:
    """As an event of ours, since the envelopes of AWS have no place for a name."""
    detail = event.model_dump(mode="json")
    send_to_toil(session, toil, json.dumps({"source": SOURCE, "detail-type": event.detail_type(), "detail": detail}))


def _fresh(envelope: dict[str, Any], session: Session) -> dict[str, Any]:
    """The same envelope with a key and times of its own."""
    now, mark = session.now().isoformat(), uuid.uuid4().hex[:12]
    fresh = {**envelope, "id": str(uuid.uuid4()), "time": now}
    detail = envelope.get("detail")
    if not isinstance(detail, dict):
        return fresh
    if envelope.get("source") == SOURCE:
        fresh["detail"] = {**detail, "key": f"{str(detail.get('key', ''))[:480]}:{mark}", "at": now}
    elif isinstance(detail.get("state"), dict):
        fresh["detail"] = {**detail, "state": {**detail["state"], "timestamp": now}}
    return fresh
