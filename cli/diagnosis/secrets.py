"""The secrets that the stack and the inventory name: whether they are there, and hold what they must. None is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.connection import Connection
from cli.diagnosis.examination import Check, Finding, fault, fine, unknown
from cli.session import Session
from paydown.errors import PermanentError
from paydown.inventory import Host, Inventory, Tcp
from paydown.policy import Policy
from paydown.sources import SENDERS
from paydown.sources.webhook import secrets_of

Parse = Callable[[str, Any], object]
"""Takes a secret's name and value; raises PermanentError when it does not hold what it must."""


def checks(session: Session, inventory: Inventory | None, policy: Policy | None) -> Iterator[Check]:
    """One for each secret."""
    stack = session.connection.stack_name
    for sender in SENDERS:
        yield _check(session, f"{stack}/webhooks/{sender}", "webhooks", lambda _, value: secrets_of(value))
    for name, folder, parse in _named(inventory) if inventory else ():
        yield _check(session, name, folder, parse)
    for name in dict.fromkeys(policy.notifications.webhooks if policy else ()):
        yield _check(session, name, "", _has("url"))


def _named(inventory: Inventory) -> Iterator[tuple[str, str, Parse]]:
    """The secrets of the inventory: name, the folder of the stack that it must lie in, and what reads it."""
    for host in inventory.hosts:
        if isinstance(host.reach, Tcp):
            yield host.reach.secret, "hosts", _pem(host)
    for cluster in inventory.clusters:
        for name in (cluster.reader_secret, cluster.operator_secret):
            yield name, "clusters", _cluster
    for tracker in inventory.trackers:
        fields = ("username", "password") if tracker.system == "roundup" else ("token",)
        yield tracker.secret, "trackers", _has(*fields)
    yield from _of_images(inventory)
    for entry in inventory.alertmanagers:
        if entry.secret:
            yield entry.secret, "alertmanagers", _alertmanager


def _of_images(inventory: Inventory) -> Iterator[tuple[str, str, Parse]]:
    """Those of registries, and of the git repositories that images are built from."""
    login = _has("username", "password")
    named = [(registry.secret, "registries") for registry in inventory.registries]
    named += [(registry.operator_secret, "registry-operators") for registry in inventory.registries]
    named += [(source.secret, "sources") for source in inventory.sources]
    yield from ((name, folder, login) for name, folder in named if name)


def _check(session: Session, name: str, folder: str, parse: Parse) -> Check:
    return Check("secret", name, lambda: _look(session.connection, name, folder, parse))


def _look(connection: Connection, name: str, folder: str, parse: Parse) -> Iterable[Finding]:
    place = f"{connection.stack_name}/{folder}/"
    if folder and not name.startswith(place):
        yield fault("secret", name, f"the functions may only read secrets under {place}", f"store it as {place}NAME")
        return
    try:
        parse(name, connection.secret(name))
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ResourceNotFoundException":
            remedy = f"aws secretsmanager create-secret --name {name} --secret-string file://FILE (docs/template.md)"
            yield fault("secret", name, "it does not exist", remedy)
        elif code in ("AccessDeniedException", "AccessDenied"):
            yield unknown(
                "secret", name, "you may not read it; the functions may", "secretsmanager:GetSecretValue on it"
            )
        else:
            raise
    except PermanentError as error:
        remedy = f"aws secretsmanager put-secret-value --secret-id {name} --secret-string file://FILE"
        yield fault("secret", name, str(error), remedy)
    else:
        yield fine("secret", name, "it holds what it must")


def _has(*fields: str) -> Parse:
    def parse(name: str, value: Any) -> None:
        from paydown.tickets.shapes import credentials

        credentials(lambda _: value, name, *fields)

    return parse


def _cluster(name: str, value: Any) -> object:
    from paydown.clients.kube.credentials import Credentials

    return Credentials.parse(name, value)


def _pem(host: Host) -> Parse:
    def parse(_: str, value: Any) -> object:
        from paydown.clients.docker import open_host

        return open_host(host, observing=True, secrets=lambda _: value)

    return parse


def _alertmanager(name: str, value: Any) -> None:
    from paydown.clients.alertmanager import credentials

    credentials(name, value)
