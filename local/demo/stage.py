"""What the demo's scenes have in common: sending events, and waiting for what becomes of them."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from local.app.application import Application
from local.demo.results import Result
from local.demo.tickets import Person
from local.emulator import PROJECT
from local.webhooks import proven
from paydown.ledger import Run

T = TypeVar("T")
EVENTS = PROJECT / "events"
PATIENCE = 200.0
"""Seconds: functions/wake goes on with what could not be waited for at once. One call that fails on a busy machine is
tried again after 30 s, at the next full minute; two in a row after 60 s more."""


class Disappointed(RuntimeError):
    """Something that the demo waited for did not happen."""


@dataclass
class Stage:
    """The running application, the results so far, and the files of `events/` that were sent."""

    application: Application
    results: list[Result] = field(default_factory=list)
    sent: set[Path] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def person(self) -> Person:
        """Who writes tickets."""
        return Person(self.application.tracker)

    def tell(self, text: str) -> None:
        """Say what happens."""
        self.application.progress(text)

    def book(self, result: Result) -> Result:
        """Note a result, and say it."""
        with self._lock:
            self.results.append(result)
        remark = "" if result.right else "  NOT AS EXPECTED"
        self.tell(f"{result.outcome}: {result.toil} on {result.target} ({result.event}){remark}")
        return result

    def webhook(self, name: str) -> datetime:
        """Send a request of `events/ingress/` with the proof of its sender; when it was sent. Raises Disappointed."""
        path = EVENTS / "ingress" / name
        self._note(path)
        stored = json.loads(path.read_text())
        sender = stored["pathParameters"]["sender"]
        request = proven(stored, self.application.stack.webhook_secret(sender))
        headers = {key: value for key, value in request["headers"].items() if key != "Host"}
        url = self.application.stack.webhook_url(sender)
        began = datetime.now(UTC)
        posted = urllib.request.Request(url, request["body"].encode(), headers)  # noqa: S310 -- loopback
        try:
            with urllib.request.urlopen(posted, timeout=30) as answer:  # noqa: S310 -- loopback
                status = answer.status
        except urllib.error.HTTPError as error:
            raise Disappointed(f"ingress answers {error.code} to {name}: {error.read().decode()}") from None
        if status != 202:
            raise Disappointed(f"ingress answers {status} to {name}")
        return began

    def envelope(self, path: Path) -> datetime:
        """Put an event of a file on the bus; when it was sent. Raises Disappointed.

        The bus takes AWS's own events from AWS only: they go to where its rule would bring them, the toil type's queue.
        """
        self._note(path)
        stored = json.loads(path.read_text())
        began = datetime.now(UTC)
        emulator = self.application.emulator
        if stored["source"].startswith("aws."):
            queue = self.application.stack.queue_url(path.parent.name)
            emulator.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(stored))
            return began
        entry = {
            "Source": stored["source"],
            "DetailType": stored["detail-type"],
            "Detail": json.dumps(stored["detail"]),
            "Resources": stored["resources"],
        }
        answer = emulator.client("events").put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise Disappointed(f"the bus does not take {path.name}: {answer['Entries']}")
        return began

    def run(self, toil: str, since: datetime, refs: Sequence[str] = (), key: str = "") -> Run:
        """The newest run of a toil type that began after `since` (or has this event key), once it has ended.

        `refs` are the targets to look for; none means any. Raises Disappointed.
        """

        def look() -> Run | None:
            for run in self.application.ledger.history.recent(datetime.now(UTC), limit=100, days=2):
                wanted = run.key == key if key else run.created >= since
                if run.toil == toil and wanted and (not refs or run.ref in refs):
                    return run
            return None

        what = f"a run of {toil}" + (f" on {' or '.join(refs)}" if refs else "")
        run = wait_for(look, f"{what} to begin")

        def ended() -> Run | None:
            found = self.application.ledger.runs.get(run.id)
            return found if found and found.ended else None

        try:
            return wait_for(ended, f"{what} to end")
        except Disappointed:
            found = self.application.ledger.runs.get(run.id) or run
            reasons = "; ".join(reason.text for reason in found.reasons)
            raise Disappointed(f"{what} is still {found.status.value} after {PATIENCE:.0f} s: {reasons}") from None

    def _note(self, path: Path) -> None:
        with self._lock:
            self.sent.add(path)


def wait_for(look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """Look until there is something to see. Raises Disappointed."""
    deadline = time.monotonic() + seconds
    while (seen := look()) is None:
        if time.monotonic() > deadline:
            raise Disappointed(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)
    return seen


def name_of(path: Path) -> str:
    """How a file is called in the results."""
    return str(path.relative_to(PROJECT))


def evidence_of_ticket(stage: Stage, ticket: str) -> tuple[dict[str, Any], list[str]]:
    """What Roundup says of a ticket that is to be resolved with a comment, and what is wrong with that."""

    def look() -> dict[str, Any] | None:
        seen = stage.person.read(ticket)
        return seen if seen["status"] == "resolved" and seen["comments"] else None

    try:
        seen = wait_for(look, f"ticket {ticket} to be resolved", 30)
    except Disappointed as error:
        return {"ticket": ticket, **stage.person.read(ticket)}, [str(error)]
    return {"ticket": ticket, "ticket_status": seen["status"], "comment": seen["comments"][0]}, []
