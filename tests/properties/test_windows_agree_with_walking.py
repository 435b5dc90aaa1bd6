"""Asking when a window opens, near the time in question, gives the same as walking there from its start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile

from dateutil.rrule import rrulestr
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from paydown import windows
from paydown.limits import Window

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"]
BEGIN = datetime.fromisoformat("2010-07-01T00:00")
YEARS = datetime(2012, 7, 1, tzinfo=UTC)
"""The end of the time in question."""


WEEK = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


@st.composite
def made(draw: st.DrawFn) -> Window:
    """A window that the policy takes: each part of its rule has what its start is, and something more."""
    start = BEGIN + timedelta(minutes=draw(st.integers(0, 525_600)))
    own = {
        "BYMONTH": (start.month, st.integers(1, 12)),
        "BYMONTHDAY": (start.day, st.integers(-31, 31).filter(bool)),
        "BYYEARDAY": (start.timetuple().tm_yday, st.integers(-366, 366).filter(bool)),
        "BYWEEKNO": (start.isocalendar().week, st.integers(-53, 53).filter(bool)),
        "BYDAY": (WEEK[start.weekday()], st.sampled_from(WEEK)),
        "BYHOUR": (start.hour, st.integers(0, 23)),
        "BYMINUTE": (start.minute, st.integers(0, 59)),
    }
    rule = {
        "FREQ": draw(st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY"])),
        "INTERVAL": str(draw(st.integers(1, 9))),
        "WKST": draw(st.sampled_from(["MO", "SU", "TH"])),
    }
    for name in draw(st.lists(st.sampled_from(sorted(own)), max_size=3, unique=True)):
        mine, others = own[name]
        rule[name] = ",".join(str(value) for value in [mine, *draw(st.lists(others, max_size=3))])
    rule |= draw(
        st.sampled_from(
            [
                {},
                {"BYSETPOS": "1"},
                {"BYSETPOS": "-1,1"},
                {"COUNT": "20"},
                {"UNTIL": "20120331"},
                {"UNTIL": "20120325T010000Z"},
                {"UNTIL": "20111028T003000Z"},
            ]
        )
    )
    try:
        return Window(
            name="w",
            start=start,
            minutes=draw(st.sampled_from([1, 30, 60, 1_440, 40_000])),
            timezone=draw(st.sampled_from(ZONES)),
            rrule=";".join(f"{name}={value}" for name, value in rule.items()),
        )
    except ValidationError:
        reject()


def walked(window: Window, to: datetime) -> list[datetime]:
    """The true starts of all occurrences, from the first, to some time after `to`."""
    from zoneinfo import ZoneInfo

    names = dict(part.split("=") for part in window.rrule.split(";"))
    until = names.pop("UNTIL", None)
    rule = rrulestr(";".join(f"{name}={value}" for name, value in names.items()), dtstart=window.start)
    last = to.replace(tzinfo=None) + timedelta(days=3)
    starts = []
    for local in takewhile(lambda local: local < last, rule):
        start = local.replace(tzinfo=ZoneInfo(window.timezone)).astimezone(UTC)
        if until is None or (f"{start:%Y%m%dT%H%M%SZ}" if "T" in until else f"{local:%Y%m%d}") <= until:
            starts.append(start)
    return sorted(starts)


@settings(deadline=None)
@given(made(), st.integers(0, 2 * 525_600), st.booleans())
def test_windows_agree_with_walking(window, minutes, on_the_dot):
    now = BEGIN.replace(tzinfo=UTC) + timedelta(minutes=minutes)
    starts = walked(window, YEARS + timedelta(days=400))
    if on_the_dot:
        now = max((start for start in starts if start <= now), default=now)
    length = timedelta(minutes=window.minutes)
    open_now = [start for start in starts if start <= now < start + length]
    current = windows.current([window], now)
    assert (current and current.start) == (max(open_now) if open_now else None)
    assert current is None or current.end - current.start == length
    following = windows.following([window], now)
    later = [start for start in starts if start > now]
    if later:
        assert following is not None
        assert following.start == later[0]
    elif following is not None:
        assert following.start > YEARS + timedelta(days=400)
