"""Tell people what became of runs, quietly: on tickets, at once where a person is needed, else in a daily digest.

It consumes "Remediation …" events and changes no run. Events come at least once and in any order: each is counted once
in its finding (toil type, target, rule), which remembers what was told to whom. What a run has left behind since, such
as a hold that was decided, is not told any more. Deployed to observe, it only logs what it would tell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from functions.report_outcome.askers import asking_tickets, earlier_tickets
from functions.report_outcome.channels import Message
from functions.report_outcome.holding import Hold, hold_of, is_past, past_holds
from functions.report_outcome.meaning import Meaning, meaning_of
from functions.report_outcome.office import Office
from functions.report_outcome.pools import CROWDED, is_awaited
from functions.report_outcome.report import line, report
from functions.report_outcome.story import story
from paydown.clients import aws
from paydown.errors import InvalidEvent, PaydownError
from paydown.events import RemediationChanged
from paydown.ledger import Ledger, Outcome, Status, open_ledger
from paydown.ledger.finding import MOST_TICKETS
from paydown.ledger.findings import Identity, Task
from paydown.tickets import open_tracker

SCHEDULED = "Scheduled Event"
ANSWERED = (Outcome.VERIFIED, Outcome.SKIPPED)
"""Of these, who asked gets an answer of its own; what is wrong is told by the finding's comment."""

logger = Logger(service="report_outcome")
_ledger: list[Ledger] = []


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Tell of the events of an SQS batch, or of a bare one; each hour, do what is due.

    A batch returns the messages that failed: they come back, and end in the dead-letter queue. A bare event returns
    what was done.
    """
    if event.get("detail-type") == SCHEDULED:
        return hourly()
    if "Records" not in event:
        return {"done": tell(event)}
    failed = []
    for record in event["Records"]:
        try:
            tell(json.loads(record["body"]))
        except (PaydownError, json.JSONDecodeError) as error:
            logger.warning("not told", error=str(error), message_id=record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def hourly() -> dict[str, Any]:
    """Send the digest when it is due, and write what was too small a change to be written before."""
    if not _enforcing():
        return {"done": "only observing"}
    return _office().hourly()


def tell(envelope: Any) -> str:
    """Tell people of one event. Returns what was done in a word or two.

    Raises InvalidEvent, TicketNotFound, PermanentError, RetryableError: then some may have been told, who are not told
    again when the event comes back.
    """
    if not isinstance(envelope, dict) or not isinstance(envelope.get("detail"), dict):
        raise InvalidEvent("message", [("detail", "must be a JSON object")])
    change = RemediationChanged.from_detail(envelope["detail"])
    office = _office()
    run = office.ledger.runs.get(change.run_id) if change.status in (Status.HELD, Status.APPLYING) else None
    if change.status == Status.HELD and is_past(change, run):
        return "out of date"
    hold = hold_of(office.ledger, office.policy, change, run, office.now())
    entered = run.scopes if run is not None else ()
    asked, earlier = asking_tickets(office.ledger, change), earlier_tickets(office.ledger, change)
    meaning = meaning_of(change, office.policy, lambda label: report(change, label, hold), asked, earlier, entered)
    answered = asked if change.status in ANSWERED else ()
    if meaning.nothing and not answered:
        return "nothing to tell"
    if not _enforcing():
        logger.info("would tell", status=change.status, run_id=change.run_id, target=change.target)
        return "only observing"
    tasks = _counted(office, change, meaning)
    answered = answered or _left_out(office, meaning, asked)
    done = office.do_all(_deliveries(office, change, meaning, tasks, hold, answered))
    called_for = answered or any(task.write or task.speak for _, task in tasks)
    noted = "noted" if meaning.counted or tasks else "nothing to tell"
    result = "told" if done else "told before" if called_for else noted
    logger.info(result, status=change.status, run_id=change.run_id, target=change.target)
    return result


def marker(change: RemediationChanged) -> str:
    """What makes the answer on this transition of this run unique; the event's key is `<run id>:LOG#<number>`."""
    return f"paydown-run: {change.key.replace(':', '/').replace('#', '-')}"


def _counted(office: Office, change: RemediationChanged, meaning: Meaning) -> list[tuple[Identity, Task]]:
    """Count the event in its findings and in the digest. Returns what it calls for, by finding."""
    findings, now, own = office.findings, office.now(), meaning.identity
    counting = office.digests.counting(change.toil, change.status, meaning.order, now) if meaning.counted else []
    tasks = []
    for one in meaning.sightings:
        sighting, is_own = one, one.identity == own
        if sighting.hold:
            sighting = replace(sighting, past=past_holds(office.ledger, findings.get(sighting.identity), sighting.hold))
        tasks.append((sighting.identity, findings.see(sighting, now, counting if is_own else ())))
    if meaning.over:
        tasks.append((own, findings.close(own, meaning.order, meaning.over, now, counting)))
    elif counting and not any(one.identity == own for one in meaning.sightings):
        findings.count(own, meaning.order, now, counting)
    for identity in meaning.calmed:
        found = findings.get(identity)
        if found is None or not (found.open or found.closed == meaning.order):
            continue
        if identity.rule != CROWDED or not found.open or not is_awaited(office.ledger, identity):
            tasks.append((identity, findings.close(identity, meaning.order, f"run {change.run_id} was let in.", now)))
    return tasks


def _deliveries(
    office: Office,
    change: RemediationChanged,
    meaning: Meaning,
    tasks: list[tuple[Identity, Task]],
    hold: Hold | None,
    answered: Sequence[str],
) -> list[Callable[[], bool]]:
    """What is to be told, each part by itself."""
    parts: list[Callable[[], bool]] = []
    order, own = meaning.order, meaning.identity
    for ticket in answered:
        resolve = change.status == Outcome.VERIFIED
        answer = partial(office.desk.comment, ticket, report(change, hold=hold), marker(change), resolve=resolve)
        parts.append(partial(office.once, own, order, f"answer/{ticket}", answer))
    for identity, task in tasks:
        if task.write:
            write = partial(office.desk.write, identity, task, partial(story, office.ledger, change))
            parts.append(partial(office.once, identity, order, "tickets", write))
        if task.speak:
            label = next(one.label for one in meaning.sightings if one.identity == identity)
            parts.append(partial(office.speak, identity, _message(change, meaning, identity, label, hold)))
    if change.status == Outcome.VERIFIED and change.status in office.policy.notifications.at_once:
        parts.append(partial(office.speak, own, _message(change, meaning, own, change.status, hold)))
    return parts


def _message(
    change: RemediationChanged, meaning: Meaning, identity: Identity, label: str, hold: Hold | None
) -> Message:
    text = report(change, label, hold, link=False)  # a channel shows it in its own way
    text += f"\n\nFinding {identity.id}. To quiet it: paydown snooze {identity.id} --for 7d"
    what = change.status if label == change.status else f"{change.status}, {label}"
    return Message(
        id=meaning.order,
        headline=f"Paydown: {change.toil} on {line(change.target)}: {what}",
        text=text,
        attributes={"kind": label, "status": change.status, "toil": change.toil},
        link=hold.link if hold is not None else None,
    )


def _left_out(office: Office, meaning: Meaning, asked: Sequence[str]) -> list[str]:
    """Those who asked beyond what a finding has comments for: they are answered directly."""
    if not asked or not any(one.identity == meaning.identity for one in meaning.sightings):
        return []
    found = office.findings.get(meaning.identity)
    if found is None or not found.open or len(found.asked) < MOST_TICKETS:
        return []
    return [ticket for ticket in asked if ticket not in found.tickets]


def _enforcing() -> bool:
    return os.environ.get("PAYDOWN_MODE") == "Enforce"


def _now() -> datetime:
    return datetime.now(UTC)


def _office() -> Office:
    if not _ledger:
        _ledger.append(open_ledger())
    return Office(_ledger[0], _now, lambda tracker: open_tracker(tracker, aws.secret))
