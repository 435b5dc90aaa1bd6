"""The scenes of the demo. Each sends its events and checks what came of them: in the ledger, and in the world."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from local.app.clusters import StandIn
from local.demo.images import Images
from local.demo.results import Result
from local.demo.stage import EVENTS, Disappointed, Stage, evidence_of_ticket, name_of, wait_for
from local.live import plain

FIRST, SECOND = "worker-1", "worker-2"
VERIFIED, SKIPPED = ("Verified",), ("Skipped",)
DISK_TAGS = ("ticket", "push", "bus-disk_pressure", "bus-disk_pressure_cloudwatch", "bus-image_pushed", "bus-sweep")
ANYTHING_GOOD = ("Verified", "Skipped", "Observed")


def nodes(stage: Stage, cluster: StandIn) -> None:
    """A machine loses its power, and Alertmanager tells; it happens again, and a person writes a ticket."""
    stage.tell(f"{FIRST} loses its power; Alertmanager sends alerts for it and for {SECOND}, which is Ready")
    before = _stop(cluster, FIRST)
    since = stage.webhook("alertmanager_node_not_ready.json")
    event = "events/ingress/alertmanager_node_not_ready.json"
    _come_back_when_drained(stage, cluster, FIRST, since)
    run = stage.run("recover_node", since, [f"node/demo/{FIRST}"])
    moved, flaws = _moved(cluster, FIRST, before)
    stage.book(Result.of(run, event, VERIFIED, moved, flaws))
    stage.book(Result.of(stage.run("recover_node", since, [f"node/demo/{SECOND}"]), event, SKIPPED))

    stage.tell(f"{SECOND} loses its power; a person writes a ticket")
    before = _stop(cluster, SECOND)
    _ticket(
        stage,
        f"Node {SECOND} is NotReady",
        "recover_node",
        f"node/demo/{SECOND}",
        meanwhile=lambda since: _come_back_when_drained(stage, cluster, SECOND, since),
        look=lambda: _moved(cluster, SECOND, before),
    )
    for path in sorted((EVENTS / "recover_node").glob("*.json")):
        stage.tell(f"{path.name}: a node is told to be NotReady, but it is Ready")
        since = stage.envelope(path)
        stage.book(Result.of(stage.run("recover_node", since), name_of(path), SKIPPED))


def images(stage: Stage, host: Images) -> None:
    """Tags move on, and old images dangle: a ticket complains, a registry tells, alarms and schedules fire."""
    host.moved_on("ticket")
    host.wait_until_old()
    stage.tell("an image dangles on build-1, and a person writes a ticket")
    _ticket(
        stage,
        "Disk full on build-1",
        "clean_dangling_images",
        "host/build-1",
        look=lambda: _cleaned(host, "ticket"),
    )
    stage.tell("a push moves a tag, and the registry tells")
    host.moved_on("push")
    host.rebuild()
    since = stage.webhook("registry_push.json")
    run = stage.run("clean_dangling_images", since)
    seen, flaws = _cleaned(host, "push")
    stage.book(Result.of(run, "events/ingress/registry_push.json", VERIFIED, seen, flaws))
    host.drop_young()
    for path in sorted((EVENTS / "clean_dangling_images").glob("*.json")):
        tag = f"bus-{path.stem}"
        expected = VERIFIED if tag in host.old else ANYTHING_GOOD
        if tag in host.old:
            host.moved_on(tag)
        since = stage.envelope(path)
        run = stage.run("clean_dangling_images", since)
        seen, flaws = _cleaned(host, tag) if tag in host.old else ({}, [])
        stage.book(Result.of(run, name_of(path), expected, seen, flaws))


def tickets(stage: Stage) -> None:
    """Repeats, and tickets of somebody else: nothing is to be done about any of them."""
    for name in ("roundup_issue_created.json", "github_issue_opened.json"):
        since = stage.webhook(name)
        stage.book(Result.of(stage.run("triage_ticket", since), f"events/ingress/{name}", SKIPPED))
    for path in sorted((EVENTS / "triage_ticket").glob("*.json")):
        key = json.loads(path.read_text())["detail"]["key"]
        since = stage.envelope(path)
        stage.book(Result.of(stage.run("triage_ticket", since, key=key), name_of(path), SKIPPED))


def others(stage: Stage, toils: Iterable[str]) -> None:
    """The events of toil types that no scene is about: each must come to a good end."""
    for toil in toils:
        for path in sorted((EVENTS / toil).glob("*.json")):
            if path not in stage.sent:
                since = stage.envelope(path)
                stage.book(Result.of(stage.run(toil, since), name_of(path), ANYTHING_GOOD))


def _ticket(stage: Stage, title: str, toil: str, ref: str, *, look: Any, meanwhile: Any = lambda _since: None) -> None:
    since = datetime.now(UTC)
    ticket = stage.person.write(title, "Please help.")
    event = f"ticket {ticket}: {title}"
    meanwhile(since)
    triage = stage.run("triage_ticket", since, [f"ticket/helpdesk/{ticket}"])
    stage.book(Result.of(triage, event, VERIFIED))
    if triage.status != "Verified":
        return
    run = stage.run(toil, since, [ref], key=triage.key)
    seen, flaws = look()
    told, silent = evidence_of_ticket(stage, ticket)
    stage.book(Result.of(run, event, VERIFIED, {**seen, **told}, [*flaws, *silent]))


def _stop(cluster: StandIn, name: str) -> dict[str, int]:
    """Stop the node's kubelet; how many pods of each workload were ready before."""
    before = _ready(cluster)
    cluster.switch_kubelet(name, running=False)
    wait_for(lambda: None if _is_ready(cluster, name) else True, f"{name} to be NotReady", 20)
    return before


def _come_back_when_drained(stage: Stage, cluster: StandIn, name: str, since: datetime) -> None:
    """Give the machine its power back when nothing is left on it to evict."""

    def drained() -> bool | None:
        node = cluster.get(f"/api/v1/nodes/{name}")
        if not node["spec"].get("unschedulable"):
            return _given_up(stage, name, since)
        left = [pod for pod in _pods(cluster) if pod["spec"].get("nodeName") == name and _is_movable(pod)]
        return None if left else True

    if wait_for(drained, f"{name} to be drained"):
        stage.tell(f"{name} is cordoned and drained; its power comes back")
    cluster.switch_kubelet(name, running=True)


def _given_up(stage: Stage, name: str, since: datetime) -> bool | None:
    """False when a run on the node has ended, so that nobody will drain it."""
    for run in stage.application.ledger.history.recent(datetime.now(UTC), limit=20, days=2):
        if run.toil == "recover_node" and run.ref.endswith(name) and run.created >= since and run.ended:
            return False
    return None


def _moved(cluster: StandIn, name: str, before: dict[str, int]) -> tuple[dict[str, Any], list[str]]:
    """Where the pods are now, and which workload has fewer ready pods than before."""
    after = _ready(cluster)
    node = cluster.get(f"/api/v1/nodes/{name}")
    flaws = [
        f"{app}: {after.get(app, 0)} of {wanted} pods are ready"
        for app, wanted in before.items()
        if after.get(app, 0) < wanted
    ]
    if node["spec"].get("unschedulable"):
        flaws.append(f"{name} is still cordoned")
    return {"ready_pods": after, "schedulable_again": not node["spec"].get("unschedulable")}, flaws


def _ready(cluster: StandIn) -> dict[str, int]:
    """Ready pods by workload; DaemonSets' are not counted, since they go and come with their node."""
    counts: dict[str, int] = {}
    for pod in _pods(cluster):
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
        if _is_movable(pod) and ready:
            app = pod["metadata"]["labels"].get("app", pod["metadata"]["name"])
            counts[app] = counts.get(app, 0) + 1
    return counts


def _is_movable(pod: dict[str, Any]) -> bool:
    owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", ())}
    return bool(owners & {"ReplicaSet", "StatefulSet"}) and "deletionTimestamp" not in pod["metadata"]


def _pods(cluster: StandIn) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("/api/v1/pods")["items"]
    return found


def _is_ready(cluster: StandIn, name: str) -> bool:
    conditions = cluster.get(f"/api/v1/nodes/{name}")["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _cleaned(host: Images, tag: str) -> tuple[dict[str, Any], list[str]]:
    """Whether the image that lost its tag is gone, and everything else still there."""
    present = host.present()
    flaws = []
    if host.old[tag] in present:
        flaws.append(f"the image that lost the tag {tag} is still there")
    survivors = {"in use": host.in_use, "tagged": host.current, "young": host.young}
    flaws += [f"the image that is {what} is gone" for what, id in survivors.items() if id and id not in present]
    kept = [what for what, id in survivors.items() if id in present]
    return {"removed_image": host.old[tag], "survived": kept}, flaws


def failure(error: Exception) -> Result:
    """A scene that could not go on."""
    what = str(error) if isinstance(error, Disappointed) else f"{type(error).__name__}: {error}"
    return Result("-", "-", "-", "-", 0.0, VERIFIED, {"why": plain(what, 500)})
