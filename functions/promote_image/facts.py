"""The facts that a route wants to know of an image, and what is wrong with those that do not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from functions.promote_image.image import Image
from functions.promote_image.scans import Scans
from functions.promote_image.settings import Required
from paydown.events import Severity
from paydown.ledger.images import Scan

SEVERITIES: tuple[str, ...] = get_args(Severity)
SOONEST, LATEST = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Lack:
    """A fact that does not hold, by its name in the policy. `until` is when to look again; None: it is settled."""

    fact: str
    why: str
    until: datetime | None = None

    def __str__(self) -> str:
        """For people."""
        return f"{self.fact}: {self.why}"


@dataclass(frozen=True)
class Subject:
    """What the facts are about: an image in the repository `place` (a uid), seen there since `since`."""

    place: str
    digest: str
    since: datetime


def lacks(required: Required, subject: Subject, image: Image, scans: Scans, now: datetime) -> Iterator[Lack]:
    """What does not hold. An approval is not among these: the guards ask for it."""
    if required.findings_below is not None:
        if why := found_too_bad(required.findings_below, image, scans):
            yield Lack("findings_below", why)
        elif unknown := not_scanned(image, scans):
            yield Lack("findings_below", unknown, again(subject.since, now))
    if required.signature and not image.signed():
        yield Lack("signature", "none is attached to it", again(subject.since, now))
    soaked = subject.since + timedelta(seconds=required.soak_seconds)
    if soaked > now:
        yield Lack("soak_seconds", f"it was first seen here at {subject.since:%Y-%m-%d %H:%M:%S}Z", soaked)


def not_scanned(image: Image, scans: Scans) -> str:
    """Of what no scan was told; empty if one was of the image itself, or of each platform of an index."""
    if scans.of(image.digest):
        return ""
    platforms = image.platforms()
    unknown = [one for one in platforms if not scans.of(one)]
    if unknown:
        return f"no scan of it was told, and none of {len(unknown)} of its {len(platforms)} platforms: {unknown[0]}"
    return "" if platforms else "no scan of it was told"


def found_too_bad(below: str, image: Image, scans: Scans) -> str:
    """What the scans of an image and of its platforms found that is as bad as `below`, or worse; empty if nothing."""
    all_of_it = ((one, scan) for one in (image.digest, *image.platforms()) for scan in scans.of(one))
    found = [(one, why) for one, scan in all_of_it if (why := too_bad(scan, below))]
    return "; ".join(why if one == image.digest else f"{why} of the platform {one}" for one, why in found)


def too_bad(scan: Scan, below: str) -> str:
    """What a scan found that is as bad as `below`, or worse; empty if nothing."""
    worst = SEVERITIES[SEVERITIES.index(below) :][::-1]
    found = [f"{scan.findings[severity]} {severity}" for severity in worst if scan.findings.get(severity)]
    return f"{', '.join(found)} in the scan of {scan.at:%Y-%m-%d %H:%M}Z" if found else ""


def again(since: datetime, now: datetime) -> datetime:
    """When to look again for what comes from others: soon at first, then as long again as half of what it took."""
    return now + min(LATEST, max(SOONEST, (now - since) / 2))
