"""`paydown export`."""

import json
import weakref
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest

from cli.export import lines
from cli.schemas import schema_of
from paydown.clients import aws
from paydown.events import Sweep
from paydown.ledger import Ledger, Run, history, table
from paydown.ledger.run import Outcome
from paydown.plan import Hazard
from tests.unit.toil import lamps
from tests.unit.toil.lamps import pushed

PROJECT = Path(__file__).resolve().parents[3]
VALIDATOR = jsonschema.Draft202012Validator(json.loads((PROJECT / "docs/schemas/export.json").read_text()))


def exported(answer):
    assert answer.code == 0, answer.err
    found = [json.loads(line) for line in answer.out.splitlines()]
    for one in found:
        VALIDATOR.validate(one)
    return found


def test_the_published_schema_is_current(command):
    published = json.loads((PROJECT / "docs/schemas/export.json").read_text())
    assert published == schema_of("export") == json.loads(command("schema", "export").out), (
        "paydown schema export > docs/schemas/export.json"
    )
    VALIDATOR.check_schema(published)


def test_a_run_with_everything_that_belongs_to_it(paydown, plant, world, clock):
    world.burning |= {"gas"}
    world.hazards["gas"] = Hazard.DESTRUCTIVE
    held = plant.look()
    plant.ledger.approvals.decide(held, held.fingerprint, approved=True, by="ann", why="empty", now=clock.tick(60))
    done = plant.wake(held)
    (found,) = exported(paydown("export"))
    assert (found["id"], found["status"], found["ended"]) == (done.id, "Verified", True)
    assert [entry["status"] for entry in found["log"]] == ["Planned", "Held", "Applying", "Verifying", "Verified"]
    assert [entry["sequence"] for entry in found["log"]] == sorted(entry["sequence"] for entry in found["log"])
    assert found["event"]["detail"]["repository"] == "rooms/one"
    (decision,) = found["decisions"]
    assert (decision["by"], decision["approved"], decision["fingerprint"]) == ("ann", True, held.fingerprint)
    executed = [step for plan in found["plans"] if plan["executed"] for step in plan["steps"]]
    assert {step["object"] for step in executed} >= {"lamp/gas"}
    assert found["evidence"] == json.loads(json.dumps(dict(done.evidence)))


def test_what_is_asked_for(paydown, plant, world, clock):
    verified = plant.look(pushed("push-1"))
    clock.tick(7_200)
    plant.publish(mode="approve")
    world.burning |= {"desk"}
    held = plant.look(pushed("push-2"), "host/room-2")
    names = {verified.id: "verified", held.id: "held"}

    def ids(*argv):
        return [names[one["id"]] for one in exported(paydown("export", *argv))]

    assert ids() == ["held", "verified"]
    assert ids("--since", "1h") == ["held"]
    assert ids("--until", "1h") == ["verified"]
    assert ids("--outcome", "Verified") == ["verified"]
    assert ids("--outcome", "failed") == []
    assert ids("--toil", "switch_off_lamps", "--since", "3h") == ["held", "verified"]
    assert ids("--toil", "recover_node") == []
    assert paydown("export", "--outcome", "held").code == 2
    assert paydown("export", "--since", "1h", "--until", "2h").code == 2
    assert "--until 'then'" in paydown("export", "--until", "then").err


def test_hostile_text_is_escaped(paydown, plant):
    plant.look(pushed("push-\x1b[2J\u202e", repository="rooms/one"))
    out = paydown("export").out
    assert out.isascii()
    assert not any(character < " " for character in out.rstrip("\n"))
    assert exported(paydown("export"))[0]["event"]["key"] == "push-\x1b[2J\u202e"


class Endless:
    """A DynamoDB client that makes up ended runs as it is asked for them, in pages: nothing is stored."""

    def __init__(self, ledger: Ledger, begin: datetime, count: int) -> None:
        self.runs = ledger.runs
        self.begin = begin
        self.numbers = {f"RUN#{self.run(number).id}": number for number in range(count)}
        self.shards: dict[str, list[int]] = {}
        for number in range(count):
            subject = history.began(self.run(number), begin, timedelta())[0]["history"]
            self.shards.setdefault(subject, []).insert(0, number)

    def run(self, number: int) -> Run:
        now = self.begin + timedelta(seconds=number)
        event = Sweep(key=f"sweep-{number}", at=now, rule="daily")
        return replace(Run.begin("clean", f"t{number}", f"host/t{number}", event, now), status=Outcome.VERIFIED)

    def query(self, *, ExpressionAttributeValues, ExclusiveStartKey=None, **request):  # noqa: N803 -- the client's names
        subject = ExpressionAttributeValues[":pk"]["S"]
        if "IndexName" not in request:
            return {"Items": [self.runs._logged(self.run(self.numbers[subject]), self.begin)["Put"]["Item"]]}
        first = ExclusiveStartKey["first"] if ExclusiveStartKey else 0
        shard = self.shards.get(subject, [])
        items = [history.began(self.run(number), self.begin, timedelta())[0] for number in shard[first : first + 20]]
        more = {"LastEvaluatedKey": {"first": first + 20}} if first + 20 < len(shard) else {}
        return {"Items": [wire(item) for item in items], **more}

    def batch_get_item(self, RequestItems):  # noqa: N803 -- the client's name
        ((name, request),) = RequestItems.items()
        return {"Responses": {name: [wire(self.run(self.numbers[key["pk"]["S"]]).item()) for key in request["Keys"]]}}


def wire(item):
    return {name: table.encode(value) for name, value in item.items() if value is not None}


def test_five_thousand_runs_take_no_more_memory_than_a_few(ledger, clock, monkeypatch):
    count = 5_000
    monkeypatch.setattr(ledger.table, "_client", Endless(ledger, clock(), count))
    clock.tick(count)
    held: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Tracked(dict[str, Any]):
        __hash__ = object.__hash__

    plain = table.plain

    def tracked(item):
        nonlocal most
        found = Tracked(plain(item))
        held.add(found)
        most = max(most, len(held))
        return found

    monkeypatch.setattr(table, "plain", tracked)
    runs = ledger.history.runs(ledger.history.begun(clock() - timedelta(hours=2), clock()))
    times = [json.loads(line)["created"] for line in lines(ledger, runs)]
    assert (len(times), times) == (count, sorted(times, reverse=True))
    assert most < 100


CANARY = "hunter2-canary"


def test_secrets_never_come_out(paydown, plant, world, monkeypatch):
    """A toil type that reads a secret, and one whose secret is no JSON: neither ledger nor export has its value."""
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name="paydown/hosts/room", SecretString=json.dumps({"password": CANARY}))
    secrets.create_secret(Name="paydown/hosts/broken", SecretString=CANARY)
    aws.forget()
    read = []

    def reads(name):
        def reading(*_):
            read.append(aws.secret(name))

        return reading

    world.while_planning = reads("paydown/hosts/room")
    plant.look(pushed("push-1"))
    world.burning |= {"hall"}
    world.while_planning = reads("paydown/hosts/broken")
    plant.look(pushed("push-2"))
    world.burning |= {"desk"}
    world.while_planning = None
    world.while_applying = reads("paydown/hosts/broken")
    plant.look(pushed("push-3"))
    aws.forget()
    assert read == [{"password": CANARY}]
    answer = paydown("export")
    assert len(exported(answer)) == 3
    assert "paydown/hosts/broken" in answer.out
    everything = json.dumps(boto3.client("dynamodb").scan(TableName="ledger")["Items"], default=str)
    assert CANARY not in answer.out + everything
    assert lamps.WORLD is world


@pytest.mark.parametrize("name", ["secret", "password", "token", "authorization"])
def test_the_schema_has_no_place_for_secrets(name):
    assert name not in json.dumps(schema_of("export")).lower()
