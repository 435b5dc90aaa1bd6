"""What a toil type says, and nothing else: the class that each folder under `functions/` defines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from paydown.events import Event
from paydown.inventory import Inventory, Target
from paydown.ledger.images import Images
from paydown.ledger.promotions import Promotions
from paydown.plan import Action, Applied, Draft, Healer, Moot, NotYet, Overridden, Population, Record, Seen, Undone
from paydown.policy import Policy

T = TypeVar("T", bound=Target)

ACTION_SECONDS = 30
"""The longest that one call of `apply` may take: none begins later than this before its worker's end."""


class ToilSettings(BaseModel):
    """What the settings of a toil type derive from: immutable, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


@dataclass(frozen=True)
class Pace:
    """How fast a stage may go: calls of `apply` in parallel, and actions begun a second (None: no limit)."""

    parallel: int = 1
    per_second: float | None = None


@dataclass(frozen=True)
class Scene:
    """What a toil type may know while it works on one run.

    `observing`: deployed to observe, so only reading credentials exist. `act_for` and `has_run` serve toil types that
    hand work to others (triage): send a command to a toil type's queue, and ask the ledger whether its run exists.
    `images` and `promotions`: what the ledger knows of images, and where it is recorded which were promoted.
    """

    run_id: str
    event: Event
    inventory: Inventory
    policy: Policy
    settings: Any
    observing: bool
    now: Callable[[], datetime]
    nudge: Callable[[str, Event, str], None]
    has_run: Callable[[str, Event, Target], bool]
    images: Images | None = None
    promotions: Promotions | None = None


class Toil(ABC, Generic[T]):
    """A toil type. Subclass it in `functions/<name>/app.py`; `name` comes from that folder.

    An instance serves one run and is not kept. All methods may raise `RetryableError` (the world is in trouble: the run
    goes on later) and `PermanentError` (trying again is useless: the run fails); everything expected is a result.
    """

    name: ClassVar[str]
    listens_to: ClassVar[tuple[type[Event], ...]]
    does: ClassVar[tuple[type[Action], ...]]
    """Its verbs: a journalled plan is read back with them."""
    Settings: ClassVar[type[ToilSettings]] = ToilSettings
    batch: ClassVar[int] = 1
    """How many actions of a stage `apply_batch` gets at the most."""

    scene: Scene

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in cls.__dict__:
            parts = cls.__module__.split(".")
            cls.name = parts[-2] if len(parts) > 1 else parts[0]

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @property
    def settings(self) -> Any:
        """This toil type's part of the policy, as its `Settings`."""
        return self.scene.settings

    @property
    def inventory(self) -> Inventory:
        """What Paydown may act on."""
        return self.scene.inventory

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.scene.policy

    @property
    def event(self) -> Event:
        """What began this run."""
        return self.scene.event

    @property
    def run_id(self) -> str:
        """The id of this run: the signature of what it does."""
        return self.scene.run_id

    @property
    def observing(self) -> bool:
        """Whether this is deployed to observe: only reading credentials exist then."""
        return self.scene.observing

    def now(self) -> datetime:
        """The time, in UTC."""
        return self.scene.now()

    @classmethod
    @abstractmethod
    def targets(cls, event: Event, inventory: Inventory) -> Iterable[T]:
        """Which targets of the inventory is this event about? No network: event and inventory say it all."""

    @classmethod
    def learns(cls, event: Event, inventory: Inventory, images: Images, now: datetime) -> None:
        """Note what of an event counts for other runs than its own too, before its own begins, or joins one."""
        return

    @abstractmethod
    def plan(self, target: T) -> Draft | NotYet | Overridden:
        """What would set it right? Reads only.

        `NotYet` when it is too early to tell: the run is deferred. `Overridden` when a person undid or stopped
        something on purpose: the run ends, and the target is left alone.
        """

    @abstractmethod
    def population(self, target: T) -> Population | None:
        """The pool that this harms while it acts on the target, as it is now; None if it can harm none. Reads only.

        What cannot be read raises: without a population nothing acts.
        """

    def healer(self, target: T) -> Healer | None:
        """The native healer that may be at work on the target now; it is given its time. Reads only."""
        return None

    @abstractmethod
    def apply(self, action: Any, target: T) -> Applied:
        """Carry out one action: one call, at most 30 s, convergent.

        Looks at the precondition first, as near to the object as it can, and returns `Moot` if it no longer holds;
        `NotYet` if it cannot be done at the moment.
        """

    def apply_batch(self, actions: Sequence[Any], target: T) -> Sequence[Applied]:
        """Carry out up to `batch` actions of a stage together: one result for each, in their order; 30 s in all."""
        return [self.apply(action, target) for action in actions]

    def pace(self) -> Pace:
        """How fast the actions of a stage may go."""
        return Pace()

    @abstractmethod
    def verify(self, target: T, record: Record) -> Seen:
        """Read the world again, and say whether it is as it should be."""

    def undo(self, action: Any, target: T) -> Undone:
        """Take back an action whose hazard is `reversible`, if that is safe now; `Moot` says why it was left.

        One call, at most 30 s, convergent, like `apply`.
        """
        return Moot(f"{action.verb()} cannot be taken back")
