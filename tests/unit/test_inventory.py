"""The inventory: what Paydown may act on, by the names that senders use."""

import pytest

from paydown.errors import InvalidDocument
from paydown.inventory import Inventory

DOCUMENT = {
    "hosts": [
        {
            "uid": "arn:build-1",
            "name": "build-1",
            "aliases": ["builder"],
            "builds": ["registry.example/team/*"],
            "reach": {"via": "ssm", "instance_id": "i-0123456789abcdef0"},
        },
        {
            "uid": "arn:build-2",
            "name": "build-2",
            "aliases": ["builder"],
            "builds": ["registry.example/team/app"],
            "reach": {"via": "tcp", "address": "10.0.0.2:2376", "secret": "s"},
        },
    ],
    "clusters": [
        {
            "uid": "arn:prod",
            "name": "prod",
            "aliases": ["production"],
            "reader_secret": "r",
            "operator_secret": "o",
            "nodes": ["worker-*"],
        }
    ],
    "trackers": [
        {"uid": "tracker-1", "name": "owner/repo", "system": "github", "url": "https://api.example", "secret": "t"}
    ],
    "registries": [{"uid": "images", "name": "images.example:5000", "url": "https://images.example:5000"}],
    "alertmanagers": [{"uid": "am", "name": "prod", "url": "https://alerts.example/am", "cluster": "prod"}],
}


@pytest.fixture
def inventory():
    return Inventory.parse(DOCUMENT)


def test_hosts_that_build_a_repository(inventory):
    def names(*image):
        return [host.name for host in inventory.hosts_that_build(*image)]

    assert names("registry.example", "team/app") == ["build-1", "build-2"]
    assert names("registry.example", "team/other") == ["build-1"]
    assert names("elsewhere.example", "team/app") == []


@pytest.mark.parametrize("name", ["build-2", "arn:build-2", "10.0.0.2", "10.0.0.2:9100"])
def test_a_host_answers_to_what_senders_call_it(inventory, name):
    assert [host.name for host in inventory.hosts_named(name)] == ["build-2"]


def test_an_instance_id_names_its_host(inventory):
    assert [host.name for host in inventory.hosts_named("i-0123456789abcdef0")] == ["build-1"]


@pytest.mark.parametrize(
    ("ref", "uid"),
    [
        ("host/build-1", "arn:build-1"),
        ("host/builder", None),  # two answer to it
        ("host/unknown", None),
        ("cluster/production", "arn:prod"),
        ("node/prod/worker-3", "arn:prod/node/worker-3"),
        ("node/prod/control-1", None),  # not ours to touch
        ("node/test/worker-3", None),
        ("node/prod", None),
        ("tracker/owner/repo", "tracker-1"),
        ("ticket/owner/repo/17", "tracker-1/ticket/17"),
        ("registry/images.example:5000", "images"),
        ("registry/elsewhere", None),
        ("repository/images.example:5000/team/app", "images/repository/team/app"),
        ("repository/elsewhere/team/app", None),
        ("alertmanager/prod", "am"),
        ("alertmanager/test", None),
        ("spaceship/one", None),
        ("", None),
    ],
)
def test_a_ref_names_one_target_or_none(inventory, ref, uid):
    found = inventory.find(ref)
    assert (found.uid if found else None) == uid


def test_what_a_target_calls_itself_finds_it_again(inventory):
    targets = [*inventory.entries(), inventory.node("prod", "worker-1"), inventory.ticket("owner/repo", "17")]
    targets.append(inventory.repository("images.example:5000", "team/app"))
    for target in targets:
        assert inventory.find(target.ref).uid == target.uid


def test_a_repository_is_ours_if_the_registry_says_so():
    registry = DOCUMENT["registries"][0] | {"repositories": ["team/*"]}
    narrow = Inventory.parse({"registries": [registry]})
    assert narrow.repository("images", "team/app").registry == narrow.registries[0]
    assert narrow.repository("images", "other/app") is None


def test_a_long_name_of_a_repository_still_has_a_uid_of_its_own(inventory):
    first, second = (inventory.repository("images", "a" * 250 + end) for end in ("1", "2"))
    assert len(first.uid) <= 255
    assert first.uid != second.uid


def test_every_fault_is_named_with_its_path():
    with pytest.raises(InvalidDocument) as refused:
        Inventory.parse({"hosts": [{"uid": "a", "name": "a", "reach": {"via": "ssh"}}], "clusters": [{"name": "x"}]})
    paths = {path for path, _ in refused.value.faults}
    assert "hosts.0.reach" in paths
    assert {"clusters.0.uid", "clusters.0.reader_secret"} <= paths


def test_a_uid_or_name_that_stands_twice_is_refused():
    twice = {"hosts": [DOCUMENT["hosts"][0], DOCUMENT["hosts"][0] | {"uid": "other"}]}
    with pytest.raises(InvalidDocument, match="host/build-1"):
        Inventory.parse(twice)


@pytest.mark.parametrize("url", ["images.example", "ftp://images.example", "https://me:secret@images.example"])
def test_an_address_is_http_and_holds_no_credentials(url):
    for kind in ("registries", "alertmanagers"):
        with pytest.raises(InvalidDocument) as refused:
            Inventory.parse({kind: [DOCUMENT[kind][0] | {"url": url}]})
        assert [path for path, _ in refused.value.faults] == [f"{kind}.0.url"]


def test_a_registry_is_asked_for_all_repositories_unless_it_says_which(inventory):
    assert inventory.registry("images").repositories == ("*",)
    with pytest.raises(InvalidDocument):
        Inventory.parse({"registries": [DOCUMENT["registries"][0] | {"repositories": []}]})
