"""`paydown status`: what is switched on, what is going on, what needs attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.exits import FINE, NEEDS_ATTENTION, CommandError
from cli.failures import explain
from cli.lookup import short
from cli.output import span
from cli.session import Session
from cli.switches import as_data
from cli.toils import deployed_modes
from cli.version import version
from paydown.errors import InvalidDocument
from paydown.ledger import EVERYTHING, Documents, NoDocument
from paydown.ledger.run import moment as stored_moment

OVERDUE = timedelta(seconds=300)
"""A run that nobody has looked at for so long after it was due is overdue: as long as the stack's alarm waits."""
SHOWN_OVERDUE = 20
MOST_ALIVE = 1_000
"""Living runs that are read, of each shard."""


def run(session: Session) -> int:
    """Print it; with `--check`, exit with 7 if something needs attention."""
    state = look(session)
    session.out.data(state)
    if not session.out.wants_json:
        _print(session, state)
    return NEEDS_ATTENTION if session.args.check and state["attention"] else FINE


def look(session: Session) -> dict[str, Any]:
    """The state as plain JSON data."""
    ledger, connection, now = session.ledger, session.connection, session.now()
    policy, inventory = _document(ledger.policy), _document(ledger.inventory)
    stops = [as_data(one) for one in ledger.switches.all()]
    alive = list(ledger.runs.alive(MOST_ALIVE))
    overdue = sorted((row for row in alive if _late(row, now) > OVERDUE), key=lambda row: int(row["due"]))
    try:
        deployed: dict[str, str] = deployed_modes(connection.parameters)
        dead = _dead_letters(session)
    except (CommandError, ClientError, BotoCoreError) as error:
        # The ledger alone is worth showing to who may read nothing else.
        session.out.note(f"only the ledger could be read: {explain(error).message}")
        deployed, dead = {}, None
    state = {
        "version": version(),
        "stack": connection.stack_name,
        "table": connection.table_name,
        "policy": policy and policy["data"],
        "inventory": inventory and inventory["data"],
        "toils": _toils(session, policy, deployed, stops, alive, overdue),
        "stops": stops,
        "alive": {
            "total": len(alive),
            "by_status": dict(sorted(Counter(row["status"] for row in alive).items())),
            "complete": _complete(alive),
        },
        "overdue": [_overdue(row, now) for row in overdue[:SHOWN_OVERDUE]],
        "overdue_total": len(overdue),
        "dead_letters": dead,
    }
    return {**state, "attention": _attention(state)}


def _document(documents: Documents[Any]) -> dict[str, Any] | None:
    """The version in force: its parsed `document`, and the `data` to show; None when nothing was published."""
    try:
        found = documents.current()
    except NoDocument:
        return None
    except InvalidDocument as error:
        faults = [list(fault) for fault in error.faults]
        return {"document": None, "data": {"version": None, "sha256": None, "by": None, "at": None, "faults": faults}}
    data = {"version": found.number, "sha256": found.sha256, "by": found.by, "at": found.at, "faults": []}
    return {"document": found.document, "data": data}


def _toils(
    session: Session,
    policy: dict[str, Any] | None,
    deployed: dict[str, str],
    stops: list[dict[str, Any]],
    alive: Iterable[dict[str, Any]],
    overdue: Iterable[dict[str, Any]],
) -> list[dict[str, Any]]:
    named = policy["document"].toils if policy and policy["document"] else {}
    stopped = {stop["scope"] for stop in stops}
    living = Counter((row["toil"], row["status"]) for row in alive)
    late = Counter(row["toil"] for row in overdue)
    names = {*named, *deployed, *(toil for toil, _ in living), *(stopped - {EVERYTHING})}
    return [
        {
            "toil": name,
            "deployed": deployed.get(name),
            "mode": named[name].mode.value if name in named else None,
            "ceiling": named[name].ceiling.value if name in named else None,
            "overrides": len(named[name].overrides) if name in named else 0,
            "stopped": bool({name, EVERYTHING} & stopped),
            "alive": {status: count for (toil, status), count in sorted(living.items()) if toil == name},
            "overdue": late[name],
            "saved": _saved(session, name),
        }
        for name in sorted(names)
    ]


def _saved(session: Session, toil: str) -> dict[str, int]:
    """What the toil type saved in all, added up over the months of its account."""
    total: Counter[str] = Counter()
    for month in session.ledger.account(toil):
        total.update({name: value for name, value in month.items() if name != "month"})
    return dict(total)


def _dead_letters(session: Session) -> dict[str, int | None]:
    """How many messages lie in the two dead-letter queues."""
    sqs, outputs = session.connection.client("sqs"), session.connection.outputs
    found: dict[str, int | None] = {}
    for name, output in (("messages", "DeadLetters"), ("rule_deliveries", "RuleDeadLetters")):
        queue = outputs.get(output, "").rsplit(":", 1)[-1]
        if not queue:
            found[name] = None
            continue
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        found[name] = int(answer["Attributes"]["ApproximateNumberOfMessages"])
    return found


def _complete(alive: list[dict[str, Any]]) -> bool:
    """Whether all living runs were read: no shard filled its page."""
    return all(count < MOST_ALIVE for count in Counter(row["due_shard"] for row in alive).values())


def _late(row: dict[str, Any], now: datetime) -> timedelta:
    return now - (stored_moment(row["due"]) or now)


def _overdue(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": row["id"],
        "toil": row["toil"],
        "target": {"ref": row["ref"], "uid": row["target"]},
        "status": row["status"],
        "due": stored_moment(row["due"]),
        "seconds": round(_late(row, now).total_seconds()),
    }


def _attention(state: dict[str, Any]) -> list[str]:
    """What needs attention, in words; empty when all is well."""
    found = [f"{'everything' if one['scope'] == EVERYTHING else one['scope']} is stopped" for one in state["stops"]]
    if state["overdue_total"]:
        found.append(f"{state['overdue_total']} run(s) are overdue")
    for kind in ("policy", "inventory"):
        if state[kind] is None:
            found.append(f"no {kind} has been published, so that nothing is done")
        elif state[kind]["faults"]:
            found.append(f"the {kind} in force is invalid for this version of Paydown")
    for name, count in (state["dead_letters"] or {}).items():
        if count:
            found.append(f"{count} dead letter(s): {name.replace('_', ' ')}")
    return found


def _print(session: Session, state: dict[str, Any]) -> None:
    out = session.out
    out.fields(
        [
            ("paydown", state["version"]),
            ("stack", f"{state['stack']} (ledger {state['table']})"),
            ("policy", _published(state["policy"])),
            ("inventory", _published(state["inventory"])),
            ("living runs", _counted(state["alive"])),
            ("dead letters", _dead(state["dead_letters"])),
        ]
    )
    out.heading("Toil types")
    rows = [_row(toil) for toil in state["toils"]]
    columns = ["toil", "deployed", "policy", "ceiling", "alive", "overdue", "verified", "minutes saved"]
    out.table(columns, rows, whole=["toil"])
    if state["overdue"]:
        out.heading("Overdue")
        late = [
            [short(one["id"]), one["toil"], one["target"]["ref"], one["status"], span(one["seconds"])]
            for one in state["overdue"]
        ]
        out.table(["run", "toil", "target", "status", "late by"], late, whole=["run"])
    if state["stops"]:
        out.heading("Stopped")
        stops = [[one["scope"], one["by"], one["at"], one["why"]] for one in state["stops"]]
        out.table(["what", "by", "since", "why"], stops, whole=["what", "since"])
    out.line()
    out.line("; ".join(state["attention"]) if state["attention"] else "nothing needs attention")


def _row(toil: dict[str, Any]) -> list[Any]:
    mode = toil["mode"] or "-"
    if toil["overrides"]:
        mode += f" (+{toil['overrides']} by label)"
    alive = ", ".join(f"{status} {count}" for status, count in toil["alive"].items()) or "-"
    saved = toil["saved"]
    return [
        toil["toil"],
        toil["deployed"] or "?",
        "STOPPED" if toil["stopped"] else mode,
        toil["ceiling"] or "-",
        alive,
        toil["overdue"] or "-",
        saved.get("runs", 0),
        saved.get("minutes", 0),
    ]


def _published(document: dict[str, Any] | None) -> str:
    if document is None:
        return "none published"
    if document["faults"]:
        return "invalid for this version of Paydown"
    return f"version {document['version']}, by {document['by']} at {document['at']}"


def _dead(letters: dict[str, int | None] | None) -> str:
    if letters is None:
        return "?"
    return ", ".join(f"{name.replace('_', ' ')} {'?' if count is None else count}" for name, count in letters.items())


def _counted(alive: dict[str, Any]) -> str:
    parts = ", ".join(f"{status} {count}" for status, count in alive["by_status"].items())
    return f"{alive['total']}{'' if alive['complete'] else ' or more'}{f' ({parts})' if parts else ''}"
