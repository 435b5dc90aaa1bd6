"""ECR over the wire, as the emulator speaks it. It deletes whatever it is told to: nothing there saves a child."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.clean_registry.app import CleanRegistry, Settings
from local.emulator import PROGRAM, Emulator
from paydown.clients import aws, registry_ecr
from paydown.clients.registry import open_registry
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest
from paydown.errors import PermanentError
from paydown.events import Sweep
from paydown.inventory import Inventory, Promotion, Repository
from paydown.plan import Applied, Done, Draft, Record, Step, StepState, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.integration.http_server import HttpServer, answered
from tests.servers import need

ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    need(PROGRAM.exists(), "the emulator is not installed (make .build/emulator/.complete)")
    with Emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


class Ecr:
    """One repository: what is pushed there, and what is left."""

    def __init__(self, name: str) -> None:
        self.client = aws.client("ecr")
        self.client.create_repository(repositoryName=name)
        self.name = name
        region = self.client.meta.region_name
        self.host = f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com"
        entry = {"uid": "e", "name": self.host, "system": "ecr", "url": f"https://{self.host}", "repositories": [name]}
        self.inventory = Inventory.parse({"registries": [entry]})

    @property
    def target(self) -> Repository:
        (found,) = CleanRegistry.targets(Sweep(key="s", at=datetime.now(UTC), rule="daily"), self.inventory)
        return found

    def put(self, tag: str | None, manifest: Manifest) -> str:
        self.client.put_image(
            repositoryName=self.name,
            imageManifest=manifest.raw.decode(),
            imageManifestMediaType=manifest.media_type,
            **({"imageTag": tag} if tag else {}),
        )
        return manifest.digest

    def image(self, tag: str | None, mark: int, subject: str | None = None) -> str:
        layer = {"mediaType": "application/octet-stream", "digest": f"sha256:{mark:064x}", "size": 1_000}
        config = {**layer, "digest": f"sha256:{mark:063x}c", "size": 10}
        document: dict[str, Any] = {"schemaVersion": 2, "config": config, "layers": [layer]}
        if subject:
            document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
        return self.put(tag, Manifest.made(document, OCI_MANIFEST))

    def index(self, tag: str | None, *children: str) -> str:
        listed = [{"mediaType": OCI_MANIFEST, "digest": child, "size": 1} for child in children]
        return self.put(tag, Manifest.made({"schemaVersion": 2, "manifests": listed}, OCI_INDEX))

    def left(self) -> set[str]:
        return {one["imageDigest"] for one in self.client.describe_images(repositoryName=self.name)["imageDetails"]}


@pytest.fixture
def ecr(emulator: Emulator, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecr]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    aws.forget()
    registry_ecr._tokens.clear()
    yield Ecr(f"team/{request.node.name[:40].replace('_', '-')}")
    aws.forget()
    registry_ecr._tokens.clear()


def cleaner(inventory: Inventory) -> CleanRegistry:
    """As if a month had gone by: the emulator takes no time of a push."""
    event = Sweep(key="s", at=datetime.now(UTC), rule="daily")
    settings: Any = Settings()
    later = lambda: datetime.now(UTC) + timedelta(days=30)  # noqa: E731 -- as the scene wants it
    return CleanRegistry(Scene("1f0c", event, inventory, Policy(), settings, False, later, print, print))  # type: ignore[arg-type] -- never called here


def clean(ecr: Ecr, inventory: Inventory | None = None) -> tuple[Draft, list[Applied], Verified]:
    toil = cleaner(inventory or ecr.inventory)
    draft = toil.plan(ecr.target)
    results = [result for stage in draft.stages for result in toil.apply_batch(list(stage), ecr.target)]  # type: ignore[arg-type] -- deletions, as planned
    actions = [action for stage in draft.stages for action in stage]
    steps = [
        Step(
            number,
            0,
            action,
            StepState.DONE if isinstance(result, Done) else StepState.MOOT,
            getattr(result, "evidence", {}),
        )
        for number, (action, result) in enumerate(zip(actions, results, strict=True))
    ]
    seen = toil.verify(ecr.target, Record(draft.before, steps, datetime.now(UTC)))
    assert isinstance(seen, Verified), seen
    return draft, results, seen


def test_a_tagged_index_keeps_its_children_and_its_signature(ecr: Ecr) -> None:
    shared, old_only, new_only = (ecr.image(None, mark) for mark in (1, 2, 3))
    old = ecr.index(None, shared, old_only)
    new = ecr.index("latest", shared, new_only)
    of_old, of_new = ecr.image(None, 4, subject=old), ecr.image(None, 5, subject=new)
    draft, results, seen = clean(ecr)
    assert [[action.object for action in stage] for stage in draft.stages] == [[of_old], [old], [old_only]]
    assert all(isinstance(result, Done) for result in results)
    assert ecr.left() == {shared, new_only, new, of_new}
    assert seen.saved["manifests"] == 3
    assert seen.saved["bytes"] > 2 * 1_000
    assert seen.evidence["told_bytes_after"] < seen.evidence["told_bytes_before"]


def test_what_was_promoted_stays_and_the_young_stay(ecr: Ecr) -> None:
    first, second, third = (ecr.image("latest", mark) for mark in (1, 2, 3))
    promotion = Promotion(stage="prod", repository="elsewhere", digest=second)
    clean(ecr, ecr.inventory.model_copy(update={"promotions": (promotion,)}))
    assert ecr.left() == {second, third}
    assert first not in ecr.left()


def test_many_in_one_call(ecr: Ecr) -> None:
    kept = ecr.image("latest", 0)
    for mark in range(1, 46):
        ecr.image(None, mark)
    draft, results, _ = clean(ecr)
    assert len(draft.stages[0]) == len(results) == 45
    assert ecr.left() == {kept}


def test_its_own_lifecycle_policy_is_left_to_its_work(ecr: Ecr) -> None:
    ecr.image(None, 1)
    selection = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}
    policy = {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}
    ecr.client.put_lifecycle_policy(repositoryName=ecr.name, lifecyclePolicyText=json.dumps(policy))
    draft = cleaner(ecr.inventory).plan(ecr.target)
    assert isinstance(draft, Draft)
    assert (draft.stages, "lifecycle policy" in draft.why) == ((), True)
    assert len(ecr.left()) == 1


def test_a_repository_that_is_not_there_stops_the_run(ecr: Ecr) -> None:
    target = ecr.target.model_copy(update={"name": "team/none"})
    with pytest.raises(PermanentError, match="RepositoryNotFound"):
        cleaner(ecr.inventory).plan(target)


def test_the_registry_api_is_asked_with_a_token_of_our_role(ecr: Ecr) -> None:
    """ECR's registry API wants Basic: user AWS, and what GetAuthorizationToken says."""
    said: list[str | None] = []

    def respond(handler: Any, _: bytes) -> None:
        said.append(handler.headers["Authorization"])
        if said[-1] is None:
            challenge = f'Basic realm="https://{ecr.host}/",service="ecr.amazonaws.com"'
            answered(handler, 401, b"", WWW_Authenticate=challenge)
        else:
            answered(handler, 200, b'{"name": "team/app", "tags": ["latest"]}')

    server = HttpServer(respond)
    try:
        declared = ecr.target.registry.model_copy(update={"url": server.url})
        assert open_registry(declared, pytest.fail).tags("team/app") == ["latest"]
    finally:
        server.close()
    given = ecr.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert said == [None, f"Basic {given}"]
