"""What is deployed: the stack, its functions with their roles and triggers, its queues, rules and alarms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.diagnosis.examination import Check, Finding, fault, fine, unknown
from cli.session import Session

DEPLOY = "deploy the stack again: make deploy"
ALARMS = {
    "DeadLettersAlarm": "paydown dead-letters list",
    "RuleDeadLettersAlarm": "paydown dead-letters list",
    "OverdueAlarm": "the overdue runs below, if there are any; else the log of the function Wake, which may not run",
    "SilentSourceAlarm": "the sources below, if one is silent; else the log of WatchSources, which may not run",
}
ABOUT = {
    "AWS::Lambda::Function": "function",
    "AWS::Lambda::EventSourceMapping": "trigger",
    "AWS::SQS::Queue": "queue",
    "AWS::Events::Rule": "rule",
}
"""The parts that are looked at one by one, as findings call them."""
_MISSING = {"ResourceNotFoundException", "NoSuchEntity", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


def checks(session: Session) -> Iterator[Check]:
    """One for the stack, and one for each of its parts that can break by itself."""
    yield Check("stack", session.connection.stack_name, lambda: _stack(session))
    parts = resources(session)
    for logical_id, kind, name in parts:
        look = {
            "AWS::Lambda::Function": _function,
            "AWS::Lambda::EventSourceMapping": _trigger,
            "AWS::SQS::Queue": _queue,
            "AWS::Events::Rule": _rule,
        }.get(kind)
        if look:
            yield Check(
                ABOUT[kind],
                logical_id,
                lambda look=look, logical_id=logical_id, name=name: look(session, logical_id, name),
            )
    alarms = {name: logical_id for logical_id, kind, name in parts if kind == "AWS::CloudWatch::Alarm"}
    if alarms:
        yield Check("alarm", "all", lambda: _alarms(session, alarms))


def resources(session: Session) -> list[tuple[str, str, str]]:
    """Logical id, type and physical id of each part of the stack."""
    pages = session.connection.client("cloudformation").get_paginator("list_stack_resources")
    return [
        (entry["LogicalResourceId"], entry["ResourceType"], entry["PhysicalResourceId"])
        for page in pages.paginate(StackName=session.connection.stack_name)
        for entry in page["StackResourceSummaries"]
        if "PhysicalResourceId" in entry
    ]


def _stack(session: Session) -> Iterable[Finding]:
    status = session.connection.status
    name = session.connection.stack_name
    if status.endswith("_COMPLETE") and "ROLLBACK" not in status:
        yield fine("stack", name, status)
    elif status.endswith("IN_PROGRESS"):
        yield unknown("stack", name, f"{status}: it is being changed at this moment", "look again when that has ended")
    else:
        yield fault(
            "stack", name, status, f"aws cloudformation describe-stack-events --stack-name {name}; then {DEPLOY}"
        )


def _function(session: Session, logical_id: str, name: str) -> Iterable[Finding]:
    functions = session.connection.client("lambda")
    try:
        settings = functions.get_function_configuration(FunctionName=name)
    except ClientError as error:
        yield _gone("function", logical_id, error)
        return
    yield from _state(logical_id, settings)
    yield from _role(session, logical_id, str(settings["Role"]))


def _state(logical_id: str, settings: dict[str, Any]) -> Iterable[Finding]:
    state, update = settings.get("State", "Active"), settings.get("LastUpdateStatus", "Successful")
    if state in ("Active", "Inactive", "Pending") and update != "Failed":
        yield fine("function", logical_id, f"{state}, the last update {update}")
        return
    why = settings.get("StateReason") or settings.get("LastUpdateStatusReason") or "no reason is given"
    yield fault("function", logical_id, f"{state}, the last update {update}: {why}", DEPLOY)


def _role(session: Session, logical_id: str, arn: str) -> Iterable[Finding]:
    try:
        session.connection.client("iam").get_role(RoleName=arn.rsplit("/", 1)[-1])
    except ClientError as error:
        yield _gone("role", logical_id, error)
    else:
        yield fine("role", logical_id, arn)


def _trigger(session: Session, logical_id: str, uuid: str) -> Iterable[Finding]:
    try:
        mapping = session.connection.client("lambda").get_event_source_mapping(UUID=uuid)
    except ClientError as error:
        yield _gone("trigger", logical_id, error)
        return
    state, result = mapping.get("State", "Enabled"), str(mapping.get("LastProcessingResult") or "")
    source = str(mapping.get("EventSourceArn", "")).rsplit(":", 1)[-1]
    if state in ("Disabled", "Disabling"):
        remedy = f"aws lambda update-event-source-mapping --uuid {uuid} --enabled"
        yield fault("trigger", logical_id, f"{source} is {state}: nothing reaches the function", remedy)
    elif result.startswith("PROBLEM"):
        yield fault("trigger", logical_id, f"{source}: {result}", "the function's role, and the log of the function")
    else:
        yield fine("trigger", logical_id, f"{source} is {state}")


def _queue(session: Session, logical_id: str, url: str) -> Iterable[Finding]:
    try:
        answer = session.connection.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
    except ClientError as error:
        yield _gone("queue", logical_id, error)
    else:
        yield fine("queue", logical_id, f"{answer['Attributes']['ApproximateNumberOfMessages']} message(s)")


def _rule(session: Session, logical_id: str, name: str) -> Iterable[Finding]:
    try:
        state = session.connection.client("events").describe_rule(Name=name)["State"]
    except ClientError as error:
        yield _gone("rule", logical_id, error)
        return
    if state == "DISABLED":
        yield fault(
            "rule", logical_id, "it is disabled: its events reach nobody", f"aws events enable-rule --name {name}"
        )
    else:
        yield fine("rule", logical_id, state)


def _alarms(session: Session, names: dict[str, str]) -> Iterable[Finding]:
    pages = session.connection.client("cloudwatch").get_paginator("describe_alarms")
    seen = set()
    for page in pages.paginate(AlarmNames=sorted(names)[:100]):
        for alarm in page["MetricAlarms"]:
            logical_id, state = names[alarm["AlarmName"]], alarm["StateValue"]
            seen.add(alarm["AlarmName"])
            if state == "ALARM":
                remedy = ALARMS.get(logical_id, "its description says what it watches")
                yield fault("alarm", logical_id, alarm.get("AlarmDescription") or "it went off", remedy)
            elif not alarm.get("ActionsEnabled", True):
                remedy = f"aws cloudwatch enable-alarm-actions --alarm-names {alarm['AlarmName']}"
                yield fault("alarm", logical_id, "its actions are disabled: it tells nobody", remedy)
            else:
                yield fine("alarm", logical_id, state)
    for name in sorted(set(names) - seen):
        yield fault("alarm", names[name], "it is gone", DEPLOY)


def _gone(about: str, logical_id: str, error: ClientError) -> Finding:
    """That a part of the stack is missing. Raises the error again if it means something else."""
    if error.response.get("Error", {}).get("Code") not in _MISSING:
        raise error
    return fault(about, logical_id, f"its {about} is gone", DEPLOY)
