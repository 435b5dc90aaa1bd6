"""Who may decide on a held plan: pure rules over the policy, the run and the person that somebody vouches for.

AWS vouches for the caller of the API (an ARN), a ticket system for the author of a comment (tracker and user). The
policy's `people` say who that is, `approvers` who may decide. An ARN is compared part by part: a wildcard reaches no
further than to the next colon or slash, and the name of a session, which its user chooses, never stands for a person.
IAM Identity Center names the sessions of its own roles itself, so that for `AWSReservedSSO_…` it does.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

from paydown.errors import PaydownError
from paydown.events import TicketRef
from paydown.limits import Person
from paydown.plan import Hazard
from paydown.policy import Policy

SHORTEST = 12
"""Hexadecimal digits of a fingerprint that name a plan."""
SSO_ROLE = "AWSReservedSSO_"
HELD = "Held"
SKEW = timedelta(seconds=120)
"""How far the clock of a ticket system may be behind ours."""
WHY_LIMIT = 2_000

Code = Literal[
    "not_an_approver",
    "requester",
    "requester_unknown",
    "not_held",
    "wrong_fingerprint",
    "decided_already",
    "expired",
    "ambiguous",
    "no_such_run",
    "edited",
    "older_than_plan",
    "malformed",
]
"""Why a decision is refused; each is stable, and told in docs/approvals.md."""

_FINGERPRINT = re.compile(rf"[0-9a-f]{{{SHORTEST},64}}", re.IGNORECASE | re.ASCII)
_COMMAND = re.compile(r"^/(approve|reject)(?![^\s])[ \t]*(.*)$", re.MULTILINE)


class Refused(PaydownError):
    """A decision that does not count. The text is for the person who tried."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True)
class Caller:
    """Somebody that a system vouches for: AWS with an ARN, or a ticket system with the user's name in a tracker."""

    arn: str = ""
    tracker: str = ""
    user: str = ""

    @property
    def proof(self) -> str:
        """How the ledger names them: `iam:<arn>` or `ticket:<tracker>/<user>`."""
        return f"iam:{self.arn}" if self.arn else f"ticket:{self.tracker}/{self.user}"


@dataclass(frozen=True)
class Command:
    """What a line of a comment asks for. `fingerprint` is in lower case, and may be its beginning only."""

    approved: bool
    fingerprint: str
    why: str = ""


class Held(Protocol):
    """What the rules must know of a run; a ledger's run has it."""

    @property
    def toil(self) -> str:
        """Its toil type."""

    @property
    def event(self) -> Mapping[str, Any]:
        """The event that caused it, as plain data."""

    @property
    def status(self) -> str:
        """Where it stands."""

    @property
    def fingerprint(self) -> str:
        """Of its present plan."""

    @property
    def hazard(self) -> str:
        """The worst of its present plan."""

    @property
    def since(self) -> datetime | None:
        """Since when it is held."""

    @property
    def updated(self) -> datetime | None:
        """When it changed last."""

    @property
    def created(self) -> datetime:
        """When it began."""


# -- who --------------------------------------------------------------------------------------------------------------


def people_of(policy: Policy, caller: Caller) -> tuple[Person, ...]:
    """Who of the policy's people this is: several, if they share a role."""
    return tuple(person for person in policy.people if _is(person, caller))


def _is(person: Person, caller: Caller) -> bool:
    if caller.arn:
        return any(arn_matches(pattern, caller.arn) for pattern in person.iam)
    return bool(caller.user) and person.accounts.get(caller.tracker) == caller.user


def arn_matches(pattern: str, arn: str) -> bool:
    """Whether the caller with this ARN is meant by a pattern of the policy.

    `arn:aws:iam::1:role/NAME` means whoever assumed that role; so does `arn:aws:sts::1:assumed-role/NAME/*`. A
    federated user is nobody, since its name is chosen by whoever asks for its session; neither is the root user.
    """
    wanted, given = pattern.split(":", 5), arn.split(":", 5)
    if len(wanted) < 6 or len(given) < 6:
        return False
    service, kind = given[2], given[5].partition("/")[0]
    head, resource = [*wanted[:3], wanted[4]], wanted[5].split("/")
    if [*given[:2], given[4]] != [*head[:2], head[3]] or ":" in given[5]:
        return False
    match service, kind:
        case "iam", "user":
            return head[2] == "iam" and _parts_match(resource, given[5].split("/"))
        case "sts", "assumed-role":
            return _role_matches(head[2], resource, given[5].split("/"))
    return False


def _role_matches(service: str, wanted: Sequence[str], given: Sequence[str]) -> bool:
    if len(given) != 3:
        return False
    _, role, session = given
    if service == "iam":
        return _parts_match(wanted, ["role", role])
    if service != "sts" or len(wanted) != 3 or not _parts_match(wanted[:2], ["assumed-role", role]):
        return False
    named_by_aws = wanted[1].startswith(SSO_ROLE)
    return wanted[2] == "*" or (named_by_aws and _part_matches(wanted[2], session))


def _parts_match(wanted: Sequence[str], given: Sequence[str]) -> bool:
    """Part by part; something beyond the kind must be named, or it would be everybody."""
    if len(wanted) != len(given) or wanted[0] != given[0]:
        return False
    if not any(part.strip("*?") for part in wanted[1:]):
        return False
    return all(map(_part_matches, wanted, given))


def _part_matches(wanted: str, given: str) -> bool:
    return fnmatchcase(given, wanted.replace("[", "[[]"))


# -- who asked --------------------------------------------------------------------------------------------------------


def requesters(event: Mapping[str, Any]) -> tuple[Caller | str, ...]:
    """Who asked for what this event causes: accounts of a ticket system, a caller's ARN, or a name as it was given."""
    asked: list[Caller | str] = []
    ticket = event.get("ticket")
    if isinstance(ticket, Mapping):
        users = [user for name in ("creator", "actor") if isinstance(user := event.get(name), str) and user]
        asked += [Caller(tracker=str(ticket.get("tracker", "")), user=user) for user in users]
    if isinstance(by := event.get("by"), str) and by:
        asked.append(_recorded(by))
    return tuple(asked)


def asking(event: Mapping[str, Any]) -> dict[str, Any]:
    """Of an event, what says who asked; empty for one that nobody asked for."""
    return {name: event[name] for name in ("ticket", "queue", "creator", "actor", "by") if event.get(name)}


def nobody_known(event: Mapping[str, Any]) -> bool:
    """Whether somebody asked for it, and nobody knows who: a ticket that was moved to a queue by whomever.

    Who opened a ticket asks for what follows from that; who moves it to the automation queue asks for that. A webhook
    tells who did; a ticket that a reconcile found in the queue does not.
    """
    if not event.get("ticket") or (isinstance(event.get("by"), str) and event["by"]):
        return False
    names = ("actor",) if event.get("queue") else ("actor", "creator")
    return not any(isinstance(user := event.get(name), str) and user for name in names)


def _recorded(by: str) -> Caller | str:
    """A person as the ledger or the command wrote it down."""
    if by.startswith(("arn:", "iam:arn:")):
        return Caller(arn=by.removeprefix("iam:"))
    if by.startswith("ticket:"):
        tracker, _, user = by.removeprefix("ticket:").rpartition("/")
        return Caller(tracker=tracker, user=user)
    return by


def asked_for_it(policy: Policy, caller: Caller, people: Sequence[Person], event: Mapping[str, Any]) -> bool:
    """Whether the caller, who is one of `people`, is who asked.

    When in doubt they are: names of accounts are compared without regard to case, and one of several people who share
    a role stands for all of them.
    """
    names = {person.name.casefold() for person in people}
    for asked in requesters(event):
        if isinstance(asked, str):
            same = asked.casefold() in {*names, caller.arn.casefold(), caller.user.casefold()}
        elif _same_account(asked, caller):
            same = True
        else:
            same = bool(names & {person.name.casefold() for person in policy.people if _may_be(person, asked)})
        if same:
            return True
    return False


def _may_be(person: Person, caller: Caller) -> bool:
    if _is(person, caller):
        return True
    return not caller.arn and person.accounts.get(caller.tracker, "").casefold() == caller.user.casefold() != ""


def _same_account(one: Caller, other: Caller) -> bool:
    return (one.arn, one.tracker, one.user.casefold()) == (other.arn, other.tracker, other.user.casefold())


# -- the decision -----------------------------------------------------------------------------------------------------


def judge(
    policy: Policy,
    run: Held,
    caller: Caller,
    command: Command,
    now: datetime,
    joined: Sequence[Mapping[str, Any]] = (),
) -> Person:
    """The person who may decide so. Raises Refused; who is no approver learns nothing else of the run.

    Whoever asked for a destructive plan may reject it, as every approver may. `joined`: the events that joined the run,
    or what says who asked for them (`asking`).
    """
    people = people_of(policy, caller)
    approvers = [person for person in people if person in policy.approvers_of(run.toil)]
    if not approvers:
        raise Refused("not_an_approver", f"the policy does not let {caller.proof} decide on plans of {run.toil}")
    if str(run.status) != HELD:
        raise Refused("not_held", f"the run is not held: it is {run.status}")
    if now >= expires(policy, run):
        raise Refused("expired", f"nobody decided until {expires(policy, run):%Y-%m-%d %H:%M:%S}Z")
    if not named_by(run.fingerprint, command.fingerprint):
        raise Refused(
            "wrong_fingerprint", "the run is held with another plan than the one that you decided on: look again"
        )
    if command.approved and run.hazard == Hazard.DESTRUCTIVE:
        for event in (run.event, *joined):
            if asked_for_it(policy, caller, people, event):
                raise Refused("requester", "who asked for a destructive plan cannot approve it: somebody else must")
        if any(map(nobody_known, (run.event, *joined))):
            raise Refused(
                "requester_unknown",
                "a ticket asked for this destructive plan, and nobody knows who put it into the queue: it could be you",
            )
    return approvers[0]


def held_since(run: Held) -> datetime:
    """When a held run began to wait for a person."""
    return run.since or run.updated or run.created


def expires(policy: Policy, run: Held) -> datetime:
    """Until when somebody may decide on a held run."""
    return held_since(run) + timedelta(seconds=policy.toil(run.toil).hold_seconds)


def check_fresh(run: Held, written: datetime | None) -> None:
    """Raise Refused unless a decision was written after the plan was held: an old one says nothing of a new plan.

    A webhook that somebody sends again later would else approve the same plan of another run.
    """
    if written is None or written < held_since(run) - SKEW:
        raise Refused("older_than_plan", "the comment is older than the plan: write a new one")


def named_by(fingerprint: str, given: str) -> bool:
    """Whether `given`, at least 12 hexadecimal digits, is the fingerprint or its beginning, in constant time."""
    if _FINGERPRINT.fullmatch(given) is None:
        return False
    return hmac.compare_digest(fingerprint[: len(given)].encode(), given.lower().encode())


# -- comments ---------------------------------------------------------------------------------------------------------


def is_command(text: str) -> bool:
    """Whether a line of a comment begins with `/approve` or `/reject`."""
    return _COMMAND.search(text.replace("\r\n", "\n").replace("\r", "\n")) is not None


def command_in(text: str) -> Command:
    """The one command of a comment: `/approve FINGERPRINT` or `/reject FINGERPRINT why`. Raises Refused."""
    found = _COMMAND.findall(text.replace("\r\n", "\n").replace("\r", "\n"))
    if len(found) != 1:
        raise Refused("malformed", "a comment must hold exactly one decision, at the beginning of a line")
    [(verb, rest)] = found
    fingerprint, _, why = rest.partition(" ")
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise Refused(
            "malformed", f"after {verb}, at least {SHORTEST} hexadecimal digits of the plan's fingerprint are needed"
        )
    return Command(verb == "approve", fingerprint.lower(), why.strip()[:WHY_LIMIT])


def choose(candidates: Sequence[tuple[str, TicketRef | None]], ticket: TicketRef) -> str:
    """The id of the run that a comment on `ticket` decides on, among held runs (id, ticket) of the same fingerprint.

    That of this ticket, or the only one there is. Raises Refused.
    """
    if not candidates:
        raise Refused(
            "not_held",
            "no plan with this fingerprint is held: it was decided already, has expired, or a newer one is held",
        )
    here = [id for id, asked in candidates if asked == ticket]
    among = here or [id for id, _ in candidates]
    if len(among) > 1:
        raise Refused(
            "ambiguous", f"{len(among)} runs are held with this plan: decide on each with `paydown approve RUN`"
        )
    return among[0]
