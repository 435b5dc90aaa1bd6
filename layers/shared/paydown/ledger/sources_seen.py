"""What senders told and when they were last heard of: the partitions `SOURCE#<sender>`.

- `HEARD`: the last request that was verified and understood, to the minute. Silence is measured from it.
- `TOLD#<subject>`: what a sender told last of one thing (a tag, an alert, a ticket in a queue), so that a reconcile,
  which asks the sender itself, tells only of what never came.
- `CURSOR#<uid>`: how far a reconcile of one system came.

None of this is needed for an event to be worked on, so nothing here is worth failing a webhook for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from paydown.clients import aws
from paydown.events import DiskPressure, Event, ImagePushed, NodeNotReady, TicketCreated
from paydown.inventory import Alertmanager, Registry, Tracker
from paydown.ledger.documents import Version
from paydown.ledger.table import Item, Table, encode
from paydown.policy import Policy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EVERY = timedelta(minutes=1)
"""A sender that is heard more often is noted once."""
KEPT = timedelta(days=30)
"""How long it is known what was told; a reconcile renews what still stands."""
BATCH = 25
"""Items of one BatchWriteItem (DynamoDB's limit), and so of the notes that one webhook takes."""
_READ = 100
_LONGEST = 900


@dataclass(frozen=True)
class Telling:
    """That `value` was told of `subject`, at a time in ISO 8601: the event's own, or when a reconcile found it."""

    subject: str
    value: str
    at: str


@dataclass(frozen=True)
class Told(Telling):
    """What is known, and until when (seconds of the epoch)."""

    expires: int


class Sources:
    """The senders of one ledger. `client` is what the notes of a webhook are written with."""

    def __init__(self, table: Table, client: DynamoDBClient) -> None:
        self.table = table
        self._client = client

    def heard(self, sender: str) -> datetime | None:
        """When a request of the sender was last noted; None when there never was one."""
        item = self.table.get(_partition(sender), "HEARD")
        return datetime.fromisoformat(item["at"]) if item and "at" in item else None

    def hear(self, sender: str, now: datetime) -> bool:
        """Note that the sender was heard of; at most one write a minute, or one more if somebody awaits it.

        Returns whether it was written. Raises PermanentError and RetryableError.
        """
        item = {"pk": _partition(sender), "sk": "HEARD", "at": _text(now)}
        condition = "attribute_not_exists(#at) OR #at < :before OR attribute_exists(#awaited)"
        write = self.table.put(item, condition, before=_text(now - EVERY))["Put"]
        with aws.translated("the ledger"):
            try:
                self._client.put_item(**write)
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def expect(self, sender: str) -> None:
        """Have the next request noted even if it comes within the minute: somebody waits for it."""
        self.table.transact([self.table.update(_partition(sender), "HEARD", "SET #awaited = :yes", yes=True)])

    def told(self, sender: str, subjects: Iterable[str]) -> dict[str, Told]:
        """What is known of these subjects."""
        keys = [(_partition(sender), _key(subject)) for subject in dict.fromkeys(subjects)]
        found = {}
        for first in range(0, len(keys), _READ):
            for item in self.table.get_all(keys[first : first + _READ]):
                found[item["subject"]] = Told(item["subject"], item["value"], item["at"], item["expires"])
        return found

    def tell(self, sender: str, tellings: Sequence[Telling], now: datetime) -> None:
        """Note what was told, whether it is known or not. Raises PermanentError and RetryableError."""
        expires = int((now + KEPT).timestamp())
        items = {
            _key(one.subject): {
                "pk": _partition(sender),
                "sk": _key(one.subject),
                "subject": one.subject,
                "value": one.value,
                "at": one.at,
                "expires": expires,
            }
            for one in tellings
        }
        writes = list(items.values())
        for first in range(0, len(writes), BATCH):
            self._write(writes[first : first + BATCH])

    def note(self, sender: str, events: Sequence[Event], now: datetime) -> None:
        """All that a webhook leaves: its sender was heard of, and told of these events."""
        self.hear(sender, now)
        tellings = [found for event in events[:BATCH] if (found := telling_of(event))]
        self.tell(sender, tellings, now)

    def cursor(self, sender: str, uid: str) -> dict[str, Any]:
        """How far the reconcile of one system came, as it left it; empty when there never was one."""
        item = self.table.get(_partition(sender), f"CURSOR#{uid}")
        return {name: value for name, value in (item or {}).items() if name not in ("pk", "sk")}

    def move_cursor(self, sender: str, uid: str, state: Mapping[str, Any]) -> None:
        """Leave word of how far the reconcile of one system came."""
        self.table.transact([self.table.put({**state, "pk": _partition(sender), "sk": f"CURSOR#{uid}"})])

    def _write(self, items: Sequence[Item]) -> None:
        puts: Any = [{"PutRequest": {"Item": {name: encode(value) for name, value in item.items()}}} for item in items]
        with aws.translated("the ledger"):
            # What is left unprocessed is told once more by the next reconcile, which does no harm.
            self._client.batch_write_item(RequestItems={self.table.name: puts})


def open_sources(*, hurried: bool = False) -> Sources:
    """The senders of the ledger that PAYDOWN_LEDGER_TABLE names.

    With `hurried`, a ledger that does not answer costs two seconds at most.
    """
    client = aws.hurried("dynamodb") if hurried else aws.client("dynamodb")
    return Sources(Table(os.environ["PAYDOWN_LEDGER_TABLE"], client), client)


@dataclass(frozen=True)
class Silence:
    """How long a sender of which the policy expects something has been silent."""

    source: str
    heard: datetime | None
    since: datetime
    """The last request, or, if there never was one, when the policy in force was published."""
    expected: timedelta
    silent: bool


def sender_of(system: Registry | Alertmanager | Tracker) -> str:
    """Who sends the webhooks of a system of the inventory, and, of Amazon ECR, who puts its events on the bus."""
    if isinstance(system, Tracker):
        return system.system
    if isinstance(system, Registry) and system.system != "distribution":
        return system.system
    return system.kind


def silences(policy: Version[Policy], sources: Sources, now: datetime) -> list[Silence]:
    """Each sender of the policy's `sources`, and whether it is silent for longer than it may be."""
    found = []
    for name, expectation in sorted(policy.document.sources.items()):
        heard = sources.heard(name)
        since = heard or datetime.fromisoformat(policy.at)
        expected = timedelta(seconds=expectation.expect_every_seconds)
        # A request is noted to the minute.
        found.append(Silence(name, heard, since, expected, now - since > expected + EVERY))
    return found


def telling_of(event: Event) -> Telling | None:
    """What an event says of which subject; None for one that no reconcile can find."""
    at = event.at.isoformat()
    match event:
        case ImagePushed(tag=str()):
            return Telling(f"{event.registry}/{event.repository}:{event.tag}", event.digest, at)
        case NodeNotReady() | DiskPressure():
            return Telling(event.key, "firing", at)
        case TicketCreated():
            return Telling(f"{event.ticket.tracker}/{event.ticket.id}/{event.queue or ''}", "queued", at)
    return None


def _partition(sender: str) -> str:
    return f"SOURCE#{sender}"


def _key(subject: str) -> str:
    """The sort key of a subject; DynamoDB allows 1,024 bytes, and some names are longer."""
    if len(subject.encode()) <= _LONGEST:
        return f"TOLD#{subject}"
    return f"TOLD#sha256:{hashlib.sha256(subject.encode()).hexdigest()}"


def _text(now: datetime) -> str:
    return now.isoformat(timespec="milliseconds")
