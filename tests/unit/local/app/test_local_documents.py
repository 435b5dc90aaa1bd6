"""The policy and the inventory that the local application publishes."""

from __future__ import annotations

import pytest

from functions.clean_dangling_images.app import CleanDanglingImages
from functions.recover_node.app import RecoverNode
from local.app.clusters import YOURS, Cluster
from local.app.command import IMAGE_LABELS
from local.app.engine import INSTANCE, Engine
from local.app.publishing import inventory, policy
from local.demo.images import labels
from paydown.inventory import Host, Inventory, Node
from paydown.policy import Mode, Policy

STAND_IN = Cluster("demo", "/kubeconfig", ("worker-*",), {}, {})
URL = "http://127.0.0.1:1/paydown/"


def parsed(cluster: Cluster = STAND_IN, engine: Engine | None = None) -> Inventory:
    return Inventory.parse(inventory("paydown", cluster, engine, URL))


def test_every_part_of_the_policy_is_valid() -> None:
    document = Policy.parse(policy("demo", {"a": "b"}))
    for toil in (CleanDanglingImages, RecoverNode):
        toil.Settings.model_validate(document.toils[toil.name].settings)


@pytest.mark.parametrize("wanted", [IMAGE_LABELS, labels()])
def test_images_without_our_label_are_never_removed(wanted: dict[str, str]) -> None:
    assert wanted
    document = Policy.parse(policy("demo", wanted))
    assert document.toils["clean_dangling_images"].settings["labels"] == wanted


def test_a_policy_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="every dangling image"):
        policy("demo", {})


def test_a_users_own_cluster_is_changed_only_with_approval() -> None:
    toil = Policy.parse(policy("mine", {"a": "b"})).toils["recover_node"]
    assert toil.for_labels({})[0] is Mode.ENFORCE
    assert toil.for_labels(dict(YOURS))[0] is Mode.APPROVE
    mine = Cluster("mine", "/kubeconfig", ("*",), {}, {}, YOURS)
    node = parsed(mine).find("node/mine/any")
    assert isinstance(node, Node)
    assert toil.for_labels(node.labels)[0] is Mode.APPROVE


def test_tickets_name_targets_of_the_inventory() -> None:
    known = parsed(engine=Engine("unix:///d.sock", "20.10"))
    for rule, name in zip(Policy.parse(policy("demo", {"a": "b"})).tickets.rules, ("build-1", "worker-1"), strict=True):
        assert known.find(rule.target.replace("{target}", name)) is not None


def test_the_host_is_there_only_with_an_engine() -> None:
    assert parsed().hosts == ()
    by_agent = parsed(engine=Engine("tcp://1.2.3.4:2375", "20.10")).find("host/build-1")
    assert isinstance(by_agent, Host)
    assert by_agent.reach.model_dump() == {"via": "ssm", "instance_id": INSTANCE}
    by_socket = parsed(engine=Engine("unix:///d.sock", "20.10", by_agent=False)).find(f"host/{INSTANCE}")
    assert isinstance(by_socket, Host)
    assert by_socket.reach.model_dump() == {"via": "unix", "path": "/d.sock"}


def test_secrets_are_those_that_the_roles_may_read() -> None:
    [cluster], [tracker] = parsed().clusters, parsed().trackers
    assert cluster.operator_secret == "paydown/clusters/cluster-1/operator"
    assert cluster.reader_secret == "paydown/clusters/cluster-1/reader"
    assert tracker.secret == "paydown/trackers/helpdesk"
