"""What every command works with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from cli.connection import Connection
from cli.output import Output

if TYPE_CHECKING:
    from paydown.ledger import Ledger


@dataclass
class Session:
    """One call of the command: its arguments, where it prints, the clock (UTC), and the stack that it is about."""

    args: argparse.Namespace
    out: Output
    now: Callable[[], datetime]

    @cached_property
    def connection(self) -> Connection:
        """The stack that the arguments name."""
        args = self.args
        return Connection(args.stack, args.profile, args.region, args.endpoint_url, args.local)

    @property
    def ledger(self) -> Ledger:
        """The ledger of that stack."""
        return self.connection.ledger

    def who(self) -> str:
        """Whose name goes on the record."""
        return self.args.by or self.connection.caller()
