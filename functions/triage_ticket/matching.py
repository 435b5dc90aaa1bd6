"""Which rule of the policy a ticket matches, and which target it names.

A ticket's text is hostile: anybody may write a ticket. So it is bounded in length, each search is bounded in time, and
what a rule takes from it as a name is a plain name or nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from paydown.policy import TicketRule
from paydown.tickets import Ticket

SEARCH_SECONDS = 0.25
TOTAL_SECONDS = 3.0
"""Both of computing time, as `regex` counts: a worker that others keep waiting is no fault of the text."""
TARGET = "target"
PLACEHOLDER = f"{{{TARGET}}}"
_NAME = regex.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Matched:
    """A ticket is about `rule.toil`, and about the target which `ref` names."""

    rule: TicketRule
    ref: str


@dataclass(frozen=True)
class NoMatch:
    """The ticket is left alone."""

    why: str


def match(ticket: Ticket, tracker: str, rules: Sequence[TicketRule]) -> Matched | NoMatch:
    """The first rule that matches. A rule that cannot be tried ends the search: a later one may be meant for others."""
    deadline = time.process_time() + TOTAL_SECONDS
    for rule in rules:
        if rule.tracker not in (None, tracker) or (rule.creators is not None and ticket.creator not in rule.creators):
            continue
        try:
            named = _search(rule, ticket, deadline)
        except TimeoutError:
            return NoMatch(f"the rule {rule.name} takes too long on this ticket's text")
        except regex.error as error:
            return NoMatch(f"the rule {rule.name} has an expression that is none: {error}")
        if named is not None:
            return _target(rule, named)
    return NoMatch("no rule matches")


def _search(rule: TicketRule, ticket: Ticket, deadline: float) -> dict[str, str] | None:
    """What the groups of the rule's expressions caught; None unless all of them are found."""
    named: dict[str, str] = {}
    for expression, text in ((rule.title, ticket.title), (rule.text, ticket.text)):
        if expression is None:
            continue
        left = min(SEARCH_SECONDS, deadline - time.process_time())
        if left <= 0:
            raise TimeoutError
        found = regex.search(expression, text, regex.IGNORECASE, timeout=left)
        if found is None:
            return None
        for name, value in found.groupdict().items():
            if value is not None:
                named.setdefault(name, value)
    return named


def _target(rule: TicketRule, named: dict[str, str]) -> Matched | NoMatch:
    if PLACEHOLDER not in rule.target:
        return Matched(rule, rule.target)
    name = named.get(TARGET)
    if name is None:
        return NoMatch(f"the rule {rule.name} matches, but the ticket names no target")
    if not _NAME.fullmatch(name):
        return NoMatch(f"the rule {rule.name} matches, but what it takes for the target's name is none")
    return Matched(rule, rule.target.replace(PLACEHOLDER, name))
