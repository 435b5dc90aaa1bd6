"""`paydown dead-letters list|show|redrive`: what nobody could handle, and sending it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.exits import CONFLICT, FINE, NOT_FOUND, CommandError, NotFoundError, UsageError
from cli.failures import explain
from cli.letters import Desk, Letter, NoWayBack, desk
from cli.output import moment
from cli.queues import url_of
from cli.session import Session
from paydown.errors import PaydownError
from paydown.events import RemediationChanged
from paydown.ledger.outbox import entries_between, transition

SHORT = 8
"""Digits of an id that tables show."""
ID_LEAST = 4
"""Digits that name a letter at the least."""


def run(session: Session) -> int:
    """List them; nothing is taken away."""
    args = session.args
    with desk(session) as opened:
        found = list(islice(_wanted(opened.letters(), args.toil), args.limit))
    session.out.data({"dead_letters": [as_data(letter) for letter in found]})
    rows = [
        [letter.id[:SHORT], moment(letter.sent), letter.kind, letter.toil or "?", letter.about, letter.wrong]
        for letter in sorted(found, key=lambda letter: letter.sent)
    ]
    session.out.table(["id", "sent", "kind", "toil", "about", "what is wrong"], rows, whole=["id", "sent", "kind"])
    return FINE


def show(session: Session) -> int:
    """Print one of them, whole; nothing is taken away."""
    with desk(session) as opened:
        letters = [letter for letter in opened.letters() if _named(letter, session.args.id)]
    if len(letters) != 1:
        raise NotFoundError(f"{len(letters) or 'no'} dead letters begin with {session.args.id}")
    (letter,) = letters
    data = {**as_data(letter), "attributes": _texts(letter), "body": letter.body}
    session.out.data(data)
    names = ("id", "queue", "kind", "toil", "about", "wrong", "sent", "redrive_to", "refused")
    session.out.fields((name.replace("_", " "), data[name]) for name in names)
    session.out.fields(_texts(letter).items())
    session.out.heading("Body")
    content = letter.content
    for line in (json.dumps(content, indent=2) if content is not None else letter.body).splitlines():
        session.out.line(line)
    return FINE


def redrive(session: Session) -> int:
    """Send letters to where they came from, and only then throw them away: at least once, never not at all."""
    args = session.args
    if bool(args.ids) == args.all:
        raise UsageError("name dead letters by the beginnings of their ids, or say --all")
    if args.toil and not args.all:
        raise UsageError("--toil goes with --all")
    results = []
    missing = set(args.ids)
    with desk(session) as opened:
        for letter in _wanted(opened.letters(), args.toil):
            named = {id for id in args.ids if _named(letter, id)}
            if not (named or args.all):
                continue
            missing -= named
            told = {"id": letter.id, "toil": letter.toil, "about": letter.about}
            results.append({**told, **_sent(session, opened, letter)})
    kept = [one for one in results if one["why"]]
    sent = len(results) - len(kept)
    session.out.data({"redriven": sent, "kept": len(kept), "missing": sorted(missing), "dead_letters": results})
    for one in results:
        session.out.line(f"{one['id'][:SHORT]}  {'kept: ' + one['why'] if one['why'] else 'sent to ' + one['to']}")
    session.out.line(f"{sent} sent again, {len(kept)} kept")
    if missing:
        session.out.note(f"no dead letter begins with {', '.join(sorted(missing))}")
        return NOT_FOUND
    return CONFLICT if kept else FINE


def as_data(letter: Letter) -> dict[str, Any]:
    """A letter as plain JSON data."""
    try:
        to, refused = ("the event bus" if letter.kind == "pointer" and letter.span else letter.destination), None
    except NoWayBack as error:
        to, refused = None, str(error)
    return {
        "id": letter.id,
        "queue": letter.queue,
        "kind": letter.kind,
        "toil": letter.toil,
        "about": letter.about,
        "wrong": letter.wrong,
        "sent": letter.sent.isoformat(),
        "redrive_to": to,
        "refused": refused,
    }


def _wanted(letters: Iterator[Letter], toil: str | None) -> Iterator[Letter]:
    return (letter for letter in letters if toil is None or letter.toil == toil)


def _named(letter: Letter, id: str) -> bool:
    if len(id) < ID_LEAST:
        raise UsageError(f"{id!r} is too short: at least {ID_LEAST} digits of an id")
    return letter.id.startswith(id.lower())


def _texts(letter: Letter) -> dict[str, str]:
    return {name: letter.attribute(name) for name in sorted(letter.attributes)}


def _sent(session: Session, opened: Desk, letter: Letter) -> dict[str, str | None]:
    """Send one letter; where `to`, or `why` it was kept."""
    send: Callable[[Session, Letter], str] = _published if letter.kind == "pointer" else _requeued
    try:
        to = send(session, letter)
        opened.settle(letter)
    except (CommandError, PaydownError, ClientError, BotoCoreError) as error:
        return {"to": None, "why": explain(error).message}
    return {"to": to, "why": None}


def _requeued(session: Session, letter: Letter) -> str:
    """Put it into its queue, with its attributes, but for those in which EventBridge tells of the failure."""
    name = letter.destination
    url = url_of(session, name, letter.toil or name)
    kept = {} if letter.kind == "delivery" else letter.attributes
    session.connection.client("sqs").send_message(QueueUrl=url, MessageBody=letter.body, MessageAttributes=kept)
    return name


def _published(session: Session, letter: Letter) -> str:
    """Publish what the ledger's log has of the time that it points to; consumers know repeats by the events' keys."""
    from paydown.clients.bus import put

    changes = map(transition, entries_between(session.ledger, *letter.span, session.now()))
    details = ((RemediationChanged.detail_type_for(one.status), one.model_dump_json()) for one in changes)
    if (first := next(details, None)) is None:
        raise NoWayBack("the ledger has no transitions of that time")
    put(chain([first], details), session.connection.client("events"))
    return "the event bus"
