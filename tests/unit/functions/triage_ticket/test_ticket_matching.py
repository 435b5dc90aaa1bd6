"""Which rule a ticket matches, also when its text is meant to do harm."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest

from functions.triage_ticket import matching
from functions.triage_ticket.matching import Matched, NoMatch, match
from paydown.policy import TicketRule
from paydown.tickets import Ticket

DISK = {
    "name": "disk_full",
    "toil": "clean_dangling_images",
    "target": "host/{target}",
    "title": r"disk (?:is )?full on (?P<target>\S+)",
}
NODE = {
    "name": "node_down",
    "toil": "recover_node",
    "target": "node/prod/{target}",
    "title": r"node (?P<target>\S+) notready",
}


def rule(base: dict[str, Any] = DISK, **changes: Any) -> TicketRule:
    return TicketRule.model_validate({**base, **changes})


def ticket(title: str = "Disk full on build-1", text: str = "", creator: str = "operator") -> Ticket:
    return Ticket("1", title, text, "unread", False, (), creator)


def found(ticket: Ticket, *rules: TicketRule, tracker: str = "helpdesk") -> str:
    """The rule's name and the target's ref, or why there is none."""
    result = match(ticket, tracker, rules)
    return f"{result.rule.name} {result.ref}" if isinstance(result, Matched) else result.why


def test_the_first_rule_that_matches_counts() -> None:
    first, second = rule(), rule(name="later", target="host/other")
    assert found(ticket(), first, second) == "disk_full host/build-1"
    assert found(ticket(), second, first) == "later host/other"
    assert found(ticket("NODE worker-1 NotReady"), first, rule(NODE)) == "node_down node/prod/worker-1"


def test_no_rule_no_match() -> None:
    assert found(ticket()) == "no rule matches"
    assert found(ticket("Coffee machine broken"), rule(), rule(NODE)) == "no rule matches"


def test_case_does_not_count() -> None:
    assert found(ticket("DISK IS FULL ON Build-1"), rule()) == "disk_full host/Build-1"


def test_all_of_a_rules_expressions_must_be_found() -> None:
    both = rule(text=r"/var/lib/docker")
    assert found(ticket(text="it is /var/lib/docker"), both) == "disk_full host/build-1"
    assert found(ticket(text="it is /home"), both) == "no rule matches"


def test_the_text_may_name_the_target() -> None:
    by_text = rule(title="disk full", text=r"^host: (?P<target>\S+)$")
    assert found(ticket("Disk full", "host: build-7"), by_text) == "disk_full host/build-7"


@pytest.mark.parametrize(
    ("changes", "tracker", "creator", "matches"),
    [
        ({"tracker": "helpdesk"}, "helpdesk", "x", True),
        ({"tracker": "helpdesk"}, "other", "x", False),
        ({"creators": ("monitoring", "ops")}, "helpdesk", "ops", True),
        ({"creators": ("monitoring",)}, "helpdesk", "mallory", False),
        ({"creators": ()}, "helpdesk", "ops", False),
    ],
)
def test_trackers_and_creators(changes: dict[str, Any], tracker: str, creator: str, matches: bool) -> None:
    assert (found(ticket(creator=creator), rule(**changes), tracker=tracker) != "no rule matches") is matches


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "a/b",
        "a;reboot",
        "$(reboot)",
        "a`b`",
        "{target}",
        "a\u202eb",
        "-rf",
        ".",
        "x" * 300,
        "büro",
        "a%2fb",
    ],
)
def test_what_is_no_plain_name_is_no_target(name: str) -> None:
    assert "is none" in found(ticket(f"Disk full on {name}"), rule())


@pytest.mark.parametrize(
    "name", ["build-1", "i-0abc", "10.0.0.7", "ip-10-0-0-1.eu-central-1.compute.internal", "a:2376", "X"]
)
def test_plain_names(name: str) -> None:
    assert found(ticket(f"Disk full on {name}"), rule()) == f"disk_full host/{name}"


def test_a_rule_that_catches_no_target_leaves_the_ticket_alone() -> None:
    assert "names no target" in found(ticket(), rule(title="disk full"))
    assert "names no target" in found(ticket("disk full"), rule(title=r"disk full(?: on (?P<target>\S+))?"))


def test_a_target_may_be_constant() -> None:
    assert found(ticket(), rule(title="disk full", target="host/build-1")) == "disk_full host/build-1"


@pytest.mark.parametrize("expression", [r"(\w+\s?)*full$", r"^(a|aa)+$", r"(?:a+)+b", r"(.*a){25}x"])
def test_a_text_that_makes_an_expression_explode_ends_the_search_soon(expression: str) -> None:
    hostile = ticket(text=("full " if "full" in expression else "") + "a" * 20_000 + "!")
    began = time.process_time()  # the search's limit is one of computing time, too
    # The rule after it must not get a ticket that may have been meant for this one.
    result = match(hostile, "helpdesk", [rule(title=None, text=expression), rule()])
    assert time.process_time() - began < 1.5
    assert isinstance(result, NoMatch)
    assert "takes too long" in result.why


def test_many_slow_rules_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "TOTAL_SECONDS", 0.0)
    assert "takes too long" in found(ticket(), rule())


def test_a_worker_that_is_kept_waiting_is_no_fault_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = itertools.count(step=3_600)
    monkeypatch.setattr(
        matching, "time", SimpleNamespace(monotonic=lambda: next(hours), process_time=time.process_time)
    )
    assert isinstance(match(ticket(), "helpdesk", [rule()]), Matched)


def test_an_expression_that_only_the_validator_understands_is_told() -> None:
    assert "has an expression that is none" in found(ticket(), rule().model_copy(update={"title": "("}))
