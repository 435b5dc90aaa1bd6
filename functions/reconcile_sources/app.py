"""Every quarter of an hour: ask each system that sends us webhooks what it would have told, and tell what was lost.

A registry forgets its notifications when it restarts, GitHub tries once, and a sender whose secret is wrong is refused.
What is found becomes the same event as the webhook's; runs converge, so that telling twice does no harm. How the asking
went is left in the ledger beside how far it came, since only this function asks from where the functions run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from functions.reconcile_sources import asking
from functions.reconcile_sources.desk import Desk, State
from functions.reconcile_sources.registries import registry
from paydown.clients import aws, bus
from paydown.clients.registry import open_registry
from paydown.errors import PaydownError
from paydown.inventory import Inventory
from paydown.ledger import Ledger, NoDocument, open_ledger
from paydown.ledger.sources_seen import Sources, open_sources, sender_of
from paydown.toil.handler import utc_now

SECONDS = 40.0
"""For all systems; the last request may take 13 more, and the function ends after 60."""
TROUBLE_LIMIT = 500

Look = Callable[[State, Desk], int]

logger = Logger(service="reconcile_sources")
_opened: list[tuple[Ledger, Sources]] = []


def handler(_event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Ask them all. Returns how many events were `found`, and the names of the systems with `trouble`."""
    if not _opened:
        _opened.append((open_ledger(), open_sources()))
    ledger, sources = _opened[0]
    try:
        systems = list(_systems(ledger.inventory.current().document))
    except NoDocument:
        systems = []
    ends = time.monotonic() + SECONDS
    found, trouble = 0, []
    for index, (sender, uid, name, look) in enumerate(systems):
        now = time.monotonic()
        desk = Desk(sources, bus.publish, utc_now(), now + (ends - now) / (len(systems) - index))
        count, failed = _ask(sender, uid, name, look, desk)
        found += count
        trouble += [name] if failed else []
    with single_metric(name="LostWebhooks", unit=MetricUnit.Count, value=found, namespace="Paydown"):
        logger.info("reconciled", systems=len(systems), found=found, trouble=len(trouble))
    return {"found": found, "trouble": trouble}


def _systems(inventory: Inventory) -> Iterator[tuple[str, str, str, Look]]:
    """Sender, uid, name, and what asks it; the registries last, since they take as long as they are given."""
    for one in inventory.alertmanagers:
        yield (
            "alertmanager",
            one.uid,
            one.ref,
            lambda state, desk, one=one: asking.alertmanager(one, state, desk, aws.secret),
        )
    for tracker in inventory.trackers:
        yield (
            tracker.system,
            tracker.uid,
            tracker.ref,
            lambda state, desk, one=tracker: asking.tracker(one, state, desk, aws.secret),
        )
    for entry in inventory.registries:
        yield (
            sender_of(entry),
            entry.uid,
            entry.ref,
            lambda state, desk, one=entry: registry(one, state, desk, open_registry(one, aws.secret)),
        )


def _ask(sender: str, uid: str, name: str, look: Look, desk: Desk) -> tuple[int, bool]:
    """How many events were found, and whether it failed. One system in trouble does not keep the others waiting."""
    found, trouble = 0, ""
    try:
        state = desk.sources.cursor(sender, uid)
        try:
            found = look(state, desk)
        except PaydownError as error:
            trouble = str(error)[:TROUBLE_LIMIT]
        state.update(asked=desk.now.isoformat(timespec="seconds"), trouble=trouble)
        desk.sources.move_cursor(sender, uid, state)
    except PaydownError as error:
        trouble = str(error)[:TROUBLE_LIMIT]
    if trouble:
        logger.error("not reconciled", system=name, trouble=trouble)
    if found:
        logger.warning("webhooks were lost", system=name, events=found)
    return found, bool(trouble)
