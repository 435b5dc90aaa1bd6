"""What scans have found of the images in one repository: what was told, and what ECR says itself.

An enhanced scan of ECR goes on for good: Amazon Inspector tells of its first end only, and ECR knows how things stand.
"""

from __future__ import annotations

from paydown.clients.registry_ecr import EcrRepository
from paydown.events import severities_of
from paydown.inventory import Repository
from paydown.ledger import Images
from paydown.ledger.images import Scan


class Scans:
    """Those of one repository, as they are when they are first asked for."""

    def __init__(self, images: Images, repository: Repository) -> None:
        self._images = images
        self._repository = repository
        self._known: dict[str, list[Scan]] = {}

    def of(self, digest: str) -> list[Scan]:
        """The scans that count for an image; none if nobody has scanned it to the end.

        What was told counts beside what ECR says as long as it is the later one: it may be of another scanner.
        """
        if digest not in self._known:
            told = self._images.scan(self._repository.uid, digest)
            own = self._own(digest)
            later = told is not None and (own is None or told.at > own.at)
            self._known[digest] = [one for one in (own, told if later else None) if one is not None]
        return self._known[digest]

    def _own(self, digest: str) -> Scan | None:
        if self._repository.registry.system != "ecr":
            return None
        found = EcrRepository(self._repository.registry, self._repository.name).findings(digest)
        return Scan(severities_of(found.counts), found.at) if found else None
