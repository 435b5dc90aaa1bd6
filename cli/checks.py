"""What only this side can check of a policy: the settings of the toil types installed here, and its ticket rules."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from cli.toils import NotInstalledError, is_installed, toil_type
from paydown.errors import InvalidDocument
from paydown.policy import Policy, TicketRule
from paydown.sources import SENDERS

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


def check_sources(policy: Policy) -> list[str]:
    """Warnings about senders that the policy expects to hear of, and that do not exist."""
    return [
        f"sources.{name}: no sender of webhooks is called so, and it will be silent for ever: {', '.join(SENDERS)}"
        for name in sorted(set(policy.sources) - set(SENDERS))
    ]


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
