"""`paydown dead-letters list|show|redrive`, and `paydown redrive`."""

import json

import boto3
import pytest

from cli import letters
from cli.connection import Connection
from paydown.clients import bus as bus_module
from tests.unit.toil.lamps import pushed

TOIL = "switch_off_lamps"
QUEUE = f"arn:aws:sqs:eu-central-1:123456789012:house-toil-{TOIL}"
EVENT = {"source": "paydown", "detail-type": "ImagePushed", "detail": pushed().model_dump(mode="json")}


class Sqs:
    """moto's SQS, which does not tell where a dead letter came from, with that added as SQS tells it."""

    def __init__(self, real, sources):
        self._real, self._sources = real, sources

    def __getattr__(self, name):
        return getattr(self._real, name)

    def receive_message(self, **request):
        answer = self._real.receive_message(**request)
        for message in answer.get("Messages", ()):
            if (source := self._sources.get(message["MessageId"])) is not None:
                message["Attributes"]["DeadLetterQueueSourceArn"] = source
        return answer


class Post:
    """Puts letters into the dead-letter queues, and looks into the queues."""

    def __init__(self, sqs, sources):
        self.sqs, self.sources, self.events = sqs, sources, []

    def url(self, name):
        return self.sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def message(self, body, source=QUEUE, **attributes):
        text = body if isinstance(body, str) else json.dumps(body)
        made = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sent = self.sqs.send_message(QueueUrl=self.url("house-dead"), MessageBody=text, MessageAttributes=made)
        self.sources[sent["MessageId"]] = source
        return sent["MessageId"]

    def delivery(self, body, **attributes):
        made = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sent = self.sqs.send_message(
            QueueUrl=self.url("house-rule-dead"), MessageBody=json.dumps(body), MessageAttributes=made
        )
        return sent["MessageId"]

    def bodies(self, name):
        """What can be received from a queue now, without keeping it from others."""
        found = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.url(name), MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages", ()):
            found += messages
        for message in found:
            self.sqs.change_message_visibility(
                QueueUrl=self.url(name), ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return [message["Body"] for message in found]


@pytest.fixture
def post(house, monkeypatch):
    monkeypatch.setattr(letters, "WAIT", 0)
    monkeypatch.setattr(bus_module, "PAUSES", ())
    sources = {}
    made = Post(boto3.client("sqs"), sources)

    class Bus:
        def put_events(self, Entries):  # noqa: N803 -- the client's name
            made.events.extend(Entries)
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in Entries]}

    real = Connection.client

    def client(self, name):
        found = Bus() if name == "events" else real(self, name)
        return Sqs(found, sources) if name == "sqs" else found

    monkeypatch.setattr(Connection, "client", client)
    return made


@pytest.fixture
def letters_of(paydown, house):
    def run(*argv, **options):
        return paydown("dead-letters", *argv, "--stack", house, "--json")

    return run


def pointer(first="2026-11-22T03:00:00Z", last="2026-11-22T03:00:01Z"):
    batch = {"approximateArrivalOfFirstRecord": first, "approximateArrivalOfLastRecord": last, "batchSize": 3}
    return {"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": batch}


def test_the_list_says_what_is_wrong_and_loses_nothing(post, letters_of):
    wake = {"paydown": 1, "command": "wake", "run_id": "abc"}
    look = {"paydown": 1, "command": "look", "target": "host/a", "detail_type": "Sweep", "detail": {"key": "k"}}
    post.message(wake)
    post.message(look)
    post.message("{")
    post.message({**EVENT, "detail": {"key": "push-2"}})
    post.message(pointer(), source=None)
    post.delivery(EVENT, TARGET_ARN=QUEUE, ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not allowed")
    for _ in range(2):
        answer = letters_of("list")
        assert answer.code == 0
        found = {one["about"]: one for one in answer.data["dead_letters"]}
        assert {about: (one["kind"], one["toil"]) for about, one in found.items()} == {
            "wake run abc": ("message", TOIL),
            "look at host/a: Sweep k": ("message", TOIL),
            "no JSON object": ("message", TOIL),
            "ImagePushed push-2": ("message", TOIL),
            "3 transition(s) of runs": ("pointer", None),
            "ImagePushed push-1": ("delivery", TOIL),
        }
        wrong = {about: one["wrong"] for about, one in found.items()}
        assert wrong["no JSON object"] == "it is no JSON object"
        assert "registry: Field required" in wrong["ImagePushed push-2"]
        assert wrong["ImagePushed push-1"] == "NO_PERMISSIONS: not allowed"
        assert wrong["3 transition(s) of runs"] == "not published: RetryAttemptsExhausted"
        assert "tried too often" in wrong["wake run abc"]
    assert (len(post.bodies("house-dead")), len(post.bodies("house-rule-dead"))) == (5, 1)


def test_the_list_of_one_toil_type_and_of_a_few(post, letters_of):
    for number in range(12):
        post.message({"paydown": 1, "command": "wake", "run_id": str(number)})
    post.message({"paydown": 1}, source=QUEUE.replace(TOIL, "recover_node"))
    assert len(letters_of("list", "--toil", TOIL).data["dead_letters"]) == 12
    assert len(letters_of("list", "--limit", "3").data["dead_letters"]) == 3
    assert len(post.bodies("house-dead")) == 13


def test_one_letter_whole(post, letters_of, paydown, house):
    id = post.delivery(EVENT, TARGET_ARN=QUEUE, ERROR_CODE="SDK_CLIENT_ERROR", RULE_ARN="arn:rule")
    shown = letters_of("show", id[:8]).data
    assert json.loads(shown["body"]) == EVENT
    assert (shown["redrive_to"], shown["refused"]) == (f"house-toil-{TOIL}", None)
    assert shown["attributes"]["RULE_ARN"] == "arn:rule"
    text = paydown("dead-letters", "show", id[:8], "--stack", house).out
    assert '"detail-type": "ImagePushed"' in text
    assert letters_of("show", "ffffffff-ffff").code == 4
    assert letters_of("show", "ab").code == 2
    assert len(post.bodies("house-rule-dead")) == 1


def test_letters_go_back_to_their_queues_with_their_attributes(post, letters_of):
    first = post.message(EVENT, trace="t-1")
    second = post.delivery(EVENT, TARGET_ARN=QUEUE, ERROR_CODE="NO_PERMISSIONS")
    other = post.message({"paydown": 1, "command": "wake", "run_id": "stays"})
    answer = letters_of("redrive", first[:10], second)
    assert (answer.code, answer.data["redriven"], answer.data["kept"]) == (0, 2, 0)
    messages = post.sqs.receive_message(
        QueueUrl=post.url(f"house-toil-{TOIL}"), MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )["Messages"]
    assert [json.loads(message["Body"]) for message in messages] == [EVENT, EVENT]
    assert [set(message.get("MessageAttributes", {})) for message in messages] == [{"trace"}, set()]
    assert post.bodies("house-rule-dead") == []
    assert [one["id"] for one in letters_of("list").data["dead_letters"]] == [other]


def test_all_of_one_toil_type(post, paydown, house):
    for number in range(25):
        post.message({"paydown": 1, "command": "wake", "run_id": str(number)})
    post.message({"paydown": 1}, source=QUEUE.replace(TOIL, "recover_node"))
    answer = paydown("redrive", "--all", "--toil", TOIL, "--stack", house)
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "25 sent again, 0 kept")
    assert (len(post.bodies(f"house-toil-{TOIL}")), len(post.bodies("house-dead"))) == (25, 1)


def test_a_letter_without_a_way_back_is_kept_and_the_others_go(post, paydown, house):
    reasons = {
        post.message({"a": 1}, source=None): "nothing says which queue it came from",
        post.message({"a": 2}, source="arn:aws:sqs:eu-central-1:123456789012:payroll"): "payroll, which is no queue",
        post.message({"a": 3}, source=QUEUE.replace(TOIL, "gone")): "there is no queue house-toil-gone",
        post.delivery({"a": 4}, TARGET_ARN="arn:aws:lambda:eu-central-1:123456789012:function:x"): "it came from x",
        post.message(pointer(first="yesterday"), source=None): "it does not say when",
    }
    good = post.message(EVENT)
    answer = paydown("redrive", "--all", "--stack", house, "--json")
    assert answer.code == 5
    results = {one["id"]: one for one in answer.data["dead_letters"]}
    assert results.pop(good)["to"] == f"house-toil-{TOIL}"
    for id, reason in reasons.items():
        assert reason in results[id]["why"]
    assert (len(post.bodies("house-dead")), len(post.bodies("house-rule-dead"))) == (4, 1)


def test_what_could_not_be_sent_is_not_thrown_away(post, paydown, house, monkeypatch):
    post.message(EVENT)

    def refuse(self, **_):
        raise self._real.exceptions.ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessage")

    monkeypatch.setattr(Sqs, "send_message", refuse, raising=False)
    answer = paydown("redrive", "--all", "--stack", house, "--json")
    assert (answer.code, answer.data["kept"]) == (5, 1)
    assert "AccessDenied" in answer.data["dead_letters"][0]["why"]
    assert len(post.bodies("house-dead")) == 1


@pytest.mark.parametrize("argv", [[], ["--all", "abcdef"], ["abcdef", "--toil", TOIL], ["abc"]])
def test_what_makes_no_sense_is_2(argv, post, paydown, house):
    post.message(EVENT)
    assert paydown("redrive", *argv, "--stack", house).code == 2
    assert len(post.bodies("house-dead")) == 1


def test_a_name_that_is_not_there_is_4(post, paydown, house):
    post.message(EVENT)
    answer = paydown("redrive", "ffffffff-ffff", "--stack", house, "--json")
    assert (answer.code, answer.data["missing"], answer.data["redriven"]) == (4, ["ffffffff-ffff"], 0)


def test_transitions_that_were_not_published_are_published_from_the_ledger(post, plant, world, paydown, house, clock):
    plant.look(pushed("push-0"))
    begin = clock.tick(3_600)
    world.burning |= {"hall"}
    ended = plant.look(pushed("push-1"))
    clock.tick(10)
    plant.publish(mode="approve")
    world.burning |= {"desk"}
    held = plant.look(pushed("push-2"), "host/room-2")
    clock.tick(3_600)
    plant.look(pushed("push-3"))
    id = post.message(pointer(begin.isoformat(), begin.isoformat()), source=None)
    answer = paydown("redrive", id, "--stack", house, "--json")
    assert (answer.code, answer.data["dead_letters"][0]["to"]) == (0, "the event bus")
    told = [(entry["DetailType"], json.loads(entry["Detail"])["run_id"]) for entry in post.events]
    assert [kind for kind, run in told if run == ended.id] == [
        f"Remediation {status}" for status in ("Planned", "Applying", "Verifying", "Verified")
    ]
    assert [kind for kind, run in told if run == held.id] == ["Remediation Planned", "Remediation Held"]
    assert {run for _, run in told} == {ended.id, held.id}
    assert post.bodies("house-dead") == []


def test_a_pointer_to_a_time_without_transitions_is_kept(post, plant, paydown, house):
    post.message(pointer("2026-10-22T03:00:00Z", "2026-10-22T03:00:00Z"), source=None)
    answer = paydown("redrive", "--all", "--stack", house, "--json")
    assert (answer.code, answer.data["dead_letters"][0]["why"]) == (5, "the ledger has no transitions of that time")
    assert len(post.bodies("house-dead")) == 1
