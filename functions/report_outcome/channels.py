"""The channels that speak at once: an SNS topic and webhooks. Each gets each message once, whatever the others do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from paydown.clients import aws, notices
from paydown.errors import PaydownError
from paydown.ledger.deliveries import Deliveries
from paydown.policy import Notifications


@dataclass(frozen=True)
class Message:
    """What is said: `link` is an address of ours and what it shows, `attributes` are what SNS can filter by."""

    id: str
    headline: str
    text: str
    attributes: Mapping[str, str]
    link: tuple[str, str] | None = None


@dataclass
class Channels:
    """The channels of a deployment and its policy."""

    deliveries: Deliveries
    notifications: Notifications
    now: Callable[[], datetime]

    def tell(self, pk: str, message: Message) -> bool:
        """Tell every channel that has not been told. Returns whether there was one.

        The deliveries are recorded in the partition `pk`. A channel in trouble does not keep the message from the
        others; then what the first of them raised is raised.
        """
        troubles: list[PaydownError] = []
        told = False
        for name, send in self._all(message):
            try:
                told |= self.deliveries.once(pk, message.id, name, self.now(), send)
            except PaydownError as error:
                troubles.append(error)
        if troubles:
            raise troubles[0]
        return told

    def _all(self, message: Message) -> Iterator[tuple[str, Callable[[], None]]]:
        topic = os.environ.get("PAYDOWN_NOTIFICATION_TOPIC", "")
        if topic:
            yield "sns", partial(_publish, topic, message)
        for name in dict.fromkeys(self.notifications.webhooks):
            yield f"webhook:{name}", partial(_post, name, message)


def _publish(topic: str, message: Message) -> None:
    text = message.text
    if message.link is not None:
        text += f"\n\n{message.link[1]}: {message.link[0]}"
    notices.publish(topic, message.headline, text, message.attributes, message.id)


def _post(name: str, message: Message) -> None:
    notices.post(aws.secret(name), message.headline, message.text, message.link)
