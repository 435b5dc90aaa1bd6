"""What only this side can check of a policy: the settings of the toil types installed here, and its ticket rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from cli.toils import NotInstalledError, deployed_modes, is_installed, toil_type
from paydown.errors import InvalidDocument
from paydown.events import Sweep
from paydown.policy import Mode, Policy, TicketRule
from paydown.sources import BUS_SOURCES, SCHEDULE, SENDERS

Fault = tuple[str, str]


def check_settings(policy: Policy) -> list[str]:
    """Check each toil type's `settings` against its own model; returns warnings. Raises InvalidDocument."""
    faults: list[Fault] = []
    warnings = []
    for name, toil in policy.toils.items():
        try:
            model = toil_type(name).Settings
        except NotInstalledError as error:
            warnings.append(f"toils.{name}.settings: not checked: {error}")
            continue
        try:
            model.model_validate(toil.settings)
        except ValidationError as error:
            for fault in error.errors(include_input=False):
                path = ".".join(map(str, ("toils", name, "settings", *fault["loc"])))
                faults.append((path, fault["msg"]))
    if faults:
        raise InvalidDocument("policy", faults)
    return warnings


def known_sources(policy: Policy) -> tuple[str, ...]:
    """Who may be heard of: the senders of webhooks, AWS's services, and the schedules of the policy's toil types."""
    scheduled = [f"{SCHEDULE}{name}" for name in sorted(policy.toils) if _may_sweep(name)]
    return (*SENDERS, *sorted(BUS_SOURCES.values()), *scheduled)


def _may_sweep(toil: str) -> bool:
    try:
        return Sweep in toil_type(toil).listens_to
    except NotInstalledError:
        return True  # it is another stack's, or another version's: nobody here knows


def check_sources(policy: Policy) -> list[str]:
    """Warnings about senders that the policy expects to hear of, and that do not exist."""
    known = known_sources(policy)
    return [
        f"sources.{name}: nobody is called so, and it will be silent for ever: {', '.join(known)}"
        for name in sorted(set(policy.sources) - set(known))
    ]


def check_listeners(policy: Policy, parameters: Mapping[str, str] | None) -> list[Fault]:
    """What keeps people from being told, though toil types may act or hold plans: (what is wrong, the remedy).

    `parameters`: those of the stack; None if they are not known. Of what only tickets ask for, those tickets tell.
    """
    deployed = deployed_modes(dict(parameters or {}))
    acting = [toil for name, toil in policy.toils.items() if deployed.get(name, "Enforce") == "Enforce"]
    modes = {mode for toil in acting for mode in (toil.mode, *(one.mode for one in toil.overrides))}
    if not modes & {Mode.APPROVE, Mode.ENFORCE}:
        return []
    lost = "what is held, fails, escalates or was put off too long reaches nobody"
    said = policy.notifications
    found = []
    if parameters is not None and parameters.get("ReportOutcomeMode") != "Enforce":
        mode = parameters.get("ReportOutcomeMode") or "not there"
        remedy = "deploy with ReportOutcomeMode=Enforce (samconfig.toml; docs/outcomes.md)"
        found.append((f"it enforces, but tells nobody: ReportOutcomeMode is {mode}, and {lost}", remedy))
    topic = (parameters or {}).get("NotificationTopicArn")
    if not (said.tracker or said.webhooks or topic):
        topics = (
            "and so is the stack's NotificationTopicArn" if parameters is not None else "unless the stack has a topic"
        )
        where = f"notifications.tracker and notifications.webhooks are empty, {topics}"
        remedy = "name a tracker under `notifications` in the policy, a webhook, or an SNS topic (docs/outcomes.md)"
        found.append((f"it enforces, but tells nobody: {where}: {lost}", remedy))
    return found


def check_rules(policy: Policy) -> list[str]:
    """Warnings about ticket rules that can never do what they say."""
    return [
        f"tickets.rules.{index} ({rule.name}): {text}"
        for index, rule in enumerate(policy.tickets.rules)
        for text in _rule(rule, policy)
    ]


def _rule(rule: TicketRule, policy: Policy) -> Iterator[str]:
    import regex

    if rule.toil not in policy.toils:
        known = "is installed here, but" if is_installed(rule.toil) else "is not installed here, and"
        yield f"the toil type {rule.toil} {known} the policy does not name it"
    groups: set[str] = set()
    for field, expression in (("title", rule.title), ("text", rule.text)):
        if expression is None:
            continue
        try:
            groups |= set(regex.compile(expression, regex.IGNORECASE).groupindex)
        except regex.error as error:
            yield f"{field} is no expression for the matcher: {error}"
    if "{target}" in rule.target and "target" not in groups:
        yield f"the target {rule.target} needs a group (?P<target>…) in its title or text"
    if rule.title is None and rule.text is None:
        yield "it has neither a title nor a text, and matches every ticket"
