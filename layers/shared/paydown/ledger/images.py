"""What is known of images, whoever told it or saw it: the partitions `IMAGE#<uid of the repository>`.

One item for each digest: `seen`, when we first saw it in that repository, and its last scan. Both outlast the run that
learned them: a scan is told apart from the push, and how long an image has been there is counted over several runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from paydown.events import ImageScanned
from paydown.ledger.table import ConditionFailed, Item, Table

KEPT = timedelta(days=400)
"""How long an image is remembered that nobody tells of any more."""


@dataclass(frozen=True)
class Scan:
    """The last scan of an image: findings by severity, and when the scanner had them."""

    findings: Mapping[str, int]
    at: datetime


class Images:
    """The images of one ledger."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def note_scan(self, repository: str, scan: ImageScanned, now: datetime) -> None:
        """Remember a scan, unless a later one is known. `repository` is a uid. A repeat changes nothing."""
        write = self.table.update(
            _partition(repository),
            scan.digest,
            "SET #scanned = :at, #findings = :findings, #expires = :expires",
            "attribute_not_exists(#scanned) OR #scanned <= :at",
            at=_text(scan.at),
            findings={severity: count for severity, count in scan.findings.items() if count},
            expires=_expiry(now),
        )
        try:
            self.table.transact([write])
        except ConditionFailed:
            return

    def scan(self, repository: str, digest: str) -> Scan | None:
        """The last scan that was told of an image in a repository; None if there was none."""
        item = self.table.get(_partition(repository), digest)
        if item is None or "scanned" not in item:
            return None
        return Scan(item["findings"], datetime.fromisoformat(item["scanned"]))

    def seen(self, repository: str, digest: str, now: datetime) -> datetime:
        """When we first saw an image in a repository: now, if we never did. To be asked by who sees it there."""
        known = self._since(repository, digest)
        if known is not None:
            return known
        change = "SET #seen = if_not_exists(#seen, :now), #expires = :expires"
        update = self.table.update(_partition(repository), digest, change, now=_text(now), expires=_expiry(now))
        self.table.transact([update])
        return self._since(repository, digest) or now

    def later(self, repository: str, digest: str, than: datetime) -> bool:
        """Whether we first saw an image in a repository later than this."""
        known = self._since(repository, digest)
        return known is not None and known > than

    def _since(self, repository: str, digest: str) -> datetime | None:
        item: Item = self.table.get(_partition(repository), digest) or {}
        return datetime.fromisoformat(item["seen"]) if "seen" in item else None


def _partition(repository: str) -> str:
    return f"IMAGE#{repository}"


def _text(moment: datetime) -> str:
    """In UTC and always as long, so that two compare as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _expiry(now: datetime) -> int:
    return int((now + KEPT).timestamp())
