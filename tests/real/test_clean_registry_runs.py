"""Whole runs under the contract: a real registry, a cluster that is asked what it runs, and a person who decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.clean_registry import survey as survey_module
from paydown.ledger import Ledger
from tests.real.registry_images import Images, images
from tests.real.registry_sweeps import allow, approved, now, swept
from tests.real.standin_cluster import TOKEN, StandIn, standin_cluster
from tests.unit.ledgers import ledger_in_moto


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    seed = {"cluster": "demo", "nodes": [{"name": "worker-1"}]}
    with standin_cluster(tmp_path_factory.mktemp("cluster"), seed) as running:
        yield running


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[Images]:
    with images(tmp_path) as running:
        yield running


@pytest.fixture
def ledger(pushed: Images, cluster: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    def secret(name: str) -> Any:
        assert name == "demo-reader"
        return {"server": cluster.url, "token": TOKEN}

    monkeypatch.setattr(survey_module.aws, "secret", secret)
    registry = pushed.target.registry
    demo = {"uid": "demo", "name": "demo", "reader_secret": "demo-reader", "operator_secret": "demo-operator"}
    with ledger_in_moto() as made:
        document = {"registries": [registry.model_dump(mode="json")], "clusters": [demo]}
        made.inventory.publish(document, "test", now())
        yield made


def workload(kind: str, name: str, image: str) -> tuple[str, dict[str, Any]]:
    """A deployment of no pods, a schedule that has not come yet, or what a DaemonSet can be rolled back to."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    if kind == "Deployment":
        spec: dict[str, Any] = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        return "/apis/apps/v1/namespaces/default/deployments", {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
    if kind == "ControllerRevision":
        return "/apis/apps/v1/namespaces/default/controllerrevisions", {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name},
            "revision": 1,
            "data": {"spec": {"template": {"$patch": "replace", **template}}},
        }
    template["spec"]["restartPolicy"] = "Never"
    spec = {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    return "/apis/batch/v1/namespaces/default/cronjobs", {
        "apiVersion": "batch/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def test_a_sweep_deletes_what_no_workload_names(ledger: Ledger, pushed: Images, cluster: StandIn) -> None:
    asleep, scheduled, earlier, gone = (
        pushed.image("latest", name, mark=name.decode()) for name in (b"1", b"2", b"3", b"4")
    )
    newest = pushed.image("latest", b"5", mark="5")
    pushed.age()
    named = {"Deployment": asleep, "CronJob": scheduled, "ControllerRevision": earlier}
    for kind, digest in named.items():
        name = kind.lower()
        cluster.request("POST", *workload(kind, name, f"images.example/team/app@{digest}"))
    allow(ledger)
    run = approved(ledger, swept(ledger))
    assert (run.status.value, run.ref) == ("Verified", pushed.target.ref), run.reasons
    assert run.evidence["manifests"] == 1
    assert pushed.there() == {asleep, scheduled, earlier, newest}
    assert gone not in pushed.there()


def test_what_may_be_the_only_copy_waits_for_a_person_whatever_the_ceiling(ledger: Ledger, pushed: Images) -> None:
    pushed.image("latest", b"a")
    pushed.image("latest", b"b")
    pushed.age()
    allow(ledger, ceiling="destructive")
    before = pushed.there()
    assert swept(ledger).status.value == "Held"
    assert pushed.there() == before


def test_an_index_over_images_that_stay_needs_no_person(ledger: Ledger, pushed: Images) -> None:
    image = pushed.image("1", b"a")
    old = pushed.index("multi", image)
    pushed.index("multi", image, pushed.image(None, b"b", mark="b"))
    pushed.age()
    allow(ledger, ceiling="disruptive")
    assert swept(ledger).status.value == "Verified"
    assert old not in pushed.there()
    assert image in pushed.there()


def test_deployed_to_observe_nothing_goes(ledger: Ledger, pushed: Images) -> None:
    pushed.image("latest", b"a")
    pushed.image("latest", b"b")
    pushed.age()
    allow(ledger, ceiling="destructive")
    assert swept(ledger, observing=True).status.value == "Observed"
    assert len(pushed.there()) == 2


def test_a_sweep_of_a_tidy_registry_does_nothing(ledger: Ledger, pushed: Images) -> None:
    pushed.image("latest", b"a")
    pushed.age()
    allow(ledger, ceiling="destructive")
    assert swept(ledger).status.value == "Skipped"
