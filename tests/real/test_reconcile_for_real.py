"""What real senders could not tell is found by asking them; what they told is not told again."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.reconcile_sources import app as reconcile
from local import alertmanager, roundup
from local import registry as local_registry
from local.alertmanager import Alertmanager
from local.processes import free_port
from local.registry import Registry
from paydown.clients import aws
from paydown.clients import registry as registry_client
from paydown.errors import PermanentError
from paydown.events import ImagePushed, NodeNotReady, TicketCreated, TicketRef
from paydown.ledger import Ledger
from paydown.ledger.sources_seen import Sources
from tests.fixtures.ingress import SECRET
from tests.real.ingress_server import Front, front_door
from tests.real.roundup_server import Tracker, eventually
from tests.real.test_registry_notifications import INDEX, OCI, call, push, put_manifest
from tests.real.token_service import Service, token_service
from tests.servers import need
from tests.unit.ledgers import ledger_in_moto

CREDENTIALS = {"username": "paydown", "password": "hush-hush"}


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with ledger_in_moto() as made:
        yield made


@pytest.fixture
def front(ledger: Ledger) -> Iterator[Front]:
    """Ingress, with the ledger that the reconcile reads, and one bus for both."""
    with front_door() as opened:
        opened.ingress.notes.note = Sources(ledger.table, ledger.table._client).note
        yield opened


@pytest.fixture
def sources(ledger: Ledger) -> Sources:
    return Sources(ledger.table, ledger.table._client)


@pytest.fixture
def ask(front: Front, ledger: Ledger, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """One run of the function with an inventory; returns the events that it put on the bus."""
    monkeypatch.setattr(reconcile, "_opened", [(ledger, sources)])

    def once(trouble: tuple[str, ...] = (), **inventory: Any) -> list[Any]:
        ledger.inventory.publish(inventory, "test", datetime.now(UTC))
        before = len(front.events)
        answer = reconcile.handler({})
        found = front.events[before:]
        assert answer == {"found": len(found), "trouble": list(trouble)}
        return found

    return once


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}/"


def declared(registry: Registry, **more: Any) -> dict[str, Any]:
    return {"registries": [{"uid": "images", "name": registry.host, "url": registry.url, **more}]}


def told(events: list[Any]) -> list[tuple[str, str | None, str]]:
    assert all(isinstance(event, ImagePushed) for event in events)
    return [(event.repository, event.tag, event.digest) for event in events]


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[Registry]:
    """A registry whose notifications reach nobody."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    with Registry(tmp_path, nowhere(), SECRET) as running:
        yield running


def test_a_push_that_reached_nobody_is_one_event(mute: Registry, ask: Callable[..., list[Any]]) -> None:
    a = push(mute, "team/app", "latest", "a")
    assert ask(**declared(mute)) == [], "the first pass learns"
    b = push(mute, "team/app", "latest", "b")
    (event,) = ask(**declared(mute))
    assert told([event]) == [("team/app", "latest", b)]
    assert event.registry == mute.host
    assert ask(**declared(mute)) == []
    push(mute, "team/app", "latest", "a")
    (again,) = ask(**declared(mute))
    assert told([again]) == [("team/app", "latest", a)]
    assert again.key != event.key


def test_the_webhook_and_the_reconcile_are_one_event(
    front: Front, ask: Callable[..., list[Any]], tmp_path: Path
) -> None:
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    with Registry(tmp_path, front.url("registry"), SECRET) as registry:
        push(registry, "team/app", "latest", "a")
        front.until(lambda: len(front.events) == 1)
        assert ask(**declared(registry)) == []
        push(registry, "team/app", "latest", "b")
        front.until(lambda: len(front.events) == 2)
        assert ask(**declared(registry)) == []


def test_the_digest_of_an_index_is_that_of_the_index(mute: Registry, ask: Callable[..., list[Any]]) -> None:
    ask(**declared(mute))
    child = push(mute, "team/multi", None, "child", OCI)
    size = int(call("HEAD", f"{mute.url}/v2/team/multi/manifests/{child}")["Content-Length"])
    entry = {"mediaType": OCI, "size": size, "digest": child, "platform": {"architecture": "amd64", "os": "linux"}}
    index = put_manifest(mute, "team/multi", "2.0", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    assert told(ask(**declared(mute))) == [("team/multi", "2.0", index)]


def test_a_list_of_several_pages_is_read_to_its_end(
    mute: Registry, ask: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_client, "PAGE", 2)
    ask(**declared(mute))
    names = [f"team/app-{number}" for number in range(5)]
    for name in [*names, "other/app"]:
        push(mute, name, "1", name)
    only = declared(mute, repositories=["team/*"])
    assert ask(**only) == [], "other repositories than before begin with learning"
    for name in [*names, "other/app"]:
        push(mute, name, "2", name)
    assert [(event.repository, event.tag) for event in ask(**only)] == [(name, "2") for name in names]


def test_a_repository_that_is_named_needs_no_list_and_may_be_missing(
    mute: Registry, ask: Callable[..., list[Any]]
) -> None:
    only = declared(mute, repositories=["team/app", "team/nowhere"])
    ask(**only)
    push(mute, "team/app", "1", "a")
    push(mute, "team/other", "1", "a")
    assert [event.repository for event in ask(**only)] == ["team/app"]


def test_a_registry_that_is_gone_is_trouble(ask: Callable[..., list[Any]], sources: Sources) -> None:
    port = free_port()
    entry = {"uid": "images", "name": "images", "url": f"http://127.0.0.1:{port}"}
    assert ask(("registry/images",), registries=[entry]) == []
    assert "does not answer" in sources.cursor("registry", "images")["trouble"]


class Guarded(Registry):
    """A registry that asks a token service who may read."""

    service: Service

    def _config(self) -> Any:
        config: Any = super()._config()
        return {**config, "auth": self.service.config(self.folder)}


@pytest.fixture
def service() -> Iterator[Service]:
    with token_service(CREDENTIALS["username"], CREDENTIALS["password"]) as running:
        yield running


@pytest.fixture
def guarded(service: Service, tmp_path: Path) -> Iterator[Registry]:
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    folder = tmp_path / "guarded"
    with Registry(folder, nowhere(), SECRET) as filled:
        push(filled, "team/app", "latest", "a")
    registry = Guarded(folder, nowhere(), SECRET)
    registry.service = service
    # Its answer to a stranger is 401, which a start does not wait for; it is ready when it answers at all.
    with registry as running:
        yield running


def test_a_registry_that_gives_tokens(guarded: Registry, service: Service) -> None:
    api = registry_client.RegistryApi(guarded.url, lambda: CREDENTIALS)
    api.ping()
    assert list(api.repositories(("*",))) == ["team/app"]
    assert api.tags("team/app") == ["latest"]
    digest = api.digest("team/app", "latest")
    assert digest is not None
    assert digest.startswith("sha256:")
    assert service.asked == ["", "registry:catalog:*", "repository:team/app:pull"]
    api.digest("team/app", "latest")
    assert len(service.asked) == 3, "a token serves until it is refused"


def test_credentials_that_are_not_accepted_are_not_told(guarded: Registry) -> None:
    api = registry_client.RegistryApi(guarded.url, lambda: {"username": "paydown", "password": "wr0ng"})
    with pytest.raises(PermanentError) as caught:
        api.ping()
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(PermanentError):
        registry_client.RegistryApi(guarded.url, dict).ping()


def node(name: str) -> dict[str, str]:
    return {"alertname": "KubeNodeNotReady", "cluster": "demo", "node": name, "severity": "warning"}


def manager(webhook_url: str, folder: Path) -> Alertmanager:
    need(alertmanager.program(), "Alertmanager is not installed (apt-get install prometheus-alertmanager)")
    return Alertmanager(folder, webhook_url, SECRET)


def as_declared(running: Alertmanager) -> dict[str, Any]:
    return {"alertmanagers": [{"uid": "am", "name": "am", "url": running.url}]}


def once_listed(running: Alertmanager, count: int) -> None:
    """Wait until that many alerts have been through the pipeline: the API marks them `unprocessed` before."""

    def active() -> bool:
        with urllib.request.urlopen(f"{running.url}/api/v2/alerts?unprocessed=false", timeout=30) as answer:  # noqa: S310
            return len(json.load(answer)) == count

    assert eventually(active)


def test_an_alert_that_reached_nobody_is_one_event(ask: Callable[..., list[Any]], tmp_path: Path) -> None:
    with manager(nowhere(), tmp_path) as running:
        running.send([node("worker-1"), {"alertname": "Watchdog", "severity": "none"}])
        once_listed(running, 2)
        (event,) = ask(**as_declared(running))
        assert isinstance(event, NodeNotReady)
        assert (event.cluster, event.node) == ("demo", "worker-1")
        assert ask(**as_declared(running)) == []


def test_the_webhook_and_the_reconcile_have_the_same_key(
    front: Front, ask: Callable[..., list[Any]], ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager(front.url("alertmanager"), tmp_path) as running:
        running.send([node("worker-1")])
        front.until(lambda: front.events)
        assert ask(**as_declared(running)) == [], "it was told by the webhook"
        monkeypatch.setattr(Sources, "told", lambda self, sender, subjects: {})
        (event,) = ask(**as_declared(running))
        assert event.key == front.events[0].key


def test_an_alert_that_is_silenced_or_over_is_none(ask: Callable[..., list[Any]], tmp_path: Path) -> None:
    with manager(nowhere(), tmp_path) as running:
        now = datetime.now(UTC)
        silence = {
            "matchers": [{"name": "node", "value": "worker-1", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "test",
            "comment": "known",
        }
        request = urllib.request.Request(  # noqa: S310 -- our own loopback address
            f"{running.url}/api/v2/silences", json.dumps(silence).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310 -- our own loopback address
            pass
        running.send([node("worker-1"), node("worker-2"), node("worker-3")])
        once_listed(running, 3)
        running.resolve([node("worker-2")])
        once_listed(running, 2)
        assert [event.node for event in ask(**as_declared(running))] == ["worker-3"]


def test_an_alert_of_another_receiver_is_none_of_ours(ask: Callable[..., list[Any]], tmp_path: Path) -> None:
    with manager(nowhere(), tmp_path) as running:
        running.send([node("worker-1")])
        once_listed(running, 1)
        entry = as_declared(running)["alertmanagers"][0]
        assert ask(alertmanagers=[entry | {"receiver": "on-call"}]) == []


def test_the_watchdog_makes_alertmanager_heard(front: Front, sources: Sources, tmp_path: Path) -> None:
    assert sources.heard("alertmanager") is None
    with manager(front.url("alertmanager"), tmp_path) as running:
        running.send([{"alertname": "Watchdog", "severity": "none"}])
        front.until(lambda: front.received)
    heard = sources.heard("alertmanager")
    assert heard is not None
    assert abs(datetime.now(UTC) - heard) < timedelta(seconds=30)
    assert front.events == []


@pytest.fixture
def helpdesk(tmp_path: Path) -> Iterator[Tracker]:
    """A ticket system whose events reach nobody."""
    need(roundup.installed(), "Roundup is not installed (pip install roundup)")
    running = Tracker(tmp_path / "roundup", free_port())
    yield running
    running.service.stop()


def test_a_ticket_that_came_to_the_queue_unseen_is_one_event(
    helpdesk: Tracker, ask: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "secret", lambda name: helpdesk.roundup.credentials)
    url = helpdesk.roundup.url
    entry = {"uid": "h", "name": "helpdesk", "system": "roundup", "url": url, "secret": "x", "queue": roundup.QUEUE}
    assert ask(trackers=[entry]) == []
    keyword = helpdesk.call(roundup.PERSON, "GET", "keyword?name=automation")["collection"][0]["id"]
    helpdesk.create("nobody's")
    moved = helpdesk.create("disk full on build-1")
    helpdesk.create("done already", keyword=[keyword], status="resolved")
    helpdesk.call(roundup.PERSON, "PATCH", f"issue/{moved}", {"keyword": [keyword]})
    (event,) = ask(trackers=[entry])
    assert isinstance(event, TicketCreated)
    assert event.ticket == TicketRef(tracker="helpdesk", id=moved)
    assert (event.title, event.queue, event.creator) == ("disk full on build-1", "automation", roundup.PERSON)
    assert abs(datetime.now(UTC) - event.at) < timedelta(minutes=1)
    assert ask(trackers=[entry]) == []
