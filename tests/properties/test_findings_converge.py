"""Findings under an adversary that repeats, reorders and interleaves events, and lets deliveries fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from paydown.errors import RetryableError
from paydown.ledger import Table
from paydown.ledger.deliveries import Deliveries
from paydown.ledger.digests import Digests
from paydown.ledger.findings import Findings, Identity, Sighting, Task, order_of
from tests.properties.memory_table import MemoryDynamo

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
WHAT = Identity("recover_node", "node/demo/worker-1", "NodeNotReady")
RUN = "a" * 32


@dataclass(frozen=True)
class Happened:
    """At second `at` the finding was seen with this label, or (no label) closed."""

    at: int
    label: str | None

    @property
    def time(self) -> datetime:
        return NOW + timedelta(seconds=self.at)

    @property
    def order(self) -> str:
        return order_of(self.time, 2, RUN)


events = st.lists(
    st.builds(Happened, st.integers(0, 30), st.sampled_from([None, "Held", "Failed"])),
    min_size=1, max_size=10, unique_by=lambda one: one.at,
)  # fmt: skip


@st.composite
def deliveries(draw: st.DrawFn) -> list[Happened]:
    """Each event once or more, in any order."""
    happened = draw(events)
    repeats = [one for one in happened for _ in range(draw(st.integers(1, 3)))]
    return draw(st.permutations(repeats))


@dataclass
class World:
    """A ledger; before a transaction, what lies in `rivals` comes in between."""

    rivals: list[Happened] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client: Any = MemoryDynamo()
        self.client.reached = self._meddle
        table = Table("ledger", self.client)
        self.findings = Findings(table, sleep=lambda seconds: None)
        self.digests = Digests(table)
        self.deliveries = Deliveries(table)
        self.tasks: list[Task] = []

    def deliver(self, one: Happened) -> Task:
        counting = self.digests.counting(WHAT.toil, one.label or "Verified", one.order, NOW)
        if one.label is None:
            task = self.findings.close(WHAT, one.order, "verified", NOW, counting)
        else:
            sighting = Sighting(WHAT, one.order, one.time, one.label, RUN, f"text {one.at}", ("t/1",), speaks=True)
            task = self.findings.see(sighting, NOW, counting)
        self.tasks.append(task)
        return task

    def _meddle(self, operation: str, phase: str, request: Any) -> None:
        if (operation, phase) == ("get_all", "after") and self.rivals:
            self.deliver(self.rivals.pop())


def expected(happened: set[Happened]) -> tuple[Any, ...]:
    """What the finding comes to, whatever happened to the deliveries."""
    closed = max((one.at for one in happened if one.label is None), default=-1)
    rest = sorted((one for one in happened if one.label and one.at > closed), key=lambda one: one.at)
    if not rest:
        return (False,)
    return True, len(rest), Counter(one.label for one in rest), rest[0].time, f"text {rest[-1].at}"


def found(world: World) -> tuple[Any, ...]:
    finding = world.findings.get(WHAT)
    if finding is None or not finding.open:
        assert world.findings.open_ids() == []
        return (False,)
    assert world.findings.open_ids() == [WHAT.id]
    return True, finding.count, Counter(finding.labels), finding.since, finding.text


@given(deliveries(), st.data())
@settings(max_examples=300, deadline=None)
def test_a_finding_depends_on_what_happened_and_not_on_deliveries(come: list[Happened], data: st.DataObject) -> None:
    world = World()
    cut = data.draw(st.integers(0, len(come)))
    world.rivals = come[cut:]
    for one in come[:cut]:
        world.deliver(one)
    while world.rivals:
        world.deliver(world.rivals.pop())
    happened = set(come)
    assert found(world) == expected(happened)
    assert world.digests.of(NOW)[WHAT.toil] == Counter(one.label or "Verified" for one in happened)
    assert len([task for task in world.tasks if task.new]) <= len(happened)


@given(deliveries(), st.lists(st.booleans(), max_size=40))
@settings(max_examples=200, deadline=None)
def test_each_channel_gets_each_message_once_however_often_it_fails(come: list[Happened], fates: list[bool]) -> None:
    world, got, left = World(), [], list(fates)
    pending = [(one, channel) for one in come for channel in ("sns", "chat")]

    def sending(one: Happened, channel: str) -> Callable[[], None]:
        def send() -> None:
            if left and left.pop():
                raise RetryableError("down")
            got.append((one.order, channel))

        return send

    for _ in range(1_000):
        if not pending:
            break
        one, channel = pending.pop(0)
        try:
            world.deliveries.once(WHAT.partition, one.order, channel, NOW, sending(one, channel))
        except RetryableError:
            pending.append((one, channel))
    assert Counter(got) == Counter({(one.order, channel): 1 for one in set(come) for channel in ("sns", "chat")})
