"""Every quarter of an hour: what lost webhooks would have told, and nothing else."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from functions.reconcile_sources import app, asking, registries
from functions.reconcile_sources.desk import Desk
from paydown.errors import InvalidEvent, PermanentError, RetryableError
from paydown.events import ImagePushed, NodeNotReady, TicketCreated, TicketRef
from paydown.inventory import Inventory
from paydown.ledger.sources_seen import KEPT, Sources
from paydown.sources import alertmanager, harbor
from paydown.sources.webhook import Request
from paydown.tickets import Queued

INVENTORY = {
    "trackers": [
        {"uid": "helpdesk", "name": "helpdesk", "system": "roundup", "url": "http://127.0.0.1:1/", "secret": "t"}
    ],
    "registries": [{"uid": "images", "name": "images.example", "url": "http://127.0.0.1:1"}],
    "alertmanagers": [{"uid": "am", "name": "prod", "url": "http://127.0.0.1:1", "cluster": "prod"}],
}
ENTRIES = Inventory.parse(INVENTORY)
REGISTRY = ENTRIES.registries[0]


class Images:
    """A registry: {repository: {tag: digest}}. `asked` are the tags whose digests it was asked for."""

    def __init__(self, **repositories):
        self.content = {name.replace("__", "/"): dict(tags) for name, tags in repositories.items()}
        self.asked = []
        self.broken = None
        self.pings = 0

    def ping(self):
        self.pings += 1

    def repositories(self, patterns, after=""):
        return iter([name for name in sorted(self.content) if name > after])

    def tags(self, repository):
        return sorted(self.content[repository])

    def digest(self, repository, tag):
        if self.broken == (repository, tag):
            raise RetryableError("the registry is down")
        self.asked.append((repository, tag))
        return self.content[repository].get(tag)


def digest(letter):
    return f"sha256:{letter * 64}"


@pytest.fixture
def sources(ledger):
    return Sources(ledger.table, ledger.table._client)


@pytest.fixture
def bus():
    return []


@pytest.fixture
def desk(sources, bus, clock):
    return lambda seconds=60.0: Desk(sources, bus.extend, clock(), time.monotonic() + seconds)


@pytest.fixture
def look(desk, bus):
    """One pass over a registry; returns what it told, as (tag, digest)."""
    state = {}

    def once(images, seconds=60.0, entry=REGISTRY):
        del bus[:]
        count = registries.registry(entry, state, desk(seconds), images)
        assert count == len(bus)
        return [(f"{event.repository}:{event.tag}", event.digest) for event in bus]

    once.state = state
    return once


def pushed(tag, letter, number, at, repository="team/app"):
    return ImagePushed(
        key=f"registry:{number}",
        at=at,
        registry="images.example",
        repository=repository,
        digest=digest(letter),
        tag=tag,
    )


def test_the_first_pass_over_a_registry_only_learns(look):
    images = Images(team__app={"latest": digest("a"), "v1": digest("b")})
    assert look(images) == []
    assert look(images) == []


def test_a_tag_that_moved_unseen_is_told_once(look, bus, clock):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    images.content["team/app"]["latest"] = digest("b")
    assert look(images) == [("team/app:latest", digest("b"))]
    (event,) = bus
    assert (event.registry, event.at) == ("images.example", clock())
    assert look(images) == []


def test_a_new_tag_and_a_new_repository_are_told(look):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    images.content["team/app"]["v2"] = digest("a")
    images.content["team/web"] = {"latest": digest("c")}
    assert look(images) == [("team/app:v2", digest("a")), ("team/web:latest", digest("c"))]


def test_what_the_webhook_told_is_not_told_again(look, sources, clock):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    images.content["team/app"]["latest"] = digest("b")
    sources.note("registry", [pushed("latest", "b", 1, clock.tick(1))], clock())
    assert look(images) == []


def test_a_tag_that_moves_there_and_back_has_three_keys(look, bus, clock):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    keys = []
    for letter in "bab":
        images.content["team/app"]["latest"] = digest(letter)
        clock.tick(900)
        look(images)
        keys += [event.key for event in bus]
    assert len(set(keys)) == 3
    assert all(key.startswith("registry:found:") for key in keys)


def test_a_pass_that_ends_between_the_bus_and_the_ledger_is_repeated_with_the_same_key(look, sources, bus, monkeypatch):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    images.content["team/app"]["latest"] = digest("b")
    with monkeypatch.context() as patch:

        def fails(*_):
            raise RetryableError("the ledger is away")

        patch.setattr(Sources, "tell", fails)
        with pytest.raises(RetryableError):
            look(images)
    first = [event.key for event in bus]
    look(images)
    assert [event.key for event in bus] == first


def test_a_push_whose_first_pass_knows_of_it_is_no_surprise_and_one_that_changed_is(look, sources, clock):
    sources.note("registry", [pushed("latest", "a", 1, clock()), pushed("v1", "b", 2, clock())], clock())
    images = Images(team__app={"latest": digest("a"), "v1": digest("c"), "v2": digest("d")})
    assert look(images) == [("team/app:v1", digest("c"))]


def test_other_repositories_in_the_inventory_begin_with_learning(look):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    images.content["other/app"] = {"latest": digest("a")}
    wider = REGISTRY.model_copy(update={"repositories": ("team/*", "other/*")})
    assert look(images, entry=wider) == []
    images.content["other/app"]["latest"] = digest("b")
    assert look(images, entry=wider) == [("other/app:latest", digest("b"))]


def test_a_tag_that_goes_while_it_is_looked_at_is_left_alone(look):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    images.tags = lambda repository: ["gone", "latest"]
    assert look(images) == []


def test_without_time_a_pass_stops_and_the_next_one_goes_on(look, monkeypatch):
    monkeypatch.setattr(registries, "CHUNK", 2)
    images = Images(a={f"t{number}": digest("a") for number in range(5)}, b={"t": digest("a")})
    up = iter([False, False, True])  # two chunks of the first repository
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "time_is_up", property(lambda self: next(up)))
        look(images)
    assert sorted(images.asked) == [("a", f"t{number}") for number in range(4)]
    assert look.state["learning"] is True
    look(images)
    assert sorted(images.asked[4:]) == [("a", "t4"), ("b", "t")]
    assert look.state["learning"] is False
    images.content["a"]["t0"] = digest("b")
    assert look(images) == [("a:t0", digest("b"))]


def test_no_time_at_all_asks_for_nothing(look):
    images = Images(a={"t": digest("a")})
    look(images, seconds=-1)
    assert images.asked == []


def test_what_came_before_a_failure_is_kept(look, monkeypatch):
    monkeypatch.setattr(registries, "CHUNK", 1)
    images = Images(a={"t": digest("a")}, b={"t": digest("a")})
    images.broken = ("b", "t")
    with pytest.raises(RetryableError):
        look(images)
    images.broken = None
    look(images)
    assert images.asked == [("a", "t"), ("b", "t")]


def test_what_still_stands_is_not_forgotten(look, sources, clock):
    images = Images(team__app={"latest": digest("a")})
    look(images)
    subject = "images.example/team/app:latest"
    (first,) = sources.told("registry", [subject]).values()
    clock.tick((KEPT / 2).total_seconds() - 1)
    look(images)
    assert sources.told("registry", [subject])[subject] == first
    clock.tick(2)
    assert look(images) == []
    renewed = sources.told("registry", [subject])[subject]
    assert (renewed.at, renewed.expires) == (first.at, int((clock() + KEPT).timestamp()))


def firing(name="KubeNodeNotReady", fingerprint="f1", **labels):
    return {
        "status": "firing",
        "labels": {"alertname": name, "node": "worker-1", **labels},
        "startsAt": "2026-11-22T02:00:00.123Z",
        "fingerprint": fingerprint,
    }


@pytest.fixture
def alerts(monkeypatch, desk):
    listed = []
    monkeypatch.setattr(asking, "open_alertmanager", lambda entry, secret: SimpleNamespace(firing=lambda to: listed))
    ask = lambda: asking.alertmanager(ENTRIES.alertmanagers[0], {}, desk(), None)  # noqa: E731
    return SimpleNamespace(listed=listed, ask=ask)


def test_an_alert_that_fires_is_told_once_with_the_key_of_its_webhook(alerts, bus):
    alerts.listed.append(firing())
    assert (alerts.ask(), alerts.ask()) == (1, 0)
    body = {"version": "4", "alerts": [firing() | {"startsAt": "2026-11-22T02:00:00.123456789Z"}]}
    (by_webhook,) = alertmanager.read(Request(json.dumps(body).encode(), query={"cluster": "prod"})).events
    (event,) = bus
    assert isinstance(event, NodeNotReady)
    assert (event.key, event.cluster, event.node) == (by_webhook.key, "prod", "worker-1")


def test_an_alert_that_the_webhook_told_of_is_not_told_again(alerts, bus, sources, clock):
    told = NodeNotReady(
        key="alertmanager:f1:2026-11-22T02:00:00.123+00:00", at=clock(), cluster="prod", node="worker-1"
    )
    sources.note("alertmanager", [told], clock())
    alerts.listed += [firing(), firing(fingerprint="f2", node="worker-2"), firing("Watchdog")]
    assert alerts.ask() == 1
    assert [event.node for event in bus] == ["worker-2"]


def test_a_bad_alert_is_trouble_and_costs_none_beside_it(alerts, bus):
    alerts.listed += [firing() | {"labels": {"alertname": "KubeNodeNotReady"}}, firing(fingerprint="f2")]
    with pytest.raises(InvalidEvent, match=r"alerts\.0\.labels\.node"):
        alerts.ask()
    assert len(bus) == 1


def test_more_alerts_than_a_webhook_may_hold(alerts, bus, monkeypatch):
    monkeypatch.setattr(asking, "MAX_ITEMS", 2)
    alerts.listed += [firing(fingerprint=f"f{number}", node=f"w{number}") for number in range(5)]
    assert alerts.ask() == 5


@pytest.fixture
def tickets(monkeypatch, desk, clock):
    listed, asked, state = [], [], {}

    def queued(queue, since):
        asked.append((queue, since))
        return listed

    monkeypatch.setattr(asking, "open_tracker", lambda entry, secret: SimpleNamespace(queued=queued))
    ask = lambda: asking.tracker(ENTRIES.trackers[0], state, desk(), None)  # noqa: E731
    return SimpleNamespace(listed=listed, asked=asked, ask=ask)


def test_a_ticket_in_the_queue_is_told_once(tickets, bus, clock):
    tickets.listed.append(Queued("7", "disk full", "ann", clock()))
    assert tickets.ask() == 0, "the first pass only remembers the time"
    began = clock()
    clock.tick(900)
    assert (tickets.ask(), tickets.ask()) == (1, 0)
    assert tickets.asked[0] == ("automation", began - timedelta(minutes=10))
    (event,) = bus
    assert isinstance(event, TicketCreated)
    assert (event.ticket, event.queue) == (TicketRef(tracker="helpdesk", id="7"), "automation")
    assert (event.title, event.creator) == ("disk full", "ann")
    assert event.key.startswith("roundup:found:")


def test_a_ticket_that_the_webhook_told_of_is_not_told_again(tickets, bus, sources, clock):
    tickets.ask()
    ref = TicketRef(tracker="helpdesk", id="7")
    sources.note("roundup", [TicketCreated(key="roundup:1", at=clock(), ticket=ref, queue="automation")], clock())
    tickets.listed.append(Queued("7", "", "", clock()))
    assert (tickets.ask(), bus) == (0, [])


def test_a_ticket_that_was_only_opened_and_then_queued_is_told(tickets, bus, sources, clock):
    tickets.ask()
    ref = TicketRef(tracker="helpdesk", id="7")
    sources.note("roundup", [TicketCreated(key="roundup:1", at=clock(), ticket=ref)], clock())
    tickets.listed.append(Queued("7", "", "", clock()))
    assert tickets.ask() == 1


@pytest.fixture
def handler(ledger, sources, clock, bus, monkeypatch):
    monkeypatch.setattr(app, "_opened", [(ledger, sources)])
    monkeypatch.setattr(app, "utc_now", clock)
    monkeypatch.setattr(app.bus, "publish", bus.extend)
    return lambda: app.handler({})


def test_one_system_in_trouble_does_not_keep_the_others_waiting(
    handler, ledger, sources, clock, alerts, monkeypatch, capsys
):
    images = Images(team__app={"latest": digest("a")})
    monkeypatch.setattr(app, "open_registry", lambda entry, secret: images)

    def fails(entry, secret):
        raise PermanentError("the secret t is missing")

    monkeypatch.setattr(asking, "open_tracker", fails)
    ledger.inventory.publish(INVENTORY, "test", clock())
    assert handler() == {"found": 0, "trouble": []}, "the first pass asks no ticket system"
    images.content["team/app"]["latest"] = digest("b")
    alerts.listed.append(firing())
    clock.tick(900)
    capsys.readouterr()
    assert handler() == {"found": 2, "trouble": ["tracker/helpdesk"]}
    metric = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line)
    assert metric["LostWebhooks"] == [2.0]
    assert sources.cursor("roundup", "helpdesk")["trouble"] == "the secret t is missing"
    images_state = sources.cursor("registry", "images")
    assert (images_state["trouble"], images_state["asked"]) == ("", clock().isoformat(timespec="seconds"))


HARBOR = REGISTRY.model_copy(update={"name": "harbor.example", "system": "harbor"})
ECR = REGISTRY.model_copy(update={"name": "123456789012.dkr.ecr.eu-central-1.amazonaws.com", "system": "ecr"})


def harbor_push(letter, clock):
    body = {
        "type": "PUSH_ARTIFACT",
        "occur_at": int(clock().timestamp()),
        "event_data": {
            "resources": [
                {"digest": digest(letter), "tag": "latest", "resource_url": "harbor.example/team/app:latest"}
            ],
            "repository": {"repo_full_name": "team/app"},
        },
    }
    return harbor.read(Request(json.dumps(body).encode())).events


def test_what_harbor_told_is_not_told_again_and_what_it_lost_is(look, sources, bus, clock):
    images = Images(team__app={"latest": digest("a")})
    look(images, entry=HARBOR)
    images.content["team/app"]["latest"] = digest("b")
    sources.note("harbor", harbor_push("b", clock), clock.tick(1))
    assert look(images, entry=HARBOR) == []
    images.content["team/app"]["latest"] = digest("c")
    assert look(images, entry=HARBOR) == [("team/app:latest", digest("c"))]
    assert [event.key.split(":")[:2] for event in bus] == [["harbor", "found"]]


def test_another_registry_of_the_same_name_does_not_speak_for_harbor(look, sources, clock):
    images = Images(team__app={"latest": digest("a")})
    look(images, entry=HARBOR)
    images.content["team/app"]["latest"] = digest("b")
    sources.note("registry", harbor_push("b", clock), clock.tick(1))
    assert look(images, entry=HARBOR) == [("team/app:latest", digest("b"))]


def test_ecr_is_asked_only_whether_it_answers(look, bus):
    """Its events come over the bus, where nobody notes what was told: whatever was told here would be told twice."""
    images = Images(team__app={"latest": digest("a")})
    look(images, entry=ECR)
    images.content["team/app"]["latest"] = digest("b")
    assert look(images, entry=ECR) == []
    assert (images.asked, images.pings) == ([], 2)


def test_how_the_asking_went_is_left_under_the_sender_of_each_system(handler, ledger, sources, clock, monkeypatch):
    monkeypatch.setattr(app, "open_registry", lambda entry, secret: Images(team__app={"latest": digest("a")}))
    entries = [HARBOR.model_copy(update={"uid": "h"}), ECR.model_copy(update={"uid": "e"}), REGISTRY]
    document = {"registries": [entry.model_dump(mode="json", exclude_defaults=True) for entry in entries]}
    ledger.inventory.publish(document, "test", clock())
    assert handler() == {"found": 0, "trouble": []}
    for sender, uid in (("harbor", "h"), ("ecr", "e"), ("registry", "images")):
        assert sources.cursor(sender, uid)["trouble"] == ""


def test_without_an_inventory_nobody_is_asked(handler):
    assert handler() == {"found": 0, "trouble": []}


def test_an_address_without_tls_is_trouble(handler, ledger, clock):
    document = {"registries": [INVENTORY["registries"][0] | {"url": "http://images.example"}]}
    ledger.inventory.publish(document, "test", clock())
    assert handler() == {"found": 0, "trouble": ["registry/images.example"]}
