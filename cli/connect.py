"""`paydown connect SOURCE`: the secret of a sender of webhooks, its configuration to paste, and a first request."""

from __future__ import annotations

import json
import os
import secrets
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli import senders
from cli.exits import FINE, NEEDS_ATTENTION, UsageError
from cli.output import moment
from cli.session import Session
from paydown.errors import PermanentError
from paydown.sources.webhook import secrets_of

POLL_SECONDS = 2.0
SECRET_BYTES = 36
REMEMBERED = "ingress remembers the old secret for five minutes"
HIDDEN = "SECRET"
"""What stands in the place of the secret, where it is not to be seen."""


def run(session: Session) -> int:
    """See that there is a secret, show the configuration, and wait until the sender is heard of."""
    args, connection = session.args, session.connection
    name = f"{connection.stack_name}/webhooks/{args.source}"
    if args.output and Path(args.output).exists():
        raise UsageError(f"{args.output} exists already: name another file for the secret")
    url = connection.webhook_url(args.source)
    secret, done = _secret(session, name)
    shown = args.show_secret or bool(args.output)
    text = senders.configuration(args.source, url, secret if shown else HIDDEN)
    if args.output:
        _write(Path(args.output), text)
    _show(session, name, text, done)
    answer: dict[str, Any] = {"source": args.source, "url": url, "secret_name": name, "secret": done}
    answer |= {"written_to": args.output, "configuration": None if args.output else text}
    heard = None if args.no_wait else _wait(session)
    session.out.data({**answer, "waited": not args.no_wait, "heard": heard.isoformat() if heard else None})
    return FINE if args.no_wait or heard else NEEDS_ATTENTION


def _secret(session: Session, name: str) -> tuple[str, str]:
    """The secret in force, and what became of it: `kept`, `created` or `rotated`."""
    client = session.connection.client("secretsmanager")
    try:
        known = secrets_of(session.connection.secret(name))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
            raise
        made = secrets.token_urlsafe(SECRET_BYTES)
        client.create_secret(Name=name, SecretString=json.dumps({"current": made}))
        return made, "created"
    except PermanentError:
        # There is a secret that proves nobody: whoever has it is refused already.
        known = []
    if known and not session.args.rotate:
        return known[0], "kept"
    made = secrets.token_urlsafe(SECRET_BYTES)
    value = {"current": made, "previous": known[0]} if known else {"current": made}
    client.put_secret_value(SecretId=name, SecretString=json.dumps(value))
    return made, "rotated"


def _write(path: Path, text: str) -> None:
    """Write what only the caller may read; never over something that is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def _show(session: Session, name: str, text: str, done: str) -> None:
    out, args = session.out, session.args
    if args.output:
        out.line(f"the configuration, with the secret in it, is in {args.output}, which only you may read")
    else:
        for line in text.splitlines():
            out.line(line)
    if not (args.output or args.show_secret):
        out.line()
        out.line(f"{HIDDEN} stands for the secret, which a terminal's log should not hold. To read it:")
        out.line(
            f"  aws secretsmanager get-secret-value --secret-id {name} --query SecretString --output text"
            "    (its `current`)"
        )
        out.line("or have all of it written to a file: --output FILE")
    if done == "created":
        out.line(f"the secret {name} was missing and is made now")
    if done == "rotated":
        out.line(
            f"the secret is new, and the one before it is still good: {REMEMBERED}, so give it the new one after that"
        )
    out.line()


def _wait(session: Session) -> datetime | None:
    """When the sender was next heard of; None when it was not, or the operator has waited long enough."""
    sources, source = session.connection.sources, session.args.source
    before = sources.heard(source)
    sources.expect(source)
    since = f"last heard {moment(before)}" if before else "it was never heard"
    session.out.note(f"waiting {session.args.wait} s for a request of {source} ({since}); Ctrl-C ends that")
    session.out.note(senders.TRIALS[source])
    ends = time.monotonic() + session.args.wait
    try:
        while True:
            heard = sources.heard(source)
            if heard is not None and heard != before:
                session.out.line(f"heard of {source} at {moment(heard)}: it is connected")
                return heard
            if time.monotonic() >= ends:
                break
            time.sleep(min(POLL_SECONDS, max(0.0, ends - time.monotonic())))
    except KeyboardInterrupt:
        session.out.note("")
    session.out.line(f"nothing came from {source}: its own log says how its requests were answered (docs/senders.md)")
    return None
