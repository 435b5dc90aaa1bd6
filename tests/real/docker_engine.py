"""A real Docker engine of the tests' own, with nothing in it, and the three ways in which Paydown reaches one.

An engine that the machine has already is never used: what is tested removes images. Starting one needs root.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError

from local import emulator as local_emulator
from local import registry as local_registry
from local.emulator import Emulator
from local.processes import Service, free_port, port_answers
from local.registry import Registry
from local.ssm_agent.publish import publish_documents
from paydown.clients import aws
from paydown.inventory import Host, Ssm, Tcp, Unix
from tests.real.certificates import Authority, Pair
from tests.real.ssm_standin import INSTANCE, SsmStandIn
from tests.servers import need, need_program

STACK = "paydown-test"
BUCKET = "command-output"
MEMORY = "2g"
TLS_SECRET = "docker/build-1"
WAYS = ("unix", "tcp", "ssm")


@dataclass
class Engine:
    """A dockerd below `folder`, on a unix socket and, with mutual TLS, on a port of 127.0.0.1.

    With a `proxy` (its URL) it gets to all registries through that, and speaks HTTP with those that are `insecure`.
    """

    folder: Path
    authority: Authority = field(default_factory=Authority)
    port: int = field(default_factory=free_port)
    driver: str = ""
    proxy: str = ""
    insecure: tuple[str, ...] = ()
    service: Service | None = field(default=None, init=False)
    _client: docker.APIClient | None = field(default=None, init=False)

    @property
    def api(self) -> docker.APIClient:
        """The docker library's client, kept: a start of the docker command takes longer than most calls."""
        if self._client is None:
            self._client = docker.APIClient(base_url=self.host, version="auto")
        return self._client

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def host(self) -> str:
        """What DOCKER_HOST is set to."""
        return f"unix://{self.socket}"

    @property
    def root(self) -> Path:
        """Its data root."""
        return self.folder / "data"

    def start(self) -> Engine:
        """Start it, with overlay2 or what `driver` says. Raises ServiceError when it does not come up."""
        server = self.authority.server("127.0.0.1")
        for name, text in (("ca.pem", self.authority.cert), ("cert.pem", server.cert), ("key.pem", server.key)):
            (self.folder / name).write_text(text)
        config = self.folder / "daemon.json"
        config.write_text(json.dumps({"insecure-registries": self.insecure} if self.insecure else {}))  # no other
        options = ["--storage-driver", self.driver or "overlay2"]
        options += ["--host", self.host, "--host", f"tcp://127.0.0.1:{self.port}"]
        options += ["--data-root", str(self.root), "--exec-root", str(self.folder / "exec")]
        options += ["--pidfile", str(self.folder / "docker.pid"), "--group", "root"]
        options += ["--iptables=false", "--bridge=none", "--ip-masq=false", "--config-file", str(config)]
        options += ["--tlsverify", "--tlscacert", str(self.folder / "ca.pem")]
        options += ["--tlscert", str(self.folder / "cert.pem"), "--tlskey", str(self.folder / "key.pem")]
        self.service = Service(
            "dockerd",
            ["dockerd", *options],
            log=self.folder / "dockerd.log",
            ready=self._answers,
            environment=dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), self.proxy) if self.proxy else {},
            start_seconds=60,
            stop_seconds=20,
        )
        self.service.start()
        return self

    def _answers(self) -> bool:
        """Whether it answers requests: it listens long before that."""
        if not (self.socket.exists() and port_answers(self.port)):
            return False
        asked = subprocess.run(["docker", "--host", self.host, "version"], capture_output=True, check=False)
        return asked.returncode == 0

    def stop(self) -> None:
        """Stop it with its containers."""
        if self._client:
            self._client.close()
            self._client = None
        if self.service:
            self.service.stop()

    def docker(
        self,
        *arguments: str,
        stdin: bytes = b"",
        program: str = "docker",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What the docker command answers. Raises CalledProcessError, with its stderr in the notes."""
        done = subprocess.run(
            [program, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, "DOCKER_HOST": self.host, **(environment or {})},
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
            error.add_note(done.stderr.decode())
            raise error
        return done.stdout.decode().strip()

    def build(self, tag: str | None, dockerfile: str, buildkit: bool = False, **files: bytes) -> str:
        """Build an image from this text and these files; its id. Without a tag it dangles from the start."""
        context = archive({"Dockerfile": dockerfile.encode(), **files})
        environment = {"DOCKER_BUILDKIT": "1" if buildkit else "0"}
        name = ["--tag", tag] if tag else []
        program = builder() if buildkit else "docker"
        answer = self.docker("build", "--quiet", *name, "-", stdin=context, program=program, environment=environment)
        return answer.splitlines()[-1]

    def image(self, tag: str | None, **files: bytes) -> str:
        """An image of one layer with these files; its id. Each call makes another, since it bears the time."""
        name, _, version = (tag or "").rpartition(":")
        made = self.api.import_image_from_data(
            archive(files), repository=name or None, tag=version or None, changes=['CMD ["/pause"]']
        )
        return str(json.loads(made.splitlines()[-1])["status"])

    def rebuilt(self, tag: str, times: int) -> list[str]:
        """The ids of the images that dangle after a tag was put on a new one so often, oldest first."""
        return [self.image(tag, content=os.urandom(1000)) for _ in range(times + 1)][:-1]

    def container(self, image: str, *options: str, start: bool = False) -> str:
        """A container of an image, created or running; its id."""
        command = ["run", "--detach"] if start else ["create"]
        return self.docker(*command, "--network", "none", *options, image, "/pause")

    def ended(self, image: str, *options: str) -> str:
        """A container that ran and was killed."""
        made = self.container(image, *options, start=True)
        self.api.kill(made)
        self.api.wait(made)
        return made

    def images(self) -> set[str]:
        """The ids of all images."""
        return {row["Id"] for row in self.api.images(all=True)}

    def dangling(self) -> set[str]:
        """The ids of those that dangle."""
        return {row["Id"] for row in self.api.images(filters={"dangling": True})}

    def containers(self) -> set[str]:
        """The ids of all containers."""
        return {row["Id"] for row in self.api.containers(all=True)}

    def layer_bytes(self) -> int:
        """What the files of all layers take, as the engine counts: the sum of their lengths."""
        files = (Path(place, name) for place, _, names in os.walk(self.root / self.driver_name) for name in names)
        return sum(path.lstat().st_size for path in files if "diff" in path.parts or self.driver_name == "vfs")

    @property
    def driver_name(self) -> str:
        """The storage driver."""
        return self.docker("info", "--format", "{{.Driver}}")

    def clear(self) -> None:
        """Remove every container, image and volume, and the build cache."""
        deadline = time.monotonic() + 60
        while containers := self.containers():
            assert time.monotonic() < deadline, containers
            for container in containers:
                with suppress(APIError):  # it is removing itself just now
                    self.api.remove_container(container, force=True)
        for volume in self.api.volumes()["Volumes"] or ():
            self.api.remove_volume(volume["Name"])
        for _ in range(5):  # an image goes only after those that were built upon it
            for image in self.images():
                with suppress(APIError):
                    self.api.remove_image(image, force=True)
        assert not self.images()
        self.api.prune_builds(all=True)


def builder() -> str:
    """A docker command that can build with BuildKit: one from before 23, or one that has the buildx plugin."""
    for folder in os.environ["PATH"].split(os.pathsep):
        program = shutil.which("docker", path=folder)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, check=True, text=True).stdout
        plugin = subprocess.run([program, "buildx", "version"], capture_output=True, check=False)
        if plugin.returncode == 0 or int(version.split()[2].split(".")[0]) < 23:
            return program
    need(None, "no docker command here can build with BuildKit (apt-get install docker.io)")
    raise AssertionError


def archive(files: Mapping[str, bytes], modified: int = 0, mode: int = 0o755) -> bytes:
    """A tar archive with these files, all of them changed at this time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), mode, modified
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def sleeper(folder: Path) -> bytes:
    """A static program that does nothing until it is killed."""
    source, program = folder / "pause.c", folder / "pause"
    source.write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    subprocess.run(["gcc", "-static", "-O1", "-o", str(program), str(source)], check=True)
    return program.read_bytes()


@contextmanager
def engine_in_memory(folder: Path, size: str = MEMORY, **settings: Any) -> Iterator[Engine]:
    """An engine that runs meanwhile, with its data in memory: builders wait for the disk more than they work."""
    need_program("dockerd", "docker.io")
    need_program("docker", "docker.io")
    need(os.geteuid() == 0, "only root can start dockerd")
    options = f"size={size}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False).returncode == 0
    engine = Engine(folder, **settings)
    try:
        yield engine.start()
    finally:
        engine.stop()
        if mounted:
            subprocess.run(["umount", "--recursive", str(folder)], check=True)


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A running engine that all tests share."""
    with engine_in_memory(tmp_path_factory.mktemp("docker")) as engine:
        yield engine


@pytest.fixture
def engine(docker_engine: Engine) -> Iterator[Engine]:
    """The engine with nothing in it."""
    docker_engine.clear()
    yield docker_engine
    docker_engine.clear()


@pytest.fixture(scope="session")
def sleeping_program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A static program for a container that runs."""
    need_program("gcc", "gcc libc6-dev")
    return sleeper(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def output_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The emulator, with the bucket for long output."""
    need(local_emulator.PROGRAM.exists(), "the AWS emulator is not installed (make run installs it)")
    with Emulator(tmp_path_factory.mktemp("emulator")) as emulator:
        emulator.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": local_emulator.REGION}
        )
        yield emulator


@pytest.fixture(scope="session")
def ssm_agent(
    docker_engine: Engine, output_store: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SsmStandIn]:
    """The stand-in agent, without documents."""
    agent = SsmStandIn(docker_engine, tmp_path_factory.mktemp("ssm"), output_store.url)
    try:
        yield agent.start()
    finally:
        agent.stop()


@pytest.fixture
def over_ssm(ssm_agent: SsmStandIn, output_store: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host that is reached through the agent, as functions reach it: by their environment."""
    for name, value in (
        ("AWS_ENDPOINT_URL_SSM", ssm_agent.url),
        ("AWS_ENDPOINT_URL_S3", output_store.url),
        ("PAYDOWN_STACK", STACK),
        ("PAYDOWN_OUTPUT_BUCKET", BUCKET),
    ):
        monkeypatch.setenv(name, value)
    aws.forget()
    publish_documents(aws.client("ssm"), STACK)
    with ssm_agent.given():
        yield Host(uid=INSTANCE, name="build-1", reach=Ssm(via="ssm", instance_id=INSTANCE), builds=("*",))
    aws.forget()


@pytest.fixture
def client_secret(docker_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The secret for the engine's TLS port, and a Secrets Manager that knows it."""
    pair: Pair = docker_engine.authority.client()
    value = {"ca": docker_engine.authority.cert, "cert": pair.cert, "key": pair.key}
    monkeypatch.setattr("paydown.clients.aws._secrets", {TLS_SECRET: (float("inf"), value)})
    return value


@pytest.fixture(params=WAYS)
def docker_host(request: pytest.FixtureRequest, engine: Engine) -> Host:
    """The engine's host in the inventory, for each of the ways to reach it."""
    match request.param:
        case "unix":
            reach = Unix(via="unix", path=str(engine.socket))
        case "tcp":
            request.getfixturevalue("client_secret")
            reach = Tcp(via="tcp", address=f"127.0.0.1:{engine.port}", secret=TLS_SECRET)
        case _:
            found: Host = request.getfixturevalue("over_ssm")
            return found
    return Host(uid="host-1", name="build-1", reach=reach, builds=("*",))


@pytest.fixture
def plain_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry whose notifications nobody takes."""
    need(local_registry.program(), "the registry is not installed (apt-get install docker-registry)")
    with Registry(tmp_path, "http://127.0.0.1:9/", "unused") as registry:
        yield registry
