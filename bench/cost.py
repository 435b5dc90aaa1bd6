"""What a stack costs: idle each month, and for a million events (`make bench NAME=cost`: the tables of docs/cost.md).

The resources are counted in the translated template, and the ledger's units are those that `make bench NAME=storm`
recorded from the code. Free tiers are left out: they belong to an account, not to a stack.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bench.storm import RESULT
from local.deploy import mode_parameters
from local.packages import load_template
from local.translation import translate

PRICES_OF = "us-east-1, list prices in US dollars, as published between November 2024 and June 2026"
PRICES = {
    "alarm": 0.10,
    "metric": 0.30,
    "dashboard": 3.00,
    "secret": 0.40,
    "log_gb": 0.50,
    "log_stored_gb": 0.03,
    "sqs_request": 0.40e-6,
    "lambda_request": 0.20e-6,
    "lambda_gb_second": 0.0000166667,
    "write_unit": 0.625e-6,
    "read_unit": 0.125e-6,
    "table_gb": 0.25,
    "recovery_gb": 0.20,
    "event": 1.00e-6,
    "api_request": 3.50e-6,
}
MINUTES = 43_800
"""In a month of 730 hours."""
POLLS = 5 * 3 * MINUTES
"""Of an idle queue in a month: Lambda keeps five pollers on it, and each asks anew when its 20 seconds are over."""
MEMORY_GB = 0.5
IDLE_SECONDS, IDLE_LOG_KB = 0.2, 1.0
"""Of one scheduled call that finds nothing to do (assumed)."""
LEDGER_GB = 1.0
"""About 60,000 runs with their journals and index entries (assumed)."""
RUN_SECONDS, JOIN_SECONDS, INGRESS_SECONDS, REPORT_SECONDS = 3.0, 0.1, 0.1, 0.5
RUN_LOG_KB, JOIN_LOG_KB = 4.0, 2.0
TRANSITIONS = 4
"""Of a run that is carried out: Planned, Applying, Verifying, Verified; report_outcome handles each."""
MILLION = 1_000_000


@dataclass(frozen=True)
class Item:
    """One line of a bill: what it is, how much of it, and what that costs for each column."""

    name: str
    counts: tuple[str, ...]
    dollars: tuple[float, ...]


def idle(toil_types: Iterable[int] = (3, 20)) -> list[Item]:
    """A month in which nothing happens, with so many toil types switched on (report_outcome comes on top)."""
    columns = tuple(toil_types)
    kinds, calls = _resources()
    shipped = len(mode_parameters(load_template())) - 1
    queues = tuple(kinds["AWS::Lambda::EventSourceMapping"] - 1 - shipped + toils for toils in columns)
    same = [calls["schedule"] + toils * 30 for toils in columns]  # a daily sweep each

    def fixed(name: str, count: int, price: str) -> Item:
        return Item(name, (f"{count:,}",) * len(columns), (count * PRICES[price],) * len(columns))

    def varying(name: str, amounts: Iterable[float], price: str, unit: str = "") -> Item:
        found = tuple(amounts)
        shown = tuple(f"{amount:,.0f}{unit}" if amount >= 10 else f"{amount:,.2f}{unit}" for amount in found)
        return Item(name, shown, tuple(amount * PRICES[price] for amount in found))

    return [
        varying("SQS: empty receives of the event sources' pollers", (one * POLLS for one in queues), "sqs_request"),
        fixed("CloudWatch dashboard", kinds["AWS::CloudWatch::Dashboard"], "dashboard"),
        fixed("Secrets that the template makes", kinds["AWS::SecretsManager::Secret"], "secret"),
        fixed("CloudWatch alarms", kinds["AWS::CloudWatch::Alarm"], "alarm"),
        fixed("Custom metrics that always have data", 2, "metric"),
        varying("Ledger: storage", (LEDGER_GB,) * len(columns), "table_gb", " GB"),
        varying("Ledger: point-in-time recovery", (LEDGER_GB,) * len(columns), "recovery_gb", " GB"),
        varying("Ledger: reads of wake", (MINUTES * 4 * 0.5,) * len(columns), "read_unit"),
        varying("Lambda: scheduled calls", same, "lambda_request"),
        varying(
            "Lambda: their duration", (one * IDLE_SECONDS * MEMORY_GB for one in same), "lambda_gb_second", " GB-s"
        ),
        varying("Logs: ingested", (one * IDLE_LOG_KB / 1e6 for one in same), "log_gb", " GB"),
    ]


def per_million() -> list[Item]:
    """A million events: if each becomes a run that is carried out, and if each joins a run that has yet to look."""
    steps = json.loads(RESULT.read_text())["steps"]
    full, join = steps["full"], steps["join"]
    told = 1 + TRANSITIONS, 1 + 1  # how many events the bus carries, and messages the queues

    def item(name: str, amounts: tuple[float, float], price: str, unit: str = "") -> Item:
        shown = tuple(f"{amount:,.0f}{unit}" if amount >= 10 else f"{amount:g}{unit}" for amount in amounts)
        return Item(name, shown, tuple(amount * MILLION * PRICES[price] for amount in amounts))

    return [
        item("API: webhooks", (1, 1), "api_request"),
        item("EventBridge: events", told, "event"),
        item("SQS: requests", (3 * told[0], 3 * told[1]), "sqs_request"),
        item("Lambda: calls", (1 + 2 * told[0], 1 + 2 * told[1]), "lambda_request"),
        item(
            "Lambda: duration",
            (
                MEMORY_GB * (INGRESS_SECONDS + RUN_SECONDS + REPORT_SECONDS * TRANSITIONS),
                MEMORY_GB * (INGRESS_SECONDS + JOIN_SECONDS + REPORT_SECONDS),
            ),
            "lambda_gb_second",
            " GB-s",
        ),
        item("Ledger: write units", (full["write_units"], join["write_units"]), "write_unit"),
        item("Ledger: read units", (full["read_units"], join["read_units"]), "read_unit"),
        item("Logs: ingested", (RUN_LOG_KB / 1e6, JOIN_LOG_KB / 1e6), "log_gb", " GB"),
    ]


def table(items: list[Item], titles: Iterable[str]) -> list[str]:
    """The lines of a table, the dearest item of the last column first."""
    columns = list(titles)
    lines = ["| | " + " | ".join(f"{title} | $" for title in columns) + " |"]
    lines.append("| --- |" + " ---: | ---: |" * len(columns))
    for one in sorted(items, key=lambda one: -one.dollars[-1]):
        pairs = [f"{count} | {dollars:,.2f}" for count, dollars in zip(one.counts, one.dollars, strict=True)]
        lines.append(f"| {one.name} | " + " | ".join(pairs) + " |")
    sums = [sum(one.dollars[column] for one in items) for column in range(len(columns))]
    lines.append("| **all** | " + " | ".join(f"| **{total:,.2f}**" for total in sums) + " |")
    return lines


def tables() -> list[str]:
    """Both tables, as they stand in docs/cost.md."""
    each = ["each becomes a run", "each joins a run"]
    return [*table(idle(), ["3 toil types", "20 toil types"]), "", *table(per_million(), each)]


def _resources() -> tuple[Counter[str], Counter[str]]:
    """Resources by type with everything switched on, and scheduled calls in a month."""
    resources = translate(parameters={"Rollouts": "true"})["Resources"]
    kinds = Counter(entry["Type"] for entry in resources.values())
    calls: Counter[str] = Counter()
    for name, entry in resources.items():
        rate = entry["Properties"].get("ScheduleExpression") if entry["Type"] == "AWS::Events::Rule" else None
        if rate and f"{name.removesuffix('Rule')}Queue" not in resources:
            number, unit = rate.removeprefix("rate(").removesuffix(")").split()
            calls["schedule"] += MINUTES // (int(number) * {"minute": 1, "hour": 60, "day": 1_440}[unit.rstrip("s")])
    return kinds, calls


def main() -> None:
    """Print them."""
    print(PRICES_OF)
    print("\n".join(tables()))


if __name__ == "__main__":
    main()
