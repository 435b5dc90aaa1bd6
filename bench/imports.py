"""How long a cold start takes: from the start of a fresh process until the plan for its first event is made.

The peer imports boto3, makes one DynamoDB client and calls it once: what a function does at the very least. Both use
the same interpreter and the same built layers, with their bytecode, and take turns, so that a slow moment of the
machine hits both. The ledger is the emulator's DynamoDB; what the toil types read (an SSM agent, a Kubernetes API, a
ticket system) are answers on loopback. The ratio is that of the medians, for each function; the worst of each kind is
the figure.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.answers import serving
from local.emulator import REGION, Emulator
from local.packages import build_all, load_template
from paydown.ledger import Ledger, Table

ROUNDS = 15
TABLE = "ledger"

PEER = """
import boto3
boto3.client("dynamodb").get_item(TableName="ledger", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})
print("planned", flush=True)
"""

FUNCTION = """
import json, sys
event = json.load(open(sys.argv[2]))
from importlib import import_module
app = import_module(f"functions.{sys.argv[1]}.app")
from paydown.toil import Toil
(toil,) = [one for one in vars(app).values() if isinstance(one, type) and issubclass(one, Toil) and one is not Toil]
plan = toil.plan
def planned(self, target):
    draft = plan(self, target)
    assert draft.stages, draft
    print("planned", flush=True)
    return draft
toil.plan = planned
class Context:
    def get_remaining_time_in_millis(self):
        return 60_000
print(json.dumps(app.handler(event, Context())))
"""

EVENTS = {
    "clean_dangling_images": (
        "ImagePushed",
        {"registry": "registry", "repository": "app", "digest": "sha256:" + "0" * 64},
    ),
    "recover_node": ("NodeNotReady", {"cluster": "bench", "node": "worker-1"}),
    "triage_ticket": ("TicketCreated", {"ticket": {"tracker": "bench", "id": "1"}, "title": "disk full on build-1"}),
}
KUBERNETES = {"recover_node"}
POLICY = {
    "toils": {name: {"mode": "observe"} for name in EVENTS},
    "tickets": {
        "rules": [
            {
                "name": "disk",
                "toil": "clean_dangling_images",
                "target": "host/{target}",
                "title": r"full on (?P<target>\S+)",
            }
        ]
    },
}


def main() -> int:
    """Run the benchmark and print its figures."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path = unpacked(folder)
        with Emulator(folder / "emulator") as emulator, serving() as answers:
            prepare(emulator, answers)
            variables = load_template()["Globals"]["Function"]["Environment"]["Variables"]
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": path,
                "AWS_ENDPOINT_URL": emulator.url,
                "AWS_ENDPOINT_URL_SSM": answers,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": REGION,
                "PAYDOWN_LEDGER_TABLE": TABLE,
                "PAYDOWN_MODE": "Observe",
                "PAYDOWN_STACK": "bench",
                "PAYDOWN_QUEUE_PREFIX": "bench",
                **{name: value for name, value in variables.items() if isinstance(value, str)},
            }
            figures = measure(folder, environment)
    plain = max(ratio for name, ratio in figures.items() if name not in KUBERNETES)
    kubernetes = max(ratio for name, ratio in figures.items() if name in KUBERNETES)
    print(json.dumps({"ratio_max_plain": round(plain, 2), "ratio_max_kubernetes": round(kubernetes, 2)}))
    return 0


def measure(folder: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """The ratio of each function to the peer; the first round warms the disk's cache and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ("peer", *EVENTS)}
    for number in range(ROUNDS + 1):
        for name, taken in seconds.items():
            code = [PEER] if name == "peer" else [FUNCTION, name, str(event_file(folder, name, number))]
            taken.append(until_planned(code, environment))
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{name:24} {median * 1000:6.0f} ms   {median / medians['peer']:.2f} x the peer")
    return {name: medians[name] / medians["peer"] for name in EVENTS}


def until_planned(code: list[str], environment: Mapping[str, str]) -> float:
    """Seconds from the start of a fresh process until it says that the plan is made."""
    begun = time.perf_counter()
    # Without the site-packages of this environment and its folder: only what the packages hold is there.
    command = [sys._base_executable, "-S", "-P", "-c", *code]  # type: ignore[attr-defined]  # noqa: SLF001 -- its only name
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(environment), text=True) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker: it is piped
        line = process.stdout.readline()
        taken = time.perf_counter() - begun
        rest = process.stdout.read()
    if line != "planned\n" or (rest and not _observed(rest)):
        raise RuntimeError(f"the plan was not made, or came to nothing: {line}{rest}")
    return taken


def _observed(said: str) -> bool:
    """Whether the handler's last word is of one run that ended as observed: else its plan was not all of the work."""
    return [run["status"] for run in json.loads(said.splitlines()[-1])["runs"]] == ["Observed"]


def event_file(folder: Path, name: str, number: int) -> Path:
    """An event that nobody has seen yet."""
    kind, detail = EVENTS[name]
    detail = {"key": f"bench-{number}", "at": datetime.now(UTC).isoformat(), **detail}
    path = folder / f"{name}-{number}.json"
    path.write_text(json.dumps({"source": "paydown", "detail-type": kind, "detail": detail}))
    return path


def unpacked(folder: Path) -> str:
    """The built layers and functions, unpacked as Lambda does it, as a module search path."""
    for name, archive in build_all(load_template(), lambda text: print(text, file=sys.stderr)).items():
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder / ("opt" if name.endswith("Layer") else "functions"))
    return f"{folder}/functions:{folder}/opt/python"


def prepare(emulator: Emulator, answers: str) -> None:
    """The ledger with a policy and an inventory, and the secrets."""
    client = emulator.client("dynamodb")
    table = load_template()["Resources"]["Ledger"]["Properties"]
    wanted = ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
    client.create_table(TableName=TABLE, **{name: table[name] for name in wanted})
    ledger = Ledger(Table(TABLE, client))
    now = datetime.now(UTC)
    ledger.policy.publish(POLICY, "bench", now)
    ledger.inventory.publish(inventory(answers), "bench", now)
    secrets = emulator.client("secretsmanager")
    secrets.create_secret(Name="cluster", SecretString=json.dumps({"server": answers, "token": "bench"}))
    secrets.create_secret(Name="tracker", SecretString=json.dumps({"username": "bench", "password": "bench"}))


def inventory(answers: str) -> dict[str, Any]:
    """One host, one cluster, one ticket system."""
    reach = {"via": "ssm", "instance_id": "i-0123456789abcdef0"}
    return {
        "hosts": [{"uid": "build-1", "name": "build-1", "builds": ["registry/app"], "reach": reach}],
        "clusters": [
            {
                "uid": "bench",
                "name": "bench",
                "nodes": ["worker-*"],
                "reader_secret": "cluster",
                "operator_secret": "cluster",
            }
        ],
        "trackers": [
            {"uid": "bench-t", "name": "bench", "system": "roundup", "url": f"{answers}/support/", "secret": "tracker"}
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
