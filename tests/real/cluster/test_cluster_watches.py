"""Watches: from a version on, by selector, bounded in time."""

import threading
import time

from kubernetes import watch
from kubernetes.client.rest import ApiException


def events(call, *args, **options):
    """(type, name) of what a watch of five seconds shows."""
    shown = watch.Watch().stream(call, *args, timeout_seconds=5, _request_timeout=30, **options)
    return [(event["type"], event["object"].metadata.name) for event in shown]


def later(what):
    timer = threading.Timer(0.3, what)
    timer.start()
    return timer


def test_a_watch_shows_what_came_after_its_version(core, namespace):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "before"}})
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    timer = later(lambda: core.patch_namespaced_config_map("before", namespace, {"data": {"a": "1"}}))
    began = time.monotonic()
    seen = events(core.list_namespaced_config_map, namespace, resource_version=version)
    timer.join()
    assert seen == [("MODIFIED", "before")]
    assert 4.5 < time.monotonic() - began < 25


def test_a_watch_without_a_version_begins_with_what_is_there(core, namespace):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    timer = later(lambda: core.delete_namespaced_config_map("a", namespace))
    seen = events(core.list_namespaced_config_map, namespace, field_selector="metadata.name=a")
    timer.join()
    assert seen == [("ADDED", "a"), ("DELETED", "a")]


def test_an_object_that_leaves_the_selection_is_deleted_for_the_watcher(core, namespace):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "a", "labels": {"app": "x"}}})
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "b", "labels": {"app": "y"}}})
    version = core.list_namespaced_config_map(namespace).metadata.resource_version

    def swap():
        core.patch_namespaced_config_map("a", namespace, {"metadata": {"labels": {"app": "y"}}})
        core.patch_namespaced_config_map("b", namespace, {"metadata": {"labels": {"app": "x"}}})

    timer = later(swap)
    seen = events(core.list_namespaced_config_map, namespace, resource_version=version, label_selector="app=x")
    timer.join()
    assert seen == [("DELETED", "a"), ("ADDED", "b")]


def test_a_version_that_is_no_longer_kept_is_a_410_or_served(core):
    # A real server still serves version 1 when its history goes back that far.
    try:
        seen = [kind for kind, _ in events(core.list_node, resource_version="1")]
    except ApiException as error:
        seen = [error.status]
    assert seen == [410] or set(seen) <= {"ADDED", "MODIFIED", "DELETED"}
