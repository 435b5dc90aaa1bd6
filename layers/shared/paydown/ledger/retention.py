"""How long the ledger keeps what: `expires`, in seconds since 1970, after which the table forgets an item by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

RETENTION = timedelta(days=400)
"""As in a policy that does not say `retention_days`."""
LIFE = timedelta(days=70)
"""Longer than a plan may be under way: held for 30 days, deferred for 30 and waiting for 7 (the limits of a policy)."""


def expiry(now: datetime, retention: timedelta, *, living: bool = False) -> int:
    """When an item may go: `retention` from now; of a living run, only after the longest that the run may yet last.

    Without that, a policy that keeps little would lose the journal of a plan that still waits for a person.
    """
    return int((now + retention + (LIFE if living else timedelta())).timestamp())
