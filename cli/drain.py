"""`paydown drain`: bring everything to rest before the stack goes, and leave nothing half-done behind.

Its order matters: a switch stops what is being done; rules are disabled, so that nothing new begins; living runs end
and give their leases back; then what they left is taken back, which was asked for after the switch, and so is not
stopped by it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import sleep
from typing import Any

from cli.exits import CONFLICT, FINE, NotFoundError
from cli.export import kept
from cli.half_done import half_done
from cli.lookup import short
from cli.output import moment
from cli.queues import send_to_toil, url_of
from cli.session import Session
from paydown.events import UndoRequested
from paydown.ledger import EVERYTHING, WORKER_TIME, ConditionFailed, Lost, Outcome, Reason, Run, Status, run_id
from paydown.ledger.run import moment as stored_moment
from paydown.ledger.table import plain
from paydown.toil.worker import wake_command

WHY = "Paydown is being uninstalled"
LOOK_SECONDS = 2.0
HALF_DONE = (Outcome.FAILED, Outcome.REFUSED, Outcome.REJECTED, Outcome.UNVERIFIED)
UNDO_TRIES = 3
"""Takings back of one run that are looked at."""
PASSES = 3
"""How often living runs are ended: somebody may take one up at the same moment."""
REPORTING = "ReportOutcomeQueue"


@dataclass
class Left:
    """What is still there: living runs, names of steps that are half-done by run, leases, and undelivered messages."""

    alive: list[Run] = field(default_factory=list)
    half_done: dict[str, list[str]] = field(default_factory=dict)
    ended: list[Run] = field(default_factory=list)
    leases: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)


def run(session: Session) -> int:
    """Drain the stack; exits with 5 if something is left, or if the person says no."""
    drain = Drain(session)
    return drain.run()


class Drain:
    """One draining of a stack."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ledger = session.ledger
        self.who = session.who()
        self.rules = self._rules()

    def run(self) -> int:
        """Everything, in order."""
        out = self.session.out
        self.ledger.switches.stop(EVERYTHING, self.who, WHY, self.session.now())
        out.line("stopped: everything. What is being done at this moment ends; nothing more is begun.")
        self._wait(lambda: not self._at_work(), "work in progress to stop")
        before = self._look()
        self._show(before)
        if self._at_work():
            out.note("some workers are still at work: try again in a minute")
            return self._told(before, CONFLICT)
        if not self._agreed("End these runs, release their leases and take back what is half-done?"):
            out.line("Nothing was ended. Everything stays stopped until: paydown resume")
            return self._told(before, CONFLICT)
        self._events(enable=False)
        try:
            left = self._bring_to_rest()
        except BaseException:
            self._events(enable=True)
            raise
        rest = any((left.alive, left.half_done, left.leases))
        if rest:
            self._show(left)
            out.line("This is left for people to look after.")
            if not self._agreed("Go on all the same?", unless_told=False):
                self._events(enable=True)
                out.line("Everything stays stopped until: paydown resume")
                return self._told(left, CONFLICT)
        self._empty_bucket()
        out.line(f"Everything is at rest. The ledger stays when the stack goes: {self.session.connection.table_name}")
        return self._told(left, FINE)

    # -- bringing to rest ----------------------------------------------------------------------------------------------

    def _bring_to_rest(self) -> Left:
        self._wait(lambda: not self._messages(), "messages that are on their way")
        ended = self._end_all()
        undone = self._to_take_back(ended)
        if undone:
            begun = self._take_back(undone)
            self._wait(lambda: not self._living(begun), "what is half-done to be taken back")
            self._wait(lambda: not self._at_work(), "work in progress to stop")
            self._end_all()
        return self._look()

    def _end_all(self) -> list[Run]:
        """End all living runs, and release what leases are left; the runs."""
        ended = []
        for _ in range(PASSES):
            for run in self._alive():
                left = half_done(self.ledger, run)
                evidence = {**run.evidence, "left": left} if left else dict(run.evidence)
                reason = Reason("uninstalled", f"{WHY}, by {self.who}")
                with suppress(Lost):
                    now = self.session.now()
                    ended.append(self.ledger.runs.end(run, Outcome.REJECTED, now, [reason], evidence=evidence))
        self._release()
        return ended

    def _release(self) -> None:
        """Delete leases that no living run holds."""
        alive = {run.id for run in self._alive()}
        table = self.ledger.table
        for lease in self._leases():
            if lease["run"] not in alive:
                with suppress(ConditionFailed):
                    table.transact([table.delete(lease["pk"], "LEASE", "#run = :run", run=lease["run"])])

    def _to_take_back(self, ended: list[Run]) -> list[Run]:
        """The ended runs that left something half-done, and whose toil type is there to take it back."""
        found = []
        known = {run.id: run for run in [*self._ended_half_done(), *ended] if run.evidence.get("left")}
        for run in known.values():
            try:
                url_of(self.session, f"{self.session.connection.stack_name}-toil-{run.toil}", run.toil)
            except NotFoundError as error:
                self.session.out.note(f"run {short(run.id)} stays half-done: {error}")
            else:
                found.append(run)
        return found

    def _take_back(self, runs: list[Run]) -> list[str]:
        """Begin the runs that take back what these left; their ids."""
        begun = []
        for run in runs:
            undo = self.ledger.runs.undo(run, by=self.who, why=WHY, now=self.session.now())
            send_to_toil(self.session, undo.toil, wake_command(undo.id))
            begun.append(undo.id)
        return begun

    def _wait(self, done: Callable[[], bool], what: str) -> bool:
        """Look until it is so, for as long as the command line says."""
        deadline = self.session.now() + timedelta(seconds=self.session.args.seconds)
        told = False
        while not done():
            if self.session.now() >= deadline:
                self.session.out.note(f"waited {self.session.args.seconds} s for {what}")
                return False
            if not told:
                self.session.out.note(f"waiting for {what}")
                told = True
            sleep(LOOK_SECONDS)
        return True

    def _agreed(self, question: str, *, unless_told: bool = True) -> bool:
        """Whether the person says yes; `--yes` does for questions that are no surprise, `--force` for all."""
        args = self.session.args
        if args.force or (args.yes and unless_told):
            return True
        if args.yes or not sys.stdin.isatty():
            self.session.out.note(f"{question} Nobody is there to say so ({'--force' if args.yes else '--yes'}).")
            return False
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    # -- looking -------------------------------------------------------------------------------------------------------

    def _look(self) -> Left:
        alive = self._alive()
        ended = self._ended_half_done()
        unfinished = {run.id: found for run in alive if (found := half_done(self.ledger, run))}
        unfinished |= {run.id: list(run.evidence["left"]) for run in ended}
        return Left(alive, unfinished, ended, self._leases(), self._messages())

    def _alive(self) -> list[Run]:
        found = (self.ledger.runs.get(row["id"]) for row in self.ledger.runs.alive(limit=10_000))
        return [run for run in found if run is not None and not run.ended]

    def _at_work(self) -> list[Run]:
        """Runs whose worker may be alive: its time is not over."""
        now = self.session.now()
        soon = now + WORKER_TIME
        resting = (Status.DEFERRED, Status.HELD)
        return [
            run
            for run in self._alive()
            if run.due is not None and now < run.due <= soon and (run.takes > 0 or run.status not in resting)
        ]

    def _living(self, ids: list[str]) -> list[Run]:
        found = (self.ledger.runs.get(id) for id in ids)
        return [run for run in found if run is not None and not run.ended]

    def _ended_half_done(self) -> list[Run]:
        """Ended runs that left something which nobody has taken back, as far as the ledger knows."""
        now = self.session.now()
        entries = self.ledger.history.ended(HALF_DONE, now - kept(self.ledger), now)
        found = self.ledger.history.runs(entries)
        return [run for run in found if run.evidence.get("left") and not self._taken_back(run)]

    def _taken_back(self, run: Run) -> bool:
        if run.event_type == UndoRequested.detail_type():
            return True  # what it left is told as what the run left that it was for
        for attempt in range(1, UNDO_TRIES + 1):
            undo = self.ledger.runs.get(run_id(f"undo:{run.id}", run.target, run.toil, attempt))
            if undo is not None and undo.status is Outcome.VERIFIED:
                return True
        return False

    def _leases(self) -> list[dict[str, Any]]:
        """All leases. The whole table is read for them: this is done once in its life."""
        pages = self.session.connection.client("dynamodb").get_paginator("scan")
        found: list[dict[str, Any]] = []
        for page in pages.paginate(
            TableName=self.ledger.table.name,
            FilterExpression="sk = :lease",
            ExpressionAttributeValues={":lease": {"S": "LEASE"}},
            ConsistentRead=True,
        ):
            found += map(plain, page["Items"])
        return found

    def _messages(self) -> dict[str, int]:
        """Messages in the queues of toil types, those that are being handled among them."""
        sqs = self.session.connection.client("sqs")
        prefix = f"{self.session.connection.stack_name}-toil-"
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = {}
        for url in sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls", []):
            answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            counts[url.rsplit("/", 1)[1].removeprefix(prefix)] = sum(int(answer[name]) for name in names)
        return {toil: count for toil, count in counts.items() if count and toil != "report_outcome"}

    # -- the stack -----------------------------------------------------------------------------------------------------

    def _rules(self) -> list[str]:
        """The rules that bring events to toil types; outcomes go on being reported."""
        resources = self._resources()
        toils = [name.removesuffix("Queue") for name in resources if name.endswith("Queue") and name != REPORTING]
        return [resources[f"{toil}Rule"] for toil in toils if f"{toil}Rule" in resources]

    def _resources(self) -> dict[str, str]:
        cloudformation = self.session.connection.client("cloudformation")
        pages = cloudformation.get_paginator("list_stack_resources").paginate(
            StackName=self.session.connection.stack_name
        )
        return {
            one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
            for page in pages
            for one in page["StackResourceSummaries"]
        }

    def _events(self, *, enable: bool) -> None:
        events = self.session.connection.client("events")
        for rule in self.rules:
            (events.enable_rule if enable else events.disable_rule)(Name=rule.rsplit("/", 1)[-1])

    def _empty_bucket(self) -> None:
        """CloudFormation cannot delete a bucket that has something in it; this holds output of commands, for a week."""
        bucket = self.session.connection.outputs.get("CommandOutput")
        if not bucket:
            return
        s3 = self.session.connection.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for one in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=one["Key"])

    # -- telling -------------------------------------------------------------------------------------------------------

    def _show(self, left: Left) -> None:
        out = self.session.out
        runs = [*left.alive, *left.ended]
        if not (runs or left.leases or left.messages):
            out.line("Nothing is going on, and nothing is left half-done.")
            return
        rows = [
            [short(run.id), run.toil, run.ref, run.status.value, ", ".join(left.half_done.get(run.id, [])) or "-"]
            for run in runs
        ]
        if rows:
            out.heading("Runs")
            out.table(["run", "toil", "target", "status", "half-done"], rows, whole=["run"])
        if left.leases:
            out.heading("Leases")
            leases = [[one["ref"], short(one["run"]), moment(stored_moment(one["until"]))] for one in left.leases]
            out.table(["target", "run", "until"], leases)
        for toil, count in left.messages.items():
            out.line(f"{count} messages wait for {toil}")

    def _told(self, left: Left, code: int) -> int:
        self.session.out.data(
            {
                "at_rest": code == FINE,
                "alive": [run.id for run in left.alive],
                "half_done": left.half_done,
                "leases": [{"target": one["ref"], "run": one["run"]} for one in left.leases],
                "messages": left.messages,
                "table": self.session.connection.table_name,
            }
        )
        return code
