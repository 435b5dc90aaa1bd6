"""When windows are open: wall-clock time through daylight-saving changes, recurrence, and what it costs to ask."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paydown import windows
from paydown.limits import Window

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def window(start: str, rrule: str | None = None, zone: str = BERLIN, minutes: int = 60, name: str = "w") -> Window:
    return Window(name=name, start=start, minutes=minutes, timezone=zone, rrule=rrule)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(one: Window, since: str, count: int) -> list[tuple[str, str]]:
    """The next occurrences after a time in UTC, as `from` and `to` in UTC."""
    now, found = utc(since), []
    for _ in range(count):
        span = windows.following([one], now)
        if span is None:
            break
        found.append((f"{span.start:%m-%dT%H:%M}", f"{span.end:%m-%dT%H:%M}"))
        now = span.start
    return found


@pytest.mark.parametrize(
    ("zone", "local", "expected"),
    [
        # Berlin: from 02:00 to 03:00 on 29 March, back at 03:00 on 25 October.
        (BERLIN, "2026-03-28T02:30", ["03-28T01:30", "03-29T01:30", "03-30T00:30"]),
        (BERLIN, "2026-03-28T03:30", ["03-28T02:30", "03-29T01:30", "03-30T01:30"]),
        (BERLIN, "2026-10-24T02:30", ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
        (BERLIN, "2026-10-24T03:00", ["10-24T01:00", "10-25T02:00", "10-26T02:00"]),
        # New York: from 02:00 to 03:00 on 8 March, back at 02:00 on 1 November.
        (NEW_YORK, "2026-03-07T02:30", ["03-07T07:30", "03-08T07:30", "03-09T06:30"]),
        (NEW_YORK, "2026-10-31T01:30", ["10-31T05:30", "11-01T05:30", "11-02T06:30"]),
        # Lord Howe: half an hour, from 02:00 to 02:30 on 4 October, back at 02:00 on 5 April.
        (LORD_HOWE, "2026-10-03T02:15", ["10-02T15:45", "10-03T15:45", "10-04T15:15"]),
        (LORD_HOWE, "2026-04-04T01:45", ["04-03T14:45", "04-04T14:45", "04-05T15:15"]),
        # Apia skipped a whole day, 30 December 2011.
        ("Pacific/Apia", "2011-12-29T10:00", ["12-29T20:00", "12-30T20:00", "12-31T20:00"]),
        ("UTC", "2026-03-28T02:30", ["03-28T02:30", "03-29T02:30", "03-30T02:30"]),
    ],
)
def test_wall_clock_time_through_changes_of_the_clock(zone, local, expected):
    one = window(local, "FREQ=DAILY", zone)
    begin = datetime.fromisoformat(local) - timedelta(days=2)
    assert [start for start, _ in spans(one, begin.isoformat(), 3)] == expected


def test_minutes_are_real_ones_across_a_change():
    nights = window("2026-03-27T23:00", "FREQ=DAILY", minutes=360)
    assert spans(nights, "2026-03-28T12:00", 1) == [("03-28T22:00", "03-29T04:00")]
    assert windows.current([nights], utc("2026-03-29T03:59")) is not None
    # 06:00 in Berlin, an hour past the sixth by the wall clock
    assert windows.current([nights], utc("2026-03-29T04:00")) is None


def test_what_the_change_moves_past_each_other_is_found_in_true_order():
    """On Lord Howe 02:20 is skipped and becomes 02:50, after 02:40, which is there."""
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=20,40"
    both = window("2026-10-03T02:20", rule, LORD_HOWE, minutes=15)
    assert [start for start, _ in spans(both, "2026-10-03T15:30", 3)] == ["10-03T15:40", "10-03T15:50", "10-04T15:20"]
    assert windows.current([both], utc("2026-10-03T15:45")).start == utc("2026-10-03T15:40")
    assert windows.current([both], utc("2026-10-03T15:52")).start == utc("2026-10-03T15:50")
    ends = window("2026-10-03T02:20", f"{rule};UNTIL=20261003T154500Z", LORD_HOWE)
    assert [start for start, _ in spans(ends, "2026-10-03T15:30", 3)] == ["10-03T15:40"]


def test_an_occurrence_begins_with_its_first_moment_and_ends_before_its_last():
    one = window("2026-11-22T22:00", zone="UTC", minutes=120)
    tick = timedelta(microseconds=1)
    assert windows.current([one], utc("2026-11-22T22:00") - tick) is None
    span = windows.Span("w", utc("2026-11-22T22:00"), utc("2026-11-23T00:00"))
    assert windows.current([one], utc("2026-11-22T22:00")) == span
    assert windows.current([one], utc("2026-11-23T00:00") - tick) == span
    assert windows.current([one], utc("2026-11-23T00:00")) is None
    assert windows.following([one], utc("2026-11-22T22:00") - tick) == span
    assert windows.following([one], utc("2026-11-22T22:00")) is None


def test_overnight_windows_are_open_past_midnight():
    nights = window("2026-11-20T22:00", "FREQ=WEEKLY;BYDAY=FR,SA", minutes=480)
    for moment, is_open in [
        ("2026-11-20T20:59", False),
        ("2026-11-20T21:00", True),
        ("2026-11-21T04:59", True),
        ("2026-11-21T05:00", False),
        ("2026-11-22T04:59", True),
        ("2026-11-22T21:00", False),
    ]:
        assert (windows.current([nights], utc(moment)) is not None) is is_open, moment


def test_of_overlapping_windows_the_last_to_end_and_the_first_to_open():
    short = window("2026-11-22T10:00", zone="UTC", minutes=60, name="short")
    long = window("2026-11-22T09:00", zone="UTC", minutes=180, name="long")
    assert windows.current([short, long], utc("2026-11-22T10:30")).window == "long"
    assert windows.current([long, short], utc("2026-11-22T10:30")).window == "long"
    assert windows.following([short, long], utc("2026-11-22T08:00")).window == "long"
    assert windows.following([short, long], utc("2026-11-22T09:00")).window == "short"
    itself = window("2026-11-20T00:00", "FREQ=DAILY", "UTC", minutes=3 * 24 * 60)
    assert windows.current([itself], utc("2026-11-22T12:00")).end == utc("2026-11-25T00:00")


@pytest.mark.parametrize("rrule", [None, "FREQ=YEARLY"])
def test_a_long_one_is_open_to_its_end(rrule):
    freeze = window("2025-12-18T18:00", rrule, minutes=24_480)
    assert windows.current([freeze], utc("2026-01-04T16:59")).end == utc("2026-01-04T17:00")
    assert windows.current([freeze], utc("2026-01-04T17:00")) is None


def test_none_is_open_where_there_is_none():
    assert windows.current([], utc("2026-11-22T12:00")) is None
    assert windows.following([], utc("2026-11-22T12:00")) is None


@pytest.mark.parametrize(
    ("start", "rrule", "expected"),
    [
        ("2026-01-05T08:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE", ["11-23", "11-25", "12-07"]),
        ("2026-01-04T08:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", ["11-22", "11-23", "12-06"]),
        ("2026-01-31T08:00", "FREQ=MONTHLY", ["12-31", "01-31", "03-31"]),
        ("2026-01-30T08:00", "FREQ=MONTHLY;BYDAY=-1FR", ["11-27", "12-25", "01-29"]),
        ("2026-01-31T08:00", "FREQ=MONTHLY;BYMONTHDAY=-1", ["11-30", "12-31", "01-31"]),
        ("2026-01-13T08:00", "FREQ=MONTHLY;BYDAY=TU;BYMONTHDAY=8,9,10,11,12,13,14", ["12-08", "01-12", "02-09"]),
        ("2024-02-29T08:00", "FREQ=YEARLY", ["02-29", "02-29", "02-29"]),
        ("2026-01-30T08:00", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", ["11-30", "12-31", "01-29"]),
        ("2026-01-01T08:00", "FREQ=DAILY;INTERVAL=100", ["02-05", "05-16", "08-24"]),
        ("2026-11-20T08:00", "freq=daily;count=5", ["11-22", "11-23", "11-24"]),
        ("2026-11-20T08:00", "FREQ=DAILY;COUNT=3", ["11-22"]),
        ("2026-01-20T08:00", "FREQ=DAILY;COUNT=3", []),
        ("2026-11-20T08:00", "FREQ=DAILY;UNTIL=20261123", ["11-22", "11-23"]),
        ("2026-11-20T08:00", "FREQ=DAILY;UNTIL=20261123T070000Z", ["11-22", "11-23"]),
        ("2026-11-20T08:00", "FREQ=DAILY;UNTIL=20261123T065959Z", ["11-22"]),
        ("2026-11-20T08:00", "FREQ=DAILY;UNTIL=20261121", []),
        ("2026-11-20T08:00", None, []),
    ],
)
def test_rules_recur_as_in_rfc_5545(start, rrule, expected):
    assert [begin[:5] for begin, _ in spans(window(start, rrule), "2026-11-22T00:00", 3)] == expected


def test_until_in_utc_is_compared_in_utc_where_local_times_come_twice():
    """02:30 and 02:45 (the first ones) are 00:30 and 00:45 UTC: both are before 01:30 UTC, which is 02:30 again."""
    half = window("2026-10-25T00:30", "FREQ=HOURLY;BYMINUTE=30,45;UNTIL=20261025T013000Z", minutes=5)
    assert [start for start, _ in spans(half, "2026-10-25T00:00", 9)] == ["10-25T00:30", "10-25T00:45"]


@pytest.mark.parametrize(
    "rrule",
    [
        "FREQ=DAILY;INTERVAL=3",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TH,SU;WKST=WE",
        "FREQ=MONTHLY;INTERVAL=5;BYDAY=1TH",
        "FREQ=YEARLY;INTERVAL=3;BYYEARDAY=1,100,-1",
        "FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=TH,FR",
        "FREQ=HOURLY;INTERVAL=7",
        "FREQ=HOURLY;INTERVAL=5;BYHOUR=1,2,3,4",
    ],
)
def test_asking_near_the_time_gives_the_same_as_walking_there(rrule):
    """The rule that was moved close to the time in question is the same rule, years after its start."""
    from dateutil.rrule import rrulestr

    start = datetime.fromisoformat("2015-01-01T01:20")
    from_now, to = datetime.fromisoformat("2026-11-22T00:00"), datetime.fromisoformat("2040-01-01T00:00")
    walked = [f"{at:%m-%dT%H:%M}" for at in rrulestr(rrule, dtstart=start).between(from_now, to)][:20]
    near = spans(window(start.isoformat(), rrule, "UTC"), "2026-11-22T00:00", len(walked))
    assert [begin for begin, _ in near] == walked != []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timezone": "Europe/Atlantis"}, "'Europe/Atlantis' is not known"),
        ({"timezone": "Europe"}, "is not known"),
        ({"timezone": ""}, "is not known"),
        ({"timezone": "../../etc/passwd"}, "is not known"),
        ({"timezone": "right/Europe/Berlin"}, "is not known"),
        ({"timezone": "localtime"}, "is not known"),
        ({"start": "2026-11-22T08:00Z"}, "has no offset"),
        ({"start": "2026-11-22T08:00+01:00"}, "has no offset"),
        ({"start": "2026-11-22T08:00:00.5"}, "whole second"),
        ({"start": "1969-12-31T08:00"}, "1970 to 2199"),
        ({"start": "2200-01-01T08:00"}, "1970 to 2199"),
        ({"rrule": ""}, "no part that is understood"),
        ({"rrule": "every sunday"}, "no part that is understood"),
        ({"rrule": "RRULE:FREQ=DAILY"}, "no part that is understood"),
        ({"rrule": "DTSTART=20261122T080000;FREQ=DAILY"}, "'DTSTART' is no part"),
        ({"rrule": "TZID=Europe/Berlin;FREQ=DAILY"}, "'TZID' is no part"),
        ({"rrule": "FREQ=DAILY\nEXDATE:20261122T080000"}, "FREQ=DAILY\nEXDATE"),
        ({"rrule": "FREQ=DAILY\n"}, "means nothing"),
        ({"rrule": "FREQ=DAILY;BYEASTER=1"}, "'BYEASTER' is no part"),
        ({"rrule": "FREQ=SECONDLY"}, "FREQ=SECONDLY means nothing"),
        ({"rrule": "FREQ=MINUTELY"}, "FREQ=MINUTELY means nothing"),
        ({"rrule": "BYDAY=SU"}, "has no FREQ"),
        ({"rrule": "FREQ=DAILY;FREQ=WEEKLY"}, "FREQ twice"),
        ({"rrule": "FREQ=DAILY;INTERVAL=0"}, "INTERVAL is from 1 to 1000"),
        ({"rrule": "FREQ=DAILY;INTERVAL=1,2"}, "INTERVAL is from"),
        ({"rrule": "FREQ=DAILY;INTERVAL="}, "INTERVAL is from"),
        ({"rrule": "FREQ=DAILY;BYHOUR=24"}, "BYHOUR is from 0 to 23"),
        ({"rrule": "FREQ=DAILY;BYMONTH=11,13"}, "BYMONTH is from 1 to 12"),
        ({"rrule": "FREQ=MONTHLY;BYMONTHDAY=0,22"}, "BYMONTHDAY is not 0"),
        ({"rrule": "FREQ=MONTHLY;BYMONTHDAY=٢٢"}, "BYMONTHDAY is from"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=XX"}, "BYDAY=XX means nothing"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=4SU"}, "BYDAY has numbers"),
        ({"rrule": "FREQ=WEEKLY;BYMONTHDAY=22"}, "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ({"rrule": "FREQ=DAILY;BYYEARDAY=326"}, "BYYEARDAY does not go with"),
        ({"rrule": "FREQ=MONTHLY;BYWEEKNO=47"}, "BYWEEKNO does not go with"),
        ({"rrule": "FREQ=DAILY;BYSETPOS=1"}, "BYSETPOS chooses"),
        ({"rrule": "FREQ=DAILY;COUNT=3;UNTIL=20261201"}, "either COUNT or UNTIL"),
        ({"rrule": "FREQ=DAILY;COUNT=1001"}, "COUNT is from 1 to 1000"),
        ({"rrule": "FREQ=DAILY;UNTIL=20261201T080000"}, "UNTIL=20261201T080000 means nothing"),
        ({"rrule": "FREQ=DAILY;UNTIL=20260230"}, "UNTIL=20260230 is no date"),
        ({"rrule": "FREQ=DAILY;UNTIL=20261121"}, "ends (UNTIL) before `start`"),
        ({"rrule": "FREQ=DAILY;UNTIL=20261122T065959Z"}, "ends (UNTIL) before `start`"),
        ({"rrule": "FREQ=HOURLY;BYMINUTE=0,10,20,30,40"}, "more than 96 times a day"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=MO"}, "does not give `start` itself"),
        ({"rrule": "FREQ=DAILY;BYHOUR=9"}, "does not give `start` itself"),
        ({"rrule": "FREQ=HOURLY;INTERVAL=24;BYHOUR=9"}, "does not give `start` itself"),
        ({"rrule": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"}, "does not give `start` itself"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "does not give `start` itself"),
    ],
)
def test_what_means_nothing_is_refused(change, message):
    """22 November 2026 is a Sunday."""
    fields: dict[str, Any] = {"name": "w", "start": "2026-11-22T08:00", "minutes": 60, "timezone": BERLIN}
    Window(**fields)
    with pytest.raises(ValueError, match="validation error") as caught:
        Window(**fields | change)
    assert message in str(caught.value)


def calls(asked: Callable[[], object]) -> int:
    """How many Python functions and generators are entered."""
    entered = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal entered
        entered += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        asked()
    finally:
        sys.setprofile(before)
    return entered


NOW = utc("2026-11-22T12:30")


@pytest.mark.parametrize("rrule", ["FREQ=HOURLY", "FREQ=HOURLY;BYMINUTE=0,15,30,45", "FREQ=DAILY", "FREQ=WEEKLY"])
@pytest.mark.parametrize("minutes", [30, 527_040])
def test_the_cost_does_not_grow_with_the_years_since_the_start(rrule, minutes):
    young = window("2026-01-04T00:00", rrule, minutes=minutes)
    old = window("1970-01-04T00:00", rrule, minutes=minutes)
    for asked in (windows.current, windows.following):
        of_young, of_old = (calls(lambda asked=asked, one=one: asked([one], NOW)) for one in (young, old))
        assert of_old <= 1.5 * of_young + 100


@pytest.mark.parametrize(
    ("start", "rrule", "minutes"),
    [
        ("2006-01-01T00:00", "FREQ=HOURLY;BYMINUTE=0,15,30,45;BYMONTH=1,2,3", 527_040),
        ("2016-02-29T01:00", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", 60),
        ("2016-02-29T01:00", "FREQ=HOURLY;INTERVAL=5;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", 60),
        ("2016-02-29T01:00", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", 60),
        ("2016-02-29T01:00", "FREQ=DAILY;INTERVAL=11;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", 60),
        ("2015-12-31T01:00", "FREQ=YEARLY;BYWEEKNO=53;BYMONTHDAY=31;BYMONTH=12;BYDAY=TH", 60),
        ("2006-01-31T01:00", "FREQ=DAILY;BYMONTHDAY=31;COUNT=1000", 60),
    ],
)
def test_the_worst_of_rules_have_a_bound(start, rrule, minutes):
    """100,000 calls are some 80 ms; python-dateutil alone would make millions on the way to the year 9999."""
    one = window(start, rrule, minutes=minutes)
    assert calls(lambda: windows.current([one], NOW)) < 100_000
    assert calls(lambda: windows.following([one], NOW)) < 100_000


@pytest.mark.parametrize("freq", ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"])
def test_a_rule_that_never_occurs_is_refused_at_once(freq):
    part = "BYMONTH=2;BYDAY=SU;BYHOUR=3" if freq == "WEEKLY" else "BYMONTH=2;BYMONTHDAY=30"

    def refused() -> None:
        with pytest.raises(ValueError, match="does not give `start` itself"):
            window("2026-11-22T08:00", f"FREQ={freq};{part}")

    assert calls(refused) < 20_000


def test_who_has_no_window_does_not_pay_for_them():
    code = (
        "import sys; from datetime import UTC, datetime; "
        "from paydown import windows; from paydown.policy import Policy; "
        "Policy.parse({'toils': {'a_toil': {}}}); windows.current([], datetime.now(UTC)); "
        "print('dateutil' in sys.modules)"
    )
    layer = Path(windows.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=layer, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
