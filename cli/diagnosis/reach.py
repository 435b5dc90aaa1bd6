"""Whether what the inventory names can be asked: from here, and, where the ledger tells, by the functions.

The functions may stand in a network from which more can be reached than from here, or less. Registries, Alertmanagers
and ticket systems are asked by `reconcile_sources`, which leaves in the ledger how that went. Hosts behind SSM are
asked by AWS itself. Only clusters, and hosts behind TCP, are known from here alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.diagnosis.examination import Check, Finding, fault, fine, unknown
from cli.output import moment
from cli.session import Session
from paydown.clients.kube.rights import OPERATOR, READER
from paydown.errors import PaydownError
from paydown.inventory import Alertmanager, Cluster, Host, Inventory, Registry, Ssm, Tracker
from paydown.ledger.sources_seen import sender_of

RECENT = timedelta(hours=1)
"""A reconcile runs each quarter of an hour."""
INSTANCES = 50
"""Instances of one question to SSM."""
System = Registry | Alertmanager | Tracker


def checks(session: Session, inventory: Inventory) -> Iterator[Check]:
    """One for each thing, but one for each fifty hosts behind SSM."""
    behind_ssm = [host for host in inventory.hosts if isinstance(host.reach, Ssm)]
    for first in range(0, len(behind_ssm), INSTANCES):
        some = behind_ssm[first : first + INSTANCES]
        yield Check("reach", f"{len(some)} host(s) by SSM", lambda some=some: _instances(session, some))
    for host in inventory.hosts:
        if not isinstance(host.reach, Ssm):
            yield Check("reach", host.ref, lambda host=host: _host(session, host))
    for cluster in inventory.clusters:
        yield Check("reach", cluster.ref, lambda cluster=cluster: _cluster(session, cluster))
    systems: Sequence[System] = (*inventory.registries, *inventory.alertmanagers, *inventory.trackers)
    for system in systems:
        yield Check("reach", system.ref, lambda system=system: _system(session, system))


def _instances(session: Session, hosts: Sequence[Host]) -> Iterable[Finding]:
    by_id = {host.reach.instance_id: host for host in hosts if isinstance(host.reach, Ssm)}
    if session.connection.local:
        for host in hosts:
            yield unknown("reach", host.ref, "the functions ask it through the stand-in agent, not from here")
        return
    answer = session.connection.client("ssm").describe_instance_information(
        Filters=[{"Key": "InstanceIds", "Values": list(by_id)}], MaxResults=INSTANCES
    )
    status = {entry["InstanceId"]: entry["PingStatus"] for entry in answer["InstanceInformationList"]}
    for id, host in by_id.items():
        if status.get(id) == "Online":
            yield fine("reach", host.ref, f"the SSM agent of {id} is Online")
        else:
            text = f"the SSM agent of {id} is {status.get(id) or 'not known in this account and region'}"
            yield fault("reach", host.ref, text, "start amazon-ssm-agent there, and see its instance profile")


def _host(session: Session, host: Host) -> Iterable[Finding]:
    from paydown.clients.docker import open_host

    try:
        listing = open_host(host, observing=True, secrets=session.connection.secret).list_images()
    except PaydownError as error:
        yield _from_here_only(session, host.ref, str(error), "see that its engine listens and takes our certificate")
    else:
        yield fine("reach", host.ref, f"from here: its engine answers, {len(listing.dangling)} image(s) dangle")


def _cluster(session: Session, cluster: Cluster) -> Iterable[Finding]:
    for identity, rights in (("reader", READER), ("operator", OPERATOR)):
        yield from _rights(session, cluster, identity, rights)


def _rights(session: Session, cluster: Cluster, identity: str, rights: Any) -> Iterable[Finding]:
    from paydown.clients import kube

    subject = f"{cluster.ref}, {identity}"
    try:
        api = kube.connect(cluster, observing=identity == "reader", secrets=session.connection.secret)
        answers = {right: api.may(right) for right in rights}
    except ModuleNotFoundError as error:
        yield unknown(
            "rights", subject, f"the package {error.name} is not installed", "pip install 'paydown[kubernetes]'"
        )
        return
    except PaydownError as error:
        remedy = f"see the cluster's address and the secret of its {identity} (docs/recover-node.md)"
        yield _from_here_only(session, subject, str(error), remedy)
        return
    lacking = [str(right) for right, allowed in answers.items() if allowed is False]
    if lacking:
        remedy = "kubectl apply -f deploy/kubernetes/paydown-rbac.yaml"
        yield fault("rights", subject, f"from here: it lacks {', '.join(lacking)}", remedy)
    elif None in answers.values():
        yield unknown("rights", subject, "from here: it answers, but does not tell what our credentials may do")
    else:
        yield fine("rights", subject, "from here: it has all that it needs")


def _system(session: Session, system: System) -> Iterable[Finding]:
    """A system that a reconcile asks too: what matters is whether the functions reach it."""
    asked, trouble = _by_functions(session, system)
    theirs = "" if asked is None else f"by the functions at {moment(asked)}: {trouble or 'it answered'}"
    try:
        _ask(session, system)
    except PaydownError as error:
        ours = f"from here: {error}"
    else:
        ours = "from here: it answers"
    text = "; ".join(filter(None, (ours, theirs)))
    recent = asked is not None and session.now() - asked <= RECENT
    if recent and trouble:
        yield fault(
            "reach", system.ref, text, "see its address and secret, and docs/network.md for what functions reach"
        )
    elif recent or ours == "from here: it answers":
        yield fine("reach", system.ref, text)
    else:
        yield _from_here_only(session, system.ref, text, "see its address and secret in the inventory")


def _by_functions(session: Session, system: System) -> tuple[datetime | None, str]:
    """When `reconcile_sources` last asked a system, and what went wrong then."""
    left = session.connection.sources.cursor(sender_of(system), system.uid)
    return (datetime.fromisoformat(left["asked"]), str(left.get("trouble", ""))) if "asked" in left else (None, "")


def _ask(session: Session, system: System) -> None:
    secret = session.connection.secret
    match system:
        case Registry():
            from paydown.clients.registry import open_registry

            open_registry(system, secret).ping()
        case Alertmanager():
            from paydown.clients.alertmanager import open_alertmanager

            open_alertmanager(system, secret).ping()
        case Tracker():
            from paydown.tickets import open_tracker

            open_tracker(system, secret).queued(system.queue, datetime.now(UTC))


def _from_here_only(session: Session, subject: str, text: str, remedy: str) -> Finding:
    """What failed from here. In a VPC the functions may reach what we do not."""
    said = text if text.startswith("from here") else f"from here: {text}"
    in_vpc = any(session.connection.parameters.get("SubnetIds", "").split(","))
    if in_vpc:
        return unknown("reach", subject, f"{said}; the functions stand in a VPC and may reach it", remedy)
    return fault("reach", subject, said, remedy)
