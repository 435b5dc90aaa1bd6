"""People of a policy, and what the tests of approvals do with them."""

from __future__ import annotations

from typing import Any

from paydown.approving import Caller, Command
from paydown.events import TicketCreated
from paydown.ledger import Run
from tests.unit.toil.lamps import POLICY, Plant

ACCOUNT = "111122223333"
ANN_ARN = f"arn:aws:iam::{ACCOUNT}:user/ann"
EVE_ARN = f"arn:aws:iam::{ACCOUNT}:user/eve"
ANN = Caller(arn=ANN_ARN)
BOB = Caller(tracker="helpdesk", user="bob")
EVE = Caller(arn=EVE_ARN)
PEOPLE = [
    {"name": "ann", "iam": [ANN_ARN], "accounts": {"helpdesk": "ann"}},
    {"name": "bob", "iam": [f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/*"], "accounts": {"helpdesk": "bob"}},
    {"name": "eve", "iam": [EVE_ARN], "accounts": {"helpdesk": "eve"}},
]


def publish(plant: Plant, *, approvers: tuple[str, ...] = ("ann", "bob"), **changes: Any) -> None:
    """A policy in which each plan waits for Ann or Bob; Eve is known, and may not decide."""
    plant.publish()
    toil = {**POLICY["toils"]["switch_off_lamps"], "mode": "approve", "hold_seconds": 600, **changes}
    document = {"people": PEOPLE, "approvers": approvers, "toils": {"switch_off_lamps": toil}}
    plant.ledger.policy.publish(document, "test", plant.clock())


def asked(creator: str, ticket: str = "7", key: str = "ticket-1") -> TicketCreated:
    """Somebody asks by a ticket."""
    return TicketCreated(
        key=key, at="2026-11-22T02:59:00Z", ticket={"tracker": "helpdesk", "id": ticket}, title="lamps", creator=creator
    )


def approve(run: Run, **changes: Any) -> Command:
    """What approves the present plan of a run."""
    return Command(**{"approved": True, "fingerprint": run.fingerprint, **changes})
