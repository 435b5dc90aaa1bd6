import pytest

from local.cluster import deletion, discovery, kinds, tables, watches
from local.cluster.api import Api, Query, changer
from local.cluster.clock import Names, seconds_of, stamp
from local.cluster.failures import ApiError
from local.cluster.kinds import DEFINITIONS, NAMESPACES, NODES, PODS
from local.cluster.store import Store

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.fixture
def api():
    return Api(names=Names(1), now=lambda: 1_800_000_000.5)


def test_what_was_read_stays_as_it_was(api):
    before = api.create(NODES, "", {"metadata": {"name": "n"}})
    api.patch(NODES, "", "n", changer("application/merge-patch+json", {"spec": {"unschedulable": True}}, NODES))
    assert "unschedulable" not in before["spec"]
    assert api.get(NODES, "", "n")["spec"]["unschedulable"] is True


def test_a_store_comes_back_from_its_dump(api):
    api.create(PODS, "default", POD)
    other = Store()
    other.load(api.store.dump())
    assert other.all(PODS) == api.store.all(PODS)
    assert other.revision == api.store.revision
    assert other.since(other.revision) == []
    assert other.since(other.revision - 1) is None


def test_the_history_ends_somewhere(api, monkeypatch):
    monkeypatch.setattr("local.cluster.store.HISTORY", 3)
    store = Store()
    first = store.revision
    store._history = type(store._history)(maxlen=3)
    for number in range(5):
        store.put(NODES, {"metadata": {"name": f"n{number}"}})
    assert store.since(first) is None
    assert [change.after["metadata"]["name"] for change in store.since(first + 2)] == ["n2", "n3", "n4"]


def test_a_watch_ends_with_its_time_and_its_bookmark(api):
    api.create(PODS, "default", POD)
    watch = watches.Watch(Query(), seconds=0, bookmarks=True)
    events = [event for event in watches.follow(api, PODS, "", watch, lambda: False) if event]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["resourceVersion"] == str(api.store.revision)


def test_initial_events_end_with_a_bookmark(api):
    watch = watches.Watch(Query(fields="metadata.name=default"), seconds=0, initial=True)
    events = [event for event in watches.follow(api, NAMESPACES, "", watch, lambda: False) if event]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_from_no_version_is_refused(api):
    with pytest.raises(ApiError) as error:
        watches.follow(api, NAMESPACES, "", watches.Watch(Query(), version="rubbish"), lambda: False)
    assert error.value.code == 400


def test_pages_are_forgotten_one_day(api):
    for number in range(3):
        api.create(NODES, "", {"metadata": {"name": f"n{number}"}})
    first = api.listing(NODES, "", Query(limit=1))["metadata"]["continue"]
    for _ in range(64):
        api.listing(NODES, "", Query(limit=1))
    with pytest.raises(ApiError) as error:
        api.listing(NODES, "", Query(limit=1, proceed=first))
    assert (error.value.code, error.value.reason) == (410, "Expired")


def test_deleting_more_slowly_does_not_prolong(api):
    api.create(PODS, "default", {**POD, "spec": {**POD["spec"], "nodeName": "n"}})
    soon = deletion.delete(api, PODS, "default", "p", {"gracePeriodSeconds": 5})["metadata"]
    later = deletion.delete(api, PODS, "default", "p", {"gracePeriodSeconds": 50})["metadata"]
    sooner = deletion.delete(api, PODS, "default", "p", {"gracePeriodSeconds": 2})["metadata"]
    assert soon == later
    assert sooner["deletionGracePeriodSeconds"] == 2
    assert seconds_of(soon["deletionTimestamp"]) - seconds_of(sooner["deletionTimestamp"]) == 3


def test_orphans_lose_their_owner_and_stay(api):
    owner = api.create(PODS, "default", POD)
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner["metadata"]["uid"]}
    api.create(PODS, "default", {**POD, "metadata": {"name": "q", "ownerReferences": [reference]}})
    deletion.delete(api, PODS, "default", "p", {"propagationPolicy": "Orphan"})
    assert api.get(PODS, "default", "q")["metadata"]["ownerReferences"] == []


def test_a_definition_serves_its_resource(api):
    names = {"plural": "widgets", "kind": "Widget", "shortNames": ["w"]}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    spec = {"group": "example.org", "names": names, "scope": "Namespaced", "versions": [version]}
    api.create(DEFINITIONS, "", {"metadata": {"name": "widgets.example.org"}, "spec": spec})
    widgets = kinds.find("example.org", "v1", "widgets", api.definitions())
    made = api.create(widgets, "default", {"metadata": {"name": "w"}, "spec": {"replicas": "any"}, "status": {"x": 1}})
    assert "status" not in made
    listed = discovery.describe("/apis/example.org/v1", kinds.served(api.definitions()))
    assert [row["name"] for row in listed["resources"]] == ["widgets", "widgets/status"]
    with pytest.raises(ApiError) as error:
        changer("application/strategic-merge-patch+json", {}, widgets)
    assert error.value.code == 415


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metadata": {"name": "p", "labels": {"a": "not valid"}}}, "metadata.labels"),
        ({"metadata": {"name": "p", "ownerReferences": [{"kind": "X"}]}}, "metadata.ownerReferences[0].apiVersion"),
        ({"spec": {"containers": [{"name": "c"}]}}, "spec.containers[0].image"),
        ({"spec": {"containers": [POD["spec"]["containers"][0]] * 2}}, "spec.containers[1].name"),
    ],
)
def test_faults_are_named(api, body, field):
    with pytest.raises(ApiError) as error:
        api.create(PODS, "default", {**POD, **body})
    assert error.value.code == 422
    assert field in [cause["field"] for cause in error.value.details["causes"]]


def test_a_condition_needs_a_type_and_a_status(api):
    api.create(PODS, "default", POD)
    with pytest.raises(ApiError) as error:
        api.set_status(PODS, api.get(PODS, "default", "p"), {"conditions": [{"type": "Ready"}]}, "m")
    assert error.value.code == 422


def test_the_same_names_from_the_same_seed():
    assert [Names(3).uid(), Names(3).suffix()] == [Names(3).uid(), Names(3).suffix()]
    assert Names().uid() != Names().uid()


def test_times():
    assert seconds_of(stamp(1_800_000_000.9)) == 1_800_000_000
    assert seconds_of("nonsense") == 0


@pytest.mark.parametrize(("age", "shown"), [(5, "5s"), (119, "119s"), (120, "2m"), (7200, "2h"), (3 * 86400, "3d")])
def test_ages_in_tables(api, age, shown):
    node = api.create(NODES, "", {"metadata": {"name": "n"}})
    table = tables.table(NODES, [node], {}, "None", seconds_of(node["metadata"]["creationTimestamp"]) + age)
    assert table["rows"] == [{"cells": ["n", "Unknown", "<none>", "", shown], "object": None}]
