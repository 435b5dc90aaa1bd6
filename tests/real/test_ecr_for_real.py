"""Images in Amazon ECR: a real engine logs in, pulls and pushes, and a real registry lets in who has the token."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.promote_image.app import PromoteImages
from functions.refresh_base_image import app as refreshing
from functions.refresh_base_image.actions import PushBase, TagBase
from functions.refresh_base_image.app import RefreshBaseImage
from functions.refresh_base_image.in_ecr import REJECTED
from functions.refresh_base_image.published import published
from functions.shrink_image import app as shrinking
from local import registry as local_registry
from paydown.clients import aws, registry_ecr
from paydown.clients.base_contents import Candidate, Contents, candidate_name
from paydown.clients.bases import BuildHost, open_build_host
from paydown.clients.docker_builds import open_builder
from paydown.clients.docker_hosts.builder import LABEL
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_MANIFEST, Manifest, digest_of
from paydown.errors import PermanentError
from paydown.events import ImagePushed, Sweep
from paydown.inventory import Host, Inventory, Repository, Unix
from paydown.ledger import Ledger, Outcome, Run
from paydown.plan import Done, Moot, NotYet
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.builder_image import image_of
from tests.real.docker_engine import Engine, archive, engine_in_memory
from tests.real.ecr_standin import NAME, TOKEN, EcrStandIn
from tests.real.shrinking import HELLO, Shrinking, compiled
from tests.real.ssm_standin import SsmStandIn
from tests.real.workers import worker_of
from tests.servers import need
from tests.unit.ledgers import ledger_in_moto

__all__ = ["compiled"]
BUILDER = "paydown-builder:1"
KEY = "0f" * 16
WAIT_SECONDS = 90


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcrStandIn]:
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    with EcrStandIn(tmp_path_factory.mktemp("ecr"), "http://127.0.0.1:9/", "unused") as running:
        yield running


@pytest.fixture(scope="module")
def behind_proxy(registry: EcrStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    with engine_in_memory(folder, proxy=registry.url, insecure=(NAME,)) as engine:
        yield engine


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """With moto, whose ECR gives the token."""
    aws.forget()
    registry_ecr._tokens.clear()
    with ledger_in_moto() as made:
        yield made
    registry_ecr._tokens.clear()
    aws.forget()


def api_of(registry: EcrStandIn) -> RegistryApi:
    return RegistryApi(registry.url, lambda: TOKEN)


# -- base images ----------------------------------------------------------------------------------------------------


class Site:
    """A base that was built on the engine, to be pushed to ECR."""

    def __init__(self, engine: Engine, registry: EcrStandIn, patch: pytest.MonkeyPatch, folder: Path) -> None:
        patch.setenv("PAYDOWN_BASES", str(folder / "bases"))
        (folder / "bases").mkdir()
        image_of(engine, folder, BUILDER, ())
        content = archive({"var/lib/dpkg/status": b"", "bin/sh": b"#"})
        image = engine.docker("import", "-", candidate_name(KEY), stdin=content)
        diff_id = json.loads(engine.docker("image", "inspect", image))[0]["RootFS"]["Layers"][0]
        (folder / "bases" / f"{KEY}.done").write_text(f"{diff_id} {image}\n")
        self.base, self.bases = "base/debian", folder / "bases"
        self.reach = {"via": "unix", "path": str(engine.socket)}
        self.engine, self.registry = engine, registry

    @property
    def host(self) -> BuildHost:
        reached = Host(uid="h", name="build-1", reach=Unix.model_validate(self.reach))
        return open_build_host(reached, documents=refreshing.DOCUMENTS, builder=BUILDER, mark="paydown run 1f0c")

    @property
    def inventory(self) -> Inventory:
        declared = {"uid": "r", "name": NAME, "url": self.registry.url, "system": "ecr", "bases": [self.base]}
        host = {"uid": "h", "name": "build-1", "reach": self.reach}
        return Inventory.parse({"hosts": [host], "registries": [declared]})

    @property
    def target(self) -> Repository:
        found = self.inventory.repository(NAME, self.base)
        assert found is not None
        return found

    def toil(self) -> RefreshBaseImage:
        source = {"mirror": "https://mirror.example/debian", "suite": "bookworm"}
        bases = {f"{NAME}/{self.base}": {"host": "build-1", "builder": BUILDER, "sources": [source]}}
        return RefreshBaseImage(
            Scene(
                run_id="1f0c",
                event=Sweep(key="s", at=datetime.now(UTC), rule="daily"),
                inventory=self.inventory,
                policy=Policy(),
                settings=refreshing.Settings.model_validate({"bases": bases}),
                observing=False,
                now=lambda: datetime.now(UTC),
                nudge=lambda *_: None,
                has_run=lambda *_: False,
            )
        )

    def done(self, action: Any) -> Done:
        """Apply it until it is done."""
        found = awaited(lambda: self.toil().apply(action, self.target), lambda one: not isinstance(one, NotYet))
        assert isinstance(found, Done), found
        return found


def awaited(look: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    until = time.monotonic() + WAIT_SECONDS
    while not enough(found := look()):
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def site(behind_proxy: Engine, registry: EcrStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        yield Site(behind_proxy, registry, patch, tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("login", [None, {NAME: {**TOKEN, "password": "expired"}}])
def test_who_has_no_token_is_told_that_it_is_not_logged_in(site: Site, login: Any) -> None:
    site.host.push(KEY, "1f0c", f"{NAME}/{site.base}:20260701", login)
    found: Candidate = awaited(lambda: site.host.read(KEY), lambda one: one.failed is not None)
    assert found.failed is not None
    assert any(sign in found.failed[1] for sign in REJECTED), found.failed
    (site.bases / f"{KEY}.failed").unlink()


def test_a_base_is_pushed_over_a_socket_with_a_token_and_is_current(site: Site, ledger: Ledger) -> None:
    pushed = site.done(PushBase(object=f"{NAME}/{site.base}:20260701", precondition="it is free", key=KEY))
    packages = {"bash/amd64": "5.2"}
    dated = {"key": KEY, "dated": "20260701", "packages": packages}
    site.done(TagBase(object=f"{NAME}/{site.base}:current", precondition="it is not there", **dated))
    current = published(api_of(site.registry), site.base, "current")
    assert current is not None
    assert current.packages == packages
    assert current.digest != pushed.evidence["pushed"]
    assert api_of(site.registry).digest(site.base, "20260701") == current.digest

    # The last base is pulled with a token as well.
    name = f"{NAME}/{site.base}@{current.digest}"
    login = {NAME: TOKEN}
    site.host.unpack(name, "1f0c", login)
    found = awaited(lambda: site.host.contents(name), lambda one: isinstance(one, Contents) or not one.running)
    assert isinstance(found, Contents), found
    assert "/bin/sh" in found.files


def test_a_token_is_in_no_answer_of_the_engine_about_the_container(site: Site, tmp_path: Path) -> None:
    script = {"runCommand": ["sleep 120"], "timeoutSeconds": "120"}
    step = {"action": "aws:runShellScript", "name": "try", "inputs": script}
    (tmp_path / "try_it.json").write_text(json.dumps({"schemaVersion": "2.2", "mainSteps": [step]}))
    host = Host(uid="h", name="build-1", reach=Unix.model_validate(site.reach))
    runner = open_builder(host, BUILDER, tmp_path, mark="m", observing=False, credentials=dict)
    runner.start("TryIt", {}, login={NAME: TOKEN})
    [running] = [one["Id"] for one in site.engine.api.containers(filters={"label": f"{LABEL}=m"})]
    told = json.dumps(site.engine.api.inspect_container(running))
    secret = base64.b64encode(f"AWS:{TOKEN['password']}".encode()).decode()
    shown = site.engine.docker("exec", running, "cat", "/paydown-login/config.json")
    site.engine.api.remove_container(running, force=True)
    assert json.loads(shown) == {"auths": {NAME: {"auth": secret}}}
    assert secret not in told
    assert TOKEN["password"] not in told


HELPER = f"""#!/bin/sh
printf '{{"ServerURL": "{NAME}", "Username": "AWS", "Secret": "{TOKEN["password"]}"}}'
"""
"""What stands in for Amazon ECR's credential helper."""


def test_a_host_behind_ssm_logs_in_by_itself_and_is_named_if_it_cannot(
    site: Site, ledger: Ledger, ssm_agent: SsmStandIn, over_ssm: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssm_agent.let_have(
        DOCKER_HOST=site.engine.host,
        DOCKER_CONFIG=str(tmp_path),
        PAYDOWN_BASES=str(site.bases),
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    monkeypatch.setattr(site, "reach", over_ssm.reach.model_dump())
    monkeypatch.setattr(site, "base", "base/over-ssm")
    action = PushBase(object=f"{NAME}/{site.base}:20260702", precondition="it is free", key=KEY)
    with pytest.raises(PermanentError, match=rf"^build-1 is not logged in to {NAME}: .*no basic auth credentials"):
        site.done(action)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {NAME: "ecr-login"}}))
    helper = tmp_path / "docker-credential-ecr-login"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (site.bases / f"{KEY}.failed").unlink()
    pushed = site.done(action)
    assert api_of(site.registry).digest(site.base, "20260702") == pushed.evidence["pushed"]


# -- smaller images -------------------------------------------------------------------------------------------------


def test_a_smaller_image_is_tried_and_offered_in_ecr(
    behind_proxy: Engine,
    registry: EcrStandIn,
    ledger: Ledger,
    compiled: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shrinking, "open_ledger", lambda: ledger)
    work = Shrinking(behind_proxy, registry, ledger, "team/hello", api_of(registry), system="ecr")
    work.put(compiled(HELLO, "-static"))
    run = work.run(["you"], seconds=5)
    assert run.evidence["offered"] == f"{NAME}/team/hello:{work.small_tag()}", run.evidence
    assert work.tags() == ["latest", work.small_tag()]

    toil, target = work.toil(run)
    offer = work.steps(run)["offer_image"].action
    assert isinstance(toil.undo(offer, target), Done)
    assert work.tags() == ["latest"]
    assert isinstance(toil.undo(offer, target), Moot)


# -- promotions -----------------------------------------------------------------------------------------------------


def test_an_image_is_promoted_within_ecr_until_its_tag_cannot_move(registry: EcrStandIn, ledger: Ledger) -> None:
    api = api_of(registry)
    declared = {"uid": "r1", "name": NAME, "url": registry.url, "system": "ecr", "repositories": ["*"]}
    ledger.inventory.publish({"registries": [declared]}, "test", datetime.now(UTC))
    route = {
        "stage": "prod",
        "from": NAME,
        "to": [NAME],
        "repositories": ["team/*"],
        "strip": "team/",
        "prefix": "prod/",
    }
    settings = {"routes": [route]}
    policy = {"mode": "enforce", "cool_down_seconds": 0, "settings": settings}
    ledger.policy.publish({"toils": {"promote_image": policy}}, "test", datetime.now(UTC))

    def pushed(content: bytes) -> str:
        return image(api, "team/shop", "1.0", content)

    def promoted(digest: str) -> Run:
        place = {"registry": NAME, "repository": "team/shop", "tag": "1.0", "digest": digest}
        event = ImagePushed.model_validate({"key": digest, "at": datetime.now(UTC), **place})
        envelope = {"source": "paydown", "detail-type": "ImagePushed", "detail": event.model_dump(mode="json")}
        [run] = worker_of(PromoteImages, ledger).handle(envelope)
        return run

    first = pushed(b"first")
    run = promoted(first)
    missing = f"{NAME}/prod/shop: ECR has no such repository, and takes a push only to one that exists"
    assert (run.status, run.reasons[0].text) == (Outcome.SKIPPED, missing)
    aws.client("ecr").create_repository(repositoryName="prod/shop", imageTagMutability="IMMUTABLE")
    assert promoted(image(api, "team/shop", "1.0", b"first", n=2)).status is Outcome.VERIFIED
    kept = api.digest("prod/shop", "1.0")
    run = promoted(pushed(b"second"))
    assert run.status is Outcome.SKIPPED
    assert "ECR does not let 1.0 move to another image: its tag mutability is IMMUTABLE" in run.reasons[0].text
    assert api.digest("prod/shop", "1.0") == kept


def image(api: RegistryApi, repository: str, tag: str, content: bytes, **more: Any) -> str:
    """An image of one layer; its digest."""
    listed = []
    for blob in (b"{}", content):
        api.upload_blob(repository, digest_of(blob), [blob])
        media_type = "application/vnd.oci.image.layer.v1.tar" if listed else "application/vnd.oci.image.config.v1+json"
        listed.append({"mediaType": media_type, "digest": digest_of(blob), "size": len(blob)})
    annotations = {name: str(value) for name, value in more.items()}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": listed[0], "layers": listed[1:]}
    return api.put_manifest(repository, tag, Manifest.made({**document, "annotations": annotations}, OCI_MANIFEST))
