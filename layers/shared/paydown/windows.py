"""When windows are open: recurrence of RFC 5545 with time zones and their daylight-saving changes. Pure.

Rules recur in local wall-clock time. python-dateutil finds the occurrences; it walks from the first one on and does not
give up before the year 9999, so each question is asked of a rule that was moved close to the time in question, and
`check` refuses what would have to be searched for long. Both libraries are imported by those who have a window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from paydown.limits import Window

Parts = dict[str, str]

SLACK = timedelta(days=2)
"""More than clocks are ever moved by: occurrences in local order are in true order but for this much."""
HORIZON = timedelta(days=36_525)
"""An occurrence later than this is never."""
MOST_COUNTED = 1_000
"""The largest COUNT: such rules are walked from their first occurrence on."""
MOST_A_DAY = 96
"""How often a window may open in a day."""

_NUMBERS = {
    "INTERVAL": (1, 1_000),
    "COUNT": (1, MOST_COUNTED),
    "BYMONTH": (1, 12),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
    "BYSETPOS": (-366, 366),
}
_WORDS = {
    "FREQ": r"YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY",
    "WKST": r"MO|TU|WE|TH|FR|SA|SU",
    "BYDAY": r"([+-]?[1-9]\d?)?(MO|TU|WE|TH|FR|SA|SU)(,([+-]?[1-9]\d?)?(MO|TU|WE|TH|FR|SA|SU))*",
    "UNTIL": r"\d{8}(T\d{6}Z)?",
}
_LISTS = ("BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYHOUR", "BYMINUTE", "BYSETPOS")
_DAYS = ("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO")
_NOT_WITH = {
    "BYWEEKNO": ("MONTHLY", "WEEKLY", "DAILY", "HOURLY"),
    "BYYEARDAY": ("MONTHLY", "WEEKLY", "DAILY"),
    "BYMONTHDAY": ("WEEKLY",),
}
"""What RFC 5545 (section 3.3.10) does not combine."""
_WEEK = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@dataclass(frozen=True)
class Span:
    """One occurrence of a window, in UTC: from `start` up to, but not including, `end`."""

    window: str
    start: datetime
    end: datetime


def check(window: Window) -> None:
    """Raise ValueError unless the window's start, time zone and recurrence rule mean something, and can be computed."""
    start = window.start
    if start.tzinfo is not None:
        raise ValueError("start is local time in `timezone`, so it has no offset and no Z")
    if start.microsecond or not 1970 <= start.year < 2200:
        raise ValueError("start must be a whole second of the years 1970 to 2199")
    zone = _zone(window.timezone)
    if window.rrule is None:
        return
    parts = _parts(window.rrule)
    _check_combination(parts)
    hours = 24 if parts["FREQ"] == "HOURLY" and "BYHOUR" not in parts else parts.get("BYHOUR", "").count(",") + 1
    if hours * (parts.get("BYMINUTE", "").count(",") + 1) > MOST_A_DAY:
        raise ValueError(f"rrule opens the window more than {MOST_A_DAY} times a day")
    if (until := parts.get("UNTIL")) and _after(until, start, _true(start, zone)):
        raise ValueError("rrule ends (UNTIL) before `start`")
    if not _gives(parts, start):
        raise ValueError("rrule does not give `start` itself, which must be the first time that the window opens")


def current(windows: Sequence[Window], now: datetime) -> Span | None:
    """The occurrence in which `now` lies; of several, the one that ends last."""
    spans = [span for window in windows if (span := _open(window, now))]
    return max(spans, key=lambda span: span.end, default=None)


def following(windows: Sequence[Window], now: datetime) -> Span | None:
    """The first occurrence that starts after `now`; None if none does within a hundred years."""
    spans = [span for window in windows if (span := _next(window, now))]
    return min(spans, key=lambda span: span.start, default=None)


def _open(window: Window, now: datetime) -> Span | None:
    length = timedelta(minutes=window.minutes)
    # Most often the last days tell; a rule may have opened thousands of times within a length of a year.
    for back in (min(length, SLACK), length):
        begun = []
        for local, start in _occurrences(window, now - back - SLACK):
            if local > _local(window, now + SLACK):
                break
            if now - back < start <= now:
                begun.append(start)
        if begun:
            return Span(window.name, max(begun), max(begun) + length)
    return None


def _next(window: Window, now: datetime) -> Span | None:
    first: datetime | None = None
    last = _local(window, now + HORIZON)
    for local, start in _occurrences(window, now - SLACK):
        if local > last:
            break
        if start > now and (first is None or start < first):
            # A later one in local order may be earlier in truth, if a change of the clocks lies between them.
            last = min(last, local + SLACK)
            first = start
    return Span(window.name, first, first + timedelta(minutes=window.minutes)) if first else None


def _occurrences(window: Window, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Local and true start of each occurrence, from before `since` on, in local order."""
    zone = _zone(window.timezone)
    if window.rrule is None:
        yield window.start, _true(window.start, zone)
        return
    parts = _parts(window.rrule)
    until = parts.pop("UNTIL", None)
    begin = window.start
    if "COUNT" not in parts:
        begin = _moved(parts, begin, _local(window, since))
    for local in _rule(_complete(parts, window.start), begin):
        start = _true(local, zone)
        if until is not None and _after(until, local, start):
            # A moved clock may put the next one in time again.
            if _after(until, local - SLACK, start - SLACK):
                return
            continue
        yield local, start


def _after(until: str, local: datetime, start: datetime) -> bool:
    """Whether an occurrence is too late for an UNTIL: the last local day, or the last moment in UTC."""
    if len(until) == 8:
        return local.date() > date.fromisoformat(until)
    return start > datetime.fromisoformat(until)


def _true(local: datetime, zone: ZoneInfo) -> datetime:
    """UTC of a wall-clock time. RFC 5545: a skipped time has the offset from before the change; of two, the first."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _local(window: Window, time: datetime) -> datetime:
    return time.astimezone(_zone(window.timezone)).replace(tzinfo=None)


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    # Some machines know names that others do not: their own zone, and copies of all zones with leap seconds.
    if zone is None or name.partition("/")[0] in ("localtime", "posixrules", "posix", "right"):
        raise ValueError(f"timezone {name!r} is not known: an IANA name such as Europe/Berlin is meant")
    return zone


def _parts(rrule: str) -> Parts:
    """The parts of a rule by name. Raises ValueError."""
    parts: Parts = {}
    for part in rrule.upper().removesuffix(";").split(";"):
        name, _, value = part.partition("=")
        if name in parts:
            raise ValueError(f"rrule gives {name} twice")
        if name in _NUMBERS:
            _check_numbers(name, value)
        elif name not in _WORDS:
            raise ValueError(
                f"rrule: {name[:40]!r} is no part that is understood: {', '.join(sorted({*_WORDS, *_NUMBERS}))} are; "
                "the start and the time zone stand in `start` and `timezone`"
            )
        elif not re.fullmatch(_WORDS[name], value, re.ASCII):
            raise ValueError(f"rrule: {name}={value[:40]} means nothing here")
        parts[name] = value
    return parts


def _check_numbers(name: str, value: str) -> None:
    low, high = _NUMBERS[name]
    numbers = value.split(",") if name in _LISTS else [value]
    for number in numbers:
        if not re.fullmatch(r"[+-]?\d{1,4}", number, re.ASCII) or not low <= int(number) <= high:
            raise ValueError(f"rrule: {name} is from {low} to {high}")
        if low < 0 and not int(number):
            raise ValueError(f"rrule: {name} is not 0")


def _check_combination(parts: Parts) -> None:
    freq = parts.get("FREQ")
    if freq is None:
        raise ValueError("rrule has no FREQ")
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("rrule has either COUNT or UNTIL")
    for name, others in _NOT_WITH.items():
        if name in parts and freq in others:
            raise ValueError(f"rrule: {name} does not go with FREQ={freq}")
    numbered = re.search(r"\d", parts.get("BYDAY", ""))
    if numbered and (freq not in ("YEARLY", "MONTHLY") or "BYWEEKNO" in parts):
        raise ValueError("rrule: BYDAY has numbers with FREQ=MONTHLY and FREQ=YEARLY only, and not with BYWEEKNO")
    if "BYSETPOS" in parts and len([name for name in parts if name.startswith("BY")]) == 1:
        raise ValueError("rrule: BYSETPOS chooses from what another BY part gives")
    if until := parts.get("UNTIL"):
        try:
            datetime.fromisoformat(until)
        except ValueError:
            raise ValueError(f"rrule: UNTIL={until} is no date") from None


def _gives(parts: Parts, start: datetime) -> bool:
    """Whether the rule itself gives `start`: then it occurs at all, and again before long."""
    # With the largest of intervals, only the year, month, week, day or hour of `start` is looked at; or the same one
    # near the end of dateutil's search, since the calendar repeats every 400 years.
    alone = {name: value for name, value in parts.items() if name not in ("UNTIL", "COUNT")}
    alone["INTERVAL"] = str(24 * 10_000 * 366)
    late = start.replace(year=start.year + 19 * 400)
    try:
        return next(_rule(_complete(alone, late), late), None) == late
    except ValueError:
        return False


def _complete(parts: Parts, start: datetime) -> Parts:
    """The rule with what it leaves to `start`, so that it may begin elsewhere."""
    taken: Parts = {"BYSECOND": str(start.second), "BYMINUTE": str(start.minute)}
    if parts["FREQ"] != "HOURLY":
        taken["BYHOUR"] = str(start.hour)
    if not any(name in parts for name in _DAYS):
        if parts["FREQ"] == "WEEKLY":
            taken["BYDAY"] = _WEEK[start.weekday()]
        if parts["FREQ"] in ("YEARLY", "MONTHLY"):
            taken["BYMONTHDAY"] = str(start.day)
        if parts["FREQ"] == "YEARLY":
            taken["BYMONTH"] = str(start.month)
    return taken | parts


def _moved(parts: Parts, start: datetime, near: datetime) -> datetime:
    """The beginning of a year, month, week, day or hour that the rule looks at, shortly before `near`; or `start`."""
    interval = int(parts.get("INTERVAL", "1"))
    freq = parts["FREQ"]
    if near <= start:
        return start
    if freq in ("YEARLY", "MONTHLY"):
        unit = 12 if freq == "YEARLY" else 1
        begin, reached = start.year * 12 + start.month - 1, near.year * 12 + near.month - 1
        steps = (reached // unit - begin // unit) // interval
        months = (begin // unit + steps * interval) * unit
        return datetime(months // 12, months % 12 + 1, 1) if steps else start  # noqa: DTZ001  # wall-clock time
    midnight = start.replace(hour=0, minute=0, second=0)
    hour = start.replace(minute=0, second=0)
    week = midnight - timedelta(days=(start.weekday() - _WEEK.index(parts.get("WKST", "MO"))) % 7)
    first, unit_of_time = {
        "WEEKLY": (week, timedelta(weeks=1)),
        "DAILY": (midnight, timedelta(days=1)),
        "HOURLY": (hour, timedelta(hours=1)),
    }[freq]
    steps = (near - first) // (unit_of_time * interval)
    return first + steps * unit_of_time * interval if steps else start


def _rule(parts: Parts, begin: datetime) -> Iterator[datetime]:
    """The occurrences in local time, lazily."""
    from dateutil.rrule import rrulestr  # type: ignore[import-untyped]  # python-dateutil has no types of its own

    yield from rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=begin)
