"""A Roundup detector that tells Paydown about new issues, issues that a person moves to its queue, and decisions.

A decision is a message with a line `/approve …` or `/reject …`. It is announced when whoever wrote it puts it on an
issue; not when it came by plain e-mail, since anybody can send that in another's name. Roundup lets every user edit
every message, so that this detector refuses to let a decision, or a text that would become one, be edited.

Copied into a tracker's `detectors/` folder; needs only the standard library. Its settings stand in that folder's
`config.ini`, section `[paydown]`:

    url              the address of Paydown's ingress for Roundup
    secret           the shared secret that signs each event
    tracker          the name of this tracker in Paydown's inventory
    queue            the keyword that hands an issue to Paydown
    automation_user  Paydown's own user here: what it does itself is not reported
    python           the interpreter that delivers events; empty for the one that runs Roundup

An event is written to the folder `paydown-spool/` of the tracker home once the change is committed, and a process of
its own sends it from there. So neither a slow nor a dead receiver delays or breaks an edit, and what could not be sent
stays in the spool: a later event, or any later visit to the tracker, tries again. The receiver sees each event at least
once.

Run as a program, `roundup_detector.py TRACKER_HOME` sends what the spool holds.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import hmac
import http.client
import json
import logging
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SPOOL = "paydown-spool"
TITLE_LIMIT = 2_000
POST_SECONDS = 10
FIRST_DELAY, LONGEST_DELAY = 0.25, 30.0
PERSISTENCE_SECONDS = 900
REJECTIONS = (400, 413, 415, 422)
"""What the receiver will never accept, however often it is sent: kept in `rejected/` for a person to look at."""

DECISION = re.compile(r"^/(approve|reject)(?![^\s])", re.MULTILINE)
VOUCHED = ("web", "rest", "xmlrpc", "email-sig-openpgp")
"""The ways into Roundup on which it makes sure who somebody is."""

logger = logging.getLogger("roundup.paydown")


# --- in Roundup's process ------------------------------------------------------------------------------------------


def init(db: Any) -> None:
    """Called by Roundup each time that it opens the tracker."""
    db.issue.react("create", created)
    db.issue.react("set", changed)
    db.msg.audit("create", sign)
    db.msg.audit("set", protect)
    home = Path(db.config.HOME)
    if waiting(home) and not delivering(home):
        start_delivery(home, _python(db))


def created(db: Any, issues: Any, issue: str, old: None) -> None:  # noqa: ARG001 -- Roundup's signature
    """An issue is new."""
    announce(db, issues, issue, "issue.created")
    announce_decisions(db, issues, issue, set())


def changed(db: Any, issues: Any, issue: str, old: dict[str, Any]) -> None:
    """An issue was edited: tell Paydown if this put it into its queue, or decided something."""
    announce_decisions(db, issues, issue, set(old.get("messages") or ()))
    queue = db.config.detectors["PAYDOWN_QUEUE"]
    before = {db.keyword.get(keyword, "name") for keyword in old.get("keyword") or ()}
    if queue in _keywords(db, issues, issue) and queue not in before:
        announce(db, issues, issue, "issue.moved")


def sign(db: Any, messages: Any, message: None, new: dict[str, Any]) -> None:  # noqa: ARG001 -- Roundup's signature
    """Give Paydown's messages their author and date, which its role may not set: it cannot write as somebody else."""
    if db.user.get(db.getuid(), "username") == db.config.detectors["PAYDOWN_AUTOMATION_USER"]:
        from roundup.date import Date

        new.update(author=db.getuid(), date=Date())


def protect(db: Any, messages: Any, message: str, new: dict[str, Any]) -> None:
    """A decision stays as it was written, and no message becomes one; Paydown's own messages decide nothing."""
    ours = db.user.get(db.getuid(), "username") == db.config.detectors["PAYDOWN_AUTOMATION_USER"]
    if ours or "content" not in new:
        return
    before, after = messages.get(message, "content") or "", new["content"] or ""
    if before != after and any(is_decision(text) for text in (before, after)):
        from roundup.exceptions import Reject

        raise Reject("a decision (/approve, /reject) cannot be edited: write a new message")


def is_decision(text: str | bytes) -> bool:
    """Whether a message looks like a decision."""
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return DECISION.search(plain.replace("\r\n", "\n").replace("\r", "\n")) is not None


def announce_decisions(db: Any, issues: Any, issue: str, before: set[str]) -> None:
    """Announce the decisions among the messages that came to the issue, if their writer put them there."""
    if getattr(db, "tx_Source", None) not in VOUCHED:
        return
    for message in issues.get(issue, "messages") or ():
        mine = message not in before and db.msg.get(message, "creator") == db.getuid()
        if mine and is_decision(db.msg.get(message, "content") or ""):
            announce(db, issues, issue, "issue.commented", message)


def announce(db: Any, issues: Any, issue: str, event: str, comment: str | None = None) -> None:
    """Queue the event for when the change is committed; what is rolled back is never announced."""
    settings = db.config.detectors
    actor = db.user.get(db.getuid(), "username")
    if actor == settings["PAYDOWN_AUTOMATION_USER"]:
        return
    moment = issues.get(issue, "creation" if event == "issue.created" else "activity")
    minute = datetime(moment.year, moment.month, moment.day, moment.hour, moment.minute, tzinfo=UTC)
    at = (minute + timedelta(seconds=moment.second)).isoformat(timespec="milliseconds")
    what = event if comment is None else f"{event} {comment}"
    keywords = _keywords(db, issues, issue)
    status = issues.get(issue, "status")
    body = {
        "event": event,
        "delivery": hashlib.sha256(f"{db.config.TRACKER_WEB} {what} {issue} {at}".encode()).hexdigest()[:32],
        "tracker": settings["PAYDOWN_TRACKER"],
        "id": issue,
        "comment": comment,
        "title": (issues.get(issue, "title") or "")[:TITLE_LIMIT],
        "status": db.status.get(status, "name") if status else None,
        "creator": db.user.get(issues.get(issue, "creator"), "username"),
        "actor": actor,
        "keywords": keywords,
        "queue": settings["PAYDOWN_QUEUE"] if settings["PAYDOWN_QUEUE"] in keywords else None,
        "created": str(issues.get(issue, "creation")),
        "at": at,
    }
    # Roundup runs these right after its commit, and forgets them in a roll-back.
    db.transactions.append((store, (Path(db.config.HOME), _python(db), body)))


def store(home: Path, python: str, body: dict[str, Any]) -> None:
    """Write one event to the spool and see that it is sent. The edit is saved by now: trouble here is only logged."""
    spool = home / SPOOL
    name = f"{time.time_ns():020d}-{body['delivery']}.json"
    try:
        spool.mkdir(mode=0o700, exist_ok=True)
        draft = spool / f".{name}"
        with draft.open("wb") as file:
            file.write(json.dumps(body).encode())
            file.flush()
            os.fsync(file.fileno())
        draft.rename(spool / name)
    except OSError:
        logger.exception("the event %s of issue %s could not be stored and is lost", body["event"], body["id"])
        return
    start_delivery(home, python)


def start_delivery(home: Path, python: str) -> None:
    """Start a process that sends the spool. It ends at once when another one is at work."""
    try:
        subprocess.Popen(  # noqa: S603 -- our own program
            [python, "-I", str(home / "detectors" / "roundup_detector.py"), str(home)], stdin=subprocess.DEVNULL
        )
    except OSError:
        logger.exception("the delivery of %s cannot start; its events wait", home / SPOOL)


def _keywords(db: Any, issues: Any, issue: str) -> list[str]:
    return sorted(db.keyword.get(keyword, "name") for keyword in issues.get(issue, "keyword") or ())


def _python(db: Any) -> str:
    return str(db.config.detectors["PAYDOWN_PYTHON"] or sys.executable)


# --- in the delivering process -------------------------------------------------------------------------------------


def waiting(home: Path) -> list[Path]:
    """The events in the spool, oldest first."""
    return sorted((home / SPOOL).glob("[0-9]*.json"))


@contextlib.contextmanager
def alone(home: Path) -> Iterator[bool]:
    """Whether this process is the only one that delivers; it stays so inside the block."""
    with (home / SPOOL / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def delivering(home: Path) -> bool:
    """Whether some process delivers right now."""
    with alone(home) as free:
        return not free


class Unreachable(Exception):
    """The receiver did not answer at all."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, secret: str, body: bytes) -> int:
    """Send one event, signed; the HTTP status of the answer. Raises Unreachable."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 -- the tracker's own setting
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=POST_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(str(error)) from None


def deliver_once(home: Path, url: str, secret: str) -> str | None:
    """Try each waiting event once. Why some remain, or None when all are sent."""
    trouble = None
    for path in waiting(home):
        try:
            status = post(url, secret, path.read_bytes())
        except Unreachable as error:
            return f"no answer: {error}"
        if 200 <= status < 300:
            path.unlink(missing_ok=True)
        elif status in REJECTIONS:
            rejected = path.parent / "rejected"
            rejected.mkdir(mode=0o700, exist_ok=True)
            path.rename(rejected / path.name)
            sys.stderr.write(f"paydown: the receiver rejects {path.name} with status {status}; see {rejected}\n")
        else:
            trouble = f"status {status}"
    return trouble


def deliver(home: Path) -> int:
    """Send the spool, with growing pauses after failures; give up for now after `PERSISTENCE_SECONDS`."""
    deadline = time.monotonic() + PERSISTENCE_SECONDS
    delay = FIRST_DELAY
    # An event that is stored while another process holds the lock is seen by that one: it looks again after letting go.
    while waiting(home):
        with alone(home) as free:
            if not free:
                return 0
            config = configparser.ConfigParser()
            config.read(home / "detectors" / "config.ini")
            trouble = deliver_once(home, config["paydown"]["url"], config["paydown"]["secret"])
            if trouble is None:
                delay = FIRST_DELAY
                continue
            if time.monotonic() + delay > deadline:
                sys.stderr.write(f"paydown: {len(waiting(home))} event(s) wait in {home / SPOOL}: {trouble}\n")
                return 1
            time.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
    return 0


if __name__ == "__main__":
    sys.exit(deliver(Path(sys.argv[1])))
