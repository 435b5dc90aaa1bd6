"""The exceptions of Paydown.

::

    PaydownError
    ├── InvalidInput            somebody sent us something malformed; carries every fault with its path
    │   ├── InvalidEvent        an event or message that cannot become a run (ends in the dead-letter queue, or a 4xx)
    │   └── InvalidDocument     a policy or an inventory that is refused as a whole
    ├── PermanentError          trying again is useless: the run fails, and says why
    └── RetryableError          the outside world is in trouble: the run continues after `delay` seconds

`PermanentError` and `RetryableError` are the only two that a toil type raises on purpose. Expected trouble is a result,
not an exception: see `paydown.plan`. Exceptions that only one room raises live in that room.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class PaydownError(Exception):
    """Everything that Paydown raises on purpose."""


class InvalidInput(PaydownError):
    """Malformed input. `faults` holds (path, message) pairs; the path is dotted, such as `toils.recover_node.mode`."""

    def __init__(self, what: str, faults: Iterable[tuple[str, str]]) -> None:
        self.what = what
        self.faults = tuple(faults)
        super().__init__(
            f"{what}: " + "; ".join(f"{path}: {message}" if path else message for path, message in self.faults)
        )

    @classmethod
    def from_validation(cls, what: str, error: ValidationError) -> InvalidInput:
        """The same faults as pydantic found, without the input's values: those may be secret or hostile."""
        return cls(
            what, [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors(include_input=False)]
        )


class InvalidEvent(InvalidInput):
    """An event or a message that cannot become a run."""


class InvalidDocument(InvalidInput):
    """A policy or inventory document that is refused as a whole."""


class PermanentError(PaydownError):
    """Trying again is useless. The message goes to people, so it holds no secret."""


class RetryableError(PaydownError):
    """The same call may succeed later; `delay` is in seconds, counted from now."""

    def __init__(self, message: str, delay: float = 30.0) -> None:
        self.delay = delay
        super().__init__(message)
