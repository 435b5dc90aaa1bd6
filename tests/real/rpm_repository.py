"""A small RPM repository of the tests' own: made by rpmbuild from programs of this machine, signed, served."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MERGED = ("bin", "lib", "lib64", "sbin")
APPLETS = ("cat", "mkdir", "sh", "sleep", "true")


def run(*arguments: str | Path, **environment: str) -> str:
    """What a program of this machine answers. Raises CalledProcessError with its stderr in the notes."""
    done = subprocess.run(
        [str(one) for one in arguments],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "LC_ALL": "C", **environment},
    )
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        error.add_note(done.stderr + done.stdout)
        raise error
    return done.stdout


@dataclass
class Signer:
    """A key of one's own. `public` is the file that verifies what it signs."""

    home: Path
    name: str

    def __post_init__(self) -> None:
        self.home.mkdir(mode=0o700)
        who = f"{self.name} <{self.name}@example.org>"
        self._gpg("--passphrase", "", "--quick-generate-key", who, "rsa2048", "sign", "never")
        self.public.write_text(self._gpg("--armor", "--export", self.name))

    @property
    def public(self) -> Path:
        return self.home / f"{self.name}.asc"

    def sign(self, packages: Iterable[Path]) -> None:
        """Sign packages, whoever did so before."""
        defined = {"__gpg": shutil.which("gpg"), "_gpg_name": self.name, "_gpg_path": self.home}
        macros = [word for name, value in defined.items() for word in ("--define", f"{name} {value}")]
        run("rpmsign", *macros, "--resign", *packages, GNUPGHOME=str(self.home))
        self._end_agent()

    def sign_file(self, path: Path) -> None:
        """Write its signature beside it."""
        self._gpg("--armor", "--yes", "--output", f"{path}.asc", "--detach-sign", str(path))

    def _gpg(self, *arguments: str) -> str:
        said = run("gpg", "--homedir", self.home, "--batch", "--pinentry-mode", "loopback", *arguments)
        self._end_agent()
        return said

    def _end_agent(self) -> None:
        """Else it would run for as long as the folder is there."""
        run("gpgconf", "--homedir", self.home, "--kill", "gpg-agent")


@dataclass(frozen=True)
class Package:
    """What a package holds: `files` of this machine, `texts`, and `links`; `listed` are lines of `%files`."""

    name: str
    version: str = "1.0"
    release: str = "1"
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    post: str = ""
    epoch: int = 0

    @property
    def version_told(self) -> str:
        return (f"{self.epoch}:" if self.epoch else "") + f"{self.version}-{self.release}"

    def spec(self) -> str:
        lines = [f"Name: {self.name}", f"Version: {self.version}", f"Release: {self.release}", "Summary: For a test"]
        lines += ["License: MIT", "AutoReqProv: no"]
        lines += [f"Epoch: {self.epoch}"] if self.epoch else []
        lines += [f"Requires: {one}" for one in self.requires] + [f"Provides: {one}" for one in self.provides]
        lines += ["", "%description", "For a test.", "", "%files", *self.listed]
        lines += [path for path in (*self.files, *self.texts, *self.links) if not self._described(path)]
        return "\n".join([*lines, *(["", "%post", self.post] if self.post else []), ""])

    def _described(self, path: str) -> bool:
        return any(line.endswith(f" {path}") for line in self.listed)

    def fill(self, root: Path) -> None:
        """Write its files below a folder."""
        for folder in self.folders:
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for path, source in self.files.items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.resolve(), place)
        for path, text in self.texts.items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for path, leads in self.links.items():
            place = root / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(leads)


@dataclass
class RpmRepository:
    """Packages with their index, which is made anew by `index`, in a folder of `top` as mirrors have it."""

    folder: Path
    signer: Signer

    @property
    def top(self) -> Path:
        return self.folder / "mirror"

    @property
    def packages(self) -> Path:
        return self.top / "9" / "x86_64"

    def add(self, *packages: Package, signer: Signer | None = None, signed: bool = True) -> list[Path]:
        """Build and sign packages; the files. One of the same name and version is replaced."""
        made = [self._build(package) for package in packages]
        if signed:
            (signer or self.signer).sign(made)
        self.index()
        return made

    def remove(self, *paths: Path) -> None:
        for path in paths:
            path.unlink()
        self.index()

    def index(self) -> None:
        """What createrepo_c makes, with its signature beside it."""
        run("createrepo_c", "--quiet", "--update", self.packages)
        self.signer.sign_file(self.packages / "repodata/repomd.xml")

    def _build(self, package: Package) -> Path:
        top = self.folder / "build" / package.name
        shutil.rmtree(top, ignore_errors=True)
        root = top / "root"
        root.mkdir(parents=True)
        self.packages.mkdir(parents=True, exist_ok=True)
        package.fill(root)
        spec = top / f"{package.name}.spec"
        spec.write_text(package.spec())
        macros = {
            "_topdir": str(top),
            "_rpmdir": str(self.packages),
            "_build_name_fmt": "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
            "_build_id_links": "none",
            "__os_install_post": "%{nil}",
            "debug_package": "%{nil}",
            "_dbpath": str(top / "db"),
            "_binary_payload": "w1.gzdio",
        }
        defined = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
        run("rpmbuild", "-bb", "--quiet", "--buildroot", root, *defined, spec, HOME=str(top))
        return self.packages / f"{package.name}-{package.version}-{package.release}.x86_64.rpm"


def libraries(program: Path) -> list[Path]:
    """What a program is linked to, and the linker."""
    words = run("ldd", program).split()
    return sorted({Path(word) for word in words if word.startswith("/")})


def skeleton(database: str = "%{_var}/lib/rpm") -> list[Package]:
    """The packages of a system that has a shell and rpm, and nothing else."""
    rpm = Path(str(shutil.which("rpm")))
    linked = libraries(rpm)
    base = {f"/usr{path}" if not str(path).startswith("/usr") else str(path): path for path in linked}
    is_glibc = ("ld-linux", "libc.so", "libm.so")
    glibc = {path: source for path, source in base.items() if Path(path).name.startswith(is_glibc)}
    others = {path: source for path, source in base.items() if path not in glibc}
    config = Path("/usr/lib/rpm")
    macros = config.joinpath("macros").read_text().splitlines()
    macros = [f"%_dbpath {database}" if line.startswith("%_dbpath") else line for line in macros]
    modes = {"/": "0555", "/proc": "0555", "/sys": "0555", "/root": "0700", "/tmp": "1777"}  # noqa: S108 -- of an image
    folders = (*modes, "/dev", "/etc", "/usr", "/var", "/usr/share", "/var/cache", "/var/lib", "/var/log")
    folders += tuple(f"/usr/{name}" for name in MERGED)
    return [
        Package(
            "filesystem",
            "3.18",
            folders=folders,
            links={f"/{name}": f"usr/{name}" for name in MERGED},
            listed=tuple(f"%dir %attr({modes.get(path, '0755')}, root, root) {path}" for path in folders),
        ),
        Package(
            "setup",
            "2.14",
            requires=("filesystem",),
            texts={
                "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
                "/etc/group": "root:x:0:\n",
                "/etc/shadow": "root:*:19000:0:99999:7:::\n",
            },
            listed=(
                "%config(noreplace) /etc/passwd",
                "%config(noreplace) /etc/group",
                "%config(noreplace) %attr(0000, root, root) /etc/shadow",
            ),
        ),
        Package(
            "test-release",
            "9.4",
            requires=("setup",),
            provides=("system-release = 9",),
            texts={"/etc/os-release": 'NAME="Test"\nID="test"\nVERSION_ID="9.4"\n'},
        ),
        Package("glibc", "2.34", requires=("filesystem",), files=glibc),
        Package(
            "busybox",
            "1.35",
            epoch=1,
            requires=("filesystem", "setup"),
            provides=("/bin/sh",),
            files={"/usr/bin/busybox": Path(str(shutil.which("busybox")))},
            links={f"/usr/bin/{name}": "busybox" for name in APPLETS},
            texts={"/usr/share/doc/busybox/README": "Not for an image.\n"},
            listed=("%doc /usr/share/doc/busybox/README",),
            # What a scriptlet may expect: files of the kernel, and nothing of the host.
            post="cat /proc/self/stat > /dev/null < /dev/null || exit 1\n"
            "mkdir -p /var/log/busybox && echo installed > /var/log/busybox/log\n",
        ),
        Package(
            "rpm",
            "4.18",
            requires=("glibc", "/bin/sh"),
            files={
                "/usr/bin/rpm": rpm,
                **others,
                "/usr/lib/rpm/rpmrc": config / "rpmrc",
                "/usr/lib/rpm/platform/x86_64-linux/macros": config / "platform/x86_64-linux/macros",
            },
            texts={"/usr/lib/rpm/macros": "\n".join(macros) + "\n"},
            folders=("/var/lib/rpm",),
            listed=("%dir /var/lib/rpm",),
        ),
        Package(
            "shadow-utils",
            "4.9",
            requires=("filesystem",),
            texts={"/usr/bin/newuidmap": "#!/bin/sh\n"},
            listed=("%attr(0755, root, root) %caps(cap_setuid=ep) /usr/bin/newuidmap",),
        ),
    ]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback meanwhile; its URL."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
