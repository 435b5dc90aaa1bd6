"""ECR through its API: pages, failures, lifecycle policies, archived images, and tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from paydown.clients import aws, registry_ecr
from paydown.clients.registry import EcrApi, credentials_of, open_registry
from paydown.clients.registry_content import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.clients.registry_ecr import EcrRepository, Findings, refusal
from paydown.clients.registry_storage import Refused, Revision, until_next
from paydown.clients.web import NotThere
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Registry, Repository
from tests.fixtures import payload

NAME = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
REGISTRY = Registry(uid="e", name=NAME, system="ecr", url=f"https://{NAME}", repositories=("team/app",))
WHERE = {"registryId": "123456789012", "repositoryName": "team/app"}
NOW = datetime(2026, 7, 1, tzinfo=UTC)
LISTED = {**WHERE, "filter": {"tagStatus": "ANY", "imageStatus": "ANY"}, "maxResults": 1_000}


@pytest.fixture
def ecr() -> Iterator[Stubber]:
    aws.forget()
    registry_ecr._tokens.clear()
    with Stubber(aws.client("ecr")) as stub:
        yield stub
        stub.assert_no_pending_responses()
    registry_ecr._tokens.clear()
    aws.forget()


@pytest.fixture
def repository(ecr: Stubber) -> EcrRepository:
    return EcrRepository(REGISTRY, "team/app")


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def image(number: int, days: float, **more: Any) -> dict[str, Any]:
    pushed = {"imageDigest": digest(number), "imagePushedAt": NOW + timedelta(days=days), "imageSizeInBytes": 100}
    return {**pushed, "imageManifestMediaType": OCI_MANIFEST, **more}


def failure(number: int, code: str) -> dict[str, Any]:
    return {"imageId": {"imageDigest": digest(number)}, "failureCode": code, "failureReason": "so it is"}


def test_all_pages_are_read_and_age_counts_to_the_next_push(ecr: Stubber, repository: EcrRepository) -> None:
    ecr.add_response("describe_images", {"imageDetails": [image(1, 0), image(2, 9)], "nextToken": "more"}, LISTED)
    ecr.add_response(
        "describe_images", {"imageDetails": [image(3, 4, imageTags=["latest"])]}, {**LISTED, "nextToken": "more"}
    )
    found = repository.revisions()
    assert [(one.digest, (one.since - NOW).days, (one.pushed - NOW).days) for one in found] == [
        (digest(1), 4, 0),
        (digest(2), 9, 9),
        (digest(3), 9, 4),
    ]
    assert sum(one.size for one in found) == 300


def test_moments_of_tags_count_too() -> None:
    kept = [Revision(digest(1), NOW, NOW)]
    assert until_next(kept)[0].since == NOW
    later = NOW + timedelta(days=3)
    assert until_next(kept, [NOW - timedelta(days=1), later + timedelta(days=1), later])[0].since == later


def test_archived_images_are_neither_listed_nor_guessed_about(ecr: Stubber, repository: EcrRepository) -> None:
    archived = {"imageStatus": "ARCHIVED"}
    ecr.add_response("describe_images", {"imageDetails": [image(1, 0), image(2, 0, **archived)]}, LISTED)
    assert [one.digest for one in repository.revisions()] == [digest(1)]
    for more in ({"imageManifestMediaType": OCI_INDEX}, {"subjectManifestDigest": digest(1)}):
        ecr.add_response("describe_images", {"imageDetails": [image(2, 0, **archived, **more)]}, LISTED)
        with pytest.raises(PermanentError, match="archived"):
            repository.revisions()


def test_a_digest_with_several_tags(ecr: Stubber, repository: EcrRepository) -> None:
    asked = {**WHERE, "filter": {"tagStatus": "TAGGED", "imageStatus": "ACTIVE"}, "maxResults": 1_000}
    both = [{"imageDigest": digest(1), "imageTag": tag} for tag in ("1", "latest")]
    ecr.add_response("list_images", {"imageIds": both}, asked)
    assert repository.tags() == {"1": digest(1), "latest": digest(1)}


def test_manifests_are_asked_by_hundreds_and_checked(ecr: Stubber, repository: EcrRepository) -> None:
    made = [Manifest.made({"schemaVersion": 2, "n": number}, DOCKER_MANIFEST) for number in range(101)]
    for some in (sorted(one.digest for one in made)[:100], sorted(one.digest for one in made)[100:]):
        images = [
            {
                "imageId": {"imageDigest": one.digest},
                "imageManifest": one.raw.decode(),
                "imageManifestMediaType": one.media_type,
            }
            for one in made
            if one.digest in some
        ]
        ecr.add_response("batch_get_image", {"images": images, "failures": []})
    assert {one.digest for one in repository.manifests(one.digest for one in made)} == {one.digest for one in made}
    ecr.add_response("batch_get_image", {"images": [{"imageId": {"imageDigest": digest(1)}, "imageManifest": "{}"}]})
    with pytest.raises(PermanentError, match="was asked for"):
        list(repository.manifests([digest(1)]))


@pytest.mark.parametrize(
    ("code", "error"), [("ImageInaccessible", PermanentError), ("UpstreamUnavailable", RetryableError)]
)
def test_what_is_gone_is_left_out_and_what_cannot_be_read_stops(
    ecr: Stubber, repository: EcrRepository, code: str, error: type[Exception]
) -> None:
    ecr.add_response("batch_get_image", {"images": [], "failures": [failure(1, "ImageNotFound")]})
    assert repository.present([digest(1)]) == set()
    ecr.add_response("batch_get_image", {"images": [], "failures": [failure(1, code)]})
    with pytest.raises(error, match=code):
        list(repository.manifests([digest(1)]))


def test_what_became_of_each_deletion(ecr: Stubber, repository: EcrRepository) -> None:
    codes = {2: "ImageNotFound", 3: "ImageReferencedByManifestList", 4: "UpstreamUnavailable", 5: "KmsError"}
    asked = {**WHERE, "imageIds": [{"imageDigest": digest(number)} for number in range(1, 6)]}
    failed = [failure(number, code) for number, code in codes.items()]
    answer = {"imageIds": [{"imageDigest": digest(1)}], "failures": failed}
    ecr.add_response("batch_delete_image", answer, asked)
    found = repository.delete([digest(number) for number in range(1, 6)])
    assert [type(error) for error in found.values()] == [type(None), NotThere, Refused, RetryableError, PermanentError]


def test_a_call_that_is_throttled_deleted_nothing(ecr: Stubber, repository: EcrRepository) -> None:
    ecr.add_client_error("batch_delete_image", "ThrottlingException", http_status_code=400)
    assert [type(error) for error in repository.delete([digest(1), digest(2)]).values()] == [RetryableError] * 2
    ecr.add_client_error("batch_delete_image", "AccessDeniedException", http_status_code=400)
    with pytest.raises(PermanentError, match="AccessDenied"):
        repository.delete([digest(1)])


def rule(status: str, action: str = "expire") -> dict[str, Any]:
    selection = {"tagStatus": status, "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}
    return {"rulePriority": 7, "selection": selection, "action": {"type": action}}


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ([rule("untagged")], True),
        ([rule("tagged"), rule("any")], True),
        ([rule("tagged")], False),
        ([rule("untagged", "transition")], False),
        ([], False),
    ],
)
def test_a_policy_that_expires_what_has_no_tag(
    ecr: Stubber, repository: EcrRepository, rules: list[dict[str, Any]], left: bool
) -> None:
    ecr.add_response("get_lifecycle_policy", {"lifecyclePolicyText": json.dumps({"rules": rules}, indent=99)}, WHERE)
    said = "rule 7 of the repository's lifecycle policy expires what has no tag"
    assert repository.left_to() == (said if left else "")


def test_no_policy_and_one_that_cannot_be_read(ecr: Stubber, repository: EcrRepository) -> None:
    ecr.add_client_error("get_lifecycle_policy", "LifecyclePolicyNotFoundException", http_status_code=400)
    assert repository.left_to() == ""
    ecr.add_client_error("get_lifecycle_policy", "AccessDeniedException", http_status_code=400)
    with pytest.raises(PermanentError):
        repository.left_to()
    ecr.add_response("get_lifecycle_policy", {"lifecyclePolicyText": "[]" + 100 * " "}, WHERE)
    with pytest.raises(PermanentError, match="documented shape"):
        repository.left_to()


def token(hours: float, said: bytes = b"AWS:hush") -> dict[str, Any]:
    expires = datetime.now(UTC) + timedelta(hours=hours)
    return {"authorizationData": [{"authorizationToken": base64.b64encode(said).decode(), "expiresAt": expires}]}


def test_a_token_serves_until_shortly_before_its_end(ecr: Stubber) -> None:
    ecr.add_response("get_authorization_token", token(0.4))
    ecr.add_response("get_authorization_token", token(12, b"AWS:hush2"))
    said = [credentials_of(REGISTRY, pytest.fail) for _ in range(3)]
    assert [one["password"] for one in said] == ["hush", "hush2", "hush2"]
    assert {one["username"] for one in said} == {"AWS"}


def test_a_token_of_another_shape_is_not_told(ecr: Stubber) -> None:
    ecr.add_response("get_authorization_token", token(12, b"hush"))
    with pytest.raises(PermanentError) as caught:
        credentials_of(REGISTRY, lambda name: None)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["images.example", NAME.replace("central", "west")])
def test_a_registry_that_is_not_ours_to_ask(ecr: Stubber, name: str) -> None:
    with pytest.raises(PermanentError, match=r"no name as|another region"):
        EcrRepository(REGISTRY.model_copy(update={"name": name}), "team/app")


DESCRIBED = {"registryId": "123456789012", "repositoryNames": ["team/app"]}


def described(mutability: str, *excluded: str) -> dict[str, Any]:
    filters = [{"filterType": "WILDCARD", "filter": one} for one in excluded]
    more = {"imageTagMutabilityExclusionFilters": filters} if filters else {}
    return {"repositories": [{"repositoryName": "team/app", "imageTagMutability": mutability, **more}]}


@pytest.mark.parametrize(
    ("mutability", "excluded", "stuck"),
    [
        ("MUTABLE", [], ""),
        ("IMMUTABLE", [], "20260701 and current"),
        ("IMMUTABLE_WITH_EXCLUSION", ["curr*"], "20260701"),
        ("IMMUTABLE_WITH_EXCLUSION", ["curr*", "2026*"], ""),
        ("MUTABLE_WITH_EXCLUSION", ["2026*"], "20260701"),
        ("MUTABLE_WITH_EXCLUSION", ["v*"], ""),
    ],
)
def test_tags_that_cannot_move_are_known_before(
    ecr: Stubber, repository: EcrRepository, mutability: str, excluded: list[str], stuck: str
) -> None:
    for _ in range(2):
        ecr.add_response("describe_repositories", described(mutability, *excluded), DESCRIBED)
    said = f"ECR does not let {stuck} move to another image: its tag mutability is {mutability}"
    assert repository.refusal(("20260701", "current")) == (said if stuck else "")
    assert repository.refusal() == ""


def test_a_repository_that_is_not_there_takes_no_push(ecr: Stubber, repository: EcrRepository) -> None:
    ecr.add_client_error("describe_repositories", "RepositoryNotFoundException", http_status_code=400)
    assert repository.refusal() == "ECR has no such repository, and takes a push only to one that exists"
    ecr.add_client_error("describe_repositories", "AccessDeniedException", http_status_code=400)
    with pytest.raises(PermanentError, match=r"the settings of .*AccessDenied"):
        repository.refusal()


def test_only_ecr_is_asked_what_it_refuses() -> None:
    other = Registry(uid="o", name="images.example", url="https://images.example")
    assert refusal(Repository(uid="o/app", name="team/app", registry=other), ("current",)) == ""


def findings(**more: Any) -> dict[str, Any]:
    """An enhanced scan that goes on for good, as the client reads it."""
    answer: dict[str, Any] = {**with_times(payload("ecr-scan-findings-enhanced")), **more}
    return answer


def with_times(value: Any) -> Any:
    if isinstance(value, list):
        return [with_times(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: datetime.fromisoformat(one) if name.endswith("At") else with_times(one) for name, one in value.items()
    }


def test_an_enhanced_scan_that_goes_on_has_findings(ecr: Stubber, repository: EcrRepository) -> None:
    asked = {**WHERE, "imageId": {"imageDigest": digest(1)}, "maxResults": 1}
    ecr.add_response("describe_image_scan_findings", findings(), asked)
    found = repository.findings(digest(1))
    assert found == Findings({"HIGH": 1, "MEDIUM": 4, "UNTRIAGED": 1}, datetime(2026, 7, 1, 12, tzinfo=UTC))


def test_findings_that_are_not_counted_are_counted_here(ecr: Stubber, repository: EcrRepository) -> None:
    listed = {name: value for name, value in findings()["imageScanFindings"].items() if name != "findingSeverityCounts"}
    for more in ({}, {"nextToken": "more"}, {}):
        ecr.add_response("describe_image_scan_findings", findings(imageScanFindings=listed, **more))
    found = repository.findings(digest(1))
    assert found is not None
    assert found.counts == {"HIGH": 2}


@pytest.mark.parametrize(
    "status", ["PENDING", "IN_PROGRESS", "FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED"]
)
def test_a_scan_that_came_to_no_end_says_nothing(ecr: Stubber, repository: EcrRepository, status: str) -> None:
    ecr.add_response("describe_image_scan_findings", findings(imageScanStatus={"status": status}))
    assert repository.findings(digest(1)) is None


def test_a_scan_that_never_ended_and_none_at_all(ecr: Stubber, repository: EcrRepository) -> None:
    ecr.add_response("describe_image_scan_findings", findings(imageScanFindings={}))
    assert repository.findings(digest(1)) is None
    for code in ("ScanNotFoundException", "ImageNotFoundException"):
        ecr.add_client_error("describe_image_scan_findings", code, http_status_code=400)
        assert repository.findings(digest(1)) is None
    ecr.add_client_error("describe_image_scan_findings", "AccessDeniedException", http_status_code=400)
    with pytest.raises(PermanentError, match="the scan of"):
        repository.findings(digest(1))


def test_repositories_are_listed_by_ecr_itself_and_only_for_patterns(ecr: Stubber) -> None:
    api = open_registry(REGISTRY, pytest.fail)
    assert isinstance(api, EcrApi)
    assert list(api.repositories(("team/b", "team/a"))) == ["team/a", "team/b"]
    listed = {"registryId": "123456789012", "maxResults": 1_000}
    named = [{"repositoryName": name} for name in ("team/web", "other/app")]
    ecr.add_response("describe_repositories", {"repositories": named, "nextToken": "more"}, listed)
    ecr.add_response(
        "describe_repositories", {"repositories": [{"repositoryName": "team/app"}]}, {**listed, "nextToken": "more"}
    )
    assert list(api.repositories(("team/*",), after="team/a")) == ["team/app", "team/web"]
