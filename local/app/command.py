"""`make run`: the application with its live view, until Ctrl-C."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from local import live, roundup
from local.app.application import Application
from local.app.lock import only_one
from local.emulator import PROJECT

IMAGE_LABELS = {"paydown.managed": "true"}
"""On a user's machine, only images that carry this label are ever removed."""


def run(state: Path) -> None:
    """Start everything and show it; ends by an exception only. Raises AlreadyRunning, ServiceError, DeployError."""
    from rich.console import Console

    with only_one(state / "run.lock", "make run"):
        folder = state / "run"
        kubeconfig = os.environ.get("KUBECONFIG") or None
        with Application(folder, IMAGE_LABELS, persist=True, kubeconfig=kubeconfig) as application:
            application.look_around().start()
            with described(application, state / "local.json"):
                print(how_to_try(application, folder / "try"), flush=True)
                live.show(application.ledger, application.check, Console())


@contextmanager
def described(application: Application, file: Path) -> Iterator[None]:
    """Tell `paydown --local` and scripts where everything is, as long as it is there."""
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)  # it holds the operator's credentials
    partial.write_text(json.dumps(application.description, indent=2) + "\n")
    partial.rename(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def how_to_try(application: Application, folder: Path) -> str:
    """What a person can do now, as text; the files that the commands need are written to `folder`."""
    folder.mkdir(exist_ok=True)
    near = _near(folder)
    _private(
        folder / "alertmanager.header", f"Authorization: Bearer {application.stack.webhook_secret('alertmanager')}"
    )
    (folder / "alert.json").write_text(json.dumps(_alert(application.cluster.name)))
    lines = ["", "Everything runs. Try, from another terminal in this folder:", ""]
    if application.stand_in:
        _private(folder / "cluster.header", f"Authorization: Bearer {application.stand_in.token}")
        trust = f"--cacert {_near(application.stand_in.certificate)} -H @{near}/cluster.header"
        kubelet = f"{application.stand_in.url}/_standin/nodes/worker-1/kubelet"
        lines += [
            "  a machine loses its power, and Alertmanager tells (NodeNotReady):",
            f"    curl {trust} -d '{{\"running\": false}}' {kubelet}",
        ]
    alertmanager = application.stack.webhook_url("alertmanager")
    passwords = _near(application.tracker.home / "passwords.json")
    lines += [
        f"    curl -H @{near}/alertmanager.header -d @{near}/alert.json {alertmanager}",
        f"    kubectl --kubeconfig {_near(Path(application.cluster.kubeconfig))} get nodes",
    ]
    if application.stand_in:
        lines[-1] += "    (then the same curl with true: the machine is back)"
    lines += [
        "  a ticket, such as “Node worker-2 is NotReady” or “Disk full on build-1”:",
        f"    {application.tracker.url}  as {roundup.PERSON}, password in {passwords}",
        "  what Paydown did:",
        "    .venv/bin/paydown --local status",
    ]
    if application.engine:
        [(label, value)] = IMAGE_LABELS.items()
        lines.append(f"  images are removed only if they were built with --label {label}={value}")
    lines += [f"  left out: {what}" for what in application.left_out]
    lines += ["", "Ctrl-C stops everything.", ""]
    return "\n".join(lines)


def _alert(cluster: str) -> dict[str, object]:
    """What Alertmanager sends for a node that has just failed."""
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    labels = {"alertname": "KubeNodeNotReady", "cluster": cluster, "node": "worker-1"}
    alert = {"status": "firing", "labels": labels, "startsAt": started, "fingerprint": "f1a835c2aa220be4"}
    return {"version": "4", "status": "firing", "alerts": [alert]}


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text + "\n")


def _near(path: Path) -> str:
    """The path as seen from the project's folder."""
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)
