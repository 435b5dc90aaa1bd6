"""Who somebody is, whether they may decide, and what a comment asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paydown.approving import (
    Caller,
    Command,
    Refused,
    arn_matches,
    asking,
    choose,
    command_in,
    expires,
    is_command,
    judge,
    named_by,
    people_of,
)
from paydown.events import TicketRef
from paydown.policy import Policy

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PRINT = "0123456789abcdef" * 4
ANN = Caller(arn="arn:aws:iam::111122223333:user/ann")
BOB = Caller(tracker="helpdesk", user="bob")
POLICY = Policy.parse(
    {
        "people": [
            {"name": "ann", "iam": ["arn:aws:iam::111122223333:user/ann"], "accounts": {"helpdesk": "ann"}},
            {"name": "bob", "iam": ["arn:aws:iam::111122223333:role/ops"], "accounts": {"helpdesk": "bob"}},
            {"name": "cy", "iam": ["arn:aws:iam::111122223333:role/ops"], "accounts": {"helpdesk": "cy"}},
            {"name": "dee", "iam": ["arn:aws:iam::111122223333:user/dee"]},
        ],
        "approvers": ["ann", "bob", "cy"],
        "toils": {"sweep": {"hold_seconds": 600}, "mow": {"approvers": ["dee"]}},
    }
)


@dataclass(frozen=True)
class Run:
    toil: str = "sweep"
    event: dict[str, Any] = field(default_factory=dict)
    status: str = "Held"
    fingerprint: str = PRINT
    hazard: str = "disruptive"
    since: datetime | None = NOW
    updated: datetime | None = None
    created: datetime = NOW - timedelta(days=1)


def code(run: Run, caller: Caller, fingerprint: str = PRINT, *, approved: bool = True, after: float = 1) -> str:
    try:
        return judge(POLICY, run, caller, Command(approved, fingerprint), NOW + timedelta(seconds=after)).name
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize(
    ("pattern", "arn"),
    [
        ("arn:aws:iam::111122223333:user/ann", "arn:aws:iam::111122223333:user/ann"),
        ("arn:aws:iam::111122223333:user/ann-*", "arn:aws:iam::111122223333:user/ann-laptop"),
        ("arn:aws:iam::111122223333:user/team/*", "arn:aws:iam::111122223333:user/team/ann"),
        ("arn:aws:iam::111122223333:role/ops", "arn:aws:sts::111122223333:assumed-role/ops/any-session"),
        ("arn:aws:iam::111122223333:role/ops-?", "arn:aws:sts::111122223333:assumed-role/ops-1/s"),
        ("arn:aws:sts::111122223333:assumed-role/ops/*", "arn:aws:sts::111122223333:assumed-role/ops/s"),
        (
            "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Ops_*/ann@example.org",
            "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Ops_0a1b/ann@example.org",
        ),
        ("arn:aws-cn:iam::111122223333:role/ops", "arn:aws-cn:sts::111122223333:assumed-role/ops/s"),
    ],
)
def test_patterns_that_mean_a_caller(pattern: str, arn: str) -> None:
    assert arn_matches(pattern, arn)


@pytest.mark.parametrize(
    ("pattern", "arn"),
    [
        ("arn:aws:iam::111122223333:user/ann", "arn:aws:iam::444455556666:user/ann"),
        ("arn:aws:iam::111122223333:user/ann", "arn:aws:iam::111122223333:user/Ann"),
        ("arn:aws:iam::111122223333:user/*", "arn:aws:iam::111122223333:user/team/ann"),
        ("arn:aws:iam::111122223333:user/*", "arn:aws:iam::111122223333:user/ann"),
        ("arn:aws:iam::111122223333:role/*", "arn:aws:sts::111122223333:assumed-role/ops/s"),
        ("arn:aws:iam::111122223333:role/ops", "arn:aws:iam::111122223333:user/ops"),
        ("arn:aws:iam::111122223333:role/path/ops", "arn:aws:sts::111122223333:assumed-role/ops/s"),
        ("arn:aws:iam::111122223333:role/ops", "arn:aws:sts::444455556666:assumed-role/ops/s"),
        ("arn:aws:iam::111122223333:role/ops", "arn:aws-cn:sts::111122223333:assumed-role/ops/s"),
        ("arn:aws:iam::111122223333:role/ann*", "arn:aws:sts::111122223333:assumed-role/ops/ann"),
        ("arn:aws:iam::111122223333:role/*ann", "arn:aws:sts::111122223333:assumed-role/ops/ann"),
        ("arn:aws:iam::111122223333:user/ann", "arn:aws:sts::111122223333:federated-user/ann"),
        ("arn:aws:sts::111122223333:federated-user/ann", "arn:aws:sts::111122223333:federated-user/ann"),
        ("arn:aws:sts::111122223333:assumed-role/*/ann", "arn:aws:sts::111122223333:assumed-role/ops/ann"),
        ("arn:aws:sts::111122223333:assumed-role/ops/ann", "arn:aws:sts::111122223333:assumed-role/ops/ann"),
        ("arn:aws:sts::111122223333:assumed-role/*ann", "arn:aws:sts::111122223333:assumed-role/ops/ann"),
        ("arn:aws:sts::111122223333:assumed-role/ops*", "arn:aws:sts::111122223333:assumed-role/ops/s"),
        (
            "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_*/ann",
            "arn:aws:sts::111122223333:assumed-role/AWSReserved/ann",
        ),
        (
            "arn:aws:sts::111122223333:assumed-role/*/ann",
            "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Ops_1/ann",
        ),
        ("arn:aws:iam::111122223333:user/[a-z]nn", "arn:aws:iam::111122223333:user/ann"),
        ("arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/ann"),
        ("arn:aws:iam::111122223333:user/ann", ""),
        ("arn:aws:iam::111122223333:user/ann", "arn:aws:iam::1"),
    ],
)
def test_patterns_that_do_not_mean_a_caller(pattern: str, arn: str) -> None:
    """Above all: the name of a session is chosen by whoever opens it, and passes for nobody's."""
    assert not arn_matches(pattern, arn)


def test_people_are_found_by_account_and_by_role() -> None:
    assert [one.name for one in people_of(POLICY, BOB)] == ["bob"]
    assert [one.name for one in people_of(POLICY, Caller(arn="arn:aws:sts::111122223333:assumed-role/ops/x"))] == [
        "bob",
        "cy",
    ]
    for nobody in (Caller(), Caller(tracker="helpdesk", user=""), Caller(tracker="other", user="bob")):
        assert people_of(POLICY, nobody) == ()


def test_proofs() -> None:
    assert ANN.proof == "iam:arn:aws:iam::111122223333:user/ann"
    assert BOB.proof == "ticket:helpdesk/bob"


def test_an_approver_decides() -> None:
    assert code(Run(), ANN) == "ann"
    assert code(Run(), BOB, PRINT[:12].upper()) == "bob"
    assert code(Run(toil="mow"), Caller(arn="arn:aws:iam::111122223333:user/dee")) == "dee"


@pytest.mark.parametrize(
    ("caller", "run"),
    [
        (Caller(arn="arn:aws:iam::111122223333:user/dee"), Run()),
        (Caller(arn="arn:aws:iam::111122223333:user/eve"), Run()),
        (ANN, Run(toil="mow")),
        (Caller(), Run()),
        # Who may not decide learns nothing else.
        (Caller(arn="arn:aws:iam::111122223333:user/eve"), Run(status="Verified", fingerprint="")),
    ],
)
def test_others_do_not(caller: Caller, run: Run) -> None:
    assert code(run, caller) == "not_an_approver"


def test_no_approvers_means_nobody() -> None:
    nobody = POLICY.model_copy(update={"approvers": ()})
    with pytest.raises(Refused) as caught:
        judge(nobody, Run(), ANN, Command(True, PRINT), NOW)
    assert caught.value.code == "not_an_approver"


def test_only_what_is_held_and_as_it_is_held() -> None:
    assert code(Run(status="Applying"), ANN) == "not_held"
    assert code(Run(), ANN, "f" * 64) == "wrong_fingerprint"
    assert code(Run(), ANN, PRINT[:11]) == "wrong_fingerprint"
    assert code(Run(), ANN, "") == "wrong_fingerprint"
    assert code(Run(fingerprint=""), ANN, PRINT) == "wrong_fingerprint"


def test_a_hold_expires() -> None:
    assert expires(POLICY, Run()) == NOW + timedelta(seconds=600)
    assert code(Run(), ANN, after=599) == "ann"
    assert code(Run(), ANN, after=600) == "expired"
    assert code(Run(since=None, updated=None), ANN) == "expired"


TICKET = {"tracker": "helpdesk", "id": "7"}


@pytest.mark.parametrize(
    ("event", "caller"),
    [
        ({"ticket": TICKET, "creator": "ann"}, ANN),  # asked by ticket, approves by IAM
        ({"ticket": TICKET, "creator": "ANN"}, ANN),  # some systems do not distinguish case
        ({"ticket": TICKET, "creator": "eve", "actor": "ann"}, ANN),  # moved somebody else's ticket
        ({"ticket": TICKET, "creator": "bob"}, BOB),
        (
            {"ticket": TICKET, "creator": "bob"},
            Caller(arn="arn:aws:sts::111122223333:assumed-role/ops/x"),
        ),  # a shared role
        ({"by": "arn:aws:iam::111122223333:user/ann"}, ANN),
        ({"by": "iam:arn:aws:iam::111122223333:user/ann"}, Caller(tracker="helpdesk", user="ann")),
        ({"by": "ann"}, ANN),
        ({"by": "ticket:helpdesk/ann"}, ANN),
    ],
)
def test_who_asked_for_a_destructive_plan_cannot_approve_it(event: dict[str, Any], caller: Caller) -> None:
    assert code(Run(event=event, hazard="destructive"), caller) == "requester"
    assert code(Run(event=event, hazard="destructive"), caller, approved=False) in ("ann", "bob")
    assert code(Run(event=event, hazard="disruptive"), caller) in ("ann", "bob")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"ticket": TICKET, "creator": "bob"},
        {"ticket": TICKET, "creator": "eve", "queue": "automation", "actor": "bob"},
        {"ticket": TICKET, "queue": "automation", "by": "arn:aws:iam::111122223333:user/bob"},
        {"ticket": TICKET, "creator": "nobody-we-know"},
        {"ticket": {"tracker": "other", "id": "7"}, "creator": "ann"},
        {"by": "arn:aws:iam::111122223333:user/bob"},
        {"by": "paydown"},
        {"ticket": None, "creator": 7, "by": ["ann"]},
    ],
)
def test_somebody_else_approves_a_destructive_plan(event: dict[str, Any]) -> None:
    assert code(Run(event=event, hazard="destructive"), ANN) == "ann"


@pytest.mark.parametrize(
    "event",
    [
        {"ticket": TICKET},
        {"ticket": TICKET, "creator": "", "actor": None},
        # Found in the queue by a reconcile: its author is known, who put it there is not.
        {"ticket": TICKET, "creator": "bob", "queue": "automation"},
        {"ticket": TICKET, "creator": "bob", "queue": "automation", "actor": ""},
        {"ticket": "?", "creator": 7, "by": ["ann"]},
    ],
)
def test_when_nobody_knows_who_asked_nobody_approves_a_destructive_plan(event: dict[str, Any]) -> None:
    assert code(Run(event=event, hazard="destructive"), ANN) == "requester_unknown"
    assert code(Run(event=event, hazard="destructive"), ANN, approved=False) == "ann"
    assert code(Run(event=event), ANN) == "ann"


def joined_code(caller: Caller, *joined: dict[str, Any], hazard: str = "destructive") -> str:
    try:
        return judge(POLICY, Run(hazard=hazard), caller, Command(True, PRINT), NOW, joined).name
    except Refused as refused:
        return refused.code


def test_who_asked_by_an_event_that_joined_asked_too() -> None:
    tickets = {"ticket": TICKET, "creator": "bob"}, {"ticket": TICKET, "creator": "ann"}
    assert joined_code(ANN, *tickets) == "requester"
    assert joined_code(ANN, *tickets, hazard="disruptive") == "ann"
    assert joined_code(ANN, tickets[0]) == "ann"
    assert joined_code(ANN, tickets[0], {"ticket": TICKET}) == "requester_unknown"


def test_of_an_event_only_what_says_who_asked_is_kept() -> None:
    assert asking({"key": "k", "rule": "daily", "by": None}) == {}
    event = {"key": "k", "ticket": TICKET, "title": "secret", "queue": None, "creator": "bob", "actor": "eve"}
    assert asking(event) == {"ticket": TICKET, "creator": "bob", "actor": "eve"}


def test_unmapped_accounts_are_compared_as_they_are() -> None:
    """The account of who asked is known to no person; the caller's is the same account."""
    policy = Policy.parse(
        {
            "people": [{"name": "ann", "accounts": {"other": "ann"}, "iam": ["arn:aws:iam::111122223333:user/ann"]}],
            "approvers": ["ann"],
        }
    )
    run = Run(event={"ticket": {"tracker": "other", "id": "7"}, "creator": "Ann"}, hazard="destructive")
    with pytest.raises(Refused):
        judge(policy, run, Caller(tracker="other", user="ann"), Command(True, PRINT), NOW)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (f"/approve {PRINT}", Command(True, PRINT)),
        (f"Looks right.\r\n/approve {PRINT[:12].upper()}\r\nThanks", Command(True, PRINT[:12])),
        (f"/reject\t{PRINT[:20]} not on a Friday", Command(False, PRINT[:20], "not on a Friday")),
        (f"/reject {PRINT} " + "x" * 5_000, Command(False, PRINT, "x" * 2_000)),
    ],
)
def test_commands(text: str, command: Command) -> None:
    assert is_command(text)
    assert command_in(text) == command


@pytest.mark.parametrize(
    "text", ["/approve", "/approve 0123", "/reject because", f"/approve {PRINT}0", f"/approve {PRINT}\n/reject {PRINT}"]
)
def test_what_looks_like_a_command_and_is_none_is_answered(text: str) -> None:
    assert is_command(text)
    with pytest.raises(Refused) as caught:
        command_in(text)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    "text", ["", "hello", f" /approve {PRINT}", f"> /approve {PRINT}", f"/approved {PRINT}", f"x /reject {PRINT}"]
)
def test_what_is_no_command(text: str) -> None:
    assert not is_command(text)


def test_fingerprints() -> None:
    assert named_by(PRINT, PRINT)
    assert named_by(PRINT, PRINT[:12])
    for given in ("", "0123", PRINT[:11], PRINT + "0", "é" * 12, "0123456789aX", f"{PRINT[:12]}\n"):
        assert not named_by(PRINT, given)


def test_the_run_of_the_ticket_is_meant_or_the_only_one() -> None:
    here, there = TicketRef(tracker="t", id="1"), TicketRef(tracker="t", id="2")
    assert choose([("a", here), ("b", there)], here) == "a"
    assert choose([("b", None)], here) == "b"
    for candidates, wanted in (
        ([], "not_held"),
        ([("a", here), ("b", here)], "ambiguous"),
        ([("a", there), ("b", None)], "ambiguous"),
    ):
        with pytest.raises(Refused) as caught:
            choose(candidates, here)
        assert caught.value.code == wanted
