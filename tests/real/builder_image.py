"""A builder image out of what this machine has installed: nothing is pulled, and bootstrapping it would take longer."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.real.docker_engine import Engine
from tests.servers import need_program

SEEDS = ("mmdebstrap", "mount", "debian-archive-keyring", "ubuntu-keyring")
"""Besides what is essential."""
MADE = ("bin", "sbin", "lib", "lib64", "lib32", "libx32", "etc/alternatives", "etc/ld.so.cache", "usr/bin/awk")
"""What belongs to no package."""
USERS = ("etc/passwd", "etc/group")
LEFT_OUT = re.compile(r"^/(usr/share/(doc|man|info|locale|lintian|bash-completion)/|boot/)")


def builder_image(engine: Engine, folder: Path, name: str) -> str:
    """An image with mmdebstrap, apt and the docker command; its id."""
    need_program("mmdebstrap", "mmdebstrap")
    return image_of(engine, folder, name, SEEDS)


def image_of(engine: Engine, folder: Path, name: str, seeds: Sequence[str]) -> str:
    """An image with these packages, all that they need, and the docker command; its id."""
    listed = folder / "files"
    listed.write_text("".join(f"{path.lstrip('/')}\n" for path in sorted(set(_paths(seeds)))))
    with (folder / "builder.tar").open("wb") as archive:
        command = ["tar", "--create", "--directory=/", "--no-recursion", "--ignore-failed-read"]
        subprocess.run([*command, f"--files-from={listed}"], stdout=archive, stderr=subprocess.DEVNULL, check=True)
    return engine.docker("import", str(folder / "builder.tar"), name)


def _paths(seeds: Sequence[str]) -> Iterator[str]:
    packages = sorted(_closure(seeds))
    owned = subprocess.run(["dpkg-query", "--listfiles", *packages], capture_output=True, text=True, check=True).stdout
    docker = need_program("docker", "docker.io")
    linked = subprocess.run(["ldd", docker], capture_output=True, text=True, check=False).stdout
    found = [*owned.splitlines(), docker, *re.findall(r"(/\S+) \(0x", linked)]
    for path in found:
        if path.startswith("/") and not LEFT_OUT.match(path):
            place = Path(path)
            if place.is_symlink() or place.is_file():
                yield str(place.parent.resolve() / place.name)
                if place.is_symlink():  # of libraries, often
                    yield str(place.resolve())
    for path in ("tmp", "var/tmp", "var/lib/dpkg", "run", "root", "proc", "sys", "dev"):
        yield f"/{path}"
    for path in (*MADE, *USERS):
        if Path("/", path).exists():
            yield f"/{path}"
    for one in Path("/etc/alternatives").iterdir():
        yield str(one)


def _closure(seeds: Sequence[str]) -> set[str]:
    """The seeds and essential packages with all on which they depend, as far as they are installed."""
    form = "${Package}\t${Essential}\t${Depends}, ${Pre-Depends}\t${Provides}\n"
    rows = subprocess.run(["dpkg-query", "--show", f"--showformat={form}"], capture_output=True, text=True, check=True)
    needs: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    wanted: list[str] = [*seeds]
    for row in rows.stdout.splitlines():
        name, essential, depends, provides = row.split("\t")
        needs[name] = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", depends)
        provided |= dict.fromkeys(re.findall(r"[a-z0-9][a-z0-9+.-]+", provides), name)
        if essential == "yes":
            wanted.append(name)
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        name = name if name in needs else provided.get(name, "")
        if name and name not in found:
            found.add(name)
            wanted += needs[name]
    return found
