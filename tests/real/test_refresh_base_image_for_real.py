"""One real bootstrap from this machine's mirror, through the stand-in agent, an engine and a registry of the tests."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.refresh_base_image.published import PACKAGES, Published, annotated
from functions.refresh_base_image.settings import DEBIAN_PRIVILEGED
from local.emulator import Emulator
from paydown.clients.base_contents import Recipe, candidate_name
from paydown.clients.registry_content import OCI_MANIFEST, Manifest, digest_of
from paydown.errors import PermanentError
from tests.real.base_bootstrap import REPOSITORY, BuildSite, build_site, builder
from tests.real.docker_engine import BUCKET, Engine, SsmStandIn, archive
from tests.servers import need_program
from tests.unit.ledgers import ledger_in_moto


@pytest.fixture(scope="module")
def site(
    docker_engine: Engine, ssm_agent: SsmStandIn, output_store: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuildSite]:
    """The site after its first sweep, which bootstrapped the first base."""
    need_program("mmdebstrap", "mmdebstrap")
    need_program("docker-registry", "docker-registry")
    docker_engine.clear()
    folder = tmp_path_factory.mktemp("bases")
    with (
        ledger_in_moto() as ledger,
        build_site(docker_engine, ssm_agent, output_store.url, BUCKET, ledger, folder) as made,
    ):
        made.allow()
        began = time.monotonic()
        made.first, _ = made.sweep()
        made.seconds = time.monotonic() - began
        yield made


@pytest.fixture
def settled(site: BuildSite) -> Iterator[BuildSite]:
    """The same, with the first base as `current`, whatever this test does."""
    assert site.first is not None
    first = site.api.manifest(REPOSITORY, str(site.first.evidence["digest"]))
    yield site
    site.api.put_manifest(REPOSITORY, "current", first)
    site.allow()
    site.inventory()


def told(base: Published, package: str, version: str) -> dict[str, str]:
    """The annotations of a base, with another version of one package."""
    versions = {**base.packages, f"{package}/amd64": version}
    notes: dict[str, str] = dict(base.manifest.document["annotations"])
    return {**notes, PACKAGES: " ".join(f"{one}={two}" for one, two in versions.items())}


def older(site: BuildSite) -> Published:
    """Make another base `current`: the first one with an older util-linux, which had no `su` yet."""
    now = site.current()
    [layer] = now.manifest.document["layers"]
    content = gzip.decompress(site.api.blob(REPOSITORY, layer["digest"], 500_000_000))
    kept = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=kept, mode="w") as new:
        for member in old:
            data = old.extractfile(member) if member.isreg() else None
            if member.name == "./var/lib/dpkg/status":
                assert data is not None
                text = re.sub(r"(?m)^(Package: util-linux\n(?:.+\n)*?Version: ).*", r"\g<1>0", data.read().decode())
                member.size, data = len(text.encode()), io.BytesIO(text.encode())
            if member.name != "./usr/bin/su":
                new.addfile(member, data)
    plain = kept.getvalue()
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    config = config.replace("[]", json.dumps([digest_of(plain)]))
    described = []
    for blob, kind in ((config.encode(), "config.v1+json"), (plain, "layer.v1.tar")):
        site.api.upload_blob(REPOSITORY, digest_of(blob), [blob])
        media_type = f"application/vnd.oci.image.{kind}"
        described.append({"mediaType": media_type, "digest": digest_of(blob), "size": len(blob)})
    notes = told(now, "util-linux", "0")
    document = {"schemaVersion": 2, "config": described[0], "layers": described[1:], "annotations": notes}
    site.api.put_manifest(REPOSITORY, "current", Manifest.made({**document, "mediaType": OCI_MANIFEST}, OCI_MANIFEST))
    return site.current()


def layer_names(site: BuildSite) -> set[str]:
    [layer] = site.current().manifest.document["layers"]
    with tarfile.open(fileobj=io.BytesIO(site.api.blob(REPOSITORY, layer["digest"], 500_000_000)), mode="r:gz") as tar:
        return set(tar.getnames())


def test_the_first_sweep_bootstraps_tests_and_pushes(site: BuildSite) -> None:
    run = site.first
    assert run is not None
    assert run.status.value == "Verified", (run.reasons, run.evidence)
    current = site.current()
    tag = run.evidence["tag"]
    assert site.api.digest(REPOSITORY, tag) == current.digest == run.evidence["digest"]
    notes = current.manifest.document["annotations"]
    assert notes["org.opencontainers.image.version"] == tag
    assert notes["org.opencontainers.image.source"] == site.source["mirror"]
    assert notes["org.opencontainers.image.base.name"] == "scratch"
    assert len(current.packages) > 40
    assert "dpkg" in {name.partition("/")[0] for name in current.packages}
    assert set(run.evidence["privileged"]) <= set(DEBIAN_PRIVILEGED)
    assert current.diff_ids == (builder().read(str(run.before["key"])).diff_id,)  # by which equal bytes are known
    names = layer_names(site)
    assert "./usr/bin/su" in names
    assert not {"./etc/hostname", "./etc/resolv.conf"} & names  # the host's
    assert not [name for name in names if "mmdebstrap" in name or name.startswith("./dev/")]


def test_what_a_client_pulls_by_digest_runs(site: BuildSite) -> None:
    name = f"{site.name}@{site.current().digest}"
    site.engine.docker("pull", "--quiet", name)
    assert site.engine.docker("run", "--rm", "--network", "none", name, "dpkg", "--audit") == ""
    labels = site.engine.docker("image", "inspect", "--format", "{{json .Config.Labels}}", name)
    assert "org.opencontainers.image.created" in labels


def test_the_same_packages_are_neither_built_nor_pushed_again(settled: BuildSite) -> None:
    before = settled.api.tags(REPOSITORY)
    run, _ = settled.sweep()
    assert (run.status.value, run.reasons[0].text) == ("Skipped", "no package changed since the current base")
    assert settled.api.tags(REPOSITORY) == before


def test_a_setuid_file_that_nobody_named_ends_it_before_the_push_until_somebody_does(settled: BuildSite) -> None:
    last = older(settled)
    settled.allow(privileged=[path for path in DEBIAN_PRIVILEGED if path != "/usr/bin/su"])
    before = settled.api.tags(REPOSITORY)
    run, _ = settled.sweep()
    assert run.status.value == "Failed"
    assert run.reasons[0].text == f"unexpected in the new base of {settled.name}: a setuid file /usr/bin/su"
    assert (settled.api.tags(REPOSITORY), settled.current().digest) == (before, last.digest)

    settled.allow()
    run, _ = settled.sweep()
    assert run.status.value == "Verified", run.reasons
    assert run.evidence["changed"] == ["util-linux/amd64"]
    assert run.evidence["files_changed"] == 2  # su, and the status of dpkg
    assert run.evidence["tag"].endswith(".1")  # the day has a base already
    assert settled.current().digest == settled.api.digest(REPOSITORY, run.evidence["tag"]) != last.digest


def test_deployed_to_observe_it_only_looks(settled: BuildSite) -> None:
    now = settled.current()
    settled.api.put_manifest(REPOSITORY, "current", annotated(now, told(now, "bash", "0")))
    before = settled.current().digest
    run, _ = settled.sweep(observing=True)
    assert (run.status.value, run.before["changed"]) == ("Observed", ["bash/amd64"])
    assert settled.current().digest == before


def test_a_host_behind_a_socket_without_a_builder_is_left_alone(settled: BuildSite) -> None:
    settled.inventory(reach={"via": "unix", "path": str(settled.engine.socket)})
    run, _ = settled.sweep()
    assert run.status.value == "Refused"
    assert "host/build-1 is reached by unix: the settings must name a `builder` image" in run.reasons[0].text


def test_packages_that_no_key_signed_are_not_taken(site: BuildSite, tmp_path: Path) -> None:
    keyring = tmp_path / "nobody.gpg"
    keyring.touch()
    source = " ".join(["deb", site.source["mirror"], site.source["suite"], "main"])
    recipe = Recipe(site.source["suite"], (source,), "essential", (), str(keyring))
    host, key = builder(), "f" * 32
    host.build(key, "ab12", recipe)
    deadline = time.monotonic() + 60
    while host.read(key).failed is None and time.monotonic() < deadline:
        time.sleep(0.2)
    failed = host.read(key).failed
    assert failed is not None
    assert failed[0] == "ab12"
    assert "is not signed" in failed[1]
    assert candidate_name(key) not in site.engine.docker("image", "ls")


def test_a_keyring_that_is_not_there_is_named(site: BuildSite, tmp_path: Path) -> None:
    recipe = Recipe("stable", ("deb http://mirror.example/debian stable main",), "apt", (), f"{tmp_path}/none.gpg")
    with pytest.raises(PermanentError, match=r"the keyring /.*/none\.gpg cannot be read"):
        builder().packages(recipe)


def test_what_stands_on_no_base_is_listed_once(settled: BuildSite) -> None:
    base, engine, host = f"{settled.name}:current", settled.engine, settled.registry.host
    engine.docker("pull", "--quiet", base)
    engine.build(f"{host}/team/app:1", f"FROM {base}\nCOPY file /file\n", file=b"content")
    engine.docker("import", "-", f"{host}/team/stray:1", stdin=archive({"file": b"stray"}))
    for name in ("app", "stray"):
        engine.docker("push", "--quiet", f"{host}/team/{name}:1")
    _, run = settled.sweep()
    assert (run.status.value, run.evidence["names"]) == ("Verified", ["team/stray:1"])
    assert run.evidence["images"] == 2
    _, again = settled.sweep()
    assert again.status.value == "Skipped"


def test_a_candidate_is_forgotten(site: BuildSite) -> None:
    assert site.first is not None
    key, host = str(site.first.before["key"]), builder()
    assert host.read(key).diff_id
    assert host.forget(key)
    assert host.read(key).diff_id == ""
    assert candidate_name(key).partition(":")[2] not in site.engine.docker("image", "ls")
