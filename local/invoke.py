"""`make invoke`: one function, with one sample event, in a container, by `sam local invoke`.

The image that SAM would pull is replaced by one that is made here, from Debian's Python and AWS's runtime client; the
runtime interface emulator comes with the SAM CLI. So it works without access to a container registry. The function
talks to an emulator of AWS that is started for it, with the template deployed and a policy and an inventory published.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from local.deploy import Stack, deploy, mode_parameters
from local.emulator import PROJECT, REGION, Emulator
from local.packages import load_template
from paydown.ledger import Ledger
from paydown.ledger.table import Table

BASE = "paydown/python:3.11"
IMAGE = "paydown/invoke:3.11"
SAM = PROJECT / ".build/sam/bin/sam"
BUILD = PROJECT / ".build/invoke"
RUNTIME_CLIENT = "awslambdaric==4.2.2"
BOOTSTRAP = """#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
cd /var/task && exec /usr/bin/python3.11 -m awslambdaric "$_HANDLER"
"""


class InvokeError(RuntimeError):
    """The function could not be invoked; the message says what is missing."""


def find_function(folder: str) -> str:
    """The logical id of the function in a folder of functions/. Raises InvokeError that names the folders there are."""
    folders = {}
    for logical_id, resource in load_template()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            folders[resource["Properties"]["Handler"].split(".")[1]] = logical_id
    if folder not in folders:
        raise InvokeError(f"FUNCTION must be one of: {', '.join(sorted(folders))}")
    return folders[folder]


def find_event(folder: str, name: str) -> Path:
    """The sample event: a path, or a name in the function's folder of events/. Raises InvokeError with the names."""
    for path in (PROJECT / "events" / folder / name, PROJECT / "events" / name, Path(name)):
        if name and path.is_file():
            return path
    names = sorted(path.name for path in (PROJECT / "events" / folder).glob("*.json"))
    raise InvokeError(f"EVENT must be a path or one of: {', '.join(names)}")


def engine() -> docker.DockerClient:
    """The Docker engine. Raises InvokeError if there is none."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise InvokeError(
            f"no Docker engine answers (Debian: apt-get install docker.io; or set DOCKER_HOST): {error}"
        ) from error
    return client


def gateway(client: docker.DockerClient) -> str:
    """The address of this machine that containers can reach. Raises InvokeError for an engine without its bridge."""
    for network in client.networks.list(names=["bridge"]):
        for config in network.attrs["IPAM"]["Config"] or ():
            return str(config.get("Gateway") or next(ip_network(config["Subnet"]).hosts()))
    raise InvokeError("the Docker engine has no bridge network, which `sam local invoke` needs")


def make_base(client: docker.DockerClient) -> None:
    """Make the image with Python and the runtime client, unless it is there. Takes a minute the first time."""
    try:
        client.images.get(BASE)
    except ImageNotFound:
        if not shutil.which("mmdebstrap"):
            raise InvokeError("mmdebstrap is not installed (Debian: apt-get install mmdebstrap)") from None
        print("making the image (a minute, once)", flush=True)
        with tempfile.TemporaryDirectory(prefix="paydown-") as name:
            _import_base(client, Path(name))


def _import_base(client: docker.DockerClient, folder: Path) -> None:
    runtime = folder / "runtime"
    install = ["install", "--quiet", "--disable-pip-version-check", "--target", str(runtime), RUNTIME_CLIENT]
    wheels = ["--platform", "manylinux2014_x86_64", "--only-binary=:all:", "--python-version", "3.11"]
    subprocess.run([sys.executable, "-m", "pip", *install, *wheels], check=True)  # noqa: S603 -- our own command
    (runtime / "bootstrap").write_text(BOOTSTRAP)
    (runtime / "bootstrap").chmod(0o755)
    archive = folder / "base.tar"
    packages = "python3.11-minimal,libpython3.11-stdlib,ca-certificates,libstdc++6"
    options = ["--quiet", "--variant=essential", f"--include={packages}", f"--customize-hook=copy-in {runtime} /var"]
    subprocess.run(["mmdebstrap", *options, "bookworm", str(archive)], check=True)  # noqa: S603
    repository, tag = BASE.split(":")
    client.api.import_image_from_file(str(archive), repository=repository, tag=tag)
    client.images.get(BASE)


def make_image(client: docker.DockerClient, endpoint: str) -> None:
    """Make the image that SAM takes: SAM passes on only variables that the template declares, and this is not one."""
    with tempfile.TemporaryDirectory(prefix="paydown-") as folder:
        lines = [f"FROM {BASE}", f"ENV AWS_ENDPOINT_URL={endpoint} AWS_EC2_METADATA_DISABLED=true", ""]
        Path(folder, "Dockerfile").write_text("\n".join(lines))
        client.images.build(path=folder, tag=IMAGE, rm=True)


def publish(stack: Stack, toil: str, policy: Path | None, inventory: Path | None) -> None:
    """Publish a policy and an inventory; by default, this toil type may observe, and the inventory is empty."""
    ledger = Ledger(Table(stack.outputs["LedgerTable"], stack.emulator.client("dynamodb")))
    now = datetime.now(UTC)
    ledger.policy.publish(_document(policy, {"toils": {toil: {"mode": "observe"}}}), "make invoke", now)
    ledger.inventory.publish(_document(inventory, {}), "make invoke", now)


def _document(path: Path | None, default: Mapping[str, Any]) -> Any:
    return json.loads(path.read_text()) if path else default


def invoke(stack: Stack, logical_id: str, event: Path, mode: str) -> int:
    """Build, and run `sam local invoke`. Returns its exit status."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHON": sys.executable,
        "SAM_CLI_TELEMETRY": "0",
    }
    BUILD.mkdir(parents=True, exist_ok=True)
    built = BUILD / "artifacts"
    command = [
        str(SAM),
        "build",
        "--cached",
        "--parallel",
        "--build-dir",
        str(built),
        "--cache-dir",
        str(BUILD / "cache"),
    ]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)  # noqa: S603
    variables = BUILD / "variables.json"
    outputs = stack.outputs
    variables.write_text(
        json.dumps(
            {
                "Parameters": {
                    "PAYDOWN_LEDGER_TABLE": outputs["LedgerTable"],
                    "PAYDOWN_OUTPUT_BUCKET": outputs["CommandOutput"],
                    "PAYDOWN_QUEUE_PREFIX": stack.name,
                    "PAYDOWN_STACK": stack.name,
                }
            }
        )
    )
    modes = [f"{name}={mode}" for name in mode_parameters(load_template())]
    command = [
        str(SAM),
        "local",
        "invoke",
        logical_id,
        "--template",
        str(built / "template.yaml"),
        "--event",
        str(event),
    ]
    command += ["--invoke-image", IMAGE, "--skip-pull-image", "--env-vars", str(variables)]
    command += ["--layer-cache-basedir", str(BUILD / "layers"), "--parameter-overrides", *modes]
    return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode  # noqa: S603


def main() -> int:
    """The command line. Prints the function's answer; 0 when it gave one."""
    parser = argparse.ArgumentParser(prog="make invoke", description=__doc__)
    parser.add_argument("function", help="a folder of functions/")
    parser.add_argument("event", help="a file of events/<function>/, or a path")
    parser.add_argument("--policy", type=Path, help="a policy to publish first")
    parser.add_argument("--inventory", type=Path, help="an inventory to publish first")
    parser.add_argument("--mode", default="Observe", choices=["Observe", "Enforce"])
    options = parser.parse_args()
    try:
        logical_id = find_function(options.function)
        event = find_event(options.function, options.event)
        client = engine()
        host = gateway(client)
        make_base(client)
        with Emulator(PROJECT / ".paydown/invoke", host=host) as emulator:
            stack = deploy(emulator, mode=options.mode, progress=lambda text: print(text, flush=True))
            publish(stack, options.function, options.policy, options.inventory)
            make_image(client, emulator.url)
            return invoke(stack, logical_id, event, options.mode)
    except InvokeError as error:
        print(f"make invoke: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
