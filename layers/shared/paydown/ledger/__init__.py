"""The ledger: runs and their journals, leases, switches, approvals, documents, and the debt account, in one table.

`Ledger` ties its parts together; `open_ledger` opens the one that the environment names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any

from paydown.inventory import Inventory
from paydown.ledger.approvals import Approvals, Decision, NotHeld
from paydown.ledger.documents import Conflict, Documents, NoDocument, Version
from paydown.ledger.history import Entry, History
from paydown.ledger.images import Images
from paydown.ledger.journal import Journal, Verbs
from paydown.ledger.promotions import Promotions
from paydown.ledger.run import Outcome, Reason, Run, Status, run_id
from paydown.ledger.runs import WORKER_TIME, Alive, Created, Runs, rests
from paydown.ledger.switches import EVERYTHING, Stop, Switches
from paydown.ledger.table import ConditionFailed, Table
from paydown.ledger.transitions import Busy, Crowded, Joined, Lost
from paydown.policy import Policy

__all__ = [
    "EVERYTHING",
    "WORKER_TIME",
    "Alive",
    "Approvals",
    "Busy",
    "ConditionFailed",
    "Conflict",
    "Created",
    "Crowded",
    "Decision",
    "Documents",
    "Entry",
    "History",
    "Images",
    "Joined",
    "Journal",
    "Ledger",
    "Lost",
    "NoDocument",
    "NotHeld",
    "Outcome",
    "Promotions",
    "Reason",
    "Run",
    "Runs",
    "Status",
    "Stop",
    "Switches",
    "Table",
    "Verbs",
    "Version",
    "open_ledger",
    "rests",
    "run_id",
]

MOST_AT_ONCE = 40
"""Parts of documents that are read with one call: together they stay below DynamoDB's 16 MB for an answer."""


class Ledger:
    """All parts of one ledger."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @cached_property
    def runs(self) -> Runs:
        """Runs, leases, and what joins what."""
        return Runs(self.table)

    @cached_property
    def history(self) -> History:
        """Which runs there were."""
        return History(self.table)

    @cached_property
    def journal(self) -> Journal:
        """The steps of runs."""
        return Journal(self.table)

    @cached_property
    def switches(self) -> Switches:
        """What is stopped."""
        return Switches(self.table)

    @cached_property
    def approvals(self) -> Approvals:
        """What people decided."""
        return Approvals(self.table)

    @cached_property
    def policy(self) -> Documents[Policy]:
        """The versions of the policy."""
        return Documents(self.table, "policy", Policy.parse)

    @cached_property
    def inventory(self) -> Documents[Inventory]:
        """The versions of the inventory."""
        return Documents(self.table, "inventory", Inventory.parse)

    @cached_property
    def images(self) -> Images:
        """What is known of images."""
        return Images(self.table)

    @cached_property
    def promotions(self) -> Promotions:
        """Which images were promoted."""
        return Promotions(self.table)

    def documents(self) -> tuple[Version[Policy], Version[Inventory]]:
        """Policy and inventory in force, read consistently and together: a cold start waits for two answers, not four.

        The inventory has the promotions that were recorded beside those that were declared, which stand first.
        From then on, what is written is kept as long as this policy says. Raises NoDocument.
        """
        keys = [self.policy.pointer_key, self.inventory.pointer_key, self.promotions.pointer_key]
        found = {(item["pk"], item["sk"]): item for item in self.table.get_all(keys)}
        policy, inventory, promotions = (found.get(key) for key in keys)
        missing = [*self.policy.missing(policy), *self.inventory.missing(inventory)]
        few = missing[:MOST_AT_ONCE]
        chunks = {(item["pk"], item["sk"]): item for item in self.table.get_all(few)} if few else {}
        in_force = self.policy.pointed_at(policy, chunks)
        # Before anything is written: what is kept, and how long, is for the policy to say.
        self.runs.retention = self.journal.retention = timedelta(days=in_force.document.retention_days)
        declared = self.inventory.pointed_at(inventory, chunks)
        return in_force, self.promotions.merged(declared, promotions)

    def account(self, toil: str) -> Iterator[dict[str, Any]]:
        """The debt account of a toil type, by month: `month`, `runs`, and what was saved."""
        for item in self.table.query(f"DEBT#{toil}"):
            yield {"month": item["sk"], **{name: item[name] for name in item if name not in ("pk", "sk")}}


def open_ledger() -> Ledger:
    """The ledger in the table that PAYDOWN_LEDGER_TABLE names."""
    from paydown.clients.aws import client

    return Ledger(Table(os.environ["PAYDOWN_LEDGER_TABLE"], client("dynamodb")))
