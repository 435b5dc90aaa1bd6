"""`paydown advise`: what was last advised on the layers of an image."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from cli.exits import FINE, NotFoundError, UsageError
from cli.sarif import sarif
from cli.session import Session
from cli.toils import toil_type
from paydown.ledger import Run

TOIL = "advise_image_layers"
DAYS = 90
RUNS = 200
_IMAGE = re.compile(r"([^/\s]+/[^\s@]+?)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?")


def run(session: Session) -> int:
    """Print the text and the Dockerfiles, or SARIF, or one Dockerfile alone."""
    args = session.args
    image, tag = _named(args.image)
    found, action, quiet = _latest(session, image, tag)
    if args.sarif:
        session.out.document(sarif(action))
        return FINE
    session.out.data({"run": found.id, "nothing_since": quiet, **action.model_dump(mode="json")})
    if quiet:
        session.out.line(f"Since then run {quiet} had nothing to advise. This is what run {found.id} said:")
        session.out.line("")
    for line in action.text.splitlines():
        session.out.line(line)
    for title, text in _dockerfiles(action):
        session.out.line("")
        session.out.line(title)
        for line in text.splitlines():
            session.out.line(f"    {line}")
    return FINE


def _named(text: str) -> tuple[str, str]:
    """An image as `registry/repository` and the tag, `latest` if none is named."""
    parts = _IMAGE.fullmatch(text)
    if parts is None:
        raise UsageError(f"{text!r} is no image: registry/repository[:tag]")
    return parts[1], parts[2] or "latest"


def _latest(session: Session, image: str, tag: str) -> tuple[Run, Any, str]:
    """The newest run that had advice on an image, its action, and the run after it that had none (empty: none had)."""
    verbs = {verb.verb(): verb for verb in toil_type(TOIL).does}
    history, now = session.ledger.history, session.now()
    entries = history.begun(
        now - timedelta(days=DAYS), now, toil=TOIL, target=f"tag/{image}:{tag}", limit=RUNS, older=False
    )
    quiet = ""
    for found in history.runs(entries):
        for step in session.ledger.journal.read(found, found.plan_number, verbs) if found.plan_number else ():
            return found, step.action, quiet
        if found.evidence.get("advice", found.before.get("advice")) == []:
            quiet = quiet or found.id
    why = f": run {quiet} had nothing to advise" if quiet else ""
    raise NotFoundError(f"there is no advice on {image}:{tag} of the last {DAYS} days{why}")


def _dockerfiles(action: Any) -> list[tuple[str, str]]:
    found = [("Proposed Dockerfile:", action.dockerfile)] if action.dockerfile else []
    found += [(f"If the answer allows it ({one.rule} {one.number}):", one.dockerfile) for one in action.advice]
    return [(title, text) for title, text in found if text]
