"""Each message goes to each channel once, and again only where that failed or nobody knows."""

from __future__ import annotations

import pytest

from paydown.errors import RetryableError
from paydown.ledger import Ledger
from paydown.ledger.deliveries import CLAIM, Deliveries
from tests.unit.ledgers import Clock

PK = "FINDING#1"


@pytest.fixture
def deliveries(ledger: Ledger) -> Deliveries:
    return Deliveries(ledger.table)


def test_a_message_goes_to_a_channel_once(deliveries: Deliveries, clock: Clock) -> None:
    sent: list[str] = []
    done = [
        deliveries.once(PK, message, channel, clock(), lambda one=(message, channel): sent.append(one))  # type: ignore[misc]
        for message, channel in [("m", "sns"), ("m", "sns"), ("m", "web"), ("n", "sns"), ("m", "web")]
    ]
    assert done == [True, False, True, True, False]
    assert sent == [("m", "sns"), ("m", "web"), ("n", "sns")]


def test_what_failed_is_tried_again_at_once(deliveries: Deliveries, clock: Clock) -> None:
    def fail() -> None:
        raise RetryableError("down")

    with pytest.raises(RetryableError, match="down"):
        deliveries.once(PK, "m", "sns", clock(), fail)
    assert deliveries.once(PK, "m", "sns", clock(), lambda: None)


def test_two_at_once_do_not_both_send(deliveries: Deliveries, clock: Clock) -> None:
    sent: list[int] = []

    def send() -> None:
        with pytest.raises(RetryableError, match="another worker"):
            deliveries.once(PK, "m", "sns", clock(), lambda: sent.append(2))
        sent.append(1)

    assert deliveries.once(PK, "m", "sns", clock(), send)
    assert sent == [1]


def test_a_worker_that_died_lets_go_of_its_claim(deliveries: Deliveries, clock: Clock) -> None:
    assert deliveries._claim(PK, "TOLD#m#sns", clock())
    with pytest.raises(RetryableError):
        deliveries.once(PK, "m", "sns", clock(), lambda: None)
    clock.tick(CLAIM.total_seconds() + 1)
    assert deliveries.once(PK, "m", "sns", clock(), lambda: None)


def test_who_was_slow_does_not_undo_who_took_over(deliveries: Deliveries, clock: Clock) -> None:
    def slow() -> None:
        clock.tick(CLAIM.total_seconds() + 1)
        assert deliveries.once(PK, "m", "sns", clock(), lambda: None)
        raise RetryableError("too late")

    with pytest.raises(RetryableError, match="too late"):
        deliveries.once(PK, "m", "sns", clock(), slow)
    assert deliveries.once(PK, "m", "sns", clock(), lambda: None) is False


def test_one_worker_at_a_time_is_inside(deliveries: Deliveries, clock: Clock) -> None:
    for _ in range(2):
        with (
            deliveries.alone(PK, "TICKETS", clock()),
            pytest.raises(RetryableError),
            deliveries.alone(PK, "TICKETS", clock()),
        ):
            pass
