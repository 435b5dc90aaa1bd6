"""`paydown doctor`: every fault with its remedy, and no check that keeps the others."""

from __future__ import annotations

import io
import json
import zipfile
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError

from cli import checks
from cli.connection import Connection
from cli.diagnosis import deployed, reach, state
from paydown.errors import RetryableError
from paydown.events import Sweep
from paydown.ledger.sources_seen import Sources
from paydown.toil import ToilSettings

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
SECRETS = {
    f"house/webhooks/{name}": {"current": "s3cret"}
    for name in ("alertmanager", "github", "harbor", "registry", "roundup")
}


@pytest.fixture
def sources(ledger):
    return Sources(ledger.table, ledger.table._client)


@pytest.fixture
def secrets(ledger):
    client = boto3.client("secretsmanager")

    def store(name, value):
        client.create_secret(Name=name, SecretString=value if isinstance(value, str) else json.dumps(value))

    for name, value in SECRETS.items():
        store(name, value)
    return store


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("app.py", "def handler(event, context): pass")
    return buffer.getvalue()


@pytest.fixture
def parts(house, stacks, secrets):
    """The parts of the stack `house`, all of them well."""
    role = boto3.client("iam").create_role(RoleName="house-lamps", AssumeRolePolicyDocument=TRUST)["Role"]
    functions, sqs = boto3.client("lambda"), boto3.client("sqs")
    functions.create_function(
        FunctionName="house-Lamps", Runtime="python3.11", Role=role["Arn"], Handler="a.b", Code={"ZipFile": archive()}
    )
    queue = sqs.get_queue_url(QueueName="house-toil-switch_off_lamps")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="house-Lamps")["UUID"]
    boto3.client("events").put_rule(Name="house-rule", ScheduleExpression="rate(1 day)", State="ENABLED")
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName="house-overdue",
        AlarmDescription="A run waits.",
        Namespace="Paydown",
        MetricName="OverdueSeconds",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=300,
        ComparisonOperator="GreaterThanThreshold",
    )
    told = {"ReportOutcomeMode": "Enforce", "NotificationTopicArn": "arn:aws:sns:eu-central-1:123456789012:ops"}
    stacks[house]["Parameters"] += [{"ParameterKey": name, "ParameterValue": value} for name, value in told.items()]
    stacks[house]["StackStatus"] = "UPDATE_COMPLETE"
    stacks[house]["Parts"] = [
        {"LogicalResourceId": logical, "ResourceType": kind, "PhysicalResourceId": name}
        for logical, kind, name in (
            ("Lamps", "AWS::Lambda::Function", "house-Lamps"),
            ("LampsMessages", "AWS::Lambda::EventSourceMapping", mapping),
            ("LampsQueue", "AWS::SQS::Queue", queue),
            ("LampsRule", "AWS::Events::Rule", "house-rule"),
            ("OverdueAlarm", "AWS::CloudWatch::Alarm", "house-overdue"),
            ("Ledger", "AWS::DynamoDB::Table", "ledger"),
        )
    ]
    return SimpleNamespace(stack=stacks[house], mapping=mapping, functions=functions, queue=queue, sqs=sqs)


@pytest.fixture
def doctor(paydown, house):
    """Runs it; returns its exit code and what it found: {(about, subject): (state, text, remedy)}."""

    def run(*argv):
        answer = paydown("doctor", "--stack", house, "--json", *argv)
        return answer.code, {
            (one["about"], one["subject"]): (one["state"], one["text"], one["remedy"])
            for one in answer.data["findings"]
        }

    return run


def faults(found):
    return {key: (text, remedy) for key, (kind, text, remedy) in found.items() if kind == "fault"}


def test_a_stack_that_is_well(doctor, parts, plant):
    code, found = doctor()
    assert (code, faults(found)) == (0, {})
    assert found["function", "Lamps"][0] == "fine"
    assert found["trigger", "LampsMessages"][1] == "house-toil-switch_off_lamps is Enabled"
    assert found["secret", "house/webhooks/github"][0] == "fine"
    assert found["policy", "in force"][0] == found["inventory", "in force"][0] == "fine"


def test_the_parts_that_broke_and_how_they_are_mended(doctor, parts, plant):
    parts.functions.update_event_source_mapping(UUID=parts.mapping, Enabled=False)
    boto3.client("events").disable_rule(Name="house-rule")
    boto3.client("iam").delete_role(RoleName="house-lamps")
    boto3.client("cloudwatch").set_alarm_state(AlarmName="house-overdue", StateValue="ALARM", StateReason="test")
    parts.sqs.delete_queue(QueueUrl=parts.queue)
    parts.stack["StackStatus"] = "UPDATE_ROLLBACK_COMPLETE"
    code, found = doctor()
    told = faults(found)
    assert code == 7
    assert (
        told["trigger", "LampsMessages"][1]
        == f"aws lambda update-event-source-mapping --uuid {parts.mapping} --enabled"
    )
    assert told["rule", "LampsRule"][1] == "aws events enable-rule --name house-rule"
    assert told["role", "Lamps"] == ("its role is gone", deployed.DEPLOY)
    assert told["alarm", "OverdueAlarm"] == ("A run waits.", deployed.ALARMS["OverdueAlarm"])
    assert told["queue", "LampsQueue"] == ("its queue is gone", deployed.DEPLOY)
    assert told["stack", "house"][0] == "UPDATE_ROLLBACK_COMPLETE"
    assert len(told) == 6


def test_a_function_and_an_alarm_that_are_gone(doctor, parts, plant):
    parts.functions.delete_event_source_mapping(UUID=parts.mapping)
    parts.functions.delete_function(FunctionName="house-Lamps")
    boto3.client("cloudwatch").delete_alarms(AlarmNames=["house-overdue"])
    _, found = doctor()
    assert set(faults(found)) == {("function", "Lamps"), ("trigger", "LampsMessages"), ("alarm", "OverdueAlarm")}


def test_what_runs_and_people_left(doctor, parts, paydown, plant, world, clock):
    paydown("stop", "switch_off_lamps", "--why", "smoke", "--by", "ann", "--stack", "house")
    parts.sqs.send_message(QueueUrl=parts.sqs.get_queue_url(QueueName="house-dead")["QueueUrl"], MessageBody="{}")
    run = plant.look()
    clock.tick(3_600)
    code, found = doctor()
    told = faults(found)
    assert code == 7
    assert told["stop", "switch_off_lamps"][1] == "paydown resume switch_off_lamps"
    assert told["dead letters", "messages"] == ("1 lie there", "paydown dead-letters list")
    assert run.id[:12] in told["overdue", run.ref][1]


def test_a_toil_type_that_suspended_itself(doctor, parts, plant, ledger, clock, monkeypatch):
    limit = ledger.policy.current().document.toil("switch_off_lamps").recurrence.suspend_after
    tally = SimpleNamespace(recurred=[clock()] * limit)
    monkeypatch.setattr(type(ledger.runs.tallies), "get", lambda self, scope: tally)
    code, found = doctor()
    assert code == 7
    assert faults(found)["suspension", "switch_off_lamps"][1].endswith("then paydown resume switch_off_lamps")
    ledger.switches.resume("switch_off_lamps", "ann", "mended", clock.tick(1))
    assert doctor()[0] == 0


def test_nothing_published(doctor, parts, ledger):
    code, found = doctor()
    assert code == 7
    assert set(faults(found)) == {("policy", "in force"), ("inventory", "in force")}


def published(ledger, clock, **policy):
    ledger.policy.publish({**ledger.policy.text(1), **policy}, "test", clock())


def test_a_silent_source_and_one_that_does_not_exist(doctor, parts, plant, ledger, sources, clock):
    expected = {name: {"expect_every_seconds": 600} for name in ("registry", "alertmanager", "jenkins")}
    published(ledger, clock, sources=expected)
    clock.tick(700)
    sources.hear("registry", clock())
    code, found = doctor()
    told = faults(found)
    assert code == 7
    assert told["source", "alertmanager"][0] == "not heard, 12 min after the policy; expected every 10 min"
    assert told["source", "alertmanager"][1].startswith("paydown connect alertmanager")
    assert told["policy", "sources"][0].startswith("sources.jenkins: nobody is called so")
    assert found["source", "registry"][0] == "fine"
    assert found["source", "github"][1] == "never heard"


def test_aws_itself_and_schedules_are_sources_too(doctor, parts, plant, ledger, sources, clock, monkeypatch):
    monkeypatch.setattr(checks, "toil_type", lambda name: SimpleNamespace(listens_to=(Sweep,), Settings=ToilSettings))
    expected = {name: {"expect_every_seconds": 600} for name in ("ecr", "schedule_switch_off_lamps")}
    published(ledger, clock, sources=expected)
    clock.tick(700)
    sources.hear("ecr", clock())
    code, found = doctor()
    assert code == 7
    ((key, (text, remedy)),) = faults(found).items()
    assert key == ("source", "schedule_switch_off_lamps")
    assert text == "not heard, 12 min after the policy; expected every 10 min"
    assert remedy.startswith("the rules of the toil types")
    assert found["source", "ecr"][0] == "fine"
    assert found["source", "cloudwatch"] == ("fine", "never heard", "")


def test_a_schedule_that_no_toil_type_has_will_be_silent_for_ever(doctor, parts, plant, ledger, clock, monkeypatch):
    monkeypatch.setattr(checks, "toil_type", lambda name: SimpleNamespace(listens_to=(), Settings=ToilSettings))
    published(ledger, clock, sources={"schedule_switch_off_lamps": {"expect_every_seconds": 600}})
    told = faults(doctor()[1])
    assert told["policy", "sources"][0].startswith("sources.schedule_switch_off_lamps: nobody is called so")


def parameter(parts, name, value):
    kept = [one for one in parts.stack["Parameters"] if one["ParameterKey"] != name]
    parts.stack["Parameters"] = [*kept, {"ParameterKey": name, "ParameterValue": value}]


@pytest.mark.parametrize("mode", ["approve", "enforce"])
def test_what_enforces_and_tells_nobody(mode, doctor, parts, plant, ledger, clock):
    published(ledger, clock, toils={"switch_off_lamps": {"mode": mode}})
    assert doctor()[0] == 0
    parameter(parts, "ReportOutcomeMode", "Observe")
    text, remedy = faults(doctor()[1])["policy", "notifications"]
    assert text.startswith("it enforces, but tells nobody: ReportOutcomeMode is Observe")
    assert remedy.startswith("deploy with ReportOutcomeMode=Enforce")
    parameter(parts, "ReportOutcomeMode", "Enforce")
    parameter(parts, "NotificationTopicArn", "")
    text, remedy = faults(doctor()[1])["policy", "notifications"]
    assert "notifications.tracker and notifications.webhooks are empty" in text
    assert remedy.startswith("name a tracker under `notifications`")
    published(ledger, clock, toils={"switch_off_lamps": {"mode": mode}}, notifications={"tracker": "helpdesk"})
    assert ("policy", "notifications") not in faults(doctor()[1])


@pytest.mark.parametrize(("policy", "deployed"), [("observe", "Enforce"), ("enforce", "Observe"), ("enforce", "Off")])
def test_who_does_not_enforce_need_not_tell(policy, deployed, doctor, parts, plant, ledger, clock):
    published(ledger, clock, toils={"switch_off_lamps": {"mode": policy}})
    parameter(parts, "ReportOutcomeMode", "Off")
    parameter(parts, "SwitchOffLampsMode", deployed)
    assert ("policy", "notifications") not in faults(doctor()[1])


def test_secrets_that_are_missing_or_hold_something_else_and_none_is_shown(
    doctor, parts, plant, ledger, secrets, clock
):
    inventory = {
        "hosts": [
            {"uid": "h", "name": "h", "reach": {"via": "tcp", "address": "127.0.0.1:1", "secret": "house/hosts/h"}}
        ],
        "clusters": [
            {"uid": "c", "name": "c", "reader_secret": "house/clusters/c/reader", "operator_secret": "elsewhere"}
        ],
        "trackers": [
            {
                "uid": "t",
                "name": "t",
                "system": "github",
                "url": "http://127.0.0.1:1/repos/o/n",
                "secret": "house/trackers/t",
            }
        ],
    }
    secrets("house/hosts/h", {"ca": "hunter2"})
    secrets("house/clusters/c/reader", {"token": "hunter2"})
    secrets("elsewhere", {"server": "https://127.0.0.1:1", "token": "hunter2"})
    secrets("house/trackers/t", "hunter2{")
    boto3.client("secretsmanager").delete_secret(SecretId="house/webhooks/github", ForceDeleteWithoutRecovery=True)
    ledger.inventory.publish(inventory, "test", clock())
    code, found = doctor()
    told = {subject: text for (about, subject), (text, _) in faults(found).items() if about == "secret"}
    assert code == 7
    assert told == {
        "house/webhooks/github": "it does not exist",
        "house/hosts/h": "secret house/hosts/h: needs ca, cert and key, each as PEM text",
        "house/clusters/c/reader": told["house/clusters/c/reader"],
        "elsewhere": "the functions may only read secrets under house/clusters/",
        "house/trackers/t": "secret house/trackers/t: its value is no JSON text",
    }
    assert "neither `server` nor `eks`" in told["house/clusters/c/reader"]
    assert "hunter2" not in json.dumps(sorted(map(str, found.items())))


def test_the_secrets_of_who_may_delete_and_of_git_repositories(doctor, parts, plant, ledger, secrets, clock):
    address = "http://127.0.0.1:1"
    inventory = {
        "registries": [
            {"uid": "r", "name": "r", "url": address, "operator_secret": "house/registry-operators/r"},
            {"uid": "s", "name": "s", "url": address, "operator_secret": "house/registries/s"},
        ],
        "sources": [{"uid": "g", "name": "g", "url": address, "images": ["r/*"], "secret": "house/sources/g"}],
    }
    secrets("house/registries/s", {"username": "u", "password": "p"})
    secrets("house/sources/g", {"username": "u"})
    ledger.inventory.publish(inventory, "test", clock())
    told = {subject: text for (about, subject), (text, _) in faults(doctor()[1]).items() if about == "secret"}
    assert told == {
        "house/registry-operators/r": "it does not exist",
        "house/registries/s": "the functions may only read secrets under house/registry-operators/",
        "house/sources/g": told["house/sources/g"],
    }
    assert "password" in told["house/sources/g"]


SYSTEMS = {
    "registries": [{"uid": "r", "name": "images", "url": "http://127.0.0.1:1"}],
    "hosts": [
        {"uid": "a", "name": "a", "reach": {"via": "ssm", "instance_id": "i-0123456789abcdef0"}},
        {"uid": "b", "name": "b", "reach": {"via": "ssm", "instance_id": "i-0123456789abcdef1"}},
    ],
    "clusters": [{"uid": "c", "name": "c", "reader_secret": "house/clusters/r", "operator_secret": "house/clusters/o"}],
}


@pytest.fixture
def systems(ledger, parts, plant, clock, secrets, monkeypatch):
    """An inventory of a registry, two hosts behind SSM, and a cluster; `said` is what they answer."""
    access = {"server": "https://127.0.0.1:1", "token": "t"}
    secrets("house/clusters/r", access)
    secrets("house/clusters/o", access)
    ledger.inventory.publish(SYSTEMS, "test", clock())
    said = SimpleNamespace(registry=None, agents={"i-0123456789abcdef0": "Online"}, rights={})

    def ask(session, system):
        if said.registry:
            raise said.registry

    class Ssm:
        def describe_instance_information(self, **request):
            listed = [{"InstanceId": id, "PingStatus": status} for id, status in said.agents.items()]
            return {"InstanceInformationList": listed}

    make = Connection._make
    monkeypatch.setattr(Connection, "_make", lambda self, name: Ssm() if name == "ssm" else make(self, name))
    monkeypatch.setattr(reach, "_ask", ask)

    def connect(cluster, *, observing, secrets):
        secrets(cluster.reader_secret)
        return SimpleNamespace(may=lambda right: said.rights.get(str(right), True))

    monkeypatch.setattr("paydown.clients.kube.connect", connect)
    return said


def test_what_the_inventory_names_is_asked(doctor, systems):
    code, found = doctor()
    assert found["reach", "host/a"][0] == "fine"
    assert faults(found) == {
        ("reach", "host/b"): (
            "the SSM agent of i-0123456789abcdef1 is not known in this account and region",
            "start amazon-ssm-agent there, and see its instance profile",
        )
    }
    assert (code, found["reach", "registry/images"][1]) == (7, "from here: it answers")
    assert found["rights", "cluster/c, operator"][1] == "from here: it has all that it needs"


def test_a_right_that_a_cluster_does_not_give(doctor, systems):
    systems.rights = {"create pods/eviction": False, "list nodes": None}
    _, found = doctor()
    text, remedy = faults(found)["rights", "cluster/c, operator"]
    assert (text, remedy) == (
        "from here: it lacks create pods/eviction",
        "kubectl apply -f deploy/kubernetes/paydown-rbac.yaml",
    )
    assert found["rights", "cluster/c, reader"][0] == "unknown"


def test_in_a_vpc_the_functions_may_reach_what_we_do_not(doctor, systems, parts):
    systems.registry = RetryableError("no answer")
    parts.stack["Parameters"].append({"ParameterKey": "SubnetIds", "ParameterValue": "subnet-1,subnet-2"})
    assert doctor()[1]["reach", "registry/images"][0] == "unknown"


def test_one_check_that_is_refused_leaves_the_others(doctor, parts, plant, monkeypatch):
    make = Connection._make

    class Refusing:
        def __getattr__(self, name):
            def refuse(**_):
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "GetRole")

            return refuse

    monkeypatch.setattr(Connection, "_make", lambda self, name: Refusing() if name == "iam" else make(self, name))
    code, found = doctor()
    assert code == 0
    assert found["function", "Lamps"] == ("unknown", "AWS refuses GetRole: AccessDenied: not you", "")
    assert found["queue", "LampsQueue"][0] == "fine"


def test_a_defect_in_one_check_leaves_the_others(doctor, parts, plant, monkeypatch):
    def broken(session):
        raise ZeroDivisionError

    monkeypatch.setattr(state, "_suspensions", broken)
    code, found = doctor()
    assert code == 0
    assert found["suspension", "toil types"][0] == "unknown"
    assert found["source", "registry"][0] == "fine"


def test_a_stack_that_may_not_be_read_leaves_the_ledger(paydown, plant, secrets, monkeypatch):
    def refuse(self):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DescribeStacks")

    monkeypatch.setattr(Connection, "_described", property(refuse))
    found = paydown("doctor", "--json").data["findings"]
    kinds = {(one["about"], one["subject"]): one["state"] for one in found}
    assert kinds["stack", "parts"] == "unknown"
    assert kinds["policy", "in force"] == "fine"
    assert kinds["dead letters", "both queues"] == "unknown"


def test_in_plain_text_faults_come_last_with_their_remedies(paydown, parts, house, plant):
    boto3.client("events").disable_rule(Name="house-rule")
    answer = paydown("doctor", "--stack", house)
    lines = answer.out.splitlines()
    assert answer.code == 7
    assert lines[-3:-1] == [
        "fault   rule: LampsRule: it is disabled: its events reach nobody",
        "        → aws events enable-rule --name house-rule",
    ]
    assert " 1 fault, " in lines[-1]
    assert "fine    " not in answer.out
    assert "fine    queue: LampsQueue" in paydown("doctor", "--all", "--stack", house).out
