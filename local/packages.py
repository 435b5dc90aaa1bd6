"""Builds what template.yaml deploys, with the same makefiles as `sam build`, and keeps what has not changed.

`sam build` and `sam deploy` take 6 s or more when nothing has changed; this takes a tenth of one, which is what makes
`make run` quick. The template is deployed as it stands, but for the addresses of the built packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parent.parent
BUILD = PROJECT / ".build"
KEPT_SECONDS = 600
"""How long a package is kept after its sources changed: another process may be about to upload it."""
ADDRESS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as their long ones: `!Ref X` is `{"Ref": "X"}`."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]  # the third kind of node
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


def load_template(path: Path = PROJECT / "template.yaml") -> dict[str, Any]:
    """The template as plain data, with intrinsic functions in their long form."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 -- a SafeLoader
    return loaded


@dataclass(frozen=True)
class Package:
    """One layer or function that is built: its folder of sources, and what else decides what comes out."""

    logical_id: str
    makefile: Path
    sources: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (16 hex digits) over names and contents of all that goes in."""
        digest = hashlib.sha256(sys.version.encode())
        for path in sorted(self._files()):
            digest.update(f"{path.relative_to(PROJECT)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def archive(self) -> Path:
        """Where the zip file lies once it is built."""
        return BUILD / "packages" / f"{self.logical_id}-{self.digest}.zip"

    def build(self) -> Path:
        """Run the makefile's target and zip what it makes. Raises CalledProcessError with its output."""
        archive = self.archive
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (archive.parent / f"{self.logical_id}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may build the same
            if not archive.exists():
                self._build(archive)
        return archive

    def _build(self, archive: Path) -> None:
        folder = BUILD / "packages" / self.logical_id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        subprocess.run(  # noqa: S603 -- our own makefiles
            ["make", "--no-print-directory", "--makefile", str(self.makefile), f"build-{self.logical_id}"],
            cwd=self.makefile.parent,
            env={**_quiet_make(), "ARTIFACTS_DIR": str(folder), "PYTHON": sys.executable},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        partial = archive.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as zipped:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    zipped.write(path, path.relative_to(folder))
        for old in archive.parent.glob(f"{self.logical_id}-*.zip"):
            if old.stat().st_mtime < time.time() - KEPT_SECONDS:
                old.unlink()
        partial.rename(archive)
        shutil.rmtree(folder)

    def _files(self) -> Iterator[Path]:
        for source in (self.makefile, PROJECT / "layers/layer.mk", *self.sources):
            if source.is_file():
                yield source
            for path in source.rglob("*") if source.is_dir() else ():
                if path.is_file() and path.suffix != ".pyc":
                    yield path


def packages(template: Mapping[str, Any]) -> list[Package]:
    """All that the template has built, layers first."""
    found: list[Package] = []
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            folder = PROJECT / resource["Properties"]["ContentUri"]
            found.insert(0, Package(logical_id, folder / "Makefile", (folder,)))
        elif resource["Type"] == "AWS::Serverless::Function":
            folder = PROJECT / template["Globals"]["Function"]["CodeUri"]
            name = re.fullmatch(r"functions\.(\w+)\.app\.handler", resource["Properties"]["Handler"])
            if name is None:
                raise ValueError(f"{logical_id}: the handler must be functions.<folder>.app.handler")
            found.append(Package(logical_id, folder / "Makefile", (folder / "__init__.py", folder / name[1])))
    return found


def build_all(template: Mapping[str, Any], progress: Callable[[str], None] = lambda _: None) -> dict[str, Path]:
    """Build what has changed; the zip file of every package by its logical id. `progress` is told what is built."""
    everything = packages(template)
    for package in everything:
        if not package.archive.exists():
            progress(f"building {package.logical_id}")
    with ThreadPoolExecutor(2) as pool:
        archives = list(pool.map(Package.build, everything))
    return {package.logical_id: archive for package, archive in zip(everything, archives, strict=True)}


def addressed(template: dict[str, Any], addresses: Mapping[str, str]) -> dict[str, Any]:
    """The template with the address (`s3://bucket/key`) of each package in place of its sources."""
    resources = dict(template["Resources"])
    for logical_id, resource in template["Resources"].items():
        if logical_id in addresses:
            properties = {**resource["Properties"], ADDRESS[resource["Type"]]: addresses[logical_id]}
            resources[logical_id] = {**resource, "Properties": properties}
    return {**template, "Resources": resources}


def _quiet_make() -> dict[str, str]:
    """Our environment without what an outer make leaves there for inner ones."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
