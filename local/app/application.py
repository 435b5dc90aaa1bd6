"""The application: the emulator with the unmodified template, a cluster, Roundup, and the SSM stand-in agent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from local import roundup
from local.app import publishing
from local.app.clusters import Cluster, NoCluster, StandIn, users_cluster
from local.app.engine import INSTANCE, Engine, NoEngine, find_engine
from local.app.people import operator_credentials
from local.app.services import Services
from local.deploy import Stack, deploy
from local.emulator import PROJECT, REGION, Emulator
from local.processes import Service, ServiceError, free_port, port_answers
from local.ssm_agent.publish import publish_documents
from paydown.ledger import Ledger, Table

STACK = "paydown"
WAY_OF_AN_EVENT = (
    "Ingress",
    "RecoverNode",
    "TriageTicket",
    "CleanDanglingImages",
    "PublishTransitions",
    "ReportOutcome",
)


class Progress:
    """Tells what happens, with the seconds since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.began

    def __call__(self, text: str) -> None:
        """Say it."""
        print(f"{self.seconds:6.1f} s  {text}", flush=True)


@dataclass
class Application:
    """Everything, with its state and logs below `folder`.

    `image_labels`: only images that carry all of them are ever removed. With `persist`, ledger and stack survive a
    stop; with `authorise` the emulator enforces the functions' roles. `kubeconfig` names the user's own cluster;
    without it there is a stand-in.
    """

    folder: Path
    image_labels: Mapping[str, str]
    persist: bool = False
    authorise: bool = False
    kubeconfig: str | None = None
    progress: Callable[[str], None] = field(default_factory=Progress)
    left_out: list[str] = field(default_factory=list, init=False)
    engine: Engine | None = field(default=None, init=False)
    stand_in: StandIn | None = field(default=None, init=False)
    cluster: Cluster = field(init=False)
    stack: Stack = field(init=False)
    tracker: roundup.Roundup = field(init=False)
    services: Services = field(default_factory=Services, init=False)
    emulator: Emulator = field(init=False)

    def look_around(self) -> Application:
        """Find the Docker engine, if there is one."""
        try:
            self.engine = find_engine()
            self.progress(f"using the Docker engine {self.engine.version} at {self.engine.host}")
        except NoEngine as error:
            self._leave_out(f"clean_dangling_images ({error})")
        return self

    def start(self) -> Application:
        """Start all of it, much of it at once. Raises ServiceError, DeployError, CalledProcessError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        agent = free_port() if self.engine and self.engine.by_agent else None
        environment = {"AWS_ENDPOINT_URL_SSM": f"http://127.0.0.1:{agent}"} if agent else {}
        self.emulator = Emulator(
            self.folder / "emulator",
            port=self._port(),
            persist=self.persist,
            authorise=self.authorise,
            environment=environment,
        )
        deploying = self.services.begin(self._deploy)
        begun = [deploying, self.services.begin(self._start_cluster)]
        if agent:
            begun.append(self.services.begin(lambda: self._start_agent(agent)))
        self.services.join(*begun)
        # In a thread too: an interruption must not come between a process' start and the note of its id.
        self.services.join(self.services.begin(self._start_tracker))
        self._publish()
        return self

    def stop(self) -> None:
        """Stop all of it; whatever is being started or built is stopped too."""
        self.services.stop()
        shutil.rmtree(self.folder / "emulator" / "workers", ignore_errors=True)  # 70 MB for each

    def check(self) -> None:
        """Raises ServiceError when the emulator ended."""
        service = self.emulator.service
        if service and service.process and (status := service.process.poll()) is not None:
            raise ServiceError(f"{service.name} ended with status {status}:\n{service.tail()}")

    def __enter__(self) -> Application:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger of the deployed stack."""
        return Ledger(Table(self.stack.outputs["LedgerTable"], self.emulator.client("dynamodb")))

    @property
    def description(self) -> dict[str, Any]:
        """Where everything is: what `paydown --local` and scripts read."""
        senders = ("alertmanager", "github", "harbor", "registry", "roundup")
        return {
            "pid": os.getpid(),
            "endpoint_url": self.emulator.url,
            "region": REGION,
            "stack": self.stack.name,
            "ledger_table": self.stack.outputs["LedgerTable"],
            "api": self.stack.api_url,
            "operator": self.operator,
            "webhooks": {sender: self.stack.webhook_url(sender) for sender in senders},
            "roundup": self.tracker.url,
            "kubeconfig": self.cluster.kubeconfig,
            "docker_host": self.engine.host if self.engine else None,
            "left_out": self.left_out,
        }

    @cached_property
    def operator(self) -> dict[str, str]:
        """The credentials of the person who decides on held plans here."""
        return operator_credentials(self.emulator)

    def _warm_up(self) -> None:
        """Start a worker of each function, one after the other: since all at once take longer than that."""
        functions = self.emulator.client("lambda")
        for name in WAY_OF_AN_EVENT:
            functions.invoke(FunctionName=self.stack.resources[name], Payload=b'{"Records": []}')

    def _leave_out(self, what: str) -> None:
        self.left_out.append(what)
        self.progress(f"left out: {what}")

    def _port(self) -> int:
        """The emulator's port of the last time if it is still free, so that addresses stay."""
        file = self.folder / "port"
        with contextlib.suppress(OSError, ValueError):
            port = int(file.read_text())
            if not port_answers(port):
                return port
        port = free_port()
        file.write_text(str(port))
        return port

    def _deploy(self) -> None:
        self.progress("starting the AWS emulator")
        self.services.start(self.emulator)
        self.stack = deploy(self.emulator, STACK, progress=self.progress)
        self.progress("the template is deployed")
        self.services.begin(self._warm_up)

    def _start_cluster(self) -> None:
        if self.kubeconfig:
            try:
                self.cluster = users_cluster(self.kubeconfig)
            except NoCluster as error:
                self._leave_out(f"your own cluster ({error}); the stand-in takes its place")
            else:
                self.progress(f"using your cluster {self.cluster.name}; what would change it waits for your approval")
                return
        self.stand_in = StandIn(self.folder / "cluster")
        self.services.start(self.stand_in)
        self.cluster = self.stand_in.cluster
        self.progress(f"a stand-in cluster answers at {self.stand_in.url}")

    def _start_agent(self, port: int) -> None:
        folder = self.folder / "ssm"
        folder.mkdir(parents=True, exist_ok=True)
        instances = folder / "instances.json"
        instances.write_text(json.dumps({INSTANCE: dict(self.engine.environment) if self.engine else {}}))
        command = [sys.executable, "-m", "local.ssm_agent", "--port", str(port), "--state", str(folder / "state")]
        agent = Service(
            "the SSM stand-in agent",
            [*command, "--instances", str(instances), "--s3-endpoint", self.emulator.url],
            log=folder / "agent.log",
            ready=lambda: port_answers(port),
            environment={"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_PROFILE": None},
            directory=PROJECT,
        )
        self.services.start(agent)
        publish_documents(_ssm(port), STACK)
        self.progress("the SSM stand-in agent runs commands on this machine, with documents of the stack only")

    def _start_tracker(self) -> None:
        receiver = roundup.Receiver(self.stack.webhook_url("roundup"), self.stack.webhook_secret("roundup"))
        self.tracker = roundup.Roundup(self.folder / "roundup", receiver)
        self.tracker.set_up()
        self.services.start(self.tracker.service())
        self.progress(f"Roundup answers at {self.tracker.url}")

    def _publish(self) -> None:
        now = datetime.now(UTC)
        inventory = publishing.inventory(STACK, self.cluster, self.engine, self.tracker.url)
        uid = inventory["clusters"][0]["uid"]
        self.stack.put_secret(f"clusters/{uid}/reader", self.cluster.reader)
        self.stack.put_secret(f"clusters/{uid}/operator", self.cluster.operator)
        self.stack.put_secret(f"trackers/{inventory['trackers'][0]['uid']}", self.tracker.credentials)
        self.ledger.inventory.publish(inventory, "local", now)
        self.ledger.policy.publish(publishing.policy(self.cluster.name, self.image_labels), "local", now)
        self.progress("policy and inventory are published")


def _ssm(port: int) -> Any:
    import boto3

    return boto3.client(
        "ssm",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 -- the stand-in takes any
    )
