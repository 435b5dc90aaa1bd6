"""What the guardrails say: a decision, and all the reasons for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Decision(enum.StrEnum):
    """What the guardrails say, from the mildest to the strictest."""

    ALLOW = "allow"
    DEFER = "defer"
    HOLD = "hold"
    REFUSE = "refuse"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return list(Decision).index(self)


@dataclass(frozen=True)
class Finding:
    """What one guard says: its stable code, an explanation, and until when it defers."""

    code: str
    text: str
    decision: Decision
    until: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """All that the guards found, the decision that follows, and until when a deferral lasts."""

    findings: tuple[Finding, ...] = ()

    @property
    def decision(self) -> Decision:
        """The strictest of what the guards call for."""
        return max((finding.decision for finding in self.findings), key=lambda one: one.rank, default=Decision.ALLOW)

    @property
    def until(self) -> datetime | None:
        """When the last of the deferring guards gives way; None if none defers."""
        return max((finding.until for finding in self.findings if finding.until is not None), default=None)
