"""What it takes to tell people: the ledger's parts, the tickets, and the channels, for one invocation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from aws_lambda_powertools import Logger

from functions.report_outcome import digest
from functions.report_outcome.channels import Channels, Message
from functions.report_outcome.desk import Desk
from functions.report_outcome.passing import passed
from paydown.errors import PaydownError
from paydown.inventory import Tracker
from paydown.ledger import Ledger, NoDocument
from paydown.ledger.deliveries import Deliveries
from paydown.ledger.digests import Digests
from paydown.ledger.findings import Finding, Findings, Identity, Task, order_of
from paydown.policy import Policy
from paydown.tickets import TicketSystem

logger = Logger(service="report_outcome")


@dataclass
class Office:
    """Made for one invocation, so that the policy is the one in force."""

    ledger: Ledger
    now: Callable[[], datetime]
    open_tracker: Callable[[Tracker], TicketSystem]

    @cached_property
    def policy(self) -> Policy:
        """The policy in force; without one, what a policy says that says nothing."""
        try:
            return self.ledger.policy.current().document
        except NoDocument:
            return Policy()

    @cached_property
    def findings(self) -> Findings:
        """What is wrong."""
        return Findings(self.ledger.table)

    @cached_property
    def digests(self) -> Digests:
        """What is counted."""
        return Digests(self.ledger.table)

    @cached_property
    def deliveries(self) -> Deliveries:
        """What was told."""
        return Deliveries(self.ledger.table)

    @cached_property
    def channels(self) -> Channels:
        """Who is told at once."""
        return Channels(self.deliveries, self.policy.notifications, self.now)

    @cached_property
    def desk(self) -> Desk:
        """The tickets."""
        tracker = self.policy.notifications.tracker
        return Desk(self.ledger, self.findings, self.deliveries, self._system, self.now, tracker)

    def once(self, identity: Identity, order: str, channel: str, send: Callable[[], object]) -> bool:
        """Call `send` unless this part of the event has been told. Returns whether anything was told now."""
        said: list[object] = []
        self.deliveries.once(identity.partition, order, channel, self.now(), lambda: said.append(send()))
        return said not in ([], [False])

    def speak(self, identity: Identity, message: Message) -> bool:
        """Tell the channels, each once."""
        return self.channels.tell(identity.partition, message)

    def do_all(self, parts: Iterable[Callable[[], bool]]) -> bool:
        """Do each part, whatever becomes of the others. Returns whether one did something; raises the first trouble."""
        done = False
        troubles: list[PaydownError] = []
        for part in parts:
            try:
                done |= part()
            except PaydownError as error:
                logger.warning("not told", error=str(error))
                troubles.append(error)
        if troubles:
            raise troubles[0]
        return done

    def hourly(self) -> dict[str, Any]:
        """Send the digest if it is due, close what has passed of itself, write what was held back."""
        now = self.now()
        found = [(finding, passed(self.ledger, self.policy, finding, now)) for finding in self.findings.open()]
        late = [(finding, over) for finding, over in found if over or self._is_late(finding)]
        sending = partial(digest.send, self.ledger, self.findings, self.channels, now)
        done = self.do_all([sending, *(partial(self._bring_up_to_date, finding, over, now) for finding, over in late)])
        return {"done": "told" if done else "nothing to tell", "late": len(late)}

    def _is_late(self, finding: Finding) -> bool:
        return bool(finding.tickets) and finding.count > finding.written and not finding.is_snoozed(self.now())

    def _bring_up_to_date(self, finding: Finding, over: str, now: datetime) -> bool:
        identity, task = finding.identity, Task(write=True)
        if over:
            task = self.findings.close(identity, order_of(now, 0, "calm"), over, now)
        if not task.write:
            return True
        self.desk.write(identity, task, lambda: "")
        self.findings.change(identity, now, lambda found: replace(found, written=finding.count, written_at=now))
        return True

    def _system(self, name: str) -> TicketSystem | None:
        tracker = self.ledger.inventory.current().document.tracker(name)
        return None if tracker is None else self.open_tracker(tracker)
