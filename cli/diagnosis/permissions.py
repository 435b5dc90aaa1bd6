"""Whether each role of the stack has the rights that the deployed template gives it, no fewer and no others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from cli.diagnosis.deployed import resources
from cli.diagnosis.examination import Check, Finding, fault, fine, unknown
from cli.diagnosis.intended import Intended, UnreadableError, beyond, missing, statements, told
from cli.session import Session

ROLE, POLICY = "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"
SHOWN = 2
"""Statements that a finding names."""
AGAIN = "deploying the same template again does not mend it"


def checks(session: Session) -> Iterator[Check]:
    """One for each role, and for each managed policy of the stack. Raises what AWS says of who may not ask."""
    parts = resources(session)
    intended = _intended(session, {logical_id: name for logical_id, _, name in parts})
    for logical_id, kind, name in parts:
        look = {ROLE: _role, POLICY: _policy}.get(kind)
        if look and logical_id in intended.template["Resources"]:
            yield Check(
                "permissions",
                logical_id,
                lambda look=look, logical_id=logical_id, name=name: look(session, intended, logical_id, name),
            )


def _intended(session: Session, physical: Mapping[str, str]) -> Intended:
    connection = session.connection
    body = connection.client("cloudformation").get_template(StackName=connection.stack_name, TemplateStage="Processed")[
        "TemplateBody"
    ]
    # boto3 gives a template in JSON as data, and any other as text; what SAM has translated is JSON.
    template = json.loads(body) if isinstance(body, str) else body
    pseudo = {"AWS::StackName": connection.stack_name}
    arn = connection.stack_id.split(":")
    if len(arn) > 4:
        suffix = "amazonaws.com.cn" if arn[1] == "aws-cn" else "amazonaws.com"
        pseudo |= {"AWS::Partition": arn[1], "AWS::Region": arn[3], "AWS::AccountId": arn[4], "AWS::URLSuffix": suffix}
    return Intended(template, connection.parameters, physical, pseudo)


def _role(session: Session, intended: Intended, logical_id: str, name: str) -> Iterable[Finding]:
    iam = session.connection.client("iam")
    wanted = _read(intended, logical_id)
    try:
        boundary = iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary")
        inline = _pages(iam, "list_role_policies", "PolicyNames", name)
        attached = {one["PolicyArn"] for one in _pages(iam, "list_attached_role_policies", "AttachedPolicies", name)}
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchEntity":
            raise
        return  # the check of its function says so
    found = []
    documents = {policy["PolicyName"]: policy["PolicyDocument"] for policy in wanted.get("Policies", [])}
    for policy, document in documents.items():
        granted = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] if policy in inline else {}
        put = f"put back what the template says (aws iam put-role-policy --role-name {name} --policy-name {policy})"
        bearable = _bearable(session, intended, logical_id, policy)
        found += _differences(logical_id, f"its policy {policy}", document, granted, f"{put}; {AGAIN}", bearable)
    for policy in sorted(set(inline) - set(documents)):
        remedy = f"aws iam delete-role-policy --role-name {name} --policy-name {policy}, if nobody needs it"
        found.append(unknown("permissions", logical_id, f"its policy {policy} is none of the template", remedy))
    arns = set(wanted.get("ManagedPolicyArns", []))
    for arn in sorted(arns - attached):
        remedy = f"aws iam attach-role-policy --role-name {name} --policy-arn {arn}; {AGAIN}"
        found.append(fault("permissions", logical_id, f"the policy {arn} was detached", remedy))
    for arn in sorted(attached - arns):
        remedy = f"aws iam detach-role-policy --role-name {name} --policy-arn {arn}, if nobody needs it"
        found.append(unknown("permissions", logical_id, f"the policy {arn} is none of the template", remedy))
    if boundary and not wanted.get("PermissionsBoundary"):
        text = f"the permissions boundary {boundary['PermissionsBoundaryArn']} may take away what the template gives"
        found.append(unknown("permissions", logical_id, text, "see that it allows what the role's policies allow"))
    yield from found or [fine("permissions", logical_id, "it has what the template gives it")]


def _policy(session: Session, intended: Intended, logical_id: str, arn: str) -> Iterable[Finding]:
    iam = session.connection.client("iam")
    document = _read(intended, logical_id)["PolicyDocument"]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    granted = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    remedy = f"set the version that the template made (aws iam list-policy-versions --policy-arn {arn}); {AGAIN}"
    found = _differences(logical_id, "it", document, granted, remedy, _bearable(session, intended, logical_id))
    yield from found or [fine("permissions", logical_id, "it says what the template says")]


def _bearable(session: Session, intended: Intended, logical_id: str, policy: str = "") -> Mapping[str, Any]:
    """What may be there beyond the template: an emulator finds a condition on an empty list to be met."""
    if not session.connection.local:
        return {}
    properties = intended.template["Resources"][logical_id]["Properties"]
    documents = {one["PolicyName"]: one["PolicyDocument"] for one in properties.get("Policies", [])}
    return intended.either_way(documents[policy] if policy else properties["PolicyDocument"])


def _differences(
    logical_id: str,
    what: str,
    document: Mapping[str, Any],
    granted: Mapping[str, Any],
    remedy: str,
    bearable: Mapping[str, Any],
) -> list[Finding]:
    if not granted:
        return [fault("permissions", logical_id, f"{what} is gone", remedy)]
    wanted, has = statements(document), statements(granted)
    lost, added = missing(wanted, has), beyond([*wanted, *statements(bearable)], has)
    found = []
    if lost:
        found.append(fault("permissions", logical_id, f"{what} lacks {_some(lost)}", remedy))
    if added:
        found.append(fault("permissions", logical_id, f"{what} has, beyond the template, {_some(added)}", remedy))
    return found


def _some(some: list[str]) -> str:
    more = f", and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    return "; ".join(map(told, some[:SHOWN])) + more


def _read(intended: Intended, logical_id: str) -> dict[str, Any]:
    try:
        return intended.properties(logical_id)
    except UnreadableError as error:
        raise ValueError(f"the template uses {error} here, which the doctor does not know") from None


def _pages(iam: Any, operation: str, field: str, role: str) -> list[Any]:
    pages = iam.get_paginator(operation).paginate(RoleName=role)
    return [one for page in pages for one in page[field]]
