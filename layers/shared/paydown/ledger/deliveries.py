"""Who has been told what: each message goes to each channel once, as far as that is possible.

A delivery is claimed, made, and recorded, so that a repeat of the message skips the channels that have it. A worker
that dies between the delivery and its record lets the claim run out: then that channel is told twice, never not at all.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from paydown.errors import RetryableError
from paydown.ledger.run import stamp
from paydown.ledger.table import ConditionFailed, Table

CLAIM = timedelta(seconds=90)
"""How long a claim keeps others away: longer than a function may run."""
KEEP = timedelta(days=30)
"""How long a delivery is remembered: longer than a queue keeps a message, and a dead letter after it."""

_FREE = "attribute_not_exists(pk) OR (#state = :claimed AND #until < :now)"


class Deliveries:
    """The deliveries of one ledger; those of one message lie beside what the message is about (`pk`)."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def once(self, pk: str, message: str, channel: str, now: datetime, send: Callable[[], object]) -> bool:
        """Call `send` unless this message went to this channel before. Returns whether it was called.

        What `send` raises passes, and the next try may begin at once. Raises RetryableError while another worker is at
        it.
        """
        sk = f"TOLD#{message}#{channel}"
        token = self._claim(pk, sk, now)
        if token is None:
            return False
        with self._held(pk, sk, token):
            send()
        sent = {"pk": pk, "sk": sk, "state": "sent", "at": now.isoformat(timespec="seconds")}
        with contextlib.suppress(ConditionFailed):  # the claim ran out: whoever took it over records it
            self.table.transact([self.table.put({**sent, "expires": _expires(now)}, "#token = :token", token=token)])
        return True

    @contextmanager
    def alone(self, pk: str, what: str, now: datetime) -> Iterator[None]:
        """One worker at a time is inside. Raises RetryableError while another is."""
        token = self._claim(pk, what, now)
        if token is None:
            raise RetryableError(f"another worker is at {pk} {what}", delay=10)
        with self._held(pk, what, token):
            yield
        self._release(pk, what, token)

    def _claim(self, pk: str, sk: str, now: datetime) -> str | None:
        """A token for the claim; None if this was delivered. Raises RetryableError while another holds it."""
        token = uuid.uuid4().hex
        claim = {"pk": pk, "sk": sk, "state": "claimed", "token": token, "until": stamp(now + CLAIM)}
        try:
            self.table.transact(
                [self.table.put({**claim, "expires": _expires(now)}, _FREE, claimed="claimed", now=stamp(now))]
            )
        except ConditionFailed:
            known = self.table.get(pk, sk)
            if known is not None and known["state"] == "sent":
                return None
            raise RetryableError(f"another worker is at {pk} {sk}", delay=10) from None
        return token

    @contextmanager
    def _held(self, pk: str, sk: str, token: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._release(pk, sk, token)
            raise

    def _release(self, pk: str, sk: str, token: str) -> None:
        with contextlib.suppress(ConditionFailed):
            self.table.transact([self.table.delete(pk, sk, "#token = :token", token=token)])


def _expires(now: datetime) -> int:
    return int((now + KEEP).timestamp())
