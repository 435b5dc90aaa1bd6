"""The live view: events as they arrive, and what became of each, read from the ledger.

In a terminal a table that is drawn again and again; elsewhere one line for each transition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from paydown.errors import RetryableError
from paydown.ledger import Ledger, Outcome, Run, Stop

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

INTERVAL = 0.5
ROWS = 20
DAYS = 2
"""How far back the view looks for runs: further days are empty queries, each time."""
COLOURS: Mapping[str, str] = {
    Outcome.VERIFIED: "green",
    Outcome.SKIPPED: "bright_black",
    Outcome.OBSERVED: "cyan",
    Outcome.UNVERIFIED: "red",
    Outcome.FAILED: "red",
    Outcome.REFUSED: "magenta",
    Outcome.REJECTED: "magenta",
}


def plain(text: object, limit: int = 70) -> str:
    """Text of somebody outside on one line: no control characters, and cut at `limit`."""
    line = " ".join("".join(character if character.isprintable() else " " for character in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def described(event_type: str, event: Mapping[str, Any]) -> str:
    """An event in a few words."""
    match event_type:
        case "ImagePushed":
            what = f"{event['registry']}/{event['repository']}:{event.get('tag') or '-'}"
        case "DiskPressure":
            what = f"{event['host']} {event.get('mount') or ''}"
        case "NodeNotReady":
            what = f"{event['cluster']}/{event['node']}"
        case "TicketCreated":
            what = f"{event['ticket']['tracker']} {event['ticket']['id']} “{event.get('title', '')}”"
        case "Sweep":
            what = event["rule"]
        case _:
            what = event.get("key", "")
    return f"{event_type} {plain(what)}"


def seconds(run: Run, now: datetime) -> float:
    """How long a run took, or has taken so far."""
    end = run.updated or now if run.ended else now
    return max(0.0, (end - run.created).total_seconds())


def why(run: Run) -> str:
    """What a person wants to know of where the run stands: its reason, or what was saved or seen."""
    if run.reasons:
        return plain("; ".join(reason.text for reason in run.reasons), 120)
    shown = [f"{name} {value}" for name, value in run.evidence.items() if isinstance(value, int | float | str)]
    return plain(", ".join(shown), 120)


@dataclass
class Watch:
    """Looks at the ledger, and knows what it has told already."""

    ledger: Ledger
    since: datetime
    told: dict[str, int] = field(default_factory=dict)

    def runs(self, now: datetime, limit: int = ROWS) -> list[Run]:
        """The newest runs, newest first."""
        return list(self.ledger.history.recent(now, limit=limit, days=DAYS))

    def news(self, now: datetime) -> Iterator[str]:
        """A line for each transition since the last look."""
        for run in reversed(self.runs(now, 100)):
            before = self.told.get(run.id, 0)
            if run.sequence == before or (run.updated or run.created) < self.since:
                continue
            for entry in self.ledger.runs.log(run.id):
                number = int(entry["sk"].partition("#")[2])
                if number > before:
                    yield self._line(run, entry)
                    self.told[run.id] = max(number, self.told.get(run.id, 0))

    @staticmethod
    def _line(run: Run, entry: Mapping[str, Any]) -> str:
        reasons = "; ".join(text for _, text in entry["reasons"])
        at = datetime.fromisoformat(entry["at"]).astimezone()
        about = described(run.event_type, run.event)
        told = f": {plain(reasons, 160)}" if reasons else ""
        return f"{at:%H:%M:%S}  {entry['status']:<10}  {run.toil} on {plain(run.ref)} ({about}){told}"


def table(runs: Sequence[Run], stops: Sequence[Stop], now: datetime) -> RenderableType:
    """The runs as a table, newest first, under what is stopped."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(expand=True, box=None, pad_edge=False, header_style="bold")
    for name, ratio in (("at", 0), ("event", 4), ("toil", 0), ("target", 2), ("status", 0), ("s", 0), ("", 5)):
        grid.add_column(name, ratio=ratio or None, no_wrap=True, overflow="ellipsis")
    for run in runs:
        colour = COLOURS.get(run.status, "yellow")
        cells = (
            f"{run.created.astimezone():%H:%M:%S}",
            described(run.event_type, run.event),
            run.toil,
            plain(run.ref),
            run.status.value,
            f"{seconds(run, now):.0f}",
            why(run),
        )
        grid.add_row(*(Text(cell, style=colour if cell == run.status.value else "") for cell in cells))
    lines: list[RenderableType] = [
        Text(f"stopped: {plain(stop.scope)} by {plain(stop.by)}: {plain(stop.why)}", style="bold red") for stop in stops
    ]
    if not runs:
        lines.append(Text("no event yet", style="bright_black"))
    return Group(*lines, grid)


def show(ledger: Ledger, check: Callable[[], None], console: Console) -> None:
    """Show what happens until an exception ends it; `check` is called with each look and raises when all is over."""
    watch = Watch(ledger, datetime.now(UTC))
    if not console.is_terminal:
        _lines(watch, check)
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        while True:
            check()
            now = datetime.now(UTC)
            try:
                live.update(table(watch.runs(now), ledger.switches.all(), now), refresh=True)
            except RetryableError as error:
                live.update(plain(error), refresh=True)
            time.sleep(INTERVAL)


def _lines(watch: Watch, check: Callable[[], None]) -> None:
    while True:
        check()
        try:
            for line in watch.news(datetime.now(UTC)):
                print(line, flush=True)
        except RetryableError as error:
            print(plain(error), flush=True)
        time.sleep(INTERVAL)
