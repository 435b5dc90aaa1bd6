"""The pages about cost and network say what the template says."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.cost import POLLS, PRICES, idle, per_million, tables
from local.deploy import mode_parameters
from local.packages import PROJECT, load_template
from local.translation import translate
from tests.cloudformation import Resolved, statements

COST = (PROJECT / "docs/cost.md").read_text()
NETWORK = (PROJECT / "docs/network.md").read_text()
WITHOUT_A_CALL = {
    ("logs", "CreateLogStream"),
    ("logs", "PutLogEvents"),
    ("sqs", "DeleteMessage"),
    ("sqs", "GetQueueAttributes"),
    ("sqs", "ReceiveMessage"),
    ("dynamodb", "DescribeStream"),
    ("dynamodb", "GetRecords"),
    ("dynamodb", "GetShardIterator"),
    ("dynamodb", "ListStreams"),
    ("inspector2", "ListCoverage"),
    ("inspector2", "ListFindings"),
}
"""What Lambda does in a function's name, or ECR in a caller's, outside of the function's network."""


def test_the_tables_of_cost_are_those_that_are_computed() -> None:
    split = tables().index("")
    for part in (tables()[:split], tables()[split + 1 :]):
        assert "\n".join(part) in COST, "make bench NAME=cost, and copy its tables"


def test_more_toil_types_cost_their_pollers_and_nearly_nothing_else() -> None:
    three, twenty = (sum(item.dollars[column] for item in idle()) for column in (0, 1))
    pollers = 17 * POLLS * PRICES["sqs_request"]
    assert pollers < twenty - three < pollers + 0.05


def test_a_run_costs_more_than_an_event_that_joins_one() -> None:
    for item in per_million():
        assert item.dollars[0] >= item.dollars[1] > 0


def test_the_table_of_the_network_is_that_of_the_roles() -> None:
    template = load_template()
    modes = dict.fromkeys(mode_parameters(template), "Enforce")
    given = {
        "EcrRepositories": "arn:aws:ecr:eu-central-1:1:repository/app",
        "NotificationTopicArn": "arn:aws:sns:eu-central-1:1:people",
    }
    resolved = Resolved(translate(), {**modes, **given})
    reached = {}
    for name in resolved.of_type("AWS::Lambda::Function"):
        called = (statement["Action"].split(":") for statement in statements(resolved, f"{name}Role"))
        reached[name] = {service for service, action in called if (service, action) not in WITHOUT_A_CALL}
    rows = re.findall(r"^\| `(\w+)` \| ([a-z0-9, ]*) \|", NETWORK.split("## In a VPC")[0], re.MULTILINE)
    assert {name: _names(cell) for name, cell in rows} == reached
    endpoints = set(re.findall(r"^\| `(\w+)` \| (?:gateway|interface)", NETWORK, re.MULTILINE))
    assert endpoints == set().union(*reached.values())


def test_nothing_reaches_in_but_through_the_api() -> None:
    resolved = Resolved(translate(), {f"{name}": "Enforce" for name in mode_parameters(load_template())})
    assert not resolved.of_type("AWS::Lambda::Url")
    for permission in resolved.of_type("AWS::Lambda::Permission").values():
        assert permission["Principal"] in ("apigateway.amazonaws.com", "events.amazonaws.com")
        assert "SourceArn" in permission


def _names(cell: str) -> set[str]:
    parts: Iterable[str] = (part.strip() for part in cell.split(","))
    return {part for part in parts if part}
