"""A comment on a ticket that decides: `/approve FINGERPRINT` or `/reject FINGERPRINT why`.

The event says only where to look. Who wrote what is read from the ticket system; what was edited since does not count.
The answer is a comment, written once however often the message comes.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from functions.decide.common import find, nudge, opened, policy
from paydown.approving import Caller, Refused, check_fresh, command_in, is_command, people_of
from paydown.clients import aws
from paydown.errors import InvalidEvent
from paydown.events import TicketCommented
from paydown.inventory import Tracker
from paydown.ledger import Ledger
from paydown.ledger.approvals import Decision
from paydown.ledger.held import held_with
from paydown.sources.aws import from_envelope
from paydown.tickets import Comment, TicketNotFound, open_tracker, plain
from paydown.toil.handler import utc_now

WHY_SHOWN = 300

logger = Logger(service="decide")


def handle(envelope: Any) -> str:
    """Do what a comment says, and answer it. Returns what was done in a word or two.

    Raises InvalidEvent, PermanentError, RetryableError.
    """
    event = from_envelope(envelope) if isinstance(envelope, dict) else None
    if not isinstance(event, TicketCommented):
        raise InvalidEvent("message", [("detail-type", "must be TicketCommented")])
    ledger = opened()
    tracker = _tracker(ledger, event.ticket.tracker)
    if tracker is None:
        return "tracker not in the inventory"
    tickets = open_tracker(tracker, aws.secret)
    try:
        comment = tickets.comment_of(event.ticket.id, event.comment)
    except TicketNotFound:
        return "the comment is gone"
    if comment.ours or not is_command(comment.text):
        return "no decision"
    said, done = _decide(ledger, tracker, event, comment)
    tickets.comment(event.ticket.id, said, f"paydown-run: decision/{event.comment}")
    return done


def _tracker(ledger: Ledger, name: str) -> Tracker | None:
    return ledger.inventory.current().document.tracker(name)


def _decide(ledger: Ledger, tracker: Tracker, event: TicketCommented, comment: Comment) -> tuple[str, str]:
    """(what the ticket is told, what was done)."""
    receipt = f"comment/{tracker.uid}/{event.comment}"
    found = ledger.approvals.received(receipt)
    if found is None:
        try:
            found = _recorded(ledger, tracker, event, comment, receipt)
        except Refused as error:
            logger.warning("refused", extra={"code": error.code, "author": plain(comment.author, WHY_SHOWN)})
            return f"Paydown: this does not count: {error} ({error.code}).", f"refused: {error.code}"
    run = find(ledger, found[0])
    if run is not None:
        nudge(run)
    return _told(*found), "decided"


def _recorded(
    ledger: Ledger, tracker: Tracker, event: TicketCommented, comment: Comment, receipt: str
) -> tuple[str, Decision]:
    """The run that was decided on, and the decision. Raises Refused."""
    rules = policy(ledger)
    caller = Caller(tracker=tracker.name, user=comment.author)
    if not comment.author or not people_of(rules, caller):
        raise Refused("not_an_approver", "the policy does not name you as somebody who decides")
    if comment.edited:
        raise Refused("edited", "the comment was edited, or is signed with another's name: write a new one")
    command = command_in(comment.text)
    run = held_with(ledger, command.fingerprint, event.ticket, (tracker.name, tracker.uid))
    check_fresh(run, comment.at)
    return run.id, ledger.approvals.decide_as(caller, run, command, rules, utc_now(), receipt)


def _told(run_id: str, decision: Decision) -> str:
    verb = "approved" if decision.approved else "rejected"
    why = f": {plain(' '.join(decision.why.split()), WHY_SHOWN)}" if decision.why else ""
    return (
        f"Paydown: {decision.by} {verb} plan {decision.fingerprint[:12]} of run {run_id}{why}.\n"
        f"To see what becomes of it: paydown explain {run_id}"
    )
