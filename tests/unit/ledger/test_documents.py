"""Policy and inventory as immutable versions."""

import random

import pytest

from paydown.errors import InvalidDocument
from paydown.ledger import Conflict, NoDocument

POLICY = {"toils": {"clean_dangling_images": {"mode": "approve"}}}


def test_nothing_is_in_force_before_anything_was_published(ledger):
    with pytest.raises(NoDocument, match="paydown policy publish"):
        ledger.policy.current()


def test_what_is_published_is_in_force(ledger, clock):
    version = ledger.policy.publish(POLICY, "ann", clock())
    assert version.number == 1
    assert ledger.policy.current().document.toils["clean_dangling_images"].mode == "approve"
    assert ledger.policy.text(1) == POLICY


def test_versions_are_kept(ledger, clock):
    ledger.policy.publish(POLICY, "ann", clock())
    assert ledger.policy.publish({}, "bob", clock()).number == 2
    assert ledger.policy.version(1).by == "ann"
    assert ledger.policy.current().document.toils == {}
    with pytest.raises(NoDocument):
        ledger.policy.version(3)


def test_an_invalid_document_names_every_fault_and_the_current_one_stays_in_force(ledger, clock):
    ledger.policy.publish(POLICY, "ann", clock())
    broken = {"toils": {"clean_dangling_images": {"mode": "yolo", "cieling": "none"}}, "retention_days": 0}
    with pytest.raises(InvalidDocument) as refused:
        ledger.policy.publish(broken, "bob", clock())
    assert {path for path, _ in refused.value.faults} == {
        "toils.clean_dangling_images.mode",
        "toils.clean_dangling_images.cieling",
        "retention_days",
    }
    assert ledger.policy.current().number == 1


def test_publishing_what_is_in_force_changes_nothing(ledger, clock):
    ledger.policy.publish(POLICY, "ann", clock())
    assert ledger.policy.publish(POLICY, "bob", clock()).number == 1


def test_a_publication_that_expects_another_version_is_refused(ledger, clock):
    ledger.policy.publish(POLICY, "ann", clock(), expected=0)
    with pytest.raises(Conflict, match="version 1"):
        ledger.policy.publish({}, "bob", clock(), expected=0)


def test_of_two_publications_at_once_one_is_refused(ledger, clock, monkeypatch):
    from paydown.ledger import Documents
    from paydown.policy import Policy

    other = Documents(ledger.table, "policy", Policy.parse)
    transact = ledger.table.transact

    def meanwhile(writes):
        monkeypatch.setattr(ledger.table, "transact", transact)
        other.publish({"retention_days": 7}, "bob", clock())
        transact(writes)

    monkeypatch.setattr(ledger.table, "transact", meanwhile)
    with pytest.raises(Conflict):
        ledger.policy.publish(POLICY, "ann", clock())
    assert ledger.policy.current().document.retention_days == 7


def test_a_large_inventory_is_stored_in_parts(ledger, clock):
    noise = random.Random(1)
    hosts = [
        {
            "uid": f"host-{number}",
            "name": f"build-{number}",
            "labels": {"noise": noise.randbytes(400).hex()},
            "reach": {"via": "ssm", "instance_id": f"i-{number:017x}"},
        }
        for number in range(2000)
    ]
    ledger.inventory.publish({"hosts": hosts}, "ann", clock())
    assert len(list(ledger.table.query("DOC#inventory", "CHUNK#"))) > 1
    fresh = type(ledger.inventory)(ledger.table, "inventory", ledger.inventory._parse)
    assert len(fresh.current().document.hosts) == 2000


def test_the_document_is_read_again_only_when_it_changed(ledger, clock, monkeypatch):
    ledger.policy.publish(POLICY, "ann", clock())
    first = ledger.policy.current()
    assert ledger.policy.current() is first
    ledger.policy.publish({}, "ann", clock())
    assert ledger.policy.current() is not first


def test_a_damaged_document_is_not_in_force(ledger, clock):
    ledger.policy.publish(POLICY, "ann", clock())
    (chunk,) = ledger.table.query("DOC#policy", "CHUNK#")
    import zlib

    forged = zlib.compress(b'{"toils":{"clean_dangling_images":{"mode":"enforce"}}}')
    ledger.table.transact([ledger.table.put({**chunk, "data": forged})])
    with pytest.raises(NoDocument, match="damaged"):
        type(ledger.policy)(ledger.table, "policy", ledger.policy._parse).current()
