"""Dead letters: what lies in the two dead-letter queues, what is wrong with it, and where it came from.

Three kinds end there:

- a *message* of a toil type's queue that was tried too often: SQS says which queue (`DeadLetterQueueSourceArn`);
- a *delivery* that a rule could not make: EventBridge says to which queue, and what was wrong (`TARGET_ARN`,
  `ERROR_CODE`, `ERROR_MESSAGE`);
- a *pointer* to transitions that could not be published: Lambda says when the stream had them, not what they were.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cli.exits import CommandError, NotFoundError
from cli.session import Session
from paydown.errors import InvalidInput
from paydown.events import utc
from paydown.sources.aws import from_envelope

QUEUES = {"messages": "DeadLetters", "rule_deliveries": "RuleDeadLetters"}
"""The two queues, by the names that operators know, and the outputs of the stack that hold their ARNs."""
VISIBILITY = 60
"""Seconds for which a letter is kept from others while it is looked at; it is put back as soon as it has been."""
WAIT = 1
"""Seconds that SQS may take to look at all its servers: an answer at once may miss some of the letters."""
SECONDS = 300
"""The longest that all letters may take."""


class NoWayBack(CommandError):
    """Nothing tells where a letter came from, or it came from elsewhere; the message says why."""


@dataclass(frozen=True)
class Letter:
    """A message in a dead-letter queue, first sent at `sent`. Our toil types' queues have names with `prefix`."""

    id: str
    queue: str
    url: str
    receipt: str
    body: str
    attributes: dict[str, Any]
    sent: datetime
    source: str | None
    prefix: str

    @property
    def content(self) -> Any:
        """The body as JSON data; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def kind(self) -> str:
        """`message`, `delivery`, or `pointer`."""
        if self.queue == "rule_deliveries":
            return "delivery"
        found = self.content
        return "pointer" if isinstance(found, dict) and "DDBStreamBatchInfo" in found else "message"

    @property
    def span(self) -> tuple[datetime, datetime]:
        """When the stream had the transitions that a pointer stands for. Raises NoWayBack."""
        try:
            batch = self.content["DDBStreamBatchInfo"]
            return utc(batch["approximateArrivalOfFirstRecord"]), utc(batch["approximateArrivalOfLastRecord"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise NoWayBack("it does not say when the transitions happened") from None

    @property
    def destination(self) -> str:
        """The name of the queue that it came from. Raises NoWayBack."""
        if self.kind == "pointer":
            raise NoWayBack("it came from the ledger's stream, not from a queue")
        arn = self.attribute("TARGET_ARN") if self.kind == "delivery" else self.source
        if not arn:
            raise NoWayBack("nothing says which queue it came from: put it there by hand (paydown send --toil)")
        name = arn.rsplit(":", 1)[-1]
        if not name.startswith(self.prefix) or name == self.prefix:
            raise NoWayBack(f"it came from {name}, which is no queue of a toil type of this stack")
        return name

    @property
    def toil(self) -> str | None:
        """The toil type whose queue it came from, if that is known."""
        try:
            return self.destination.removeprefix(self.prefix)
        except NoWayBack:
            return None

    @property
    def about(self) -> str:
        """What it says, in a few words."""
        found = self.content
        if not isinstance(found, dict):
            return "no JSON object"
        if self.kind == "pointer":
            batch = found["DDBStreamBatchInfo"]
            count = batch.get("batchSize", "?") if isinstance(batch, dict) else "?"
            return f"{count} transition(s) of runs"
        detail = found.get("detail")
        key = str(detail.get("key", "")) if isinstance(detail, dict) else ""
        match found.get("command"):
            case "wake":
                return f"wake run {found.get('run_id')}"
            case "look":
                return f"look at {found.get('target')}: {found.get('detail_type')} {key}"
        return f"{found.get('detail-type', 'no event')} {key}".strip()

    @property
    def wrong(self) -> str:
        """What is known of why nobody could handle it."""
        if self.kind == "delivery":
            said = [self.attribute(name) for name in ("ERROR_CODE", "ERROR_MESSAGE", "EXHAUSTED_RETRY_CONDITION")]
            return ": ".join(one for one in said if one) or "EventBridge does not say"
        found = self.content
        if self.kind == "pointer":
            context = found.get("requestContext")
            condition = context.get("condition") if isinstance(context, dict) else None
            return f"not published: {condition or 'Lambda does not say why'}"
        if not isinstance(found, dict):
            return "it is no JSON object"
        if "paydown" not in found:
            try:
                from_envelope(found)
            except InvalidInput as error:
                return "; ".join(f"{path}: {text}" if path else text for path, text in error.faults)
        return f"tried too often; the log says why (toil {self.toil or '?'})"

    def attribute(self, name: str) -> str:
        """A message attribute; empty if it is not there."""
        return str(self.attributes.get(name, {}).get("StringValue", ""))


@dataclass
class Desk:
    """Letters that lie open: those that are not settled are put back when it is cleared."""

    sqs: Any
    urls: dict[str, str]
    prefix: str
    _open: dict[str, Letter] = field(default_factory=dict, init=False)

    def letters(self) -> Iterator[Letter]:
        """Every letter of both queues, once, as it is taken out."""
        deadline = time.monotonic() + SECONDS
        for queue, url in self.urls.items():
            known: set[str] = set()
            while time.monotonic() < deadline and (batch := self._taken(queue, url)):
                fresh = [letter for letter in batch if letter.id not in known]
                self._open |= {letter.id: letter for letter in batch}
                if not fresh:
                    break
                known |= {letter.id for letter in fresh}
                yield from fresh

    def settle(self, letter: Letter) -> None:
        """Throw a letter away: what it asked for has been sent."""
        self.sqs.delete_message(QueueUrl=letter.url, ReceiptHandle=letter.receipt)
        self._open.pop(letter.id, None)

    def clear(self) -> None:
        """Put back what is still open, for others to see at once. What cannot be put back comes back by itself."""
        letters = list(self._open.values())
        self._open.clear()
        for url in self.urls.values():
            mine = [letter for letter in letters if letter.url == url]
            for first in range(0, len(mine), 10):
                entries = [
                    {"Id": str(number), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
                    for number, letter in enumerate(mine[first : first + 10])
                ]
                self.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    def _taken(self, queue: str, url: str) -> list[Letter]:
        answer = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=VISIBILITY,
            WaitTimeSeconds=WAIT,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [self._letter(queue, url, message) for message in answer.get("Messages", ())]

    def _letter(self, queue: str, url: str, message: dict[str, Any]) -> Letter:
        attributes = message.get("Attributes", {})
        return Letter(
            id=message["MessageId"],
            queue=queue,
            url=url,
            receipt=message["ReceiptHandle"],
            body=message["Body"],
            attributes=message.get("MessageAttributes", {}),
            sent=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
            source=attributes.get("DeadLetterQueueSourceArn"),
            prefix=self.prefix,
        )


@contextmanager
def desk(session: Session) -> Iterator[Desk]:
    """A desk for the letters of the stack, cleared at the end whatever happens. Raises NotFoundError."""
    connection = session.connection
    sqs, urls = connection.client("sqs"), {}
    for queue, output in QUEUES.items():
        if not (arn := connection.outputs.get(output)):
            raise NotFoundError(f"the stack {connection.stack_name} has no output {output}: is it Paydown's?")
        urls[queue] = sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
    opened = Desk(sqs, urls, f"{connection.stack_name}-toil-")
    try:
        yield opened
    finally:
        opened.clear()
