"""A plan, facts and a policy in which nothing stands against anything; tests change one thing."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from paydown.guardrails import Ending, Facts, Tally, Verdict, evaluate
from paydown.limits import Freeze, TotalBudget
from paydown.plan import Action, Hazard, Plan
from paydown.policy import ToilPolicy

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TICK = timedelta(milliseconds=1)
"""The ledger's times are that fine."""
NONE, REVERSIBLE, DISRUPTIVE, DESTRUCTIVE = Hazard


class Touch(Action):
    hazard: Hazard = Hazard.DISRUPTIVE


def plan(*hazards: Hazard) -> Plan:
    return Plan((tuple(Touch(object=f"o/{n}", precondition=f"p{n}", hazard=h) for n, h in enumerate(hazards)),))


def policy(mode: str = "enforce", ceiling: str = "disruptive", **more: Any) -> ToilPolicy:
    return ToilPolicy(mode=mode, ceiling=ceiling, **more)


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def ended(*endings: tuple[datetime, str]) -> Tally:
    """What is remembered of a target: its runs `0`, `1` and so on, and how they ended."""
    return Tally("target/t/u", ended=tuple(Ending(at, outcome, str(n)) for n, (at, outcome) in enumerate(endings)))


def working(count: int, until: datetime = NOW, scope: str = "s") -> Tally:
    """So many other runs, each on its own target `u0`, `u1` and so on."""
    return Tally(scope, working={f"other{n}": (f"u{n}", until) for n in range(count)})


def spent(*times: datetime, scope: str = "s") -> Tally:
    return Tally(scope, spent=times)


def once(start: datetime, minutes: int = 60, **more: Any) -> dict[str, Any]:
    """A window that opens once."""
    return {"name": "w", "start": start.replace(tzinfo=None), "minutes": minutes, **more}


@dataclass(frozen=True)
class Scene:
    """What is evaluated."""

    facts: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    total: dict[str, Any] = field(default_factory=dict)
    freezes: list[dict[str, Any]] = field(default_factory=list)
    made: Plan = field(default_factory=lambda: plan(DISRUPTIVE))

    def verdict(self, now: datetime = NOW) -> Verdict:
        facts = Facts(**({"labels": {}, "run": "me", "target": "u"} | self.facts))
        return evaluate(
            self.made,
            facts,
            policy(**self.rules),
            now,
            total=TotalBudget(**self.total),
            freezes=[Freeze(**one) for one in self.freezes],
        )

    def codes(self, now: datetime = NOW) -> list[str]:
        return [finding.code for finding in self.verdict(now).findings]
