"""What CloudFormation really gets: the translated template, for each mode of the toil types."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.deploy import mode_parameters
from local.packages import load_template
from local.translation import translate
from paydown.sources import BUS_SOURCES, SCHEDULE
from tests.cloudformation import Resolved, statements

TEMPLATE = load_template()
TOIL_TYPES = [name.removesuffix("Mode") for name in mode_parameters(TEMPLATE)]
VPC = {"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}

READS = re.compile(r"(BatchGet|ConditionCheck|Describe|Get|List|Query)\w*")
KNOW_NO_RESOURCE = {
    "dynamodb:ListStreams",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ecr:GetAuthorizationToken",
    "inspector2:ListCoverage",
    "inspector2:ListFindings",
    "ssm:GetCommandInvocation",
}
REPOSITORY = "arn:aws:ecr:eu-central-1:123456789012:repository/team/app"
OWN = {
    "dynamodb:DeleteItem": {"${Ledger.Arn}"},
    "dynamodb:PutItem": {"${Ledger.Arn}"},
    "dynamodb:UpdateItem": {"${Ledger.Arn}"},
    "logs:CreateLogStream": {"${LogGroup.Arn}"},
    "logs:PutLogEvents": {"${LogGroup.Arn}"},
}
"""What changes something that belongs to Paydown itself, in every mode."""


@pytest.fixture(scope="module")
def translated() -> dict[str, Any]:
    return translate()


def resolved(translated: dict[str, Any], mode: str, **parameters: str) -> Resolved:
    return Resolved(translated, {**{f"{name}Mode": mode for name in TOIL_TYPES}, **parameters})


@pytest.fixture(scope="module", params=["Observe", "Enforce"])
def deployed(request: pytest.FixtureRequest, translated: dict[str, Any]) -> Resolved:
    return resolved(translated, request.param)


def roles(template: Resolved) -> list[str]:
    return list(template.of_type("AWS::IAM::Role"))


def test_off_leaves_no_resource_of_a_toil_type(translated: dict[str, Any]) -> None:
    left = set(resolved(translated, "Off").resources)
    only_on = set(resolved(translated, "Enforce").resources) - left
    for toil in TOIL_TYPES:
        assert not {name for name in left if name.startswith(toil)}
        assert {f"{toil}{part}" for part in ("", "Rule", "Queue", "Role")} <= only_on


def test_what_exists_refers_to_what_exists(translated: dict[str, Any]) -> None:
    for mode in ("Off", "Observe", "Enforce"):
        template = resolved(translated, mode)
        named = set(re.findall(r"\$\{(\w+)[.}]", str(template.resources)))
        assert named <= set(template.resources), mode


def test_roles_have_no_policy_of_anybody_else(deployed: Resolved) -> None:
    own = {f"${{{name}}}" for name in deployed.of_type("AWS::IAM::ManagedPolicy")}
    for role, properties in deployed.of_type("AWS::IAM::Role").items():
        assert set(properties.get("ManagedPolicyArns", ())) <= own, role


def test_each_function_has_a_role_of_its_own(deployed: Resolved) -> None:
    functions = deployed.of_type("AWS::Lambda::Function")
    assert {name: properties["Role"] for name, properties in functions.items()} == {
        name: f"${{{name}Role.Arn}}" for name in functions
    }


def test_every_resource_is_as_narrow_as_the_api_allows(translated: dict[str, Any]) -> None:
    for mode in ("Observe", "Enforce"):
        template = resolved(translated, mode, **VPC)
        for role in roles(template):
            for statement in statements(template, role):
                assert "*" not in statement["Action"], (role, statement)
                if "*" in statement["Resource"]:
                    assert statement["Action"] in KNOW_NO_RESOURCE, (role, statement)


def test_the_functions_code_may_not_use_what_lambda_needs_for_the_vpc(translated: dict[str, Any]) -> None:
    template = resolved(translated, "Enforce", **VPC)
    for role in [f"{name}Role" for name in template.of_type("AWS::Lambda::Function")]:
        network = [statement for statement in statements(template, role) if statement["Action"].startswith("ec2:")]
        assert network
        assert all(one["Condition"] == {"Null": {"lambda:SourceFunctionArn": "true"}} for one in network)


@pytest.mark.parametrize("toil", TOIL_TYPES)
def test_no_toil_type_can_write_what_governs_it(translated: dict[str, Any], toil: str) -> None:
    """Approvals, switches and documents lie in partitions that only people's own rights reach."""
    template = resolved(translated, "Enforce")
    for statement in statements(template, f"{toil}Role"):
        if statement["Action"] in ("dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"):
            (keys,) = statement["Condition"].values()
            mine = ["RUN#*", "LEASE#*", "OPEN#*", "DEBT#*", "TALLY#*", "STORM#*"]
            # That AWS's own events were heard of; what a sender of webhooks told is for ingress to say.
            mine += [f"SOURCE#{name}" for name in (*sorted(BUS_SOURCES.values()), f"{SCHEDULE}*")]
            if toil == "ReportOutcome":
                mine = ["FINDING#*", "DIGEST#*"]
            own = [["IMAGE#*", "PROMOTIONS"]] if toil == "PromoteImage" else []
            assert keys in [{"dynamodb:LeadingKeys": these} for these in (mine, *own)]


@pytest.mark.parametrize("toil", TOIL_TYPES)
def test_a_role_that_observes_changes_nothing(translated: dict[str, Any], toil: str) -> None:
    """Beyond the ledger, its own queue and its logs, it reads; commands on hosts are of documents that only list."""
    template = resolved(translated, "Observe")
    for statement in statements(template, f"{toil}Role"):
        service, _, verb = statement["Action"].partition(":")
        resources = set(statement["Resource"])
        if READS.fullmatch(verb):
            assert not any(resource.endswith("/operator-*") for resource in resources)
        elif service == "sqs":
            assert resources == {f"${{{toil}Queue.Arn}}"}
        elif statement["Action"] == "ssm:SendCommand":
            documents = {resource for resource in resources if ":document/" in resource}
            assert all(re.search(r":document/\$\{AWS::StackName\}-List\w+$", name) for name in documents)
            hosts = resources - documents
            assert not hosts or statement["Condition"] == {"StringLike": {"ssm:resourceTag/paydown:managed": "?*"}}
        else:
            assert resources <= OWN[statement["Action"]], statement


def test_repositories_of_ecr_are_reached_as_far_as_they_are_named(translated: dict[str, Any]) -> None:
    def may(mode: str, **parameters: str) -> dict[str, set[str]]:
        template = resolved(translated, mode, **parameters)
        found: dict[str, set[str]] = {}
        for role in roles(template):
            for statement in statements(template, role):
                if statement["Action"].startswith("ecr:"):
                    knows = statement["Action"] not in KNOW_NO_RESOURCE
                    assert statement["Resource"] == [REPOSITORY if knows else "*"], (role, statement)
                    found.setdefault(role, set()).add(statement["Action"].removeprefix("ecr:"))
        return found

    assert may("Enforce") == {}
    observing, enforcing = (may(mode, EcrRepositories=REPOSITORY) for mode in ("Observe", "Enforce"))
    assert {"AdviseImageLayersRole", "CleanRegistryRole", "ReconcileSourcesRole"} <= enforcing.keys()
    assert all(READS.fullmatch(action) for actions in observing.values() for action in actions)
    assert enforcing["CleanRegistryRole"] - observing["CleanRegistryRole"] == {"BatchDeleteImage"}
    push = {"BatchCheckLayerAvailability", "CompleteLayerUpload", "InitiateLayerUpload", "PutImage", "UploadLayerPart"}
    undo = {"BatchDeleteImage"}
    for role, more in (("PromoteImageRole", set()), ("RefreshBaseImageRole", undo), ("ShrinkImageRole", undo)):
        assert enforcing[role] - observing[role] == push | more


def test_only_who_may_promote_writes_what_was_promoted(translated: dict[str, Any]) -> None:
    for mode in ("Observe", "Enforce"):
        template = resolved(translated, mode, EcrRepositories=REPOSITORY)
        writes = {
            (role, key)
            for role in roles(template)
            for statement in statements(template, role)
            if statement["Action"] == "dynamodb:PutItem"
            for key in statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
            if key in ("IMAGE#*", "PROMOTIONS")
        }
        pushes = {one["Action"] for one in statements(template, "PromoteImageRole")} & {"ecr:PutImage"}
        assert ("PromoteImageRole", "IMAGE#*") in writes
        assert {role for role, _ in writes} == {"PromoteImageRole"}
        assert ("PROMOTIONS" in {key for _, key in writes}, bool(pushes)) == (mode == "Enforce", mode == "Enforce")


@pytest.mark.parametrize("function", ["Ingress", "ReconcileSources"])
def test_what_reads_from_outside_writes_only_what_is_known_of_senders(
    translated: dict[str, Any], function: str
) -> None:
    for statement in statements(resolved(translated, "Enforce"), f"{function}Role"):
        service, _, verb = statement["Action"].partition(":")
        if service == "dynamodb" and not READS.fullmatch(verb):
            assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["SOURCE#*"]}}


def test_the_watch_over_senders_only_reads(translated: dict[str, Any]) -> None:
    actions = {one["Action"] for one in statements(resolved(translated, "Enforce"), "WatchSourcesRole")}
    assert {action for action in actions if not action.startswith("logs:")} == {"dynamodb:GetItem"}


def test_only_who_tells_of_facts_puts_events_and_only_ours(deployed: Resolved) -> None:
    may = {}
    for role in roles(deployed):
        for statement in statements(deployed, role):
            if statement["Action"] == "events:PutEvents":
                may[role] = statement["Condition"]
    ours = {"StringEqualsIfExists": {"events:source": "paydown"}}
    assert may == {"IngressRole": ours, "PublishTransitionsRole": ours, "ReconcileSourcesRole": ours}


def test_only_decisions_are_written_by_who_decides_and_by_nobody_else(deployed: Resolved) -> None:
    write = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"}
    may: dict[str, list[str]] = {}
    for role in roles(deployed):
        for statement in statements(deployed, role):
            if statement["Action"] in write:
                keys = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
                may.setdefault(role, []).extend(keys)
    assert sorted(set(may.pop("DecideRole"))) == ["APPROVAL#*", "RUN#*"]
    assert all(not key.startswith(("APPROVAL", "*", "A*")) for keys in may.values() for key in keys)


def test_the_api_asks_iam_who_decides_and_lends_nobody_the_right_to_invoke(deployed: Resolved) -> None:
    (api,) = deployed.of_type("AWS::ApiGateway::RestApi").values()
    asked = {
        (path, method): (entry.get("security"), entry["x-amazon-apigateway-integration"].get("credentials"))
        for path, methods in api["Body"]["paths"].items()
        for method, entry in methods.items()
    }
    assert asked.pop(("/runs/{run}/decisions", "post")) == ([{"AWS_IAM": []}], None)
    assert asked == dict.fromkeys(
        [("/plans/{run}", "get"), ("/plans/{run}", "head"), ("/webhooks/{sender}", "post")], (None, None)
    )


def test_queues_hide_a_message_longer_than_its_function_runs(deployed: Resolved) -> None:
    functions = deployed.of_type("AWS::Lambda::Function")
    queues = deployed.of_type("AWS::SQS::Queue")
    mappings = [entry for entry in deployed.of_type("AWS::Lambda::EventSourceMapping").values() if "BatchSize" in entry]
    served = [entry for entry in mappings if entry["EventSourceArn"].endswith("Queue.Arn}")]
    assert len(served) == len(TOIL_TYPES) + 1  # the decisions in comments
    for entry in served:
        queue = queues[entry["EventSourceArn"].removeprefix("${").removesuffix(".Arn}")]
        function = functions[entry["FunctionName"].removeprefix("${").removesuffix("Aliaslive}")]
        assert queue["VisibilityTimeout"] >= 1.5 * function["Timeout"]
        assert queue["RedrivePolicy"]["deadLetterTargetArn"] == "${DeadLetters.Arn}"
        assert 3 <= queue["RedrivePolicy"]["maxReceiveCount"] <= 400
        assert entry["BatchSize"] == 1
        assert entry["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert entry["ScalingConfig"]["MaximumConcurrency"] >= 2
        assert "ReservedConcurrentExecutions" not in function


def test_rules_stand_on_the_default_bus_and_may_write_only_to_their_queue(deployed: Resolved) -> None:
    policies = deployed.of_type("AWS::SQS::QueuePolicy").values()
    for name, rule in deployed.of_type("AWS::Events::Rule").items():
        assert rule.get("EventBusName", "default") == "default"
        if name.removesuffix("Rule") not in TOIL_TYPES:
            continue
        queue = name.replace("Rule", "Queue")
        (target,) = rule["Targets"]
        assert target["Arn"] == f"${{{queue}.Arn}}"
        assert target["DeadLetterConfig"] == {"Arn": "${RuleDeadLetters.Arn}"}
        (policy,) = [policy for policy in policies if policy["Queues"] == [f"${{{queue}}}"]]
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": f"${{{name}.Arn}}"}}


def test_the_ledger_survives_the_stack(deployed: Resolved) -> None:
    ledger = deployed.resources["Ledger"]
    assert (ledger["DeletionPolicy"], ledger["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = ledger["Properties"]
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert properties["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"


def test_what_is_stored_is_encrypted_kept_private_and_expires(deployed: Resolved) -> None:
    for queue in deployed.of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
    for group in deployed.of_type("AWS::Logs::LogGroup").values():
        assert group["RetentionInDays"] == 30
    (bucket,) = deployed.of_type("AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 7
    assert "BucketEncryption" in bucket


def test_alarms_watch_both_dead_letter_queues_and_the_oldest_overdue_run(deployed: Resolved) -> None:
    alarms = deployed.of_type("AWS::CloudWatch::Alarm")
    watched = {alarm["Dimensions"][0]["Value"] for alarm in alarms.values() if alarm["Namespace"] == "AWS/SQS"}
    assert watched == {"${DeadLetters.QueueName}", "${RuleDeadLetters.QueueName}"}
    overdue = alarms["OverdueAlarm"]
    assert (overdue["Namespace"], overdue["MetricName"]) == ("Paydown", "OverdueSeconds")
    assert overdue["TreatMissingData"] == "breaching"


def test_an_alarm_watches_for_senders_that_are_silent(deployed: Resolved) -> None:
    alarm = deployed.of_type("AWS::CloudWatch::Alarm")["SilentSourceAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("Paydown", "SilentSources", 0)
    assert alarm["TreatMissingData"] == "breaching"
    assert "Dimensions" not in alarm


def test_alarms_tell_a_topic_if_there_is_one(translated: dict[str, Any]) -> None:
    silent = resolved(translated, "Off").of_type("AWS::CloudWatch::Alarm").values()
    loud = resolved(translated, "Off", AlarmTopicArn="arn:topic").of_type("AWS::CloudWatch::Alarm").values()
    assert all("AlarmActions" not in alarm for alarm in silent)
    assert all(alarm["AlarmActions"] == ["arn:topic"] for alarm in loud)


def test_the_api_is_throttled(deployed: Resolved) -> None:
    (stage,) = deployed.of_type("AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert settings["ThrottlingRateLimit"] == 50
    assert settings["ThrottlingBurstLimit"] == 100


def test_functions_are_in_the_vpc_only_if_there_is_one(translated: dict[str, Any]) -> None:
    for function in resolved(translated, "Enforce").of_type("AWS::Lambda::Function").values():
        assert "VpcConfig" not in function
    for function in resolved(translated, "Enforce", **VPC).of_type("AWS::Lambda::Function").values():
        assert function["VpcConfig"] == {"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}


def test_people_are_told_through_the_topic_that_the_deployment_names_and_no_other(translated: dict[str, Any]) -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:people"
    for mode, parameters in (("Enforce", {"NotificationTopicArn": topic}), ("Enforce", {}), ("Observe", {})):
        template = resolved(translated, mode, **parameters)
        publishes = [
            (role, statement["Resource"])
            for role in roles(template)
            for statement in statements(template, role)
            if statement["Action"] == "sns:Publish"
        ]
        assert publishes == ([("ReportOutcomeRole", [topic])] if parameters else [])
        writes = [one["Action"] for one in statements(template, "ReportOutcomeRole") if "Condition" in one]
        assert bool(writes) == (mode == "Enforce")
