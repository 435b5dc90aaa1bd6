"""Images built by real builders and pushed to a real registry: what was taken from the cache, and what came out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import docker

from local.registry import Registry
from tests.real.docker_engine import Engine, archive, builder

LAYERED = ("COPY", "ADD", "RUN", "WORKDIR")
_CLASSIC_STEP = re.compile(r"^Step \d+/\d+ : (\w+)")
_KIT_STEP = re.compile(r"^#(\d+) \[.*?\d+/\d+\] (\w+)", re.MULTILINE)


@dataclass
class Builds:
    """Builds of one image, `name`, each pushed under the same tag. `modified` and `mode` are those of its files."""

    engine: Engine
    registry: Registry
    name: str
    kit: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    modified: int = 0
    mode: int = 0o755

    @property
    def image(self) -> str:
        return f"{self.registry.host}/{self.name}:latest"

    def touch(self, names: tuple[str, ...], size: int = 0) -> None:
        """New content, of the same length, for these files."""
        for name in names:
            self.files[name] = os.urandom(size or len(self.files[name]))

    def build(self, dockerfile: str, *options: str, push: bool = True) -> int:
        """Build and push; how many of the steps that make layers were not taken from the cache."""
        context = archive({"Dockerfile": dockerfile.encode(), **self.files}, self.modified, self.mode)
        said = self._built(context, options) if self.kit or options else self._built_classic(context)
        if push:
            self.push()
        return _kit(said) if self.kit else _classic(said)

    def push(self) -> None:
        """Push what the tag points to."""
        with self._client() as client:
            trouble = [line for line in client.push(self.image, stream=True, decode=True) if "error" in line]
        assert not trouble, trouble

    def _built(self, context: bytes, options: tuple[str, ...]) -> str:
        command = [builder() if self.kit else "docker", "build", "--network", "none", "--tag", self.image, *options]
        if self.kit:
            command += ["--progress", "plain"]
        environment = {**os.environ, "DOCKER_HOST": self.engine.host, "DOCKER_BUILDKIT": str(int(self.kit))}
        done = subprocess.run([*command, "-"], input=context, capture_output=True, check=False, env=environment)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, said
        return said

    def _built_classic(self, context: bytes) -> str:
        with self._client() as client:
            lines = client.build(
                fileobj=io.BytesIO(context), custom_context=True, tag=self.image, network_mode="none", decode=True
            )
            told = list(lines)
        said = "".join(line.get("stream", "") for line in told)
        assert not [line for line in told if "error" in line], told
        return said

    def manifest(self) -> dict[str, Any]:
        """The manifest that the tag points to."""
        types = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        request = urllib.request.Request(  # noqa: S310 -- the test's own registry
            f"{self.registry.url}/v2/{self.name}/manifests/latest", headers={"Accept": types}
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def sizes(self) -> list[int]:
        """Bytes of its layers in the registry, the lowest first."""
        return [layer["size"] for layer in self.manifest()["layers"]]

    def config(self) -> Mapping[str, Any]:
        """What containers of it are started with."""
        with self._client() as client:
            found = client.inspect_image(self.image)["Config"]
        kept = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "ExposedPorts", "Volumes", "Labels", "Healthcheck")
        return {name: found.get(name) or None for name in kept}

    def digest(self) -> str:
        """The digest of its manifest, once it was pushed."""
        with self._client() as client:
            return str(client.inspect_image(self.image)["RepoDigests"][0]).partition("@")[2]

    def _client(self) -> Any:
        """The engine's API: a process for each question would take longer than the answer."""
        return closing(docker.APIClient(base_url=self.engine.host, version="auto"))

    def tree(self) -> dict[str, tuple[Any, ...]]:
        """Its file system, file by file: kind, mode, owner, link and content, without times."""
        with self._client() as client:
            container = client.create_container(self.image, ["/nothing"])["Id"]
            content = b"".join(client.export(container))
            client.remove_container(container)
        found = {}
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for entry in tar:
                held = tar.extractfile(entry) if entry.isreg() else None
                digest = hashlib.sha256(held.read()).hexdigest() if held else ""
                found[entry.name.rstrip("/")] = (
                    entry.type,
                    entry.mode,
                    entry.uid,
                    entry.gid,
                    entry.linkname,
                    digest,
                )
        return found


def _classic(said: str) -> int:
    """Steps that were carried out, of those that make layers."""
    count, word = 0, ""
    for line in said.splitlines():
        if step := _CLASSIC_STEP.match(line):
            count += word in LAYERED
            word = step[1]
        elif "Using cache" in line:
            word = ""
    return count + (word in LAYERED)


def _kit(said: str) -> int:
    steps = dict(_KIT_STEP.findall(said))
    cached = set(re.findall(r"^#(\d+) CACHED", said, re.MULTILINE))
    # It makes a folder anew rather than ask for it, and finds that it has it.
    return sum(word in LAYERED and word != "WORKDIR" for number, word in steps.items() if number not in cached)
