"""Guards on the moment: freezes, windows, storms, cool-downs, and other healers' time."""

from datetime import UTC, datetime, timedelta

import pytest

from paydown.guardrails import Facts
from paydown.guardrails.moment import NEVER, calm_at
from paydown.limits import Storm
from paydown.plan import Healer
from tests.unit.guardrails.guards import NOW, SECOND, TICK, Scene, ago, ended, once

MINUTE = timedelta(minutes=1)


def test_a_freeze_lasts_until_the_last_of_them_ends():
    scene = Scene(freezes=[once(ago(minutes=10), 20, name="release"), once(ago(minutes=5), 60, name="holidays")])
    (finding,) = scene.verdict().findings
    assert finding.text == "freeze holidays until 2026-11-22 03:55Z"
    assert finding.until == NOW + 55 * MINUTE


def test_a_freeze_counts_beside_an_open_window():
    assert Scene(rules={"windows": [once(NOW)]}, freezes=[once(NOW)]).codes() == ["frozen"]


def test_outside_of_windows_the_first_to_open_is_waited_for():
    later, sooner = once(NOW + 3 * MINUTE, name="b"), once(NOW + 2 * MINUTE, name="a")
    (finding,) = Scene(rules={"windows": [later, sooner]}).verdict().findings
    assert (finding.text, finding.until) == ("a opens at 2026-11-22 03:02Z", NOW + 2 * MINUTE)


def test_windows_that_never_open_again_defer_for_longer_than_a_run_may_be_put_off():
    (finding,) = Scene(rules={"windows": [once(ago(days=1))]}).verdict().findings
    assert (finding.text, finding.until) == ("no window opens any more", NOW + NEVER)


def test_windows_are_in_local_time():
    start = datetime.fromisoformat("2026-01-04T03:30")
    night = once(start, timezone="Europe/Berlin", rrule="FREQ=WEEKLY")
    assert Scene(rules={"windows": [night]}).codes(datetime(2026, 11, 22, 2, 30, tzinfo=UTC)) == []
    assert Scene(rules={"windows": [night]}).codes(datetime(2026, 7, 5, 2, 30, tzinfo=UTC)) == ["outside_window"]


def buckets(counts: dict[int, int]) -> dict[datetime, int]:
    """Events by the minutes before now in which they came."""
    return {NOW - minutes * MINUTE: count for minutes, count in counts.items()}


STORM = Storm(events=200, window_seconds=600, cool_down_seconds=300)
# A burst is over when all that came in its first minute is older than the window, and calm 5 minutes later.
REST = 1 + 10 + 5


@pytest.mark.parametrize(
    ("counts", "minutes_to_calm"),
    [
        ({}, None),
        ({0: 200}, None),
        ({0: 201}, REST),
        ({9: 100, 0: 101}, REST - 9),
        ({10: 100, 0: 101}, None),
        ({9: 100, 0: 100}, None),
        (dict.fromkeys(range(10), 20), None),
        ({0: 21} | dict.fromkeys(range(1, 10), 20), REST - 9),
        ({15: 201}, 1),
        ({16: 201}, None),
        ({15: 201, 0: 5}, 1),
        ({20: 150, 15: 100}, None),
        ({14: 150, 9: 100}, 2),
        ({15: 150, 10: 100, 5: 101}, 6),
    ],
)
def test_a_storm_lasts_until_it_has_been_calm_for_its_cool_down(counts, minutes_to_calm):
    calm = calm_at(Facts({}, events=buckets(counts)), STORM, NOW)
    assert calm == (None if minutes_to_calm is None else NOW + minutes_to_calm * MINUTE)
    assert Scene({"events": buckets(counts)}).codes() == ([] if calm is None else ["storm"])


def test_a_storm_is_over_at_the_time_that_was_told():
    scene = Scene({"events": buckets({0: 201})})
    until = scene.verdict().until
    assert scene.codes(until - TICK) == ["storm"]
    assert scene.codes(until) == []


def test_events_that_go_on_put_the_calm_off():
    calm = calm_at(Facts({}, events=buckets({10: 201, 5: 201})), STORM, NOW)
    assert calm == NOW + (REST - 5) * MINUTE


def test_a_storm_counts_in_the_buckets_of_its_policy():
    storm = Storm(events=10, window_seconds=60, cool_down_seconds=0)
    events = {NOW: 6, NOW - 54 * SECOND: 5}
    assert storm.bucket_seconds == 6
    assert calm_at(Facts({}, events=events, bucket_seconds=6), storm, NOW) == NOW + 12 * SECOND
    events = {NOW: 6, NOW - 60 * SECOND: 5}
    assert calm_at(Facts({}, events=events, bucket_seconds=6), storm, NOW) is None


def row(*seconds_ago: int, outcome: str = "Failed"):
    return ended(*[(ago(seconds=seconds), outcome) for seconds in seconds_ago])


@pytest.mark.parametrize(
    ("on_target", "rules", "code", "rest"),
    [
        (ended((NOW, "Verified")), {}, "cooling_down", 300),
        (ended((NOW, "Refused")), {}, "cooling_down", 300),
        (row(0), {}, "backing_off", 300),
        (row(3_000, 0), {}, "backing_off", 600),
        (row(4_000, 3_000, 2_000, 0), {}, "backing_off", 2_400),
        (row(5_000, 4_000, 3_000, 2_000, 0), {}, "backing_off", 3_600),
        (row(5_000, 0), {"back_off_seconds": 0}, "backing_off", 300),
        (row(90_000, 0), {}, "backing_off", 300),
        (ended((ago(seconds=20), "Failed"), (ago(seconds=10), "Verified"), (NOW, "Failed")), {}, "backing_off", 300),
        (row(3_000, 0, outcome="Unverified"), {"cool_down_seconds": 60}, "backing_off", 120),
        (row(0), {"cool_down_seconds": 0}, "backing_off", 60),
        (row(3_000, 0), {"cool_down_seconds": 0}, "backing_off", 120),
    ],
)
def test_a_target_rests_after_a_run_and_longer_with_each_that_did_not_heal_it(on_target, rules, code, rest):
    found = [one for one in Scene({"on_target": on_target}, rules).verdict().findings if one.code != "escalated"]
    assert [(one.code, one.until) for one in found] == [(code, NOW + rest * SECOND)]


def test_no_rest_is_no_rest():
    assert Scene({"on_target": ended((NOW, "Verified"))}, {"cool_down_seconds": 0}).codes() == []
    assert Scene({"on_target": row(0)}, {"cool_down_seconds": 0, "back_off_seconds": 0}).codes() == []


def test_a_run_does_not_wait_for_its_own_ending():
    on_target = ended((NOW, "Failed"))
    assert Scene({"on_target": on_target, "run": on_target.ended[0].run}).codes() == []


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("bosh", 1_920), ("auto_scaling", 1_920), ("karpenter", 1_920), ("node_health_check", 1_020), ("another", 1_920)],
)
def test_another_healer_has_its_own_time_and_a_margin(kind, seconds):
    verdict = Scene({"healer": Healer(kind, NOW)}).verdict()
    assert [(one.code, one.until) for one in verdict.findings] == [("other_healer", NOW + seconds * SECOND)]
    assert Scene({"healer": Healer(kind, NOW)}).codes(NOW + seconds * SECOND) == []
