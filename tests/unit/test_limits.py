"""The limits of a policy: how much of a pool may be down, who a person is, and where a fault in the document is."""

import pytest
from pydantic import ValidationError

from paydown.errors import InvalidDocument
from paydown.limits import BlastRadius, Healers, Person, Storm
from paydown.policy import Policy, ToilPolicy


@pytest.mark.parametrize(
    ("rules", "limits"),
    [
        # What is asked for small pools: one of three, so that they are neither stuck nor lost.
        ({}, {0: 0, 1: 0, 2: 1, 3: 1, 4: 1, 5: 1, 9: 1, 10: 2, 14: 2, 15: 3, 24: 4, 25: 5, 1_000: 5}),
        ({"count": 0}, {1: 0, 3: 0, 1_000: 0}),
        ({"percent": 0}, {1: 0, 3: 0, 1_000: 0}),
        ({"count": 1}, {3: 1, 1_000: 1}),
        ({"count": 1_000, "percent": 40}, {1: 0, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2, 8: 3, 100: 40}),
        ({"count": 1_000, "percent": 1}, {2: 1, 99: 1, 199: 1, 200: 2}),
        ({"count": 1_000, "percent": 100}, {1: 0, 2: 1, 3: 2, 10: 9}),
        ({"count": 1_000, "percent": 100, "min_healthy": 3}, {1: 0, 3: 0, 4: 1, 10: 7}),
        ({"min_healthy": 0}, {0: 0, 1: 1, 2: 1, 3: 1}),
        ({"min_healthy": 2}, {2: 0, 3: 1, 4: 1}),
    ],
)
def test_how_many_members_of_a_pool_may_be_down(rules, limits):
    radius = BlastRadius(**rules)
    assert {total: radius.limit(total) for total in limits} == limits


@pytest.mark.parametrize("rules", [{"count": -1}, {"percent": 101}, {"percent": -1}, {"min_healthy": -1}, {"most": 3}])
def test_a_blast_radius_that_means_nothing_is_refused(rules):
    with pytest.raises(ValidationError):
        BlastRadius(**rules)


def test_a_storm_is_counted_in_tenths_of_its_window():
    assert (Storm().bucket_seconds, Storm(window_seconds=60).bucket_seconds) == (60, 6)


def test_a_healer_that_nobody_knows_has_the_longest_time():
    healers = Healers(bosh=100, karpenter=200, auto_scaling=300, node_health_check=150, margin_seconds=1_000)
    assert [healers.seconds(kind) for kind in ("bosh", "anything", "margin_seconds")] == [1_100, 1_300, 1_300]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:user/alice",
        "arn:aws:iam::123456789012:user/team/alice",
        "arn:aws:iam::123456789012:role/on-call",
        "arn:aws:sts::123456789012:assumed-role/on-call/*",
        "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_OnCall_*/alice@example.com",
        "arn:aws-us-gov:sts::123456789012:assumed-role/on-call-*/*",
        "arn:aws-cn:iam::123456789012:user/ali?e",
    ],
)
def test_an_arn_that_names_somebody(arn):
    assert Person(name="Alice", iam=[arn]).iam == (arn,)


@pytest.mark.parametrize(
    "arn",
    [
        "*",
        "alice",
        "arn:aws:iam::123456789012:*",
        "arn:aws:iam::123456789012:",
        "arn:aws:iam::123456789012:user/",
        "arn:aws:iam::123456789012:user/*",
        "arn:aws:iam::123456789012:*/alice",
        "arn:aws:iam::123456789012:?ser/alice",
        "arn:aws:sts::123456789012:assumed-role/*/alice",
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::123456789012:role/team/on-call",
        "arn:aws:sts::123456789012:assumed-role/on-call",
        "arn:aws:sts::123456789012:assumed-role/on-call/alice",
        "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_OnCall_1/*/x",
        "arn:aws:sts::123456789012:federated-user/alice",
        "arn:aws:iam::*:user/alice",
        "arn:aws:iam::12345678901?:user/alice",
        "arn:aws:iam::[0-9][0-9][0-9][0-9][0-9][0-9]:user/alice",
        "arn:aws:iam:::user/alice",
        "arn:*:iam::123456789012:user/alice",
        "arn:aws:*::123456789012:user/alice",
        "arn:aws:s3::123456789012:user/alice",
        "arn:aws:iam:*:123456789012:user/alice",
        "arn:aws:iam::123456789012:user/[a-z]*",
        "arn:aws:iam::123456789012:user/al ice",
        "arn:aws:iam::123456789012:user/alice\n",
    ],
)
def test_an_arn_that_could_let_others_in_is_refused(arn):
    with pytest.raises(ValidationError, match="whose account and name are given"):
        Person(name="Alice", iam=[arn])


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (
            {"toils": {"recover_node": {"windows": [{"name": "n", "start": "2026-11-22T22:00"}]}}},
            "toils.recover_node.windows.0.minutes",
        ),
        (
            {"toils": {"recover_node": {"windows": [{"name": "n", "start": "2026-11-22T22:00Z", "minutes": 60}]}}},
            "toils.recover_node.windows.0",
        ),
        (
            {"freezes": [{"name": "n", "start": "2026-12-20T00:00", "minutes": 60, "timezone": "Mars"}]},
            "freezes.0",
        ),
        ({"freezes": [{"name": "n", "start": "2026-12-20T00:00", "minutes": 60, "toils": []}]}, "freezes.0.toils"),
        (
            {
                "freezes": [
                    {"name": "n", "start": "2026-12-20T00:00", "minutes": 60, "toils": ["recover_node", "no-such"]}
                ]
            },
            "freezes.0.toils.1",
        ),
        ({"toils": {"recover_node": {"blast_radius": {"percent": 120}}}}, "toils.recover_node.blast_radius.percent"),
        ({"toils": {"recover_node": {"max_attempts": None}}}, "toils.recover_node.max_attempts"),
        ({"toils": {"recover_node": {"max_attempts": 0}}}, "toils.recover_node.max_attempts"),
        ({"toils": {"recover_node": {"escalation": {"failures": 0}}}}, "toils.recover_node.escalation.failures"),
        ({"toils": {"recover_node": {"storms": {}}}}, "toils.recover_node.storms"),
        ({"people": [{"name": "a", "iam": ["*"]}]}, "people.0.iam"),
        ({"people": [{"name": ""}]}, "people.0.name"),
        ({"budget": {"concurrent": -1}}, "budget.concurrent"),
    ],
)
def test_a_fault_carries_its_path(document, path):
    with pytest.raises(InvalidDocument) as caught:
        Policy.parse(document)
    assert [fault_path for fault_path, _ in caught.value.faults] == [path]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"approvers": ["bob"]}, "approvers: bob is not among the people"),
        ({"toils": {"recover_node": {"approvers": ["bob"]}}}, "toils.recover_node.approvers: bob is not among"),
        ({"people": [{"name": "a"}, {"name": "a"}]}, "people: a stands there twice"),
    ],
)
def test_approvers_are_people_of_the_policy(document, message):
    with pytest.raises(InvalidDocument, match=message):
        Policy.parse(document)


def test_every_fault_is_told_at_once():
    toil = {"mode": "maybe", "windows": [{"name": "n", "start": "2026-11-22T22:00Z", "minutes": 60}]}
    with pytest.raises(InvalidDocument) as caught:
        Policy.parse({"toils": {"recover_node": toil}, "retention_days": 0})
    paths = {path for path, _ in caught.value.faults}
    assert paths == {"toils.recover_node.mode", "toils.recover_node.windows.0", "retention_days"}


def test_no_limit_can_be_unset():
    limits = [name for name, field in ToilPolicy.model_fields.items() if name not in ("overrides", "settings")]
    for name in limits:
        with pytest.raises(ValidationError):
            ToilPolicy.model_validate({name: None})


def test_freezes_are_of_all_toil_types_or_of_those_they_name():
    start = {"start": "2026-12-20T00:00", "minutes": 60}
    freezes = [{"name": "all", **start}, {"name": "one", "toils": ["recover_node"], **start}]
    policy = Policy.parse({"freezes": freezes, "toils": {"recover_node": {}}})
    assert [freeze.name for freeze in policy.freezes_of("recover_node")] == ["all", "one"]
    assert [freeze.name for freeze in policy.freezes_of("triage_ticket")] == ["all"]


def test_a_freeze_of_a_toil_type_that_there_is_not_is_refused():
    freeze = {"name": "one", "toils": ["recover_nodes"], "start": "2026-12-20T00:00", "minutes": 60}
    with pytest.raises(InvalidDocument, match=r"freezes\.0\.toils: recover_nodes is not among the toils"):
        Policy.parse({"freezes": [freeze], "toils": {"recover_node": {}}})


def test_nobody_approves_unless_somebody_is_named():
    people = [{"name": "alice"}, {"name": "bob"}]
    policy = Policy.parse({"people": people, "toils": {"recover_node": {"approvers": ["bob"]}}})
    assert [person.name for person in policy.approvers_of("recover_node")] == ["bob"]
    assert policy.approvers_of("triage_ticket") == ()
    policy = Policy.parse({"people": people, "approvers": ["alice"], "toils": {"recover_node": {"approvers": ["bob"]}}})
    assert [person.name for person in policy.approvers_of("recover_node")] == ["bob"]
    assert [person.name for person in policy.approvers_of("triage_ticket")] == ["alice"]
