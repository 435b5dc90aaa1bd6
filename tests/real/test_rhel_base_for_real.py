"""Real installations by dnf from a small signed repository, through the stand-in agent, an engine and a registry."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.refresh_base_image import app
from functions.refresh_base_image.settings import RHEL_PRIVILEGED
from local.emulator import Emulator
from paydown.clients.base_contents import Candidate, Contents, DnfRecipe, candidate_name
from paydown.errors import PermanentError
from paydown.ledger import Run
from tests.real.base_bootstrap import BuildSite, builder, now, reached
from tests.real.docker_engine import BUCKET, Engine, SsmStandIn
from tests.real.rpm_repository import Package, RpmRepository, Signer, served, skeleton
from tests.servers import need_program
from tests.unit.ledgers import ledger_in_moto

PROGRAMS = {"dnf-3": "dnf", "rpmbuild": "rpm", "rpmsign": "rpm", "createrepo_c": "createrepo-c", "gpg": "gnupg"}
INCLUDE = ("busybox", "rpm", "shadow-utils", "system-release", "tools")
TOOLS = Package("tools", requires=("filesystem",), texts={"/usr/share/tools": "1"})
NOWHERE = "f" * 32


@dataclass
class RhelSite(BuildSite):
    """A site with a repository of RPM packages; `agent` runs documents."""

    rpms: RpmRepository = field(kw_only=True)
    stranger: Signer = field(kw_only=True)
    url: str = field(kw_only=True)
    agent: SsmStandIn = field(kw_only=True)
    repository: str = "base/test"
    added: list[Path] = field(default_factory=list)

    def recipe(self, **changes: Any) -> DnfRecipe:
        keys = changes.pop("keys", [self.rpms.signer.public])
        made = {"release": "9", "repositories": (f"test {self.url}",), "include": INCLUDE, **changes}
        return DnfRecipe(**made, keys=tuple(str(key) for key in keys))

    def allow(self, **base: Any) -> None:
        recipe = {
            "family": "rhel",
            "host": "build-1",
            "release": "9",
            "repositories": [{"id": "test", "url": self.url}],
            "keys": [str(self.rpms.signer.public)],
            "include": list(INCLUDE),
            **base,
        }
        toil = {
            "mode": "enforce",
            "cool_down_seconds": 0,
            "back_off_seconds": 0,
            "settings": {"bases": {self.name: recipe}},
        }
        self.ledger.policy.publish({"toils": {"refresh_base_image": toil}}, "test", now())

    def add(self, *packages: Package, **options: Any) -> None:
        """Add packages for this test."""
        self.added += self.rpms.add(*packages, **options)

    def built(self, recipe: DnfRecipe, key: str = NOWHERE) -> Candidate:
        """What becomes of a candidate."""
        builder().build(key, "ab12", recipe)
        return waited(lambda: builder().read(key), lambda one: bool(one.diff_id or one.failed) and not one.running)

    def failure(self, recipe: DnfRecipe) -> str:
        """Why a candidate is none."""
        candidate = self.built(recipe)
        assert candidate.failed is not None
        assert not candidate.running
        assert candidate_name(NOWHERE) not in self.engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
        return candidate.failed[1]


def waited(look: Callable[[], Any], until: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 60
    while not until(found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def site(
    docker_engine: Engine, ssm_agent: SsmStandIn, output_store: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RhelSite]:
    """The site after its first sweep, which made the first base."""
    for program, package in (*PROGRAMS.items(), ("busybox", "busybox-static"), ("docker-registry", "docker-registry")):
        need_program(program, package)
    docker_engine.clear()
    folder = tmp_path_factory.mktemp("rhel")
    rpms = RpmRepository(folder, Signer(folder / "vendor", "vendor"))
    rpms.add(*skeleton(), TOOLS)
    with (
        ledger_in_moto() as ledger,
        served(rpms.top) as mirror,
        reached(ssm_agent, output_store.url, BUCKET, ledger, folder) as (patch, registry),
    ):
        patch.setattr(app, "LOOK_AGAIN", timedelta(seconds=0.3))
        url = f"{mirror}/$releasever/$basearch"
        stranger = Signer(folder / "stranger", "stranger")
        made = RhelSite(docker_engine, registry, ledger, {}, "", rpms=rpms, stranger=stranger, url=url, agent=ssm_agent)
        made.inventory()
        made.allow()
        made.first, _ = made.sweep()
        try:
            yield made
        finally:
            docker_engine.clear()


@pytest.fixture
def settled(site: RhelSite) -> Iterator[RhelSite]:
    """The same, with the first base as `current` and the first packages, whatever this test does."""
    assert site.first is not None
    first = site.api.manifest(site.repository, str(site.first.evidence["digest"]))
    yield site
    site.api.put_manifest(site.repository, "current", first)
    if site.added:
        site.rpms.remove(*site.added)
        site.added.clear()
    site.allow()
    builder().forget(NOWHERE)


def layer(site: RhelSite) -> tarfile.TarFile:
    [described] = site.current().manifest.document["layers"]
    content = site.api.blob(site.repository, described["digest"], 500_000_000)
    return tarfile.open(fileobj=io.BytesIO(content), mode="r:gz")


def ended(run: Run) -> tuple[str, str]:
    return run.status.value, "; ".join(reason.text for reason in run.reasons)


def test_the_first_sweep_installs_tests_and_pushes(site: RhelSite) -> None:
    run = site.first
    assert run is not None
    assert run.status.value == "Verified", (run.reasons, run.evidence)
    current = site.current()
    assert site.api.digest(site.repository, run.evidence["tag"]) == current.digest == run.evidence["digest"]
    notes = current.manifest.document["annotations"]
    assert notes["org.opencontainers.image.source"] == site.url.replace("$releasever", "9")
    assert current.packages == {
        "busybox/x86_64": "1:1.35-1",
        "filesystem/x86_64": "3.18-1",
        "glibc/x86_64": "2.34-1",
        "rpm/x86_64": "4.18-1",
        "setup/x86_64": "2.14-1",
        "shadow-utils/x86_64": "4.9-1",
        "test-release/x86_64": "9.4-1",
        "tools/x86_64": "1.0-1",
    }
    assert run.evidence["privileged"] == ["/usr/bin/newuidmap"]
    assert set(run.evidence["privileged"]) <= set(RHEL_PRIVILEGED)


def test_nothing_of_the_host_or_of_the_moment_is_in_it(site: RhelSite) -> None:
    with layer(site) as tar:
        members = {member.name: member for member in tar}
    names = {name for name, member in members.items() if not member.isdir()}
    assert "./var/lib/rpm/rpmdb.sqlite" in names
    assert not [name for name in members if ".paydown" in name or "sysimage" in name or name.startswith("./dev/")]
    assert not [name for name in names if name.startswith(("./var/log/", "./var/cache/", "./var/lib/dnf", "./tmp/"))]
    assert not {"./etc/hostname", "./etc/resolv.conf", "./usr/share/doc/busybox/README"} & names
    assert "SCHILY.xattr.security.capability" in members["./usr/bin/newuidmap"].pax_headers
    assert members["./proc"].mode == 0o555


def test_what_a_client_pulls_by_digest_runs(site: RhelSite) -> None:
    name = f"{site.name}@{site.current().digest}"
    site.engine.docker("pull", "--quiet", name)
    listed = site.engine.docker("run", "--rm", "--network", "none", name, "rpm", "-qa", "--queryformat", "%{NAME} ")
    assert set(listed.split()) == {"gpg-pubkey", *(one.partition("/")[0] for one in site.current().packages)}
    labels = json.loads(site.engine.docker("image", "inspect", "--format", "{{json .Config.Labels}}", name))
    assert labels["org.opencontainers.image.source"] == site.url.replace("$releasever", "9")


def test_the_same_packages_are_neither_built_nor_pushed_again(settled: RhelSite) -> None:
    before = settled.api.tags(settled.repository)
    run, _ = settled.sweep()
    assert ended(run) == ("Skipped", "no package changed since the current base")
    assert settled.api.tags(settled.repository) == before


def test_the_same_packages_give_the_same_bytes(settled: RhelSite) -> None:
    again = settled.built(settled.recipe())
    assert again.failed is None
    assert settled.current().diff_ids == (again.diff_id,)


def test_a_new_version_of_a_package_makes_a_new_base(settled: RhelSite) -> None:
    before = settled.current()
    settled.add(Package("tools", "1.1", requires=("filesystem",), texts={"/usr/share/tools": "2"}))
    run, _ = settled.sweep()
    assert run.status.value == "Verified", run.reasons
    assert run.evidence["changed"] == ["tools/x86_64"]
    assert run.evidence["files_changed"] == 2  # its own, and the books of rpm
    now_there = settled.current()
    assert now_there.digest != before.digest
    assert now_there.packages == {**before.packages, "tools/x86_64": "1.1-1"}


def test_a_setuid_file_that_nobody_named_ends_it_before_the_push(settled: RhelSite) -> None:
    before = settled.api.tags(settled.repository), settled.current().digest
    settled.add(
        Package(
            "tools",
            "1.2",
            requires=("filesystem",),
            texts={"/usr/bin/tool": "1"},
            listed=("%attr(4755, root, root) /usr/bin/tool",),
        )
    )
    run, _ = settled.sweep()
    assert ended(run) == ("Failed", f"unexpected in the new base of {settled.name}: a setuid file /usr/bin/tool")
    assert (settled.api.tags(settled.repository), settled.current().digest) == before


def test_a_package_that_another_key_signed_ends_it_before_the_push(settled: RhelSite) -> None:
    before = settled.api.tags(settled.repository), settled.current().digest
    settled.add(Package("tools", "1.3", texts={"/usr/share/tools": "3"}), signer=settled.stranger)
    run, _ = settled.sweep()
    status, why = ended(run)
    assert status == "Failed"
    assert "Public key for tools-1.3-1.x86_64.rpm is not installed" in why
    assert (settled.api.tags(settled.repository), settled.current().digest) == before


def test_a_package_that_nobody_signed_is_not_installed(settled: RhelSite) -> None:
    settled.add(Package("tools", "1.4", texts={"/usr/share/tools": "4"}), signed=False)
    assert "Package tools-1.4-1.x86_64.rpm is not signed" in settled.failure(settled.recipe())


def test_lists_are_verified_where_that_is_asked_for(settled: RhelSite) -> None:
    signed = (f"test {settled.url} repo_gpgcheck",)
    for _ in range(2):  # the second time from what was kept
        assert "tools/x86_64" in builder().packages(settled.recipe(repositories=signed))
    with pytest.raises(Exception, match="GPG signature verification error"):
        builder().packages(settled.recipe(repositories=signed, keys=[settled.stranger.public]))
    running = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            running.append(Path(place, "cmdline").read_bytes())
    assert not [words for words in running if b"/.paydown/cache" in words]


def test_a_package_that_there_is_none_of_is_named(settled: RhelSite) -> None:
    with pytest.raises(PermanentError, match="Unable to find a match: nowhere"):
        builder().packages(settled.recipe(include=("busybox", "nowhere")))


def test_requirements_that_nothing_meets_are_named(settled: RhelSite) -> None:
    settled.add(Package("needy", requires=("nowhere",)))
    with pytest.raises(PermanentError, match="nothing provides nowhere needed by needy"):
        builder().packages(settled.recipe(include=("needy",)))


def test_a_scriptlet_that_fails_ends_it(settled: RhelSite) -> None:
    settled.add(Package("tools", "1.6", requires=("busybox",), texts={"/usr/share/tools": "6"}, post="exit 3"))
    assert "scriptlet" in settled.failure(settled.recipe())


def test_files_that_are_not_as_their_package_says_end_it_and_so_does_what_a_scriptlet_left(settled: RhelSite) -> None:
    post = "sleep 300 &\necho 8 > /usr/share/tools"
    settled.add(Package("tools", "1.7", requires=("busybox",), texts={"/usr/share/tools": "7"}, post=post))
    said = settled.failure(settled.recipe())
    assert "files are not as their packages say" in said
    assert "/usr/share/tools" in said


def test_the_books_lie_where_its_own_rpm_looks_for_them(settled: RhelSite) -> None:
    newer = next(one for one in skeleton("%{_usr}/lib/sysimage/rpm") if one.name == "rpm")
    settled.add(Package(**{**vars(newer), "release": "2"}), signer=settled.stranger)
    keys = [settled.rpms.signer.public, settled.stranger.public]  # each of them is believed
    assert settled.built(settled.recipe(keys=keys)).failed is None
    found = listed(settled)
    assert found.packages["rpm/x86_64"] == "4.18-2"
    assert "/usr/lib/sysimage/rpm/rpmdb.sqlite" in found.files
    assert "/var/lib/rpm/rpmdb.sqlite" not in found.files


def test_a_base_without_rpm_is_tested_by_the_hosts(settled: RhelSite) -> None:
    assert settled.built(settled.recipe(include=("busybox",))).failed is None
    found = listed(settled)
    assert set(found.packages) == {"busybox/x86_64", "filesystem/x86_64", "setup/x86_64"}
    assert found.owners["/usr/bin/busybox"] == {"busybox"}
    assert "/var/lib/rpm/rpmdb.sqlite" in found.files


def listed(site: RhelSite) -> Contents:
    """What is in the candidate of this test."""
    name = candidate_name(NOWHERE)
    builder().unpack(name, "ab12")
    found = waited(lambda: builder().contents(name), lambda one: isinstance(one, Contents))
    assert isinstance(found, Contents), found
    return found


def test_a_key_that_is_not_there_is_named(settled: RhelSite, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"the key /.*/none cannot be read"):
        builder().packages(settled.recipe(keys=[tmp_path / "none"]))


@pytest.mark.parametrize(("missing", "said"), [("rpm", "rpm is not installed"), ("dnf-3", "dnf 4 is not installed")])
def test_a_program_that_is_not_there_is_named(settled: RhelSite, tmp_path: Path, missing: str, said: str) -> None:
    for name in ("cat", "docker", "dnf-3", "rpm", "sh", "tr", "grep", "mktemp"):
        if name != missing:
            (tmp_path / name).symlink_to(str(shutil.which(name)))
    with settled.agent.given(PATH=str(tmp_path)):
        with pytest.raises(PermanentError, match=f"^build-1: {said}$"):
            builder().packages(settled.recipe())
        run, _ = settled.sweep()
        assert run.status.value == "Failed"
        assert said in run.reasons[0].text
