"""`paydown doctor` on the rights of the functions: what the deployed template gives each role, and what it has."""

from __future__ import annotations

import json
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError

from cli.connection import Connection
from cli.diagnosis.intended import UNKNOWN, Intended, UnreadableError, beyond, missing, same, statements

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
ACCOUNT = "123456789012"
IMAGES = [f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/{name}" for name in ("app", "web")]
QUEUE = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:house-toil-lamps"
SECRET = (
    "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${AWS::StackName}/rooms/*/${Access}-*"
)
TEMPLATE = {
    "Parameters": {"LampsMode": {"Type": "String"}, "Images": {"Type": "CommaDelimitedList"}},
    "Conditions": {
        "On": {"Fn::Not": [{"Fn::Equals": [{"Ref": "LampsMode"}, "Off"]}]},
        "Enforces": {"Fn::And": [{"Condition": "On"}, {"Fn::Equals": [{"Ref": "LampsMode"}, "Enforce"]}]},
    },
    "Resources": {
        "LampsRole": {
            "Type": "AWS::IAM::Role",
            "Condition": "On",
            "Properties": {
                "AssumeRolePolicyDocument": {},
                "ManagedPolicyArns": [{"Ref": "FunctionPolicy"}, {"Ref": "AWS::NoValue"}],
                "Policies": [
                    {
                        "PolicyName": "lamps",
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [
                                {
                                    "Effect": "Allow",
                                    "Action": ["sqs:DeleteMessage", "sqs:ReceiveMessage"],
                                    "Resource": {"Fn::GetAtt": ["LampsQueue", "Arn"]},
                                },
                                {
                                    "Effect": "Allow",
                                    "Action": "secretsmanager:GetSecretValue",
                                    "Resource": {
                                        "Fn::Sub": [
                                            SECRET,
                                            {"Access": {"Fn::If": ["Enforces", "operator", "reader"]}},
                                        ]
                                    },
                                },
                                {
                                    "Fn::If": [
                                        "Enforces",
                                        {
                                            "Effect": "Allow",
                                            "Action": "ecr:BatchDeleteImage",
                                            "Resource": {"Ref": "Images"},
                                        },
                                        {"Ref": "AWS::NoValue"},
                                    ]
                                },
                            ],
                        },
                    }
                ],
            },
        },
        "FunctionPolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}],
                }
            },
        },
    },
}
GRANTED = [
    {"Effect": "Allow", "Action": ["sqs:DeleteMessage", "sqs:ReceiveMessage"], "Resource": [QUEUE]},
    {
        "Effect": "Allow",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:house/rooms/*/operator-*",
    },
    {"Effect": "Allow", "Action": "ecr:BatchDeleteImage", "Resource": IMAGES},
]


def document(*some):
    return json.dumps({"Version": "2012-10-17", "Statement": list(some)})


@pytest.fixture
def role(house, stacks, ledger, plant):
    """The role of a stack, with the rights of its template; the client of IAM changes them."""
    iam = boto3.client("iam")
    written = json.dumps(TEMPLATE["Resources"]["FunctionPolicy"]["Properties"]["PolicyDocument"])
    arn = iam.create_policy(PolicyName="house-functions", PolicyDocument=written)["Policy"]["Arn"]
    iam.create_role(RoleName="house-lamps", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="house-lamps", PolicyArn=arn)
    iam.put_role_policy(RoleName="house-lamps", PolicyName="lamps", PolicyDocument=document(*GRANTED))
    stack = stacks[house]
    stack["StackId"] = f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/house/1"
    stack["StackStatus"] = "UPDATE_COMPLETE"
    stack["Template"] = TEMPLATE
    stack["Parameters"] += [
        {"ParameterKey": "LampsMode", "ParameterValue": "Enforce"},
        {"ParameterKey": "Images", "ParameterValue": ",".join(IMAGES)},
    ]
    stack["Parts"] = [
        {"LogicalResourceId": logical, "ResourceType": kind, "PhysicalResourceId": name}
        for logical, kind, name in (
            ("LampsRole", "AWS::IAM::Role", "house-lamps"),
            ("FunctionPolicy", "AWS::IAM::ManagedPolicy", arn),
            ("LampsQueue", "AWS::SQS::Queue", f"https://sqs.eu-central-1.amazonaws.com/{ACCOUNT}/house-toil-lamps"),
        )
    ]
    return SimpleNamespace(iam=iam, arn=arn, stack=stack)


@pytest.fixture
def look(paydown, house, role):
    """What the doctor finds of permissions: {subject: [(state, text, remedy)]}."""

    def run():
        found = {}
        for one in paydown("doctor", "--stack", house, "--json").data["findings"]:
            if one["about"] == "permissions":
                found.setdefault(one["subject"], []).append((one["state"], one["text"], one["remedy"]))
        return found

    return run


def test_a_role_has_what_the_template_gives_it(look):
    assert look() == {
        "LampsRole": [("fine", "it has what the template gives it", "")],
        "FunctionPolicy": [("fine", "it says what the template says", "")],
    }


def test_a_statement_that_is_missing_is_named_with_its_remedy(look, role):
    role.iam.put_role_policy(RoleName="house-lamps", PolicyName="lamps", PolicyDocument=document(*GRANTED[:2]))
    ((state, text, remedy),) = look()["LampsRole"]
    assert (state, text) == ("fault", f"its policy lamps lacks Allow ecr:BatchDeleteImage on {', '.join(IMAGES)}")
    assert "aws iam put-role-policy --role-name house-lamps --policy-name lamps" in remedy
    assert "deploying the same template again does not mend it" in remedy


def test_a_statement_that_was_changed_is_two_faults(look, role):
    changed = {**GRANTED[1], "Resource": "*"}
    statement = document(GRANTED[0], changed, GRANTED[2])
    role.iam.put_role_policy(RoleName="house-lamps", PolicyName="lamps", PolicyDocument=statement)
    lacks, beyond_it = look()["LampsRole"]
    assert lacks[:2] == ("fault", f"its policy lamps lacks Allow {GRANTED[1]['Action']} on {GRANTED[1]['Resource']}")
    assert beyond_it[1].endswith("beyond the template, Allow secretsmanager:GetSecretValue on *")


def test_the_queue_of_another_function_is_not_its_own(look, role):
    other = {**GRANTED[0], "Resource": [f"{QUEUE[:-5]}other"]}
    role.iam.put_role_policy(RoleName="house-lamps", PolicyName="lamps", PolicyDocument=document(other, *GRANTED[1:]))
    assert [state for state, *_ in look()["LampsRole"]] == ["fault", "fault"]


def test_policies_that_are_gone_detached_or_of_somebody_else(look, role):
    role.iam.detach_role_policy(RoleName="house-lamps", PolicyArn=role.arn)
    role.iam.delete_role_policy(RoleName="house-lamps", PolicyName="lamps")
    deny = document({"Effect": "Deny", "Action": "sqs:*", "Resource": "*"})
    role.iam.put_role_policy(RoleName="house-lamps", PolicyName="quarantine", PolicyDocument=deny)
    gone, foreign, detached = look()["LampsRole"]
    assert gone[:2] == ("fault", "its policy lamps is gone")
    assert foreign[:2] == ("unknown", "its policy quarantine is none of the template")
    assert detached[:2] == ("fault", f"the policy {role.arn} was detached")
    assert detached[2].startswith(f"aws iam attach-role-policy --role-name house-lamps --policy-arn {role.arn}")


def test_a_managed_policy_that_was_changed(look, role):
    other = document({"Effect": "Allow", "Action": "logs:CreateLogStream", "Resource": "*"})
    role.iam.create_policy_version(PolicyArn=role.arn, PolicyDocument=other, SetAsDefault=True)
    assert [one[:2] for one in look()["FunctionPolicy"]] == [
        ("fault", "it lacks Allow logs:PutLogEvents on *"),
        ("fault", "it has, beyond the template, Allow logs:CreateLogStream on *"),
    ]


def test_a_boundary_is_told_of(look, role):
    role.iam.put_role_permissions_boundary(RoleName="house-lamps", PermissionsBoundary=role.arn)
    ((state, text, _),) = look()["LampsRole"]
    assert (state, role.arn in text) == ("unknown", True)


def test_who_may_not_ask_is_told_so(look, role, monkeypatch):
    make = Connection._make

    class Refusing:
        def __getattr__(self, name):
            def refuse(*_, **__):
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "GetRole")

            return refuse

    monkeypatch.setattr(Connection, "_make", lambda self, name: Refusing() if name == "iam" else make(self, name))
    assert {one[0][:2] for one in look().values()} == {("unknown", "AWS refuses GetRole: AccessDenied: not you")}


def test_a_template_that_is_no_json_leaves_the_other_checks(look, role, paydown, house):
    role.stack["Template"] = "Resources: {}"
    found = paydown("doctor", "--stack", house, "--json").data["findings"]
    assert [one["state"] for one in found if one["about"] == "permissions"] == ["unknown"]
    assert any(one["about"] == "policy" for one in found)


def test_what_a_template_comes_to():
    physical = {"LampsQueue": "x/lamps", "LampsRole": "house-lamps"}
    intended = Intended(TEMPLATE, {"LampsMode": "Observe", "Images": ""}, physical, {})
    (policy,) = intended.properties("LampsRole")["Policies"]
    queue, secret = policy["PolicyDocument"]["Statement"]
    assert queue["Resource"] == f"{UNKNOWN}lamps{UNKNOWN}"
    assert secret["Resource"] == f"arn:{UNKNOWN}:secretsmanager:{UNKNOWN}:{UNKNOWN}:secret:{UNKNOWN}/rooms/*/reader-*"
    assert intended.value({"Fn::Join": ["-", ["a", {"Ref": "Nothing"}]]}) == f"a-{UNKNOWN}"
    assert intended.value({"Fn::Sub": "${!Literal} ${LampsQueue.Arn}"}) == f"${{Literal}} {UNKNOWN}lamps{UNKNOWN}"
    with pytest.raises(UnreadableError):
        intended.value({"Fn::Split": [",", "a"]})


def test_what_the_stack_has_decides_a_condition():
    parameters = {"LampsMode": "Enforce", "Images": ""}
    assert Intended(TEMPLATE, parameters, {"LampsRole": "house-lamps"}, {}).holds({"Condition": "On"})
    assert not Intended(TEMPLATE, parameters, {}, {}).holds({"Condition": "On"})


def test_what_is_unknown_does_not_reach_beyond_its_text():
    (wanted,) = statements({"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": UNKNOWN}})
    (one, two) = statements(
        {
            "Statement": [
                {"Effect": "Allow", "Action": "a:B", "Resource": "x"},
                {"Effect": "Allow", "Action": "a:B", "Resource": ["x", "y"]},
            ]
        }
    )
    assert (same(wanted, one), same(wanted, two)) == (True, False)
    assert (missing([wanted], [two]), beyond([wanted], [one, two])) == ([wanted], [two])
