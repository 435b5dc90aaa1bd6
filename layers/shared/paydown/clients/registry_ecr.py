"""Amazon ECR through its own API: which repositories there are, what one keeps, and who we are to its registry API.

The shapes are those of the ECR API reference (2015-09-21). Of which account and region a registry is stands in its
name. ECR does not tell when a tag was moved to another image; it takes our reading for a pull, so a pull is no sign of
life here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from paydown.clients import aws
from paydown.clients.registry_content import IMAGES, INDEXES, Manifest
from paydown.clients.registry_storage import MOST_LINKS, Refused, Revision, until_next
from paydown.clients.web import NotThere
from paydown.errors import PaydownError, PermanentError, RetryableError
from paydown.inventory import Registry, Repository

AT_ONCE = 100
"""Images in one call of BatchGetImage or BatchDeleteImage: the API's limit."""
PAGE = 1_000
MARGIN = timedelta(minutes=30)
"""A token is not used in the last part of its 12 hours."""

_NAME = re.compile(r"([0-9]{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_PASSING = frozenset({"UpstreamTooManyRequests", "UpstreamUnavailable"})
_GONE = "ImageNotFound"
_SCANNED = ("ACTIVE", "COMPLETE")
"""States of a scan that has findings: of one that goes on for good, and of one that came to its end."""
_tokens: list[tuple[datetime, dict[str, str]]] = []


@dataclass(frozen=True)
class Findings:
    """What ECR's scans have found of an image: `counts` by severity, in ECR's words, when a scan last ended (`at`)."""

    counts: Mapping[str, int]
    at: datetime


class EcrRepository:
    """One repository of ECR. Every method may raise RetryableError and PermanentError."""

    at_once = AT_ONCE
    cascades = False
    attaches_by_tag = True
    subjects: Mapping[str, str] = {}
    dead: frozenset[str] = frozenset()

    def __init__(self, registry: Registry, name: str) -> None:
        self._what = f"{registry.name}/{name}"
        self._client, account = _client(registry)
        self._named = {"registryId": account, "repositoryName": name}

    def left_to(self) -> str:
        """The lifecycle policy that already expires what has no tag; empty if there is none."""
        with aws.translated(f"the lifecycle policy of {self._what}"):
            try:
                text = self._client.get_lifecycle_policy(**self._named)["lifecyclePolicyText"]
            except self._client.exceptions.LifecyclePolicyNotFoundException:
                return ""
        for rule in _rules(text):
            selection = rule.get("selection") or {}
            if selection.get("tagStatus") in ("untagged", "any") and (rule.get("action") or {}).get("type") == "expire":
                return f"rule {rule.get('rulePriority')} of the repository's lifecycle policy expires what has no tag"
        return ""

    def revisions(self) -> list[Revision]:
        """The manifests that it keeps, tagged or not."""
        found: list[Revision] = []
        for page in self._pages("describe_images", filter={"tagStatus": "ANY", "imageStatus": "ANY"}):
            for detail in page["imageDetails"]:
                if detail.get("imageStatus", "ACTIVE") == "ACTIVE":
                    pushed = detail["imagePushedAt"].astimezone(UTC)
                    size = int(detail.get("imageSizeInBytes") or 0)
                    found.append(Revision(detail["imageDigest"], pushed, pushed, size))
                elif detail.get("imageManifestMediaType") not in IMAGES or detail.get("subjectManifestDigest"):
                    raise PermanentError(f"{detail['imageDigest']} is archived: what it refers to cannot be read")
            if len(found) > MOST_LINKS:
                raise PermanentError(
                    f"{self._what} keeps more than {MOST_LINKS} images: too many to tell what is in use"
                )
        return until_next(found)

    def tags(self) -> dict[str, str]:
        """The digest of each tag."""
        pages = self._pages("list_images", filter={"tagStatus": "TAGGED", "imageStatus": "ACTIVE"})
        return {
            one["imageTag"]: one["imageDigest"] for page in pages for one in page["imageIds"] if one.get("imageTag")
        }

    def tag_names(self) -> set[str]:
        """The tags that are listed."""
        return set(self.tags())

    def manifests(self, digests: Iterable[str]) -> Iterator[Manifest]:
        """The manifests of these digests; those that are gone are left out."""
        for some in _batches(sorted(set(digests))):
            asked = {"imageIds": [{"imageDigest": one} for one in some], "acceptedMediaTypes": sorted(IMAGES | INDEXES)}
            with aws.translated(f"manifests of {self._what}"):
                answer = self._client.batch_get_image(**self._named, **asked)
            for failure in answer.get("failures") or ():
                if failure.get("failureCode") != _GONE:
                    raise _fault(self._what, failure)
            for image in answer.get("images") or ():
                digest = image["imageId"]["imageDigest"]
                yield Manifest.of(image["imageManifest"].encode(), image.get("imageManifestMediaType") or "", digest)

    def present(self, digests: Iterable[str]) -> set[str]:
        """Those of these digests that it still keeps."""
        return {one.digest for one in self.manifests(digests)}

    def delete(self, digests: Sequence[str]) -> dict[str, PaydownError | None]:
        """Delete up to `at_once` manifests; what came of each, None for one that is deleted.

        ECR itself keeps what a manifest list refers to.
        """
        asked = [{"imageDigest": one} for one in digests]
        try:
            with aws.translated(f"deletions in {self._what}"):
                answer = self._client.batch_delete_image(**self._named, imageIds=asked)
        except RetryableError as error:
            return dict.fromkeys(digests, error)
        found: dict[str, PaydownError | None] = dict.fromkeys(digests)
        for failure in answer.get("failures") or ():
            digest = (failure.get("imageId") or {}).get("imageDigest")
            if digest not in found:
                raise _fault(self._what, failure)
            found[digest] = _fault(self._what, failure)
        return found

    def refusal(self, moving: Iterable[str] = ()) -> str:
        """Why ECR would take no push, or not let the tags `moving` lead to another image; empty if it would."""
        with aws.translated(f"the settings of {self._what}"):
            try:
                named = {"registryId": self._named["registryId"], "repositoryNames": [self._named["repositoryName"]]}
                found = self._client.describe_repositories(**named)["repositories"]
            except self._client.exceptions.RepositoryNotFoundException:
                found = []
        if not found:
            return "ECR has no such repository, and takes a push only to one that exists"
        stuck = [tag for tag in moving if _is_immutable(found[0], tag)]
        if stuck:
            setting = found[0]["imageTagMutability"]
            return f"ECR does not let {' and '.join(stuck)} move to another image: its tag mutability is {setting}"
        return ""

    def findings(self, digest: str) -> Findings | None:
        """What ECR's scan, basic or enhanced, says of an image now; None if none of it came to an end."""
        asked = {**self._named, "imageId": {"imageDigest": digest}}
        exceptions = self._client.exceptions
        with aws.translated(f"the scan of {self._what}@{digest}"):
            try:
                answer = self._client.describe_image_scan_findings(**asked, maxResults=1)
            except (exceptions.ScanNotFoundException, exceptions.ImageNotFoundException):
                return None
        found = answer.get("imageScanFindings") or {}
        at = found.get("imageScanCompletedAt")
        if (answer.get("imageScanStatus") or {}).get("status") not in _SCANNED or at is None:
            return None
        counts = found.get("findingSeverityCounts")
        return Findings(counts or self._counted(asked), at.astimezone(UTC))

    def _counted(self, asked: Mapping[str, Any]) -> dict[str, int]:
        """How many findings of each severity are listed: where there are none, ECR leaves the counts out, too."""
        counts: Counter[str] = Counter()
        paginator = self._client.get_paginator("describe_image_scan_findings")
        with aws.translated(f"the findings of {self._what}"):
            for page in paginator.paginate(**asked, PaginationConfig={"PageSize": PAGE}):
                found = page.get("imageScanFindings") or {}
                for one in (*found.get("findings", ()), *found.get("enhancedFindings", ())):
                    counts[one.get("severity") or "UNDEFINED"] += 1
        return dict(counts)

    def _pages(self, operation: str, **asked: Any) -> Iterator[Any]:
        pages = self._client.get_paginator(operation).paginate(
            **self._named, **asked, PaginationConfig={"PageSize": PAGE}
        )
        with aws.translated(f"images of {self._what}"):
            yield from pages


def refusal(repository: Repository, moving: Iterable[str] = ()) -> str:
    """Why a repository, if it is one of ECR, would not take a push, or not let tags move: `EcrRepository.refusal`."""
    if repository.registry.system != "ecr":
        return ""
    return EcrRepository(repository.registry, repository.name).refusal(moving)


def repositories(registry: Registry, patterns: Sequence[str], after: str = "") -> list[str]:
    """The names of the repositories that match one of the patterns (`*`, `?`), sorted, beyond `after`."""
    client, account = _client(registry)
    found = []
    with aws.translated(f"the repositories of {registry.name}"):
        pages = client.get_paginator("describe_repositories").paginate(
            registryId=account, PaginationConfig={"PageSize": PAGE}
        )
        for page in pages:
            found += [one["repositoryName"] for one in page["repositories"]]
    return sorted(name for name in found if name > after and any(fnmatchcase(name, one) for one in patterns))


def credentials(registry: Registry) -> dict[str, str]:
    """What ECR's registry API takes for who we are: `{"username", "password"}`, from the function's own role."""
    client, _ = _client(registry)
    now = datetime.now(UTC)
    if _tokens and now < _tokens[0][0] - MARGIN:
        return _tokens[0][1]
    with aws.translated("a token for ECR"):
        given = client.get_authorization_token()["authorizationData"][0]
    try:
        username, colon, password = base64.b64decode(given["authorizationToken"], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        username, colon, password = "", "", ""
    if not colon:
        raise PermanentError("ECR's token has not the documented shape")
    found = {"username": username, "password": password}
    _tokens[:] = [(given["expiresAt"].astimezone(UTC), found)]
    return found


def _client(registry: Registry) -> tuple[Any, str]:
    """The client of ECR, and the account whose registry this is."""
    named = _NAME.fullmatch(registry.name)
    if named is None:
        raise PermanentError(
            f"{registry.ref} has no name as ECR's registries have: ACCOUNT.dkr.ecr.REGION.amazonaws.com"
        )
    client = aws.client("ecr")
    if named[2] != client.meta.region_name:
        raise PermanentError(f"{registry.ref} lies in another region than this function ({client.meta.region_name})")
    return client, named[1]


def _is_immutable(repository: Mapping[str, Any], tag: str) -> bool:
    """By what the repository says of all its tags, and of those that are excluded from that (`*` stands for any)."""
    setting = repository.get("imageTagMutability") or "MUTABLE"
    filters = [str(one.get("filter")) for one in repository.get("imageTagMutabilityExclusionFilters") or ()]
    excluded = setting.endswith("_WITH_EXCLUSION") and any(fnmatchcase(tag, one) for one in filters)
    return bool(setting.startswith("IMMUTABLE")) != excluded


def _rules(text: str) -> list[dict[str, Any]]:
    try:
        rules = json.loads(text)["rules"]
    except (ValueError, KeyError, TypeError):
        raise PermanentError("the repository's lifecycle policy has not the documented shape") from None
    return [rule for rule in rules if isinstance(rule, dict)]


def _fault(what: str, failure: dict[str, Any]) -> PaydownError:
    code = str(failure.get("failureCode"))
    text = f"{what}: {code}: {failure.get('failureReason') or ''}"[:500]
    if code == _GONE:
        return NotThere(text)
    if code == "ImageReferencedByManifestList":
        return Refused(text)
    return RetryableError(text) if code in _PASSING else PermanentError(text)


def _batches(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(digests), AT_ONCE):
        yield digests[first : first + AT_ONCE]
