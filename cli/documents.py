"""`paydown policy|inventory publish|show`."""

from __future__ import annotations

from typing import Any

from cli.checks import check_listeners, check_rules, check_settings, check_sources
from cli.exits import FINE
from cli.reading import read_document
from cli.session import Session
from paydown.errors import InvalidDocument
from paydown.inventory import Inventory
from paydown.ledger import Documents, NoDocument, Version
from paydown.policy import Policy

MODELS: dict[str, type[Policy] | type[Inventory]] = {"policy": Policy, "inventory": Inventory}


def publish(session: Session) -> int:
    """Check a document and put it in force; what is invalid changes nothing."""
    args = session.args
    document = read_document(args.file, args.kind)
    parsed = MODELS[args.kind].parse(document)
    warnings = _warnings(session, parsed)
    for warning in warnings:
        session.out.note(f"warning: {warning}")
    if args.dry_run:
        session.out.data({"kind": args.kind, "valid": True, "published": False, "warnings": warnings})
        session.out.line(f"the {args.kind} is valid; nothing was published")
        return FINE
    documents = _documents(session, args.kind)
    before = _number_in_force(documents)
    version = documents.publish(document, session.who(), session.now(), args.expect)
    new = version.number != before
    session.out.data({**_head(args.kind, version), "published": new, "warnings": warnings})
    session.out.line(f"{args.kind} version {version.number} is in force{'' if new else ', as it was: nothing changed'}")
    return FINE


def show(session: Session) -> int:
    """Print a document as it was published, so that it can be edited and published again."""
    kind, number = session.args.kind, session.args.number
    documents = _documents(session, kind)
    version = documents.version(number) if number else documents.current()
    text = documents.text(version.number)
    if session.out.wants_json:
        session.out.data({**_head(kind, version), "document": text})
    else:
        session.out.note(f"{kind} version {version.number}, published by {version.by} at {version.at}")
        session.out.document(text)
    return FINE


def _warnings(session: Session, parsed: Policy | Inventory) -> list[str]:
    if not isinstance(parsed, Policy):
        return []
    warnings = [*check_settings(parsed), *check_rules(parsed), *check_sources(parsed)]
    # A dry run asks nobody: it works without a network.
    parameters = None if session.args.dry_run else session.connection.known_parameters()
    untold = check_listeners(parsed, parameters)
    return [*warnings, *(f"{text}; {remedy}" for text, remedy in untold)]


def _documents(session: Session, kind: str) -> Documents[Any]:
    return session.ledger.policy if kind == "policy" else session.ledger.inventory


def _number_in_force(documents: Documents[Any]) -> int:
    """The number of the version in force; 0 for none, or one that this release cannot read and must be replaced."""
    try:
        return documents.current().number
    except (NoDocument, InvalidDocument):
        return 0


def _head(kind: str, version: Version[Any]) -> dict[str, Any]:
    return {"kind": kind, "version": version.number, "sha256": version.sha256, "by": version.by, "at": version.at}
